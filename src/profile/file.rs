//! Profile files: TOML text to a compiled profile.

use std::collections::BTreeMap;
use std::fmt::Debug;

use regex::bytes::Regex;
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::rule::ID_GROUP;
use super::{Id, Kind, Profile, Role, Rule, Side, Template, Text, pointer};

mod edit;
mod signed;

/// What is wrong with a profile's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct ProfileError {
    /// Line of the text, from 1.
    pub line: usize,
    /// The field and why it cannot be used.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileTable {
    #[serde(default)]
    name: String,
    path: Option<String>,
    key: Option<Vec<String>>,
    replay_refresh: Option<String>,
    replay_blip: Option<String>,
    log_bytes: Option<String>,
    foreign: Option<String>,
    #[serde(default)]
    rule: Vec<RuleTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    from: Spanned<String>,
    kind: Option<Spanned<String>>,
    frame: Option<Spanned<i64>>,
    when: Option<Spanned<BTreeMap<Spanned<String>, Spanned<toml::Value>>>>,
    present: Option<Vec<Spanned<String>>>,
    text: Option<Spanned<String>>,
    asking: Option<bool>,
    running: Option<bool>,
    role: Spanned<String>,
    id: Option<Spanned<String>>,
    answer: Option<Spanned<String>>,
    show: Option<Spanned<String>>,
    send: Option<Spanned<String>>,
    set: Option<Spanned<BTreeMap<Spanned<String>, Spanned<toml::Value>>>>,
    remove: Option<Spanned<Vec<Spanned<String>>>>,
    signed: Option<Spanned<signed::SignedTable>>,
}

impl Profile {
    /// Compiles a profile's TOML text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with its rules, or the first thing that keeps it from being read as rules.
    pub fn parse(text: &str) -> Result<Self, Vec<ProfileError>> {
        let table: ProfileTable = toml::from_str(text).map_err(|error| {
            vec![ProfileError {
                line: line_of(text, error.span().map_or(0, |span| span.start)),
                reason: error.message().to_owned(),
            }]
        })?;
        let mut compiler = Compiler {
            text,
            errors: Vec::new(),
        };
        let rules = table
            .rule
            .into_iter()
            .enumerate()
            .filter_map(|(index, rule)| compiler.rule(index, rule))
            .collect();
        if compiler.errors.is_empty() {
            Ok(Self {
                name: table.name,
                path: table.path,
                key: table.key,
                replay_refresh: table.replay_refresh,
                replay_blip: table.replay_blip,
                log_bytes: table.log_bytes,
                foreign: table.foreign,
                rules,
            })
        } else {
            Err(compiler.errors)
        }
    }
}

/// Line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|&&byte| byte == b'\n').count()
}

struct Compiler<'a> {
    text: &'a str,
    errors: Vec<ProfileError>,
}

impl Compiler<'_> {
    fn error(&mut self, offset: usize, reason: String) {
        self.errors.push(ProfileError {
            line: line_of(self.text, offset),
            reason,
        });
    }

    fn rule(&mut self, index: usize, rule: RuleTable) -> Option<Rule> {
        let field = |name: &str| format!("rule[{index}].{name}");
        let sides = [("client", Side::Client), ("server", Side::Server)];
        let from = self.one_of(&field("from"), &rule.from, &sides);
        let roles = Role::ALL.map(|(name, role, side)| (name, (role, side)));
        let role = self.one_of(&field("role"), &rule.role, &roles);
        if let (Some(from), Some((_, Some(side)))) = (from, role)
            && from != side
        {
            let reason = format!(
                "{} = {:?}: the {} does not say this",
                field("role"),
                rule.role.get_ref(),
                rule.from.get_ref()
            );
            self.error(rule.role.span().start, reason);
        }
        let text = rule.text.as_ref().is_some_and(|text| !text.get_ref().is_empty());
        let present = rule.present.as_ref().is_some_and(|all| !all.is_empty());
        let conditional = rule.when.is_some() || present || text || rule.frame.is_some();
        if !conditional
            && (rule.kind.is_none() || (from == Some(Side::Client) && role.is_some_and(|(role, _)| role.absorbs())))
        {
            let reason = format!(
                "{}: would match every message, without when, present, text or frame",
                field("role")
            );
            self.error(rule.role.span().start, reason);
        }
        if let (Some((Role::Tunnel, _)), None) = (role, &rule.frame) {
            self.error(
                rule.role.span().start,
                format!("{} = \"tunnel\": needs frame = 1", field("role")),
            );
        }
        let kinds = [("text", Kind::Text), ("binary", Kind::Binary)];
        let kind = rule.kind.and_then(|kind| self.one_of(&field("kind"), &kind, &kinds));
        let when = rule.when.map_or_else(Vec::new, |when| self.when(&field("when"), when));
        let present = rule.present.unwrap_or_default();
        let present = present
            .into_iter()
            .map(|at| self.pointer(&field("present"), at))
            .collect();
        let text = rule.text.and_then(|text| {
            let compiled = Regex::new(text.get_ref());
            // the last line of a regex error says what is wrong
            let reason = |error: regex::Error| error.to_string().lines().last().unwrap_or_default().trim().to_owned();
            self.compiled(&field("text"), &text, compiled.map_err(reason))
        });
        let answered = matches!(role, Some((Role::Heartbeat | Role::Local, _)));
        let shown = matches!(role, Some((Role::Echo, _)));
        if let Some((Role::Local, _)) = role
            && rule.answer.is_none()
        {
            self.error(
                rule.role.span().start,
                format!("{} = \"local\": needs an answer", field("role")),
            );
        }
        if shown && rule.show.is_none() {
            self.error(
                rule.role.span().start,
                format!("{} = \"echo\": needs to show something", field("role")),
            );
        }
        let only = answered.then_some(()).ok_or("only heartbeat and local are answered");
        let answer = self.template(&field("answer"), rule.answer, only, text.as_ref());
        let only = shown.then_some(()).ok_or("only echoes are shown");
        let show = self.template(&field("show"), rule.show, only, text.as_ref());
        let given = rule.id.is_some();
        let id = self.id(&field("id"), role.map(|(role, _)| role), rule.id, text.as_ref());
        if let (Some((Role::Request | Role::Answer | Role::Cancel, _)), None, false) = (role, &id, given) {
            let role = rule.role.get_ref();
            let reason = format!(
                "{} = {role:?}: needs an id, or a group (?<id>…) in its text",
                field("role")
            );
            self.error(rule.role.span().start, reason);
        }
        let heartbeats = matches!((from, role), (Some(Side::Server), Some((Role::Heartbeat, _))));
        let send = rule.send.and_then(|send| {
            let given = if heartbeats {
                Ok(send.get_ref().clone())
            } else {
                Err("only for heartbeats of the server".into())
            };
            self.compiled(&field("send"), &send, given)
        });
        let frame = rule.frame.and_then(|frame| {
            let given = u64::try_from(*frame.get_ref()).ok().filter(|&number| number > 0);
            let given = given.ok_or("counts from 1".into());
            let tunnel = matches!(role, Some((Role::Tunnel, _)));
            let given = given.and_then(|number| {
                if tunnel && number > 1 {
                    Err("a tunnel begins at once".into())
                } else {
                    Ok(number)
                }
            });
            self.compiled(&field("frame"), &frame, given)
        });
        let edit = self.edit(
            index,
            role.is_some_and(|(role, _)| role == Role::HelloAnswer),
            rule.set,
            rule.remove,
        );
        let signed = rule
            .signed
            .and_then(|signed| self.signed(&field("signed"), role.map(|(role, _)| role), signed));
        Some(Rule {
            from: from?,
            number: index,
            kind,
            frame,
            when,
            present,
            asking: rule.asking,
            running: rule.running,
            text: text.map(Text),
            role: role?.0,
            id,
            answer,
            show,
            edit,
            send,
            signed,
        })
    }

    /// A template of a rule, if rules of its role may have one.
    fn template(
        &mut self,
        field: &str,
        given: Option<Spanned<String>>,
        allowed: Result<(), &str>,
        text: Option<&Regex>,
    ) -> Option<Template> {
        let given = given?;
        let compiled = allowed.map_err(ToOwned::to_owned);
        let compiled = compiled.and_then(|()| Template::parse(given.get_ref(), text));
        self.compiled(field, &given, compiled)
    }

    /// Where a rule's messages have their id, by pointer or by a group of its text.
    fn id(&mut self, field: &str, role: Option<Role>, id: Option<Spanned<String>>, text: Option<&Regex>) -> Option<Id> {
        let grouped = text.is_some_and(|text| text.capture_names().flatten().any(|name| name == ID_GROUP));
        let Some(id) = id else {
            return (grouped && role.is_some_and(Role::has_id)).then_some(Id::Group);
        };
        let given = match role {
            Some(role) if !role.has_id() => Err("messages of this role have none".to_owned()),
            _ if grouped => Err("the text has a group for it already".to_owned()),
            _ => pointer::check(id.get_ref()).map_err(ToOwned::to_owned),
        };
        let given = given.map(|()| Id::Pointer(id.get_ref().clone()));
        self.compiled(field, &id, given)
    }

    /// What came of a value; if it is an error, that is noted.
    fn compiled<G: Debug, T>(&mut self, field: &str, given: &Spanned<G>, compiled: Result<T, String>) -> Option<T> {
        compiled
            .map_err(|reason| self.error(given.span().start, format!("{field} = {:?}: {reason}", given.get_ref())))
            .ok()
    }

    fn one_of<T: Copy>(&mut self, field: &str, given: &Spanned<String>, known: &[(&str, T)]) -> Option<T> {
        let found = known.iter().find(|(name, _)| name == given.get_ref());
        let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let found = found.map(|(_, value)| *value);
        self.compiled(field, given, found.ok_or_else(|| format!("one of {}", names())))
    }

    fn pointer(&mut self, field: &str, at: Spanned<String>) -> String {
        let checked = pointer::check(at.get_ref()).map_err(ToOwned::to_owned);
        self.compiled(field, &at, checked);
        at.into_inner()
    }

    fn when(
        &mut self,
        field: &str,
        when: Spanned<BTreeMap<Spanned<String>, Spanned<toml::Value>>>,
    ) -> Vec<(String, Vec<Value>)> {
        if when.get_ref().is_empty() {
            let reason = format!("{field} = {{}}: a rule without a condition would match every message");
            self.error(when.span().start, reason);
        }
        let mut conditions = Vec::new();
        for (at, value) in when.into_inner() {
            let at = self.pointer(field, at);
            let values = match value.get_ref() {
                toml::Value::Array(values) => values.iter().map(scalar).collect(),
                one => vec![scalar(one)],
            };
            // JSON has no infinities either: they come out as null.
            if values.is_empty() || values.iter().any(Value::is_null) {
                let given = value.get_ref();
                let reason = format!("{field}.{at:?} = {given}: a string, a number, true or false, or a list of them");
                self.error(value.span().start, reason);
            }
            conditions.push((at, values));
        }
        conditions
    }
}

/// A TOML scalar in JSON's terms; null where there is none.
fn scalar(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::from(*flag),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;

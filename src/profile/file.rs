//! Profile files: TOML text to a compiled profile.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use crate::profile::{Profile, Role, Rule, Side, pointer};

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
    #[serde(default)]
    rule: Vec<RuleTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    from: Spanned<String>,
    when: Spanned<BTreeMap<Spanned<String>, Spanned<toml::Value>>>,
    role: Spanned<String>,
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
        let from = match rule.from.get_ref().as_str() {
            "client" => Some(Side::Client),
            "server" => Some(Side::Server),
            other => {
                let reason = format!("rule[{index}].from = {other:?}: one of client, server");
                self.error(rule.from.span().start, reason);
                None
            }
        };
        let role = match rule.role.get_ref().as_str() {
            "hello" => Some((Role::Hello, Side::Client)),
            "hello-answer" => Some((Role::HelloAnswer, Side::Server)),
            other => {
                let reason = format!("rule[{index}].role = {other:?}: one of hello, hello-answer");
                self.error(rule.role.span().start, reason);
                None
            }
        };
        if let (Some(from), Some((_, side))) = (from, role)
            && from != side
        {
            let reason = format!(
                "rule[{index}].role = {:?}: the {} does not say this",
                rule.role.get_ref(),
                rule.from.get_ref()
            );
            self.error(rule.role.span().start, reason);
        }
        let when = self.when(index, rule.when);
        Some(Rule {
            from: from?,
            when,
            role: role?.0,
        })
    }

    fn when(
        &mut self,
        index: usize,
        when: Spanned<BTreeMap<Spanned<String>, Spanned<toml::Value>>>,
    ) -> Vec<(String, Value)> {
        if when.get_ref().is_empty() {
            let reason = format!("rule[{index}].when = {{}}: a rule without a condition would match every message");
            self.error(when.span().start, reason);
        }
        let mut conditions = Vec::new();
        for (pointer, value) in when.into_inner() {
            if let Err(reason) = pointer::check(pointer.get_ref()) {
                let reason = format!("rule[{index}].when = {:?}: {reason}", pointer.get_ref());
                self.error(pointer.span().start, reason);
            }
            let scalar = match value.get_ref() {
                toml::Value::String(text) => Value::from(text.as_str()),
                toml::Value::Integer(number) => Value::from(*number),
                toml::Value::Float(number) => Value::from(*number),
                toml::Value::Boolean(flag) => Value::from(*flag),
                _ => Value::Null,
            };
            // JSON has no infinities either: they come out as null.
            if scalar.is_null() {
                let reason = format!(
                    "rule[{index}].when.{:?} = {}: a string, a number, true or false",
                    pointer.get_ref(),
                    value.get_ref()
                );
                self.error(value.span().start, reason);
            }
            conditions.push((pointer.into_inner(), scalar));
        }
        conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        Profile::parse(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_profile_has_its_name_and_its_rules_in_order() {
        let profile = Profile::parse(
            "name = \"init\"\n\
             [[rule]]\nfrom = \"client\"\nwhen = { \"/type\" = \"init\" }\nrole = \"hello\"\n\
             [[rule]]\nfrom = \"server\"\nwhen = { \"/n\" = 1, \"/ok\" = true }\nrole = \"hello-answer\"\n",
        )
        .unwrap();
        assert_eq!(profile.name, "init");
        assert_eq!(profile.rules[0].when, [("/type".into(), "init".into())]);
        assert_eq!(
            profile.rules[1].when,
            [("/n".into(), 1.into()), ("/ok".into(), true.into())]
        );
        assert_eq!(profile.rules[1].role, Role::HelloAnswer);
    }

    #[test]
    fn all_that_is_wrong_with_the_rules_is_told_with_its_line() {
        let text = "[[rule]]\nfrom = \"page\"\nwhen = { type = \"init\" }\nrole = \"helo\"\n\
                    [[rule]]\nfrom = \"server\"\nwhen = {}\nrole = \"hello\"\n\
                    [[rule]]\nfrom = \"client\"\nrole = \"hello\"\n[rule.when]\n\"/a\" = [1]\n\"/b\" = inf\n";
        assert_eq!(
            errors(text),
            [
                "2: rule[0].from = \"page\": one of client, server",
                "4: rule[0].role = \"helo\": one of hello, hello-answer",
                "3: rule[0].when = \"type\": a JSON pointer begins with /",
                "8: rule[1].role = \"hello\": the server does not say this",
                "7: rule[1].when = {}: a rule without a condition would match every message",
                "13: rule[2].when.\"/a\" = [1]: a string, a number, true or false",
                "14: rule[2].when.\"/b\" = inf: a string, a number, true or false",
            ]
        );
    }

    #[test]
    fn what_is_no_profile_is_told_with_its_line() {
        assert!(errors("name = \"x\"\n[[rule]]\nform = \"client\"\n")[0].starts_with("3: unknown field `form`"));
        assert!(errors("name = \"x\"\nrule = 1\n")[0].starts_with("2: "));
        assert!(errors("name = \"x\"\nname = \"y\"\n")[0].starts_with("2: duplicate key"));
        assert!(errors("\n[[rule]]\nfrom = \"client\"\n")[0].contains("missing field `when`"));
    }
}

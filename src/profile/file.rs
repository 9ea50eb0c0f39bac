//! Profile files: TOML into rules.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Profile, Role, Rule, Side, pointer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    name: String,
    #[serde(default)]
    rule: Vec<RuleTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    from: Side,
    when: BTreeMap<String, serde_json::Value>,
    role: Role,
}

/// Parses and checks a profile file's text.
///
/// # Errors
///
/// What is wrong, with line or field.
pub fn parse(text: &str) -> Result<Profile, String> {
    let file: ProfileFile = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let mut rules = Vec::with_capacity(file.rule.len());
    for (index, table) in file.rule.into_iter().enumerate() {
        rules.push(rule(table).map_err(|reason| format!("rule[{index}].{reason}"))?);
    }
    let profile = Profile { name: file.name, rules };
    if profile.has(Role::HelloAnswer) && !profile.has(Role::Hello) {
        return Err("role = \"hello-answer\": answers nothing without a rule with role = \"hello\"".into());
    }
    Ok(profile)
}

fn rule(table: RuleTable) -> Result<Rule, String> {
    let RuleTable { from, when, role } = table;
    let sender = match role {
        Role::Hello => Side::Client,
        Role::HelloAnswer => Side::Server,
    };
    if from != sender {
        return Err("from: hellos come from the client, their answers from the server".into());
    }
    if when.is_empty() {
        return Err("when: without a condition it would match every message".into());
    }
    for (at, value) in &when {
        pointer::check(at).map_err(|reason| format!("when = {at:?}: {reason}"))?;
        if value.is_array() || value.is_object() {
            return Err(format!(
                "when = {at:?}: compared with a string, a number or a boolean only"
            ));
        }
    }
    Ok(Rule {
        from,
        when: when.into_iter().collect(),
        role,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: &str = r#"
        name = "init"
        [[rule]]
        from = "client"
        when = { "/type" = "init", "/v" = 2 }
        role = "hello"
        [[rule]]
        from = "server"
        when = { "/type" = "ready" }
        role = "hello-answer"
    "#;

    #[test]
    fn the_first_rule_whose_conditions_all_hold_gives_the_role() {
        let profile = parse(INIT).unwrap();
        assert_eq!(
            profile.role(Side::Client, br#"{"type":"init","v":2}"#),
            Some(Role::Hello)
        );
        assert_eq!(profile.role(Side::Client, br#"{"type":"init","v":3}"#), None);
        assert_eq!(profile.role(Side::Server, br#"{"type":"init","v":2}"#), None);
        assert_eq!(
            profile.role(Side::Server, br#"{"type":"ready"}"#),
            Some(Role::HelloAnswer)
        );
        assert_eq!(profile.role(Side::Client, b"init"), None, "not JSON is plain");
    }

    #[test]
    fn errors_name_line_or_field() {
        let error = |from: &str, to: &str| parse(&INIT.replacen(from, to, 1)).unwrap_err();
        assert!(
            error("\"hello\"", "\"helo\"").contains("helo"),
            "{}",
            error("\"hello\"", "\"helo\"")
        );
        assert!(error("role", "rule").contains("line 6"));
        assert!(error("\"/type\"", "\"type\"").starts_with("rule[0].when"));
        assert!(error("\"client\"", "\"server\"").starts_with("rule[0].from"));
        assert!(error("\"init\", \"/v\" = 2", "[1]").contains("rule[0].when"));
        assert!(error("\"/type\" = \"init\", \"/v\" = 2", "").starts_with("rule[0].when"));
        assert!(
            parse(
                &INIT
                    .replace("\"hello\"", "\"hello-answer\"")
                    .replace("\"client\"", "\"server\"")
            )
            .is_err()
        );
    }
}

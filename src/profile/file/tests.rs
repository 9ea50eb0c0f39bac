//! Profile files that are right, and what is told of those that are not.

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
    assert_eq!(profile.rules[0].when, [("/type".into(), vec!["init".into()])]);
    assert_eq!(
        profile.rules[1].when,
        [("/n".into(), vec![1.into()]), ("/ok".into(), vec![true.into()])]
    );
    assert_eq!(profile.rules[1].role, Role::HelloAnswer);
}

#[test]
fn all_that_is_wrong_with_the_rules_is_told_with_its_line() {
    let text = "[[rule]]\nfrom = \"page\"\nwhen = { type = \"init\" }\nrole = \"helo\"\n\
                [[rule]]\nfrom = \"server\"\nwhen = {}\nrole = \"hello\"\n\
                [[rule]]\nfrom = \"client\"\nrole = \"hello\"\n[rule.when]\n\"/a\" = [[1]]\n\"/b\" = inf\n";
    assert_eq!(
        errors(text),
        [
            "2: rule[0].from = \"page\": one of client, server",
            "4: rule[0].role = \"helo\": one of hello, hello-answer, hello-refused, heartbeat, once, request, \
             answer, cancel, echo, tunnel, local, ignore, latest, prompt, prompt-answer, prompt-end, turn-start, turn-end, end",
            "3: rule[0].when = \"type\": a JSON pointer begins with /",
            "8: rule[1].role = \"hello\": the server does not say this",
            "7: rule[1].when = {}: a rule without a condition would match every message",
            "13: rule[2].when.\"/a\" = [[1]]: a string, a number, true or false, or a list of them",
            "14: rule[2].when.\"/b\" = inf: a string, a number, true or false, or a list of them",
        ]
    );
}

#[test]
fn what_is_no_profile_is_told_with_its_line() {
    assert!(errors("name = \"x\"\n[[rule]]\nform = \"client\"\n")[0].starts_with("3: unknown field `form`"));
    assert!(errors("name = \"x\"\nrule = 1\n")[0].starts_with("2: "));
    assert!(errors("name = \"x\"\nname = \"y\"\n")[0].starts_with("2: duplicate key"));
    assert!(errors("\n[[rule]]\nfrom = \"client\"\n")[0].contains("missing field `role`"));
}

#[test]
fn conditions_and_answers_that_cannot_hold_are_refused() {
    let one = |lines: &str| {
        let errors = errors(&format!("[[rule]]\nfrom = \"client\"\n{lines}"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].clone()
    };
    for nothing in ["", "present = []", "text = \"\""] {
        let rule = format!("role = \"turn-start\"\n{nothing}");
        assert!(one(&rule).contains("would match every message"), "{nothing}");
    }
    // one that would keep every message of the page
    assert!(one("role = \"ignore\"\nkind = \"text\"").contains("would match every message"));
    assert!(one("role = \"ignore\"\ntext = \"a(\"").starts_with("4: rule[0].text = \"a(\": error: unclosed group"));
    assert!(one("role = \"ignore\"\nframe = 0").contains("rule[0].frame = 0: counts from 1"));
    assert!(one("role = \"ignore\"\nframe = 1\nkind = \"ping\"").contains("one of text, binary"));
    assert!(one("role = \"ignore\"\npresent = [\"a\"]").contains("rule[0].present = \"a\": a JSON pointer"));
    assert!(one("role = \"local\"\nframe = 1").contains("needs an answer"));
    assert!(one("role = \"tunnel\"\ntext = \"a\"").contains("needs frame = 1"));
    assert!(one("role = \"tunnel\"\nframe = 2").contains("begins at once"));
    let unchanged = "only recorded answers are changed";
    assert!(one("role = \"hello\"\nframe = 1\nset = { \"/a\" = 1 }").contains(unchanged));
    assert!(one("role = \"hello\"\nframe = 1\nremove = [\"/a\"]").contains(unchanged));
    let half = "[[rule]]\nfrom = \"server\"\nframe = 1\nrole = \"hello-answer\"\nset = { \"/a\" = { running = 1 } }";
    assert!(errors(half)[0].contains("rule[0].set.\"/a\" = { running = 1 }: a string"));
    assert!(one("role = \"local\"\nframe = 1\nanswer = \"${/id\"").contains("${ has no }"));
    assert!(one("role = \"hello\"\nframe = 1\nanswer = \"hi\"").contains("only heartbeat and local"));
    assert!(one("role = \"ignore\"\nframe = 1\nid = \"/id\"").contains("messages of this role have none"));
    assert!(one("role = \"request\"\nframe = 1").contains("needs an id"));
    assert!(one("role = \"request\"\ntext = '(?<id>.)'\nid = \"/id\"").contains("a group for it already"));
    assert!(one("role = \"once\"\nkind = \"text\"").contains("would match every message"));
    assert!(one("role = \"prompt-answer\"\nframe = 1\nid = \"id\"").contains("rule[0].id = \"id\": a JSON pointer"));
    assert!(one("role = \"echo\"\nframe = 1").contains("needs to show something"));
    assert!(one("role = \"hello\"\nframe = 1\nshow = \"hi\"").contains("only echoes are shown"));
    assert!(one("role = \"echo\"\ntext = \"(?<a>.)\"\nshow = \"${b}\"").contains("no such group"));
    assert!(one("role = \"heartbeat\"\nframe = 1\nsend = \"hi\"").contains("heartbeats of the server"));
}

//! Profiles that are compiled in; each is a file like any other, to be used by name or printed as a starting point.

/// Name and text of each, by name.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("adk", include_str!("builtin/adk.toml")),
    ("chainlit", include_str!("builtin/chainlit.toml")),
    ("connectonion", include_str!("builtin/connectonion.toml")),
    ("json-rpc", include_str!("builtin/json-rpc.toml")),
    ("jupyter", include_str!("builtin/jupyter.toml")),
    ("openhands", include_str!("builtin/openhands.toml")),
    ("streamlit", include_str!("builtin/streamlit.toml")),
    ("terminal", include_str!("builtin/terminal.toml")),
];

/// The text of the built-in profile of this name.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::*;

    #[test]
    fn each_is_a_profile_of_its_name_and_begins_by_saying_what_it_is_for() {
        for (name, text) in BUILT_IN {
            let profile = Profile::parse(text).unwrap();
            assert_eq!(profile.name, name);
            assert!(text.starts_with("# "), "{name}");
            assert_eq!(built_in(name), Some(text));
        }
        assert_eq!(built_in("connectonion.toml"), None);
    }
}

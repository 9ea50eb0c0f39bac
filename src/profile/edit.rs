//! Changes to a recorded hello answer before a later page is shown it.

use serde_json::Value;

/// What is set and removed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edit {
    /// JSON pointers and what is put there, while a turn runs and while none does.
    pub set: Vec<(String, Value, Value)>,
    /// JSON pointers to what is taken out.
    pub remove: Vec<String>,
}

impl Edit {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// The changed text; `None` where `text` is no JSON object, which stays as it is.
    #[must_use]
    pub fn apply(&self, text: &[u8], running: bool) -> Option<Vec<u8>> {
        let mut document: Value = serde_json::from_slice(text).ok().filter(Value::is_object)?;
        for at in &self.remove {
            if let Some((parent, name)) = parent(&mut document, at) {
                parent.shift_remove(&name);
            }
        }
        for (at, while_running, idle) in &self.set {
            if let Some((parent, name)) = parent(&mut document, at) {
                parent.insert(name, if running { while_running } else { idle }.clone());
            }
        }
        serde_json::to_vec(&document).ok()
    }
}

/// The object that a pointer's last token names a member of, and that name.
fn parent<'a>(document: &'a mut Value, at: &str) -> Option<(&'a mut serde_json::Map<String, Value>, String)> {
    let (parent, name) = at.rsplit_once('/')?;
    let name = name.replace("~1", "/").replace("~0", "~");
    Some((document.pointer_mut(parent)?.as_object_mut()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_set_by_state_and_taken_out() {
        let edit = Edit {
            set: vec![
                ("/status".into(), "running".into(), "connected".into()),
                ("/deep/new".into(), 1.into(), 1.into()),
                ("/missing/x".into(), 1.into(), 1.into()),
            ],
            remove: vec!["/session".into(), "/deep/old".into(), "/nothing".into()],
        };
        let text = br#"{"type":"CONNECTED","status":"new","session":{"a":1},"deep":{"old":1},"z":2}"#;
        let edited = |running| String::from_utf8(edit.apply(text, running).unwrap()).unwrap();
        assert_eq!(
            edited(true),
            r#"{"type":"CONNECTED","status":"running","deep":{"new":1},"z":2}"#,
            "the order of members stays"
        );
        assert!(edited(false).contains(r#""status":"connected""#));
        assert_eq!(edit.apply(b"[1]", false), None);
        assert_eq!(edit.apply(b"CONNECTED", false), None);
    }
}

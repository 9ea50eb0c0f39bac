//! Changes to recorded answers: `set` and `remove` of a rule.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;

use super::{Compiler, scalar};
use crate::profile::Edit;

impl Compiler<'_> {
    /// The changes of the rule of this index, if rules of its role may have some.
    pub(super) fn edit(
        &mut self,
        index: usize,
        allowed: bool,
        set: Option<Spanned<BTreeMap<Spanned<String>, Spanned<toml::Value>>>>,
        remove: Option<Spanned<Vec<Spanned<String>>>>,
    ) -> Edit {
        let mut edit = Edit::default();
        for (name, offset) in [
            ("set", set.as_ref().map(|it| it.span().start)),
            ("remove", remove.as_ref().map(|it| it.span().start)),
        ] {
            if let Some(offset) = offset.filter(|_| !allowed) {
                self.error(
                    offset,
                    format!("rule[{index}].{name}: only recorded answers are changed: hello-answer"),
                );
            }
        }
        for (at, value) in set.map(Spanned::into_inner).unwrap_or_default() {
            let at = self.pointer(&format!("rule[{index}].set"), at);
            let by_state = |state: &str| match value.get_ref() {
                toml::Value::Table(states) if states.len() == 2 => states.get(state).map_or(Value::Null, scalar),
                one => scalar(one),
            };
            let (running, idle) = (by_state("running"), by_state("idle"));
            if running.is_null() || idle.is_null() {
                let reason = format!(
                    "rule[{index}].set.{at:?} = {}: a string, a number, true or false, or {{ running = …, idle = … }}",
                    value.get_ref()
                );
                self.error(value.span().start, reason);
            }
            edit.set.push((at, running, idle));
        }
        let field = format!("rule[{index}].remove");
        let removed = remove.map(Spanned::into_inner).unwrap_or_default();
        edit.remove = removed.into_iter().map(|at| self.pointer(&field, at)).collect();
        edit
    }
}

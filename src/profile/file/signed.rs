//! How a hello is signed: the `signed` table of a rule.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::Compiler;
use crate::profile::{Canonical, Role, Signed};

/// A hello is fresh so long, where the rule does not say: clocks differ.
const WINDOW: i64 = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedTable {
    key: Spanned<String>,
    signature: Spanned<String>,
    over: Spanned<String>,
    timestamp: Spanned<String>,
    recipient: Option<Spanned<String>>,
    #[serde(default)]
    same: Vec<Spanned<String>>,
    /// In seconds.
    window: Option<Spanned<i64>>,
    canonical: Option<Spanned<Vec<Spanned<String>>>>,
}

impl Compiler<'_> {
    /// The `signed` table of a rule of this role.
    pub(super) fn signed(&mut self, field: &str, role: Option<Role>, signed: Spanned<SignedTable>) -> Option<Signed> {
        if role.is_some_and(|role| role != Role::Hello) {
            self.error(
                signed.span().start,
                format!("{field}: only a hello tells who says it: role = \"hello\""),
            );
            return None;
        }
        let table = signed.into_inner();
        let over = self.pointer(&format!("{field}.over"), table.over);
        let window = table.window.map_or(Some(WINDOW), |window| {
            let given = *window.get_ref();
            let possible = (1..=86_400).contains(&given).then_some(given);
            self.compiled(
                &format!("{field}.window"),
                &window,
                possible.ok_or("seconds, from 1 to 86400".into()),
            )
        })?;
        let mut within = |name: &str, at: Spanned<String>| {
            let offset = at.span().start;
            let field = format!("{field}.{name}");
            let at = self.pointer(&field, at);
            if !at.strip_prefix(over.as_str()).is_some_and(|rest| rest.starts_with('/')) {
                self.error(
                    offset,
                    format!("{field} = {at:?}: is not part of what is signed, {over:?}"),
                );
            }
            at
        };
        let timestamp = within("timestamp", table.timestamp);
        let recipient = table.recipient.map(|at| within("recipient", at));
        let same = table.same.into_iter().map(|at| within("same", at)).collect();
        let canonical = match table.canonical {
            None => vec![Canonical::SortedAscii, Canonical::Sorted],
            Some(forms) => {
                if forms.get_ref().is_empty() {
                    self.error(
                        forms.span().start,
                        format!("{field}.canonical = []: no signature would hold"),
                    );
                }
                let field = format!("{field}.canonical");
                let forms = forms.into_inner().into_iter();
                forms
                    .filter_map(|form| self.one_of(&field, &form, &Canonical::ALL))
                    .collect()
            }
        };
        Some(Signed {
            key: self.pointer(&format!("{field}.key"), table.key),
            signature: self.pointer(&format!("{field}.signature"), table.signature),
            over,
            timestamp,
            recipient,
            same,
            window: Duration::from_secs(window.unsigned_abs()),
            canonical,
        })
    }
}

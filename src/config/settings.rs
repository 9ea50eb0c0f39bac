//! Layers of settings before they are understood: what the file, the environment and the flags each gave.

use std::collections::BTreeMap;

use super::table::{SETTINGS, Scope, Setting};

/// Where a value was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file's `[[route]]` of this number, from 0.
    Route(usize),
    /// In the file, for all routes.
    File,
    /// In the environment.
    Environment,
    /// On the command line.
    Flag,
}

impl Place {
    /// The name under which a setting was given here.
    pub(super) fn field(self, name: &str) -> String {
        match self {
            Self::Route(index) => format!("route[{index}].{name}"),
            Self::File => name.to_owned(),
            Self::Environment => variable(name),
            Self::Flag => format!("--{}", name.replace('_', "-")),
        }
    }
}

/// The variable of a setting.
fn variable(name: &str) -> String {
    format!("SESSMUX_{}", name.to_ascii_uppercase())
}

/// A value as it was given; a list where the setting has one.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) values: Vec<String>,
    pub(super) place: Place,
}

/// What one source gave, by the names of settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(BTreeMap<&'static str, Given>);

impl Layer {
    /// Reads the environment; an empty variable counts as none, a list is separated by commas.
    pub(super) fn from_environment(variables: impl Fn(&str) -> Option<String>) -> Self {
        let mut layer = Self::default();
        for setting in SETTINGS.iter().filter(|setting| setting.scope != Scope::Route) {
            let Some(text) = variables(&variable(setting.name)).filter(|text| !text.is_empty()) else {
                continue;
            };
            let values = if setting.many {
                text.split(',').map(|value| value.trim().to_owned()).collect()
            } else {
                vec![text]
            };
            layer.set(setting, values, Place::Environment);
        }
        layer
    }

    /// Sets what a source gave.
    pub(super) fn set(&mut self, setting: &'static Setting, values: Vec<String>, place: Place) {
        self.0.insert(setting.name, Given { values, place });
    }

    /// What the source gave for a setting.
    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }
}

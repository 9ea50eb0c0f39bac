//! The configuration file: TOML to layers of settings.

use std::borrow::Cow;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::settings::{Layer, Place};
use super::table::{SETTINGS, Scope, Setting, setting};

/// A file's settings.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Those that hold for all routes.
    pub(super) defaults: Layer,
    /// Those of each `[[route]]`, in order.
    pub(super) routes: Vec<Layer>,
}

impl File {
    /// Reads a file's text; `path` names it in errors.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Vec<ConfigError>> {
        let mut reader = Reader {
            path,
            text,
            errors: Vec::new(),
        };
        let mut file = Self::default();
        match DeTable::parse(text) {
            Ok(table) => {
                for (name, value) in table.get_ref() {
                    if name.get_ref() == "route" {
                        file.routes = reader.routes(value);
                    } else {
                        reader.setting(&mut file.defaults, name, value, Place::File);
                    }
                }
            }
            Err(error) => reader.error(error.span().map_or(0, |span| span.start), error.message().to_owned()),
        }
        if reader.errors.is_empty() {
            return Ok(file);
        }
        // Tables are read in the order of their names, which is not that of the lines.
        reader.errors.sort_by_key(|(line, _)| *line);
        Err(reader.errors.into_iter().map(|(_, error)| error).collect())
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    /// Each with its line.
    errors: Vec<(usize, ConfigError)>,
}

impl Reader<'_> {
    fn error(&mut self, offset: usize, reason: String) {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|&&byte| byte == b'\n').count();
        let error = ConfigError {
            field: format!("{}:{line}", self.path.display()),
            value: None,
            reason,
        };
        self.errors.push((line, error));
    }

    fn routes(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<Layer> {
        let tables = value.get_ref().as_array();
        let Some(tables) = tables else {
            self.error(
                value.span().start,
                "a route is a table of a list: write [[route]]".into(),
            );
            return Vec::new();
        };
        let mut routes = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let mut layer = Layer::default();
            if let Some(table) = table.get_ref().as_table() {
                for (name, value) in table {
                    self.setting(&mut layer, name, value, Place::Route(index));
                }
            } else {
                self.error(table.span().start, "a route is a table: write [[route]]".into());
            }
            routes.push(layer);
        }
        routes
    }

    fn setting(&mut self, layer: &mut Layer, name: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>, place: Place) {
        let in_route = matches!(place, Place::Route(_));
        let setting = match known(name.get_ref(), in_route) {
            Ok(setting) => setting,
            Err(reason) => return self.error(name.span().start, reason),
        };
        let values = match (setting.many, value.get_ref()) {
            (true, DeValue::Array(items)) if items.is_empty() => None,
            (true, DeValue::Array(items)) => items.iter().map(|item| scalar(item.get_ref())).collect(),
            (true, _) => None,
            (false, value) => scalar(value).map(|value| vec![value]),
        };
        match values {
            Some(values) => layer.set(setting, values, place),
            None => {
                let wanted = if setting.many {
                    "a list of strings, at least of one,"
                } else {
                    "a string, a decimal number, true or false"
                };
                let field = place.field(setting.name);
                self.error(value.span().start, format!("{field}: {wanted} is wanted here"));
            }
        }
    }
}

/// The setting of this name, if it may stand here.
fn known(name: &str, in_route: bool) -> Result<&'static Setting, String> {
    let misplaced = if in_route { Scope::Global } else { Scope::Route };
    let Some(found) = setting(name) else {
        let underscored = name.replace('-', "_");
        if setting(&underscored).is_some() {
            return Err(format!("unknown setting {name:?}: write {underscored}"));
        }
        let names = SETTINGS.iter().filter(|setting| setting.scope != misplaced);
        let names: Vec<_> = names.map(|setting| setting.name).collect();
        return Err(format!(
            "unknown setting {name:?}, expected one of {}",
            names.join(", ")
        ));
    };
    match found.scope {
        scope if scope != misplaced => Ok(found),
        Scope::Route => Err(format!("{name} belongs into a [[route]]")),
        _ => Err(format!(
            "{name} holds for all routes: it stands before the first [[route]]"
        )),
    }
}

/// The text of a scalar; numbers and booleans come out as they are written.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, Vec<String>> {
        File::parse(Path::new("f.toml"), text).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_of_every_form_are_texts_with_their_place() {
        let file = parse(
            "upstream = \"http://a\"\nlog_bytes = 10_000\nacks = false\nkey = [\"path\", \"query\"]\n\
             [[route]]\npath = \"/a\"\n[[route]]\npath = \"/b\"\nlog_bytes = \"8MiB\"\n",
        )
        .unwrap();
        let value = |layer: &Layer, name| layer.get(name).map(|given| (given.values.join(" "), given.place));
        assert_eq!(value(&file.defaults, "log_bytes"), Some(("10000".into(), Place::File)));
        assert_eq!(value(&file.defaults, "acks"), Some(("false".into(), Place::File)));
        assert_eq!(value(&file.defaults, "key"), Some(("path query".into(), Place::File)));
        assert_eq!(
            value(&file.routes[1], "log_bytes"),
            Some(("8MiB".into(), Place::Route(1)))
        );
        assert!(value(&file.routes[0], "log_bytes").is_none());
    }

    #[test]
    fn what_does_not_belong_is_told_with_its_line_in_order() {
        let errors = parse(
            "upstraem = \"http://a\"\nmax-message = 1\npath = \"/x\"\nkey = \"path\"\ngrace = [\"1h\"]\n\
             [[route]]\nlisten = \"x\"\nroute = 1\nkey = [[\"path\"]]\nlog_bytes = 0x10\n",
        )
        .unwrap_err();
        let starts = [
            "f.toml:1: unknown setting \"upstraem\", expected one of listen, tls_cert,",
            "f.toml:2: unknown setting \"max-message\": write max_message",
            "f.toml:3: path belongs into a [[route]]",
            "f.toml:4: key: a list of strings, at least of one, is wanted here",
            "f.toml:5: grace: a string, a decimal number, true or false is wanted here",
            "f.toml:7: listen holds for all routes: it stands before the first [[route]]",
            "f.toml:8: unknown setting \"route\", expected one of upstream, path,",
            "f.toml:9: route[0].key: a list of strings, at least of one, is wanted here",
            "f.toml:10: route[0].log_bytes: a string, a decimal number, true or false is wanted here",
        ];
        assert_eq!(errors.len(), starts.len(), "{errors:#?}");
        for (error, start) in errors.iter().zip(starts) {
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        assert!(parse("listen = \"x\"\nlisten = \"y\"\n").unwrap_err()[0].starts_with("f.toml:2: duplicate key"));
        assert!(parse("\n\nlisten = \n").unwrap_err()[0].starts_with("f.toml:3: "));
        assert!(parse("[route]\npath = \"/\"\n").unwrap_err()[0].contains("write [[route]]"));
        assert!(parse("route = [1]\n").unwrap_err()[0].contains("write [[route]]"));
    }
}

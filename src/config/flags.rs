//! Settings as command line flags.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use super::settings::{Layer, Place};
use super::table::SETTINGS;

/// The settings given on the command line; an argument group for clap.
#[derive(Debug, Clone, Default)]
pub struct Flags(pub(super) Layer);

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let args = SETTINGS.iter().filter_map(|setting| {
            let action = if setting.many {
                ArgAction::Append
            } else {
                ArgAction::Set
            };
            let arg = Arg::new(setting.name).long(setting.flag?).action(action);
            Some(
                arg.value_name(setting.value)
                    .help(setting.help)
                    .help_heading("Settings"),
            )
        });
        command.args(args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for setting in SETTINGS.iter().filter(|setting| setting.flag.is_some()) {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                self.0.set(setting, values.cloned().collect(), Place::Flag);
            }
        }
        Ok(())
    }
}

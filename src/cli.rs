//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, Error, FromArgMatches, Parser, Subcommand};

use sessmux::config::{Config, ConfigErrors, Flags};

/// Reverse proxy that keeps agent sessions alive across page refreshes.
///
/// Stands beside an unmodified agent server and keeps one upstream connection per agent session, whatever happens to
/// the browser. A route's own settings come first, then flags, then SESSMUX_* variables, then the configuration file, then
/// defaults: what is --log-bytes here is SESSMUX_LOG_BYTES in the environment, where commas separate a list, and log_bytes
/// in the file, for all routes or in a [[route]].
///
/// Exit codes: 0 done, 64 bad configuration or command line (nothing was bound), 66 no such session, 69 cannot listen, or
/// no sessmux answers, 70 internal error; 128 and the signal's number where the last of several signals ended it at once.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) logs: Logs,
}

impl Cli {
    /// Reads the command line. Settings ahead of a command would be nobody's, so they are an error; those of the log
    /// may stand on either side.
    pub(crate) fn read() -> Result<Self, Error> {
        let matches = Self::command().try_get_matches()?;
        if let Some(name) = matches.subcommand_name() {
            let command = Self::command();
            let given = |id: &str| {
                matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
            };
            let mut before = command
                .get_arguments()
                .filter(|arg| !arg.is_global_set() && given(arg.get_id().as_str()));
            if let Some(flag) = before.find_map(|arg| arg.get_long()) {
                let takes = |command: &clap::Command| command.get_arguments().any(|arg| arg.get_long() == Some(flag));
                let text = match command.find_subcommand(name).is_some_and(takes) {
                    true => format!("--{flag} stands behind the command: sessmux {name} --{flag} …"),
                    false => format!("sessmux {name} has no --{flag}: it is for who runs sessmux"),
                };
                return Err(Self::command().error(ErrorKind::ArgumentConflict, text));
            }
        }
        Self::from_arg_matches(&matches)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Validate a configuration and say what it comes to, without binding anything
    Check(Settings),
    /// List the built-in profiles, or print one as a starting point
    #[command(args_conflicts_with_subcommands = true)]
    Profiles {
        #[command(subcommand)]
        command: Option<ProfilesCommand>,
        /// Which to print
        name: Option<String>,
    },
    /// Run a demo agent with sessmux in front of it, and a page that shows both
    Demo {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR:PORT")]
        listen: SocketAddr,
        /// The agent alone, to put a sessmux of your own in front of it
        #[arg(long)]
        agent_only: bool,
    },
    /// List the sessions of a running sessmux: those whose agent waits longest for a person first, then the oldest
    Sessions {
        #[command(flatten)]
        asked: Asked,
        /// Those that ended lately instead, and why
        #[arg(long)]
        ended: bool,
        /// As JSON, those that ended lately included
        #[arg(long, conflicts_with = "ended")]
        json: bool,
        /// Anew every 2 s
        #[arg(long)]
        watch: bool,
    },
    /// Show one session of a running sessmux, and what happened in it lately
    Session {
        /// Its id: the short hash by which `sessions` and the log name it
        id: String,
        #[command(flatten)]
        asked: Asked,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End a session of a running sessmux: its page is closed with 1000, its agent's connection with 1001
    End {
        /// Its id: the short hash by which `sessions` and the log name it
        id: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Drain a running sessmux, as SIGTERM does, and wait until it has ended: it refuses new sessions, and ends when those
    /// that there are have ended, or after its drain_timeout
    Drain {
        #[command(flatten)]
        asked: Asked,
        /// Do not wait for its end
        #[arg(long)]
        no_wait: bool,
    },
    /// Have a running sessmux read its configuration anew, as SIGHUP does, for what comes from then on; sessions go on as they
    /// are. Where anything is wrong with it nothing changes, and the exit code is 64
    Reload {
        #[command(flatten)]
        asked: Asked,
    },
    /// Print the completions of a shell
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff), of sessmux or one of its commands
    Man {
        /// Of which command, such as check or profiles test
        command: Vec<String>,
    },
}

/// Which sessmux is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Asked {
    /// Its admin address: unix:PATH or ADDRESS:PORT [default: the one socket in the runtime directory]
    #[arg(long, env = "SESSMUX_ADMIN", value_name = "ADDRESS")]
    pub(crate) admin: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfilesCommand {
    /// Run a profile over a capture that --record has written: what each message is, and what a refresh would show
    Test {
        /// A built-in profile's name, or a profile's file
        #[arg(value_name = "NAME|FILE")]
        profile: String,
        /// The capture
        #[arg(long, value_name = "FILE")]
        capture: PathBuf,
        /// Show in full what a page would be sent that is loaded behind this message
        #[arg(long, value_name = "NUMBER")]
        at: Option<usize>,
    },
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Configuration file (TOML)
    #[arg(long, env = "SESSMUX_CONFIG", value_name = "FILE")]
    config: Option<OsString>,
    #[command(flatten)]
    flags: Flags,
}

impl Settings {
    /// Loads the configuration, with the environment of the process.
    pub(crate) fn load(&self) -> Result<Config, ConfigErrors> {
        // what is not UTF-8 is no value of any setting, and the error shows it
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        // as of every variable, an empty SESSMUX_CONFIG is none
        let file = self.config.as_deref().filter(|file| !file.is_empty());
        Config::load(file.map(Path::new), variable, &self.flags)
    }
}

/// How logs are written, to standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// Form of the log: text, for people, or json, one object a line
    #[arg(
        long,
        env = "SESSMUX_LOG_FORMAT",
        global = true,
        default_value = "text",
        value_name = "FORM"
    )]
    pub(crate) log_format: String,
    /// What to log: off, error, warn, info, debug or trace, or a filter as of the env_filter of tracing-subscriber
    #[arg(
        long,
        env = "SESSMUX_LOG",
        global = true,
        default_value = "info",
        value_name = "LEVEL"
    )]
    pub(crate) log: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

//! Start-up, commands, exit codes: parse and validate everything, then bind.

mod cli;
mod logging;
mod operate;

use std::io::{self, Write};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Instant;

use clap::CommandFactory;
use clap::error::ErrorKind;
use sessmux::admin::Admin;
use sessmux::capture::{Recording, recorder};
use sessmux::config::{self, Config, ConfigError, ConfigErrors, Route};
use sessmux::profile::{BUILT_IN, built_in};
use sessmux::server::reload::Reload;
use sessmux::server::{Server, files};
use sessmux::transport::tls::Tls;
use sessmux::{demo, rehearse, shutdown, systemd};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use cli::{Cli, Command, ProfilesCommand};
use logging::Lines;

/// Bad configuration or command line (`EX_USAGE` of sysexits).
const USAGE: u8 = 64;
/// No such session (`EX_NOINPUT`).
const NO_SESSION: u8 = 66;
/// Cannot listen, or nobody answers (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;
/// A fault of ours (`EX_SOFTWARE`).
const SOFTWARE: u8 = 70;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            // help and version are no errors; if standard output is closed nobody reads why
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { USAGE.into() };
        }
    };
    let lines = match logging::to_stderr(&cli.logs) {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("{error}");
            return USAGE.into();
        }
    };
    match cli.command {
        Some(Command::Check(settings)) => match settings.load() {
            Ok(config) => {
                if let Err(error) = Tls::load(&config).and_then(|_| recordable(&config)) {
                    return refuse(&error);
                }
                let printed = print(|out| write!(out, "{config}"));
                for warning in config.warnings() {
                    eprintln!("warning: {warning}");
                }
                printed
            }
            Err(error) => refuse(&error),
        },
        Some(Command::Profiles {
            command: Some(ProfilesCommand::Test { profile, capture, at }),
            ..
        }) => test_profile(&profile, &capture, at),
        Some(Command::Profiles { name, .. }) => profiles(name.as_deref()),
        Some(Command::Demo { listen, agent_only }) => serve(&lines.clone(), async move {
            let running = async move {
                let shutdown = shutdown::on_signal(move || lines.flush())?.drain;
                match agent_only {
                    true => demo::run_agent(listen, shutdown).await,
                    false => demo::run(listen, shutdown).await,
                }
            };
            running
                .await
                .map_err(|error| Unavailable::new("listen", &listen, error))
        }),
        Some(Command::Sessions {
            asked,
            ended,
            json,
            watch,
        }) => operate::sessions(&asked, ended, json, watch),
        Some(Command::Session { id, asked, json }) => operate::session(&asked, &id, json),
        Some(Command::End { id, asked }) => operate::end(&asked, &id),
        Some(Command::Drain { asked, no_wait }) => operate::drain(&asked, !no_wait),
        Some(Command::Reload { asked }) => operate::reload(&asked),
        Some(Command::Completions { shell }) => print(|out| {
            clap_complete::generate(shell, &mut Cli::command(), "sessmux", out);
            Ok(())
        }),
        Some(Command::Man { command }) => man(&command),
        None => match cli.settings.load() {
            // the files of TLS first: where they cannot be used no recording is begun
            Ok(config) => match Tls::load(&config).and_then(|tls| Ok((tls, record(&config)?))) {
                Ok((tls, recording)) => {
                    let settings = cli.settings;
                    let last = lines.clone();
                    serve(
                        &lines,
                        run(config, tls, recording, move || settings.load(), move || last.flush()),
                    )
                }
                Err(error) => refuse(&error),
            },
            Err(error) => refuse(&error),
        },
    }
}

/// Prints what `write` writes, whole or not at all: some of those who write end the process where they cannot.
fn print(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> ExitCode {
    let mut text = Vec::new();
    let printed = write(&mut text).and_then(|()| {
        let mut out = io::stdout().lock();
        out.write_all(&text)?;
        out.flush()
    });
    match printed {
        // whoever closes the pipe early has read enough
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("cannot write: {error}");
            SOFTWARE.into()
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Prints a built-in profile, or what each is for.
fn profiles(name: Option<&str>) -> ExitCode {
    let Some(name) = name else {
        return print(|out| {
            BUILT_IN.iter().try_for_each(|(name, text)| {
                let what = text.lines().next().unwrap_or_default().trim_start_matches("# ");
                writeln!(out, "{name:14} {what}")
            })
        });
    };
    if let Some(text) = built_in(name) {
        return print(|out| out.write_all(text.as_bytes()));
    }
    let known = BUILT_IN.map(|(name, _)| name).join(", ");
    eprintln!("profiles = {name:?}: is none of {known}");
    USAGE.into()
}

/// Prints the manual page of sessmux, or of the command of this name, which has two words where it is a command's own.
fn man(name: &[String]) -> ExitCode {
    let mut command = Cli::command();
    // with it commands get the names that they are called by, sessmux-check and the like
    command.build();
    let (name, mut page) = (name.join(" "), &command);
    for word in name.split_whitespace() {
        let Some(found) = page.find_subcommand(word) else {
            eprintln!("man = {name:?}: is no command of sessmux");
            return USAGE.into();
        };
        page = found;
    }
    print(|out| clap_mangen::Man::new(page.clone()).render(out))
}

/// Runs a profile over a capture.
fn test_profile(profile: &str, capture: &Path, at: Option<usize>) -> ExitCode {
    let route = match Route::of_profile(profile) {
        Ok(route) => route,
        Err(error) => return refuse(&error),
    };
    let lines = match sessmux::capture::read(capture) {
        Ok((lines, cut)) => {
            for number in cut {
                eprintln!("{}:{number}: left out, for it was cut short", capture.display());
            }
            lines
        }
        Err(fault) => {
            eprintln!("{fault}");
            return USAGE.into();
        }
    };
    // sockets and timers of the sessions need one
    let runtime = Builder::new_current_thread().enable_all().build();
    // what a live session would log is told by what is printed
    let _silent = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    let stories = runtime.and_then(|runtime| runtime.block_on(rehearse::run(&route, &lines, at)));
    let stories = match stories {
        Ok(stories) => stories,
        Err(error) => {
            eprintln!("cannot run the profile: {error}");
            return SOFTWARE.into();
        }
    };
    let Some(at) = at else {
        return print(|out| rehearse::print(out, &stories));
    };
    let mut found = false;
    let printed = print(|out| {
        found = rehearse::print_refresh(out, &stories, at)?;
        Ok(())
    });
    if found {
        return printed;
    }
    eprintln!("at = \"{at}\": the capture has no message of this number");
    USAGE.into()
}

/// Opens what is recorded to, before anything is bound.
fn record(config: &Config) -> Result<Option<Recording>, ConfigErrors> {
    let Some(path) = &config.record else { return Ok(None) };
    let recording = recorder::open(path).and_then(|file| Recording::start(file, Instant::now()));
    recording.map(Some).map_err(|error| no_record(path, &error))
}

/// Whether what would be recorded to is there, or can be, as far as that is known without making it.
fn recordable(config: &Config) -> Result<(), ConfigErrors> {
    let path = config.record.as_deref();
    path.map_or(Ok(()), |path| {
        recorder::check(path).map_err(|error| no_record(path, &error))
    })
}

fn no_record(path: &Path, error: &io::Error) -> ConfigErrors {
    ConfigErrors(vec![ConfigError {
        field: "record".into(),
        value: Some(path.display().to_string()),
        reason: error.to_string(),
    }])
}

fn refuse(error: &ConfigErrors) -> ExitCode {
    eprintln!("{error}");
    USAGE.into()
}

/// Why nothing is served.
struct Unavailable {
    field: &'static str,
    value: String,
    reason: std::io::Error,
}

impl Unavailable {
    fn new(field: &'static str, value: &impl ToString, reason: std::io::Error) -> Self {
        let value = value.to_string();
        Self { field, value, reason }
    }
}

/// Runs the proxy until a signal; `load` reads its configuration anew, and `last` is done where a signal ends the process.
async fn run(
    config: Config,
    tls: Tls,
    recording: Option<Recording>,
    load: impl Fn() -> Result<Config, ConfigErrors> + Send + Sync + 'static,
    last: impl FnOnce() + Send + 'static,
) -> Result<(), Unavailable> {
    let (listen, upstream, warnings) = (config.listen, config.upstream.to_string(), config.warnings());
    let limits = config.limits.clone();
    let (admin, health) = (config.admin.clone(), config.health);
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let no_listener = |error| Unavailable::new("listen", &listen, error);
    let recorder = recording.as_ref().map(Recording::recorder);
    let server = Server::bind_with(config, tls, recorder).await.map_err(no_listener)?;
    let asked = shutdown::on_signal(last).map_err(no_listener)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_listener)?;
    let reload = Arc::new(Reload::new(&server, load));
    let admin = match Admin::bind(&admin, &server, asked.drain.clone()).await {
        Ok(bound) => bound,
        // nobody asked for it, so nothing else goes without it
        Err(error) if admin == config::Admin::Runtime => {
            tracing::warn!(cause = %error, "no admin socket: admin = \"unix:PATH\" says where, \"off\" goes without");
            None
        }
        Err(error) => return Err(Unavailable::new("admin", &admin, error)),
    };
    let health = match health {
        None => None,
        Some(address) => {
            let bound = Admin::bind_health(address, &server, asked.drain.clone()).await;
            Some(bound.map_err(|error| Unavailable::new("health", &address, error))?)
        }
    };
    let address = server.local_addr().map_err(no_listener)?;
    files::allow(&limits);
    tracing::info!("listening on {scheme}://{address}, upstream {upstream}");
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // it tells of the stopping to its end
    let stopped = CancellationToken::new();
    let answering = async {
        if let Some(admin) = admin.map(|admin| admin.with_reload(Arc::clone(&reload))) {
            if let Some(address) = admin.local_addr() {
                tracing::info!("admin on http://{address}");
            }
            if let Some(path) = admin.path() {
                tracing::info!("admin on unix:{}", path.display());
            }
            admin.run(stopped.clone()).await;
        }
    };
    let sessions = server.sessions();
    let operating = async {
        systemd::ready();
        let reloading = async {
            while hangup.recv().await.is_some() {
                // it has its line in the log
                let _ = reload.run().await;
            }
        };
        tokio::join!(systemd::watch(|| sessions.live()), reloading);
    };
    let telling = async {
        if let Some(health) = health {
            if let Some(address) = health.local_addr() {
                tracing::info!("health on http://{address}");
            }
            health.run(stopped.clone()).await;
        }
    };
    let served = async {
        server.run(asked).await;
        if let Some(recording) = recording {
            // while signals are heard and operators are answered: the file may take its time
            let _ = spawn_blocking(|| recording.finish()).await;
        }
        stopped.cancel();
    };
    tokio::join!(served, answering, telling, stopped.run_until_cancelled(operating));
    Ok(())
}

fn serve(lines: &Lines, serving: impl Future<Output = Result<(), Unavailable>> + Send + 'static) -> ExitCode {
    let mut builder = match available_parallelism() {
        // a scheduler that has nobody to share with spends a fifth less on a new session
        Ok(one) if one.get() == 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return SOFTWARE.into();
        }
    };
    runtime.spawn(lines.clone().keep_writing());
    // in a task, for this thread is none of the runtime's own: what it accepts would be handed to another each time
    let served = runtime.block_on(runtime.spawn(serving));
    lines.write_at_once();
    // a file that is still being read, on a disk that does not answer, keeps nobody
    runtime.shutdown_background();
    lines.flush();
    match served.unwrap_or_else(|error| resume_unwind(error.into_panic())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Unavailable { field, value, reason }) => {
            eprintln!("{field} = {value:?}: {reason}");
            UNAVAILABLE.into()
        }
    }
}

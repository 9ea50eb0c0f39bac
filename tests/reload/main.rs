//! The configuration read anew while sessmux runs: a real process, its files, signals, the command, the service manager.

#[path = "../tls/certs.rs"]
#[allow(dead_code, reason = "each test binary uses its part of it")]
mod certs;
#[path = "../common/mod.rs"]
mod common;
mod holds;
mod refused;
mod routes;
mod service;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{Page, soon};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, http};
use tokio_tungstenite::{MaybeTlsStream, client_async};

/// A sessmux that runs by a file; it ends with its test.
struct Running {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
    /// What it logs, a line each.
    log: mpsc::UnboundedReceiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // it has ended already where the test ended it
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    /// By a file of this text.
    async fn start(name: &str, file: &str) -> Self {
        let folder = folder(name);
        Self::start_in(folder, file, &[]).await
    }

    /// By a file of this text in this folder, with these variables.
    async fn start_in(folder: PathBuf, file: &str, variables: &[(&str, &str)]) -> Self {
        let config = folder.join("sessmux.toml");
        fs::write(&config, file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
        for name in ["SESSMUX_ADMIN", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        let mut child = command
            .envs(variables.iter().copied())
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .arg("--admin")
            .arg(format!("unix:{}", folder.join("admin.sock").display()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, log) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| said.send(line))
        });
        let mut running = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            folder,
            log,
        };
        let line = running.says(&["listening on"]).await;
        let address = line.split("://").nth(1).and_then(|rest| rest.split(',').next());
        running.address = address.unwrap().parse().unwrap();
        running.says(&["admin on unix:"]).await;
        running
    }

    /// Awaits the next line with all of these words; whatever comes before it is passed over.
    async fn says(&mut self, words: &[&str]) -> String {
        let said = async {
            loop {
                let line = self.log.recv().await.expect("it has ended");
                if words.iter().all(|word| line.contains(word)) {
                    return line;
                }
            }
        };
        soon(&words.join(" "), said).await
    }

    /// Puts another file in the place of the one that there is, in one step.
    fn write(&self, file: &str) {
        let new = self.folder.join("new");
        fs::write(&new, file).unwrap();
        fs::rename(new, self.folder.join("sessmux.toml")).unwrap();
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Exit code, standard output and standard error of `sessmux reload`.
    async fn reload(&self) -> (Option<i32>, String, String) {
        let admin = format!("unix:{}", self.folder.join("admin.sock").display());
        let run = move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
            command.args(["reload", "--admin", &admin]).output()
        };
        let output: Output = soon("the command", tokio::task::spawn_blocking(run))
            .await
            .unwrap()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Has this file hold; returns what the command says of it.
    async fn becomes(&self, file: &str) -> String {
        self.write(file);
        let (code, out, err) = self.reload().await;
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out
    }

    /// What the admin socket answers with.
    async fn told(&self, path: &str) -> String {
        let mut socket = UnixStream::connect(self.folder.join("admin.sock")).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("the answer", socket.read_to_string(&mut answer)).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The sessions there are.
    async fn sessions(&self) -> Vec<Value> {
        let told: Value = serde_json::from_str(&self.told("/sessions").await).unwrap();
        told["sessions"].as_array().unwrap().clone()
    }

    async fn page(&self, target: &str) -> Page {
        self.page_with(target, &[]).await.unwrap()
    }

    /// A page with these headers, or the status by which it is refused.
    async fn page_with(&self, target: &str, headers: &[(&'static str, &str)]) -> Result<Page, u16> {
        let mut request = format!("ws://{}{target}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            let value: http::HeaderValue = value.parse().unwrap();
            request.headers_mut().insert(*name, value);
        }
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match soon("the handshake", client_async(request, MaybeTlsStream::Plain(stream))).await {
            Ok((socket, answer)) => Ok(Page { socket, answer }),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A folder of this test's own; short, for a socket's path has room for some hundred letters.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sessmux-reload-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A file for this agent: settings, then routes.
fn file(agent: &common::Agent, settings: &str, routes: &str) -> String {
    format!("upstream = \"http://{}\"\n{settings}\n{routes}\n", agent.address)
}

/// A session's page and its agent talk to each other.
async fn talk(page: &mut Page, server: &mut common::Connection) {
    server.send("there?").await;
    assert_eq!(page.text().await, "there?");
    page.send("here").await;
    assert_eq!(server.text().await, "here");
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

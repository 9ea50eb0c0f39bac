//! A real process that says all it can.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::common::soon;

/// A port that nobody listens on.
const NOBODY: &str = "127.0.0.1:1";

/// sessmux with a route for every kind of key and proof, and its log at `trace`.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    said: watch::Receiver<String>,
    reader: Option<JoinHandle<()>>,
    admin: PathBuf,
}

impl Process {
    pub(crate) fn start(agent: SocketAddr, authority: SocketAddr) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("canary-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (config, admin) = (folder.join("sessmux.toml"), folder.join("admin.sock"));
        std::fs::write(folder.join("answer.toml"), ANSWER).unwrap();
        let text = ROUTES.replace("AGENT", &agent.to_string()).replace("NOBODY", NOBODY);
        let secret = crate::secret("auth-url");
        let text = text.replace("AUTHORITY", &format!("http://{authority}/auth?token={secret}"));
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sessmux"))
            .arg("--config")
            .arg(&config)
            .args(["--log", "trace"])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (heard, said) = watch::channel(String::new());
        let (sender, listening) = std::sync::mpsc::channel();
        let stderr = child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.unwrap();
                if let Some((_, rest)) = line.split_once("listening on http://") {
                    let address = rest.split(',').next().unwrap().parse().unwrap();
                    // once is enough
                    let _ = sender.send(address);
                }
                heard.send_modify(|heard| {
                    heard.push_str(&line);
                    heard.push('\n');
                });
            }
        });
        Self {
            address: listening.recv_timeout(crate::common::PATIENCE).unwrap(),
            child,
            said,
            reader: Some(reader),
            admin,
        }
    }

    /// Awaits a line with all these words.
    pub(crate) async fn says(&self, words: &[&str]) {
        let has = |line: &str| words.iter().all(|word| line.contains(word));
        let mut said = self.said.clone();
        let said = said.wait_for(|said| said.lines().any(has));
        soon(&words.join(" "), said).await.unwrap();
    }

    /// All that it said until now.
    pub(crate) fn said(&self) -> String {
        self.said.borrow().clone()
    }

    /// What the admin surface answers.
    pub(crate) async fn told(&self, path: &str) -> String {
        let mut socket = UnixStream::connect(&self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(path, socket.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        answer
    }

    /// Awaits that the pages which have left are known to have.
    pub(crate) async fn nobody_is_attached(&self) {
        let left = async {
            while self.told("/sessions").await.contains(r#""state":"attached""#) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        soon("the last page's leaving", left).await;
    }

    /// All that it tells of every session, and of those that have ended.
    pub(crate) async fn sessions(&self) -> String {
        let mut all = self.told("/sessions").await;
        let (_, list) = all.split_once("\r\n\r\n").unwrap();
        let list: serde_json::Value = serde_json::from_str(list).unwrap();
        for session in ["sessions", "ended"]
            .iter()
            .flat_map(|part| list[part].as_array().unwrap())
        {
            let id = session["session"].as_str().unwrap();
            all += &self.told(&format!("/sessions/{id}")).await;
        }
        all
    }

    /// Ends it at once, in order, with whatever is still attached.
    pub(crate) fn stop(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.reader.take().unwrap().join().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it has ended already where the test went well
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ANSWER: &str = r#"
name = "answer"
[[rule]]
from = "client"
when = { "/type" = "hello" }
role = "hello"
[[rule]]
from = "server"
when = { "/type" = "ready" }
role = "hello-answer"
[[rule]]
from = "server"
when = { "/type" = "ask" }
role = "prompt"
id = "/id"
[[rule]]
from = "client"
when = { "/type" = "say" }
role = "prompt-answer"
id = "/id"
[[rule]]
from = "client"
when = { "/type" = "local" }
role = "local"
answer = '{"you":${/said}}'
"#;

const ROUTES: &str = r#"
listen = "127.0.0.1:0"
admin = "unix:admin.sock"
upstream = "http://AGENT"
max_message = "64KiB"

[[route]]
path = "/path/{id}"
key = ["path:id"]

[[route]]
path = "/query"
key = ["query:s"]
log_bytes = "4KiB"

[[route]]
path = "/header"
key = ["header:x-key"]

[[route]]
path = "/cookie"
key = ["cookie:sid"]

[[route]]
path = "/first"
key = ["first:/s"]
subprotocol = "chat"

[[route]]
path = "/answer"
key = ["answer:/id|first:/id"]
profile = "answer.toml"

[[route]]
path = "/bound"
key = ["query:s"]
bind = ["header:authorization"]
foreign = "refuse"

[[route]]
path = "/asked"
key = ["query:s"]
bind = ["auth_request"]
auth_request = "AUTHORITY"
auth_subject = "x-user"

[[route]]
path = "/signed"
profile = "connectonion"
foreign = "refuse"

[[route]]
path = "/nobody"
upstream = "http://NOBODY"
key = ["query:s"]

[[route]]
path = "/{*rest}"
key = ["browser", "path", "query"]
"#;

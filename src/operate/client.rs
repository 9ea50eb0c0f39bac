//! Asks a running sessmux.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use sessmux::admin::runtime;
use sessmux::config::Admin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Fault;
use crate::cli::Asked;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Client {
    address: Admin,
}

impl Client {
    /// Of the sessmux that was named, or else of the one that runs.
    pub(super) async fn new(asked: &Asked) -> Result<Self, Fault> {
        // as of every variable, an empty SESSMUX_ADMIN is none
        let address = match asked.admin.as_deref().filter(|text| !text.is_empty()) {
            None => Admin::Unix(found(&runtime::sockets(&runtime::folders())).await?),
            Some(text) => match text.parse() {
                Ok(Admin::Off) => return Err(Fault::Usage("admin = \"off\": there is nobody to ask".into())),
                Ok(address) => address,
                Err(reason) => return Err(Fault::Usage(format!("admin = {text:?}: {reason}"))),
            },
        };
        Ok(Self { address })
    }

    /// Whether it is there, busy or not: its admin surface listens until it has ended.
    pub(super) async fn is_there(&self) -> bool {
        let connecting = async {
            match &self.address {
                Admin::Tcp(address) => TcpStream::connect(address).await.map(drop),
                Admin::Unix(path) => UnixStream::connect(path).await.map(drop),
                Admin::Runtime | Admin::Off => Ok(()),
            }
        };
        // anything else tells of a machine or a sessmux that is short of something
        let gone = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
        !matches!(timeout(ANSWER, connecting).await, Ok(Err(error)) if gone.contains(&error.kind()))
    }

    /// The text of the answer, if it is a good one.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<String, Fault> {
        let asking = async {
            match &self.address {
                Admin::Tcp(address) => ask(TcpStream::connect(address).await, method, path, &address.to_string()).await,
                Admin::Unix(path_of_it) => ask(UnixStream::connect(path_of_it).await, method, path, "sessmux").await,
                // neither is an address; `new` makes none of them
                Admin::Runtime | Admin::Off => Err(Fault::Usage("there is nobody to ask".into())),
            }
        };
        let answer = timeout(ANSWER, asking).await;
        let answer = answer.unwrap_or_else(|_| Err(Fault::Unavailable("no answer came in time".into())));
        answer.map_err(|fault| match fault {
            Fault::Unavailable(why) => Fault::Unavailable(format!("admin = \"{}\": {why}", self.address)),
            fault => fault,
        })
    }
}

/// The path of a session of this id.
pub(super) fn path_of(id: &str) -> Result<String, Fault> {
    // anything else would not be the path that it is meant to be
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let reason = "a session's id has eight hexadecimal digits, as in the log";
        return Err(Fault::NoSession(format!("id = {id:?}: {reason}")));
    }
    Ok(format!("/sessions/{id}"))
}

/// The one of these sockets at which somebody listens.
async fn found(sockets: &[PathBuf]) -> Result<PathBuf, Fault> {
    let mut live = Vec::new();
    for path in sockets {
        if UnixStream::connect(path).await.is_ok() {
            live.push(path);
        }
    }
    match live[..] {
        [only] => Ok(only.clone()),
        [] => Err(Fault::Unavailable(
            "no sessmux of this user's runs here with an admin socket; --admin says where else one is".into(),
        )),
        _ => {
            let all: Vec<_> = live.iter().map(|path: &&PathBuf| shown(path)).collect();
            let all = all.join(" or ");
            Err(Fault::Usage(format!("more than one sessmux runs here: --admin {all}")))
        }
    }
}

fn shown(path: &Path) -> String {
    Admin::Unix(path.to_owned()).to_string()
}

async fn ask<S>(socket: std::io::Result<S>, method: Method, path: &str, host: &str) -> Result<String, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = socket.map_err(|error| unavailable(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .map_err(|error| unavailable(&error))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| unavailable(&error))?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    // the answer tells what became of the connection
    let (answered, _) = tokio::join!(answered, connection);
    let (status, text) = answered.map_err(|error| unavailable(&error))?;
    if status.is_success() {
        Ok(text)
    } else {
        Err(Fault::of(status, path, &text))
    }
}

fn unavailable(error: &dyn std::error::Error) -> Fault {
    Fault::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[tokio::test]
    async fn whoever_listens_is_there_also_if_it_does_not_answer() {
        let path = std::env::temp_dir().join(format!("sessmux-{}-is-there.sock", std::process::id()));
        // of an earlier test, perhaps
        let _ = std::fs::remove_file(&path);
        let client = Client {
            address: Admin::Unix(path.clone()),
        };
        assert!(!client.is_there().await, "there is no socket");
        let listener = UnixListener::bind(&path).unwrap();
        assert!(client.is_there().await, "nobody accepts");
        drop(listener);
        assert!(!client.is_there().await, "nobody listens");
        std::fs::remove_file(&path).unwrap();
    }
}

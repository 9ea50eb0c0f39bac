//! Where the admin surface listens: a Unix socket of its owner's, or a TCP port.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::runtime;
use crate::transport::socket::Socket;

/// Only the user who runs sessmux.
const MODE: u32 = 0o600;

/// See the module. A Unix socket's file goes with it.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens in the first of these folders that is ours alone, at a socket of this port's.
    pub(super) async fn bind_in(folders: &[PathBuf], port: u16) -> io::Result<Self> {
        let mut reasons = Vec::new();
        for folder in folders {
            let bound = match runtime::prepare(folder, port) {
                Ok(path) => Self::bind_unix(&path).await,
                Err(error) => Err(error),
            };
            match bound {
                Ok(listener) => return Ok(listener),
                Err(error) => reasons.push(format!("{}: {error}", folder.display())),
            }
        }
        Err(io::Error::other(reasons.join("; ")))
    }

    /// Listens at a port.
    pub(super) async fn bind_tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::bind(address).await?))
    }

    /// Listens at a socket; what a crash left at its path is removed.
    pub(super) async fn bind_unix(path: &Path) -> io::Result<Self> {
        remove_leftover(path).await?;
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        Ok(Self::Unix(listener, path.to_owned()))
    }

    /// Its path, if it is a socket.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(_, path) => Some(path),
        }
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => Ok(Socket::Tcp(listener.accept().await?.0)),
            Self::Unix(listener, _) => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // somebody else may have removed it already
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes a socket that nobody listens on; whatever else is there stays.
async fn remove_leftover(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something is there already, and it is no socket",
            ));
        }
        // binding says what it is, if it is anything
        Err(_) => return Ok(()),
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

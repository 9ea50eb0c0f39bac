//! Where the admin surface listens: a Unix socket of its owner's, or a TCP port.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::Admin;
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
    /// Listens; what a crash left at a Unix socket's path is removed.
    pub(super) async fn bind(address: &Admin) -> io::Result<Self> {
        match address {
            Admin::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Admin::Unix(path) => {
                remove_leftover(path).await?;
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, Permissions::from_mode(MODE))?;
                Ok(Self::Unix(listener, path.clone()))
            }
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

/// Removes a socket that nobody listens on; whatever else is there stays, and binding fails.
async fn remove_leftover(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    if !is_socket {
        return Ok(());
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

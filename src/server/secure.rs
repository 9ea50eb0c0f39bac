//! From an accepted connection to the socket that HTTP is served on: inside TLS, where the listener speaks it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::{AlertDescription, Error};

use super::request::Shared;
use crate::metrics::Rule;
use crate::transport::socket::Socket;
use crate::transport::tls::Identity;

/// Who asks by plain HTTP has this long to take the answer, and whoever was answered last to close.
const TELL: Duration = Duration::from_secs(1);

/// The answer to plain HTTP.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 37\r\n\
    Connection: close\r\n\r\nthis port speaks HTTPS: use https://\n";

/// Why there is no TLS.
enum Fault {
    /// What came begins like a request.
    PlainHttp(TcpStream),
    /// The connection or the handshake failed.
    Io(io::Error),
}

/// The socket to serve; `None` where the client did not come to one, of which it has its line.
pub(super) async fn socket(
    stream: TcpStream,
    client: SocketAddr,
    shared: &Shared,
    head_timeout: Duration,
) -> Option<Socket> {
    let Some(identity) = &shared.identity else {
        return Some(Socket::Tcp(stream));
    };
    // boxed, for most listeners speak none, and it would be a large part of each connection
    match timeout(head_timeout, Box::pin(handshake(stream, identity))).await {
        Ok(Ok(socket)) => return Some(socket),
        Ok(Err(Fault::PlainHttp(stream))) => {
            shared.metrics.refused(Rule::TlsHandshake);
            tracing::info!(%client, cause = "plain HTTP, where tls_cert makes it https://", "no TLS");
            tell(stream).await;
        }
        Ok(Err(Fault::Io(error))) => match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(fault) => {
                shared.metrics.refused(Rule::TlsHandshake);
                tracing::info!(%client, cause = explained(fault), "no TLS");
            }
            // it left, which is its own affair
            None => tracing::debug!(%client, %error, "connection ended"),
        },
        Err(_) => {
            shared.metrics.refused(Rule::HeadTimeout);
            tracing::info!(%client, ?head_timeout, cause = "no handshake of TLS came in time", "closed");
        }
    }
    None
}

async fn handshake(stream: TcpStream, identity: &Identity) -> Result<Socket, Fault> {
    let mut first = [0];
    stream.peek(&mut first).await.map_err(Fault::Io)?;
    // a method is letters; a record of TLS begins with its type, 22 (RFC 8446 section 5.1)
    if first[0].is_ascii_alphabetic() {
        return Err(Fault::PlainHttp(stream));
    }
    Ok(Socket::Tls(identity.accept(stream).await.map_err(Fault::Io)?))
}

/// Tells a client that it has the wrong scheme.
async fn tell(mut stream: TcpStream) {
    let told = async {
        if stream.write_all(PLAIN).await.is_ok() {
            close(stream).await;
        }
    };
    // one that does not listen need not be told
    let _ = timeout(TELL, told).await;
}

/// Ends a connection in stages (RFC 9112 section 9.6): what is still sent is read for a moment, for unread bytes would have
/// the system reset the connection and destroy the answer.
pub(super) async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let closing = async {
        stream.shutdown().await?;
        while stream.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    };
    // one that goes on sending is cut off
    let _ = timeout(TELL, closing).await;
}

fn explained(fault: &Error) -> String {
    use AlertDescription::{BadCertificate, CertificateExpired, CertificateUnknown, UnknownCA};
    match fault {
        Error::AlertReceived(BadCertificate | CertificateExpired | CertificateUnknown | UnknownCA) => {
            format!("the client does not trust the certificate in tls_cert: {fault}")
        }
        Error::NoApplicationProtocol => "the client wants another protocol than http/1.1".into(),
        _ => fault.to_string(),
    }
}

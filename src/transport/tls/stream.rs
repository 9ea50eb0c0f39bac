//! A TCP connection inside TLS.

use std::io::{self, IoSlice, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream as Stream;
use tokio_rustls::rustls::{ConnectionCommon, SideData};

/// See the module. Boxed, because its state is large and most sockets have none.
///
/// What is written may wait in here although the socket has room again: whoever has written flushes until that is done.
#[derive(Debug)]
pub struct TlsStream(Box<Stream<TcpStream>>);

impl TlsStream {
    /// Wraps a stream whose handshake is done.
    pub(crate) fn new(stream: Stream<TcpStream>) -> Self {
        Self(Box::new(stream))
    }

    /// The connection beneath.
    pub(crate) fn tcp(&self) -> &TcpStream {
        self.0.get_ref().0
    }

    /// Reads what has been decrypted, else what the system has; `WouldBlock` if there is neither.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut *self.0 {
            Stream::Client(stream) => {
                let (tcp, connection) = stream.get_mut();
                read_now(tcp, connection, buffer)
            }
            Stream::Server(stream) => {
                let (tcp, connection) = stream.get_mut();
                read_now(tcp, connection, buffer)
            }
        }
    }
}

fn read_now<S: SideData>(
    tcp: &TcpStream,
    connection: &mut ConnectionCommon<S>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    loop {
        match connection.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        // an end is the reader's to tell, which knows whether it was announced
        connection.read_tls(&mut &*SockRef::from(tcp))?;
        let processed = connection.process_new_packets();
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    use super::super::provider;
    use super::*;
    use crate::transport::socket::Socket;

    /// Both ends of a connection.
    async fn connected() -> (client::TlsStream<TcpStream>, Socket) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        let cert = params.self_signed(&key).unwrap().der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(cert.clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::new(client)).connect(name, stream);
        let accepting = async {
            let (stream, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(Arc::new(server)).accept(stream).await
        };
        let (client, server) = tokio::try_join!(connecting, accepting).unwrap();
        (client, Socket::Tls(TlsStream::new(server.into())))
    }

    #[tokio::test]
    async fn what_came_last_is_read_before_the_runtime_knows_of_it_and_so_is_how_it_ended() {
        for announced in [true, false] {
            let (mut client, mut server) = connected().await;
            let mut buffer = [0; 10_000];
            let empty = server.read_now(&mut buffer).unwrap_err();
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
            // more than a record, so that something decrypted waits within when the system has no more
            client.write_all(&[7; 30_000]).await.unwrap();
            client.flush().await.unwrap();
            if announced {
                client.shutdown().await.unwrap();
            } else {
                client.get_mut().0.shutdown().await.unwrap();
            }
            let mut all = 0;
            loop {
                match server.read_now(&mut buffer).unwrap() {
                    0 => break,
                    read => all += read,
                }
            }
            assert_eq!(all, 30_000, "announced: {announced}");
        }
    }
}

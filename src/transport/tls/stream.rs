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

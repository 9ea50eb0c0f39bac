//! The sockets that a relay reads and writes.

use std::io::{self, IoSlice, Read};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::BufMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::io::poll_read_buf;

use super::tls::TlsStream;

/// A connected stream socket of either leg.
#[derive(Debug)]
pub enum Socket {
    /// TCP, with TCP_NODELAY set.
    Tcp(TcpStream),
    /// A Unix domain socket.
    Unix(UnixStream),
    /// TLS over such TCP.
    Tls(TlsStream),
}

macro_rules! each {
    ($self:ident, $s:ident => $e:expr) => {
        match $self.get_mut() {
            Socket::Tcp($s) => $e,
            Socket::Unix($s) => $e,
            Socket::Tls($s) => $e,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}

impl Socket {
    /// Reads frames once into `buffer`, which has room; 0 bytes are the end.
    ///
    /// Frames and close frames tell themselves whether they are whole, so an end that TLS did not announce is an end
    /// like any other; HTTP, which may have an answer end with its connection, is told it as the error that it is.
    pub fn poll_frames(&mut self, cx: &mut Context<'_>, buffer: &mut impl BufMut) -> Poll<io::Result<usize>> {
        poll_read_buf(Pin::new(&mut *self), cx, buffer).map(|read| self.or_end(read))
    }

    /// As [`Self::poll_frames`], but asks the system itself, whether or not the runtime knows of what came.
    ///
    /// # Errors
    ///
    /// What the system says: `WouldBlock` if there is nothing.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Tcp(stream) => (&*SockRef::from(&*stream)).read(buffer),
            Self::Unix(stream) => (&*SockRef::from(&*stream)).read(buffer),
            Self::Tls(stream) => stream.read_now(buffer),
        };
        self.or_end(read)
    }

    fn or_end(&self, read: io::Result<usize>) -> io::Result<usize> {
        match (self, read) {
            (Self::Tls(_), Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            (_, read) => read,
        }
    }

    /// Sends on what a write has taken and the system has not: TLS keeps such a rest, and only a flush moves it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn push(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(stream) => match Pin::new(stream).poll_flush(cx) {
                Poll::Ready(flushed) => flushed,
                Poll::Pending => Ok(()),
            },
        }
    }

    /// Whether the runtime has heard that the peer sends no more, be there something of it that was not read yet; that it
    /// reads no more cannot be told from that.
    #[must_use]
    pub fn is_half_closed(&self) -> bool {
        let ready = match self {
            Self::Tcp(stream) => once(stream.ready(Interest::READABLE)),
            Self::Tls(stream) => once(stream.tcp().ready(Interest::READABLE)),
            Self::Unix(stream) => once(stream.ready(Interest::READABLE)),
        };
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// Closes the connection with a reset rather than in order, so that the peer cannot take it for an end.
    pub fn reset(self) {
        let stream = match &self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.tcp(),
            Self::Unix(_) => return,
        };
        // fails only on a socket that is closed already
        let _ = stream.set_zero_linger();
    }
}

/// What comes of this without waiting.
fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_sockets_do_not_pay_for_tls() {
        assert!(size_of::<Socket>() <= size_of::<TcpStream>() + size_of::<usize>());
    }
}

//! The listening socket, and what connections that it accepts are like.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// What a page has yet to take waits in its session's log, where it is bounded and counted, and not by the megabyte in the
/// system's buffers: so many bytes of it lie there unsent, which is enough for one write.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;
/// A client that vanished is noticed by probes after 60 s of silence.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10));

/// Listens at `address`. Connections have its socket's options from the moment they are there: to set five on each of
/// them is a fiftieth of what a new session costs.
///
/// # Errors
///
/// What the system says of `address`.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    options.set_tcp_keepalive(&KEEPALIVE)?;
    #[cfg(target_os = "linux")]
    options.set_tcp_notsent_lowat(UNSENT)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_connection_has_the_options_of_its_listener() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(stream.nodelay().unwrap());
        let options = SockRef::from(&stream);
        assert!(options.keepalive().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(options.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        #[cfg(target_os = "linux")]
        assert_eq!(options.tcp_notsent_lowat().unwrap(), UNSENT);
    }
}

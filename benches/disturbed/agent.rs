//! The agent server that attackers reach, through a proxy or straight.

use std::io::Result;
use std::net;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::attacks::FOREIGN;

const REFUSED: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";

/// Serves all who come, in a thread of its own and without end.
pub(super) fn serve(listener: net::TcpListener) {
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    // it ends when its peer does
                    tokio::spawn(connection(stream));
                }
            }
        });
    });
}

/// Refuses a foreign origin, each time; else switches, and reads what comes without a word.
async fn connection(mut stream: TcpStream) -> Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&head);
        if !text.contains(FOREIGN) {
            break;
        }
        stream.write_all(REFUSED).await?;
        head.clear();
    }
    let head = String::from_utf8_lossy(&head);
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let mut keys = fields.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let Some((_, key)) = keys.next() else { return Ok(()) };
    let switched = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(switched.as_bytes()).await?;
    copy(&mut stream, &mut sink()).await.map(drop)
}

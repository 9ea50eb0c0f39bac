//! An agent server: echoes what a page says, unless that asks for something else.
//!
//! `say COUNT SIZE RATE` is answered by so many numbered messages, RATE a second with a write for each, or, where that is
//! 0, as fast as they go. What begins with `hush` is not answered. A query with `first=COUNT` has it say so many messages of 256 bytes in one write with the 101.

use std::io::Result;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::interval;

use super::wire::{Socket, message};

/// Bytes that one write gathers where messages go as fast as they can.
const BATCH: usize = 64 * 1024;
/// Size of the messages that come with the 101, in bytes.
pub const FIRST: usize = 256;
/// Digits of a message's number, with which its payload begins.
const DIGITS: usize = 16;

/// Serves all who come, for ever.
pub async fn serve(listener: TcpListener) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // it ends when its peer does
            tokio::spawn(connection(stream));
        }
    }
}

/// The number of a message.
pub fn number(payload: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(payload.get(..DIGITS)?).ok()?, 16).ok()
}

/// A message as it goes to a page.
fn numbered(number: u64, size: usize) -> Vec<u8> {
    let mut payload = format!("{number:016x}").into_bytes();
    payload.resize(size.max(DIGITS), b'm');
    message(false, &payload)
}

async fn connection(stream: TcpStream) -> Result<()> {
    let first = |target: &str| {
        let asked = target.split(['?', '&']).find_map(|part| part.strip_prefix("first="));
        let count = asked.and_then(|count| count.parse().ok()).unwrap_or(0);
        (0..count).flat_map(|number| numbered(number, FIRST)).collect()
    };
    let mut socket = Socket::accept(stream, first).await?;
    loop {
        let payload = socket.next().await?;
        match asked(payload) {
            Some([count, size, 0]) => flat_out(&mut socket, count, size as usize).await?,
            Some([count, size, rate]) => paced(&mut socket, count, size as usize, rate).await?,
            None if payload.starts_with(b"hush") => {}
            None => {
                let echo = message(false, payload);
                socket.write(&echo).await?;
            }
        }
    }
}

fn asked(payload: &[u8]) -> Option<[u64; 3]> {
    let words = payload.strip_prefix(b"say ")?;
    let words: Option<Vec<u64>> = str::from_utf8(words)
        .ok()?
        .split(' ')
        .map(|word| word.parse().ok())
        .collect();
    words?.try_into().ok()
}

async fn flat_out(socket: &mut Socket, count: u64, size: usize) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH + size);
    for at in 0..count {
        batch.extend(numbered(at, size));
        if batch.len() >= BATCH {
            socket.write(&batch).await?;
            batch.clear();
        }
    }
    socket.write(&batch).await
}

async fn paced(socket: &mut Socket, count: u64, size: usize, rate: u64) -> Result<()> {
    let mut pace = interval(Duration::from_secs(1) / rate as u32);
    for at in 0..count {
        pace.tick().await;
        socket.write(&numbered(at, size)).await?;
    }
    Ok(())
}

//! Without a profile the relay allocates nothing for a message: slabs of the log, now and then, and that is all.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use allocation_counter::measure;
use common::{PATIENCE, config, route};
use sessmux::config::KeySource;
use sessmux::server::Server;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

/// The key that RFC 6455 uses as its example; sessmux dials with the page's own.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// So many messages each way, one after the other.
const MESSAGES: usize = 5000;
/// Bytes of each.
const SIZE: usize = 120;

/// Reads a head of HTTP.
fn head(stream: &mut TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

fn prepared(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A page and the agent's end of its session.
fn connected(proxy: SocketAddr, agent: &TcpListener) -> (TcpStream, TcpStream) {
    let mut page = prepared(TcpStream::connect(proxy).unwrap());
    let ask = format!(
        "GET /ws?s=1 HTTP/1.1\r\nHost: {proxy}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    page.write_all(ask.as_bytes()).unwrap();
    let mut server = prepared(agent.accept().unwrap().0);
    head(&mut server);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(KEY.as_bytes())
    );
    server.write_all(answer.as_bytes()).unwrap();
    head(&mut page);
    (page, server)
}

/// Reads until a data frame of `SIZE` bytes is there; the pings that ask for acknowledgements are answered by nobody.
fn read_message(stream: &mut TcpStream, masked: bool) {
    loop {
        let mut start = [0; 2];
        stream.read_exact(&mut start).unwrap();
        let mut rest = vec![0; usize::from(start[1] & 0x7f) + if masked { 4 } else { 0 }];
        stream.read_exact(&mut rest).unwrap();
        if start[0] == 0x82 {
            assert_eq!(rest.len(), SIZE + if masked { 4 } else { 0 });
            return;
        }
    }
}

#[test]
fn no_allocation_belongs_to_a_message() {
    let agent = TcpListener::bind("127.0.0.1:0").unwrap();
    let route = route(agent.local_addr().unwrap(), vec![KeySource::QueryParam("s".into())]);
    let (address, bound) = mpsc::channel();
    let (ready, steady) = oneshot::channel();
    let (done, finished) = oneshot::channel();
    // all of sessmux runs on this thread, and nothing else does
    let proxy = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(Server::bind(config(route))).unwrap();
        address.send(server.local_addr().unwrap()).unwrap();
        runtime.spawn(server.run(CancellationToken::new()));
        runtime.block_on(steady).unwrap();
        measure(|| runtime.block_on(finished).unwrap())
    });
    let (mut page, mut server) = connected(bound.recv().unwrap(), &agent);
    let mut to_page = vec![0x82, SIZE as u8];
    to_page.resize(2 + SIZE, b'm');
    let mut to_server = vec![0x82, 0x80 | SIZE as u8, 1, 2, 3, 4];
    to_server.resize(6 + SIZE, b'm');
    let mut exchange = || {
        server.write_all(&to_page).unwrap();
        read_message(&mut page, false);
        page.write_all(&to_server).unwrap();
        read_message(&mut server, true);
    };
    // buffers of the thread and the log's first slabs
    (0..100).for_each(|_| exchange());
    ready.send(()).unwrap();
    (0..MESSAGES).for_each(|_| exchange());
    done.send(()).unwrap();
    let counted = proxy.join().unwrap();
    let each = counted.count_total as f64 / (2 * MESSAGES) as f64;
    println!("{counted:?}: {each} a message");
    assert!(each < 0.02, "{each} allocations a message: {counted:?}");
}

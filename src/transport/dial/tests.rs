use std::pin::pin;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::*;

/// None of these servers speaks TLS.
async fn connect(upstream: &Upstream) -> io::Result<Socket> {
    super::connect(upstream, &Roots::default()).await
}

async fn upgrade(upstream: &Upstream, head: request::Parts, tracker: &TaskTracker) -> Result<Upgraded, DialError> {
    super::upgrade(upstream, &Roots::default(), head, tracker).await
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

fn head() -> request::Parts {
    let request = Request::get("http://elsewhere.example/ws?a=b")
        .header("host", "agent.example")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY)
        .header("sec-websocket-protocol", "one, two");
    request.body(()).unwrap().into_parts().0
}

async fn listen() -> (TcpListener, Upstream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::Tcp(listener.local_addr().unwrap().to_string());
    (listener, upstream)
}

/// Reads one request's head.
async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Dials a server that answers with `answer`, and gives both ends.
async fn dial(answer: &str) -> (Result<Upgraded, DialError>, TcpStream, String) {
    let (listener, upstream) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        (stream, head)
    };
    let tracker = TaskTracker::new();
    let (result, (stream, head)) = tokio::join!(upgrade(&upstream, self::head(), &tracker), server);
    (result, stream, head)
}

async fn bad(answer: &str) -> String {
    match dial(answer).await.0 {
        Err(DialError::Bad(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_101_gives_the_socket_and_what_came_with_it() {
    let (upgraded, mut server, request) = dial(&format!("{GOOD}Sec-WebSocket-Protocol: two\r\n\r\n\u{1}frames")).await;
    let mut upgraded = upgraded.unwrap();
    assert!(request.starts_with("GET /ws?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: agent.example\r\n"), "{request}");
    assert_eq!(upgraded.read, "\u{1}frames");
    assert_eq!(upgraded.head.headers["sec-websocket-protocol"], "two");
    server.write_all(b"more").await.unwrap();
    let mut more = [0; 4];
    upgraded.socket.read_exact(&mut more).await.unwrap();
    assert_eq!(&more, b"more");
    upgraded.socket.write_all(b"back").await.unwrap();
    server.read_exact(&mut more).await.unwrap();
    assert_eq!(&more, b"back");
}

#[tokio::test]
async fn a_101_right_before_the_end_still_gives_what_came() {
    let (listener, upstream) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(format!("{GOOD}\r\nlast").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    };
    let tracker = TaskTracker::new();
    let (upgraded, _server) = tokio::join!(upgrade(&upstream, head(), &tracker), server);
    let mut upgraded = upgraded.unwrap();
    let mut all = upgraded.read.to_vec();
    upgraded.socket.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"last");
}

#[tokio::test]
async fn a_unix_socket_is_dialled() {
    let path = std::env::temp_dir().join(format!(
        "sessmux-dial-{}-{:x}",
        std::process::id(),
        rand::random::<u64>()
    ));
    let listener = UnixListener::bind(&path).unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(format!("{GOOD}\r\n").as_bytes()).await.unwrap();
        stream
    };
    let (upstream, tracker) = (Upstream::Unix(path.clone()), TaskTracker::new());
    let (upgraded, _server) = tokio::join!(upgrade(&upstream, head(), &tracker), server);
    std::fs::remove_file(path).unwrap();
    assert!(matches!(upgraded.unwrap().socket, Socket::Unix(_)));
}

#[tokio::test]
async fn tcp_sockets_neither_delay_nor_die_unnoticed() {
    let (_listener, upstream) = listen().await;
    let Socket::Tcp(stream) = connect(&upstream).await.unwrap() else {
        panic!("not TCP")
    };
    assert!(stream.nodelay().unwrap());
    assert!(SockRef::from(&stream).keepalive().unwrap());
}

#[tokio::test]
async fn an_answer_that_is_no_handshake_is_bad() {
    let without = |field: &str| {
        let kept = GOOD.split_inclusive("\r\n").filter(|line| !line.starts_with(field));
        kept.collect::<String>() + "\r\n"
    };
    assert!(bad(&without("Upgrade")).await.contains("no Upgrade"));
    assert!(bad(&without("Connection")).await.contains("no Connection"));
    assert!(
        bad(&without("Sec-WebSocket-Accept"))
            .await
            .contains("does not belong to the key")
    );
    assert!(
        bad(&format!("{}\r\n", GOOD.replace("s3pP", "S3pP")))
            .await
            .contains("does not belong to the key")
    );
    assert!(
        bad(&format!("{GOOD}Sec-WebSocket-Accept: x\r\n\r\n"))
            .await
            .contains("twice")
    );
    assert!(
        bad(&format!("{GOOD}Sec-WebSocket-Protocol: three\r\n\r\n"))
            .await
            .contains("not offered")
    );
    assert!(
        bad(&format!("{GOOD}Sec-WebSocket-Protocol: one, two\r\n\r\n"))
            .await
            .contains("not offered")
    );
    assert!(
        bad(&format!("{GOOD}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"))
            .await
            .contains("extension")
    );
    assert!(!bad("nonsense\r\n\r\n").await.is_empty());
}

#[tokio::test]
async fn a_server_that_hangs_up_is_bad() {
    let (listener, upstream) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
    };
    let tracker = TaskTracker::new();
    let (result, ()) = tokio::join!(upgrade(&upstream, head(), &tracker), server);
    assert!(matches!(result, Err(DialError::Bad(_))), "{result:?}");
}

#[tokio::test]
async fn a_refusal_streams_whole_and_then_ends() {
    let (listener, upstream) = listen().await;
    let tracker = TaskTracker::new();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 403 No\r\nX-Why: because\r\nContent-Length: 10\r\n\r\nfirst")
            .await
            .unwrap();
        stream
    };
    let (result, mut server) = tokio::join!(upgrade(&upstream, head(), &tracker), server);
    let Err(DialError::Refused(answer)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(answer.headers()["x-why"], "because");
    let mut body = answer.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    server.write_all(b"after").await.unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "after");
    tracker.close();
    tracker.wait().await;
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
}

#[tokio::test]
async fn a_refusal_that_nobody_reads_ends_too() {
    let (listener, upstream) = listen().await;
    let tracker = TaskTracker::new();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 401 No\r\nContent-Length: 10\r\n\r\nfirst")
            .await
            .unwrap();
        stream
    };
    let (result, mut server) = tokio::join!(upgrade(&upstream, head(), &tracker), server);
    assert!(matches!(result, Err(DialError::Refused(_))));
    drop(result);
    tracker.close();
    tracker.wait().await;
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_dropped_dial_closes_its_connection() {
    let (listener, upstream) = listen().await;
    let tracker = TaskTracker::new();
    let mut dial = Box::pin(upgrade(&upstream, head(), &tracker));
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
    };
    let mut server = tokio::select! {
        result = &mut dial => panic!("{result:?}"),
        server = accept => server,
    };
    drop(dial);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn nobody_there_is_a_connect_error() {
    let (listener, upstream) = listen().await;
    drop(listener);
    let error = upgrade(&upstream, head(), &TaskTracker::new()).await.unwrap_err();
    assert!(matches!(error, DialError::Connect(_)), "{error:?}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let (listener, upstream) = listen().await;
    let tracker = TaskTracker::new();
    let mut dial = pin!(upgrade(&upstream, head(), &tracker));
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
    };
    let _server = tokio::select! {
        result = &mut dial => panic!("{result:?}"),
        server = accept => server,
    };
    // Only now that nothing but the clock is left to wait for: a paused clock runs ahead of sockets.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let error = dial.await.unwrap_err();
    assert!(
        matches!(
            error,
            DialError::Timeout {
                after: HEAD_TIMEOUT,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(started.elapsed().as_secs(), HEAD_TIMEOUT.as_secs());
    assert_eq!(error.to_string(), "upstream gave no answer to the upgrade within 10 s");
}

#[tokio::test]
async fn a_101_may_come_in_pieces() {
    let (listener, upstream) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        read_head(&mut stream).await;
        for byte in format!("{GOOD}\r\n").bytes() {
            stream.write_u8(byte).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream
    };
    let tracker = TaskTracker::new();
    let (upgraded, _server) = tokio::join!(upgrade(&upstream, head(), &tracker), server);
    assert!(upgraded.unwrap().read.is_empty());
}

#[tokio::test]
async fn a_server_that_accepts_nobody_times_out() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // One waits to be accepted; the kernel lets the next one knock unheard.
    let listener = socket.listen(0).unwrap();
    let upstream = Upstream::Tcp(listener.local_addr().unwrap().to_string());
    let _first = connect(&upstream).await.unwrap();
    tokio::time::pause();
    let error = upgrade(&upstream, head(), &TaskTracker::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "upstream gave no connection within 5 s");
}

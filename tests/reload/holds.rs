//! What a good file says holds for whoever comes then.

use super::certs::Authority;
use super::common::{Agent, next_text};
use super::*;
use tokio_rustls::rustls::pki_types::CertificateDer;

const ROUTE: &str = "[[route]]\npath = \"/ws\"\nkey = [\"query:s\"]\nbind = [\"key\"]";

#[tokio::test]
async fn a_new_origin_is_believed_and_a_live_session_notices_nothing() {
    let mut agent = Agent::start().await;
    let mut sessmux = Running::start("origin", &file(&agent, "", ROUTE)).await;
    let mut page = sessmux.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let foreign = [("origin", "https://app.example")];
    assert_eq!(sessmux.page_with("/ws?s=1", &foreign).await.unwrap_err(), 403);

    sessmux.write(&file(&agent, "allow_origin = [\"https://app.example\"]", ROUTE));
    sessmux.signal("-HUP");
    let line = sessmux.says(&["reloaded"]).await;
    assert!(
        line.contains(" INFO ") && line.contains("changed=\"allow_origin\""),
        "{line}"
    );
    let sessions = sessmux.sessions().await;
    assert_eq!((sessions.len(), &sessions[0]["epoch"]), (1, &1.into()));
    talk(&mut page, &mut server).await;

    // the same session, by the same upstream
    let mut other = sessmux.page_with("/ws?s=1", &foreign).await.unwrap();
    assert_eq!(other.text().await, "there?");
    talk(&mut other, &mut server).await;
    assert_eq!(page.close_code().await, Some(4001));
    assert_eq!(agent.count(), 1);

    // and what is taken back is believed no longer, nor by a connection that is there already
    let said = sessmux.becomes(&file(&agent, "", ROUTE)).await;
    assert_eq!(said.lines().next(), Some("reloaded: allow_origin"));
    assert_eq!(sessmux.page_with("/ws?s=1", &foreign).await.unwrap_err(), 403);
    talk(&mut other, &mut server).await;
}

#[tokio::test]
async fn a_limit_is_raised_and_lowered() {
    let mut agent = Agent::start().await;
    let sessmux = Running::start("limit", &file(&agent, "max_sessions = 1", ROUTE)).await;
    let mut pairs = vec![(sessmux.page("/ws?s=1").await, agent.connection().await)];
    assert_eq!(sessmux.page_with("/ws?s=2", &[]).await.unwrap_err(), 503);
    let said = sessmux.becomes(&file(&agent, "max_sessions = 2", ROUTE)).await;
    assert_eq!(said, "reloaded: max_sessions\n");
    pairs.push((sessmux.page("/ws?s=2").await, agent.connection().await));
    assert_eq!(sessmux.page_with("/ws?s=3", &[]).await.unwrap_err(), 503);
    // those that there are stay, above the limit too
    let said = sessmux
        .becomes(&file(&agent, "max_sessions = 1\ndrain_timeout = \"7s\"", ROUTE))
        .await;
    assert_eq!(said, "reloaded: drain_timeout, max_sessions\n");
    let metrics = sessmux.told("/metrics").await;
    assert!(metrics.contains("\nsessmux_drain_timeout_seconds 7"), "{metrics}");
    for (page, server) in &mut pairs {
        talk(page, server).await;
    }
    let (_, mut ending) = pairs.pop().unwrap();
    ending.socket.close(None).await.unwrap();
    // one that is left has the only place
    assert_eq!(sessmux.page_with("/ws?s=3", &[]).await.unwrap_err(), 503);
}

#[tokio::test]
async fn a_lower_bound_of_all_memory_has_silent_sessions_give_back() {
    let mut agent = Agent::start().await;
    // without acknowledgements nothing moves in a silent session, for 30 s
    let settings = |bound: &str| format!("max_buffered = \"{bound}\"\nacks = false");
    let mut sessmux = Running::start("memory", &file(&agent, &settings("64MiB"), ROUTE)).await;
    let mut page = sessmux.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let much = "x".repeat(64 << 10);
    for _ in 0..64 {
        server.send(much.clone()).await;
        assert_eq!(page.text().await.len(), much.len());
    }
    let out = sessmux.becomes(&file(&agent, &settings("1MiB"), ROUTE)).await;
    let (first, warning) = out.split_once('\n').unwrap();
    assert_eq!(first, "reloaded: max_buffered");
    let metrics = sessmux.told("/metrics").await;
    assert!(
        metrics.contains("\nsessmux_buffered_bytes_limit 1048576\n"),
        "{metrics}"
    );
    // what was no risk before
    assert!(
        warning.starts_with("warning: route /ws: log_bytes = 8388608 is more than max_buffered"),
        "{out}"
    );
    sessmux
        .says(&["all sessions together hold too much", "max_buffered=1048576"])
        .await;
    talk(&mut page, &mut server).await;
}

#[tokio::test]
async fn a_proxy_is_trusted() {
    let agent = Agent::start().await;
    let mut sessmux = Running::start("proxy", &file(&agent, "", ROUTE)).await;
    let named = [("x-forwarded-for", "203.0.113.7"), ("origin", "https://other.example")];
    assert_eq!(sessmux.page_with("/ws?s=1", &named).await.unwrap_err(), 403);
    let line = sessmux.says(&["origin", "other.example"]).await;
    assert!(line.contains("client=127.0.0.1"), "{line}");
    let said = sessmux
        .becomes(&file(&agent, "trusted_proxies = [\"127.0.0.1\"]", ROUTE))
        .await;
    assert_eq!(said, "reloaded: trusted_proxies\n");
    // refusals have a line a second
    soon("a line that names the client", async {
        loop {
            assert_eq!(sessmux.page_with("/ws?s=1", &named).await.unwrap_err(), 403);
            if let Ok(line) = sessmux.log.try_recv()
                && line.contains("client=203.0.113.7")
            {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_exchanged_for_that_of_other_files() {
    let mut agent = Agent::start().await;
    let (folder, authority) = (folder("certificate"), Authority::new());
    let minted = ["old", "new"].map(|name| {
        let minted = authority.mint(&["127.0.0.1"]);
        fs::write(folder.join(format!("{name}.pem")), &minted.cert).unwrap();
        fs::write(folder.join(format!("{name}.key")), &minted.key).unwrap();
        minted
    });
    let by = |name: &str| format!("tls_cert = \"{name}.pem\"\ntls_key = \"{name}.key\"");
    let sessmux = Running::start_in(folder, &file(&agent, &by("old"), ROUTE), &[]).await;
    let connect = async || {
        let stream = tokio::net::TcpStream::connect(sessmux.address).await.unwrap();
        let name = sessmux.address.ip().into();
        let stream = soon("TLS", authority.connector().connect(name, stream)).await.unwrap();
        let shown: CertificateDer<'static> = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        (stream, shown)
    };
    let (stream, shown) = connect().await;
    assert_eq!(shown, minted[0].der());
    let target = format!("wss://{}/ws?s=1", sessmux.address);
    let (mut page, _) = soon("the handshake", client_async(target, stream)).await.unwrap();
    let mut server = agent.connection().await;

    let said = sessmux.becomes(&file(&agent, &by("new"), ROUTE)).await;
    assert_eq!(said, "reloaded: tls_cert, tls_key\n");
    assert_eq!(connect().await.1, minted[1].der());
    server.send("still here").await;
    assert_eq!(next_text(&mut page).await, "still here");

    // other contents of the same files, at once and not when they are looked at next
    fs::write(sessmux.folder.join("new.pem"), &minted[0].cert).unwrap();
    fs::write(sessmux.folder.join("new.key"), &minted[0].key).unwrap();
    sessmux.reload().await;
    assert_eq!(connect().await.1, minted[0].der());
}

#[tokio::test]
async fn an_agent_is_believed_whose_root_is_in_the_file_by_now() {
    let [stranger, own] = [Authority::new(), Authority::new()];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, acceptor) = (listener.local_addr().unwrap(), own.mint(&["127.0.0.1"]).acceptor());
    let agent = tokio::spawn(async move {
        // those that do not believe it leave in the handshake
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                return tokio_tungstenite::accept_async(stream).await.unwrap();
            }
        }
    });
    let folder = folder("roots");
    fs::write(folder.join("roots.pem"), stranger.pem()).unwrap();
    let file = format!("upstream = \"https://{address}\"\nupstream_ca = \"roots.pem\"\n{ROUTE}\n");
    let mut sessmux = Running::start_in(folder, &file, &[]).await;
    assert_eq!(sessmux.page_with("/ws?s=1", &[]).await.unwrap_err(), 502);
    fs::write(sessmux.folder.join("roots.pem"), own.pem()).unwrap();
    sessmux.signal("-HUP");
    sessmux.says(&["reloaded", "files that they name were read anew"]).await;
    sessmux.page("/ws?s=1").await;
    soon("the agent's end", agent).await.unwrap();
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_stays() {
    let agent = Agent::start().await;
    let start = file(&agent, "", ROUTE);
    let folder = folder("restart");
    // what is named on the command line cannot change, so all of it is in the file here
    let record = "record = \"capture.jsonl\"\ngrace = \"5m\"";
    let authority = Authority::new();
    let minted = authority.mint(&["127.0.0.1"]);
    fs::write(folder.join("cert.pem"), &minted.cert).unwrap();
    fs::write(folder.join("key.pem"), &minted.key).unwrap();
    let tls = "tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"";
    let mut sessmux = Running::start_in(folder, &start, &[]).await;
    let said = sessmux.becomes(&file(&agent, &format!("{record}\n{tls}"), ROUTE)).await;
    assert_eq!(
        said,
        "reloaded: route /ws: grace\nfrom the next start on only: tls_cert, record\n"
    );
    sessmux
        .says(&["INFO", "reloaded", "changed=\"route /ws: grace\""])
        .await;
    sessmux
        .says(&["WARN", "from the next start on only", "settings=\"tls_cert, record\""])
        .await;
    assert!(!sessmux.folder.join("capture.jsonl").exists());
    // it still speaks plain HTTP
    sessmux.page("/ws?s=1").await;
    // what was named once is named again as long as it differs, and then no more
    let said = sessmux.becomes(&file(&agent, record, ROUTE)).await;
    assert_eq!(
        said,
        "reloaded: no setting differs\nfrom the next start on only: record\n"
    );
    assert_eq!(sessmux.becomes(&start).await, "reloaded: route /ws: grace\n");
}

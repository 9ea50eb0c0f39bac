//! The listener's files: what is wrong with them, and what happens as they change.

use std::fs;
use std::process::Command;

use sessmux::config::TlsFiles;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::certs::{Authority, Folder, Minted, relink};
use super::common::capture::Log;
use super::common::{Agent, Proxy, config, next_text};
use super::{HERE, Secure, route};
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

/// What a new connection is shown.
async fn shown(secure: &Secure) -> CertificateDer<'static> {
    let stream = secure.connect().await;
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_while_sessions_stay() {
    let mut agent = Agent::start().await;
    let (authority, folder) = (Authority::new(), Folder::new());
    let (old, new) = (authority.mint(&HERE), authority.mint(&HERE));
    // as a mounted secret: files are links through a folder that is a link, which is replaced in one step
    for (name, minted) in [("old", &old), ("new", &new)] {
        fs::create_dir(folder.path(name)).unwrap();
        folder.write(&format!("{name}/cert.pem"), &minted.cert);
        folder.write(&format!("{name}/key.pem"), &minted.key);
    }
    let data = folder.path("data");
    relink(&folder.path("old"), &data);
    let mut config = config(route(agent.address));
    config.tls = Some(TlsFiles {
        cert: data.join("cert.pem"),
        key: data.join("key.pem"),
    });
    let log = Log::capture();
    let secure = Secure {
        proxy: Proxy::with(config).await,
        authority,
        folder,
    };
    let mut page = secure.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    assert_eq!(shown(&secure).await, old.der());
    relink(&secure.folder.path("new"), &data);
    log.says(&["new certificate", "tls_cert="]).await;
    assert_eq!(shown(&secure).await, new.der());
    server.send("still here").await;
    assert_eq!(next_text(&mut page.socket).await, "still here");
    page.socket.send(Message::text("so am I")).await.unwrap();
    assert_eq!(server.text().await, "so am I");
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_changes_nothing_is_told_once_and_tried_again() {
    let agent = Agent::start().await;
    let log = Log::capture();
    let secure = Secure::start(route(agent.address)).await;
    let old = shown(&secure).await;
    let new = secure.authority.mint(&HERE);
    // half of it has come
    let cert = secure.folder.write("cert.pem", &new.cert);
    log.says(&[
        "tls_key = ",
        "does not belong to the certificate",
        "the certificate before it stays",
    ])
    .await;
    assert_eq!(shown(&secure).await, old);
    // when another listener has looked twice this one has looked once more
    let other = Secure::start(route(agent.address)).await;
    for times in 1..=2 {
        other.folder.identity(&other.authority.mint(&HERE));
        log.says_times(times, &["new certificate"]).await;
    }
    let own = cert.parent().unwrap().to_str().unwrap();
    assert_eq!(log.count(&[own, "the certificate before it stays"]), 1);
    fs::write(&cert, &new.cert[..100]).unwrap();
    log.says(&["tls_cert = ", "the certificate before it stays"]).await;
    fs::remove_file(&cert).unwrap();
    log.says(&["tls_cert = ", "there is no such file"]).await;
    assert_eq!(shown(&secure).await, old);
    assert_eq!(log.count(&[own, "the certificate before it stays"]), 3);
    secure.folder.identity(&new);
    log.says_times(3, &["new certificate"]).await;
    assert_eq!(shown(&secure).await, new.der());
}

/// Exit code and standard error of sessmux with these flags, which listens nowhere.
fn refused(flags: &[&str], roots: &str) -> (Option<i32>, String) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_sessmux"))
        .args(["--listen", &listen])
        .args(flags)
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn bad_files_are_a_bad_configuration_before_anything_is_bound() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let (one, other) = (authority.mint(&HERE), authority.mint(&HERE));
    let text = |name: &str, text: &str| folder.write(name, text).display().to_string();
    let (cert, key) = (text("cert.pem", &one.cert), text("key.pem", &one.key));
    let (strange, empty) = (text("other.pem", &other.key), text("empty.pem", ""));
    let broken = text("broken.pem", &one.cert.replace("MII", "AAA"));
    let cut = text("cut.pem", &one.key[..60]);
    let missing = folder.path("missing.pem").display().to_string();
    for (cert, key, field, value, reason) in [
        (&missing, &key, "tls_cert", &missing, "there is no such file"),
        (&cert, &missing, "tls_key", &missing, "there is no such file"),
        (&empty, &key, "tls_cert", &empty, "the file has no certificate in PEM"),
        (&key, &key, "tls_cert", &key, "the file has no certificate in PEM"),
        (
            &cert,
            &empty,
            "tls_key",
            &empty,
            "the file has no private key in PEM, or an encrypted one",
        ),
        (&cert, &cut, "tls_key", &cut, "the file is not PEM: "),
        (&broken, &key, "tls_cert", &broken, "the certificate cannot be used: "),
        (
            &cert,
            &strange,
            "tls_key",
            &strange,
            "the key does not belong to the certificate in tls_cert",
        ),
    ] {
        for command in [&["check"][..], &[]] {
            let flags = ["--upstream", "http://127.0.0.1:1", "--tls-cert", cert, "--tls-key", key];
            let all = [command, &flags].concat();
            let (code, said) = match command {
                [] => refused(&all, ""),
                // flags of a command follow it
                _ => {
                    let output = Command::new(env!("CARGO_BIN_EXE_sessmux")).args(&all).output().unwrap();
                    (output.status.code(), String::from_utf8(output.stderr).unwrap())
                }
            };
            assert_eq!(code, Some(64), "{said}");
            assert!(said.starts_with(&format!("{field} = {value:?}: {reason}")), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    // the port is taken, which is found out after the files were found good
    let good = [
        "--upstream",
        "http://127.0.0.1:1",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ];
    assert_eq!(refused(&good, "").0, Some(69));
}

#[test]
fn roots_are_the_systems_or_the_given_ones_and_never_none() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let roots = folder.write("ca.pem", &authority.pem()).display().to_string();
    let none = folder.path("none").display().to_string();
    let empty = folder.write("empty.pem", "").display().to_string();
    let https = ["--upstream", "https://localhost:1"];
    // good as far as that: the port is taken
    assert_eq!(refused(&https, &roots).0, Some(69));
    assert_eq!(
        refused(&[&https[..], &["--upstream-ca", &roots]].concat(), &none).0,
        Some(69)
    );
    let (code, said) = refused(&https, &none);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.starts_with("upstream_ca: the system has no roots ("), "{said}");
    assert!(said.contains("https://localhost:1"), "{said}");
    // roots that nobody is judged by are not read
    assert_eq!(refused(&["--upstream", "http://127.0.0.1:1"], &none).0, Some(69));
    for (file, reason) in [
        (&none, "there is no such file"),
        (&empty, "the file has no certificate in PEM"),
    ] {
        let (code, said) = refused(&[&https[..], &["--upstream-ca", file]].concat(), &roots);
        assert_eq!((code, said), (Some(64), format!("upstream_ca = {file:?}: {reason}\n")));
    }
}

#[test]
fn a_key_in_any_form_will_do() {
    // and may stand in one file with its certificate
    let (folder, minted) = (Folder::new(), Minted::self_signed(&HERE, false));
    let both = folder
        .write("both.pem", &format!("{}{}", minted.key, minted.cert))
        .display()
        .to_string();
    let flags = [
        "--upstream",
        "http://127.0.0.1:1",
        "--tls-cert",
        &both,
        "--tls-key",
        &both,
    ];
    assert_eq!(refused(&flags, "").0, Some(69));
}

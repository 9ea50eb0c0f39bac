//! A file that cannot be used changes nothing, and is told why.

use super::common::Agent;
use super::*;

const ROUTE: &str = "[[route]]\npath = \"/ws\"\nkey = [\"query:s\"]\nbind = [\"key\"]";

/// Something is wrong with what is read: one line in the log, by the signal too, and all is as it was.
async fn changes_nothing(sessmux: &mut Running, reasons: &[&str]) {
    let (code, out, err) = sessmux.reload().await;
    assert_eq!((code, out.as_str()), (Some(64), ""), "{err}");
    assert_eq!(err.lines().count(), reasons.len(), "{err}");
    for (line, reason) in err.lines().zip(reasons) {
        assert!(line.contains(reason), "{line}, not {reason}");
    }
    let first = sessmux.says(&["reloaded"]).await;
    sessmux.signal("-HUP");
    let second = sessmux.says(&["reloaded"]).await;
    for line in [first, second] {
        assert!(
            line.contains("ERROR") && line.contains("not reloaded: all is as it was"),
            "{line}"
        );
        for reason in reasons {
            assert!(line.replace("\\\"", "\"").contains(reason), "{line}, not {reason}");
        }
    }
    let foreign = [("origin", "https://app.example")];
    assert_eq!(sessmux.page_with("/ws?s=1", &foreign).await.unwrap_err(), 403);
}

#[tokio::test]
async fn bad_files() {
    let mut agent = Agent::start().await;
    let mut sessmux = Running::start("bad", &file(&agent, "", ROUTE)).await;
    let mut page = sessmux.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let path = sessmux.folder.join("sessmux.toml");
    let good = file(&agent, "allow_origin = [\"https://app.example\"]", ROUTE);

    sessmux.write(&good.replace("[\"https", "[\"http*"));
    changes_nothing(
        &mut sessmux,
        &["allow_origin = \"http*://app.example\": is not http://HOST"],
    )
    .await;
    sessmux.write(&good.replace("[\"query:s\"]", "[\"query\", \"path:id\"]"));
    changes_nothing(
        &mut sessmux,
        &["route[0].key = \"path:id\": the route's path /ws does not"],
    )
    .await;
    // as much of it as was written when it was read
    sessmux.write(&good[..good.find(".example").unwrap()]);
    changes_nothing(&mut sessmux, &[&format!("{}:2: ", shown(&path))]).await;
    sessmux.write(&good[..good.find("path =").unwrap()]);
    changes_nothing(&mut sessmux, &["route[0].path"]).await;
    sessmux.write("");
    changes_nothing(&mut sessmux, &["upstream: not given"]).await;
    fs::write(&path, b"upstream = \"\xff\"").unwrap();
    changes_nothing(&mut sessmux, &["the file is not UTF-8"]).await;
    fs::remove_file(&path).unwrap();
    changes_nothing(
        &mut sessmux,
        &[&format!("config = \"{}\": there is no such file", shown(&path))],
    )
    .await;
    fs::create_dir(&path).unwrap();
    changes_nothing(&mut sessmux, &["the file cannot be read: "]).await;
    fs::remove_dir(&path).unwrap();
    // what would hold from the next start on only
    sessmux.write(&format!("tls_cert = \"none.pem\"\ntls_key = \"none.pem\"\n{good}"));
    changes_nothing(&mut sessmux, &["none.pem\": there is no such file"]).await;
    // two things at once
    sessmux.write(&good.replace("[\"https", "[\"http*").replace("/ws", "ws"));
    let both = ["allow_origin = \"http*://app.example\"", "route[0].path = \"ws\""];
    changes_nothing(&mut sessmux, &both).await;
    talk(&mut page, &mut server).await;
    assert_eq!(agent.count(), 1);
    sessmux.becomes(&good).await;
    let foreign = [("origin", "https://app.example")];
    talk(&mut sessmux.page_with("/ws?s=1", &foreign).await.unwrap(), &mut server).await;
}

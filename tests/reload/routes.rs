//! Routes, keys and profiles: new ones are for new sessions, and sessions keep theirs.

use super::common::{Agent, HELLO};
use super::*;

/// A route with this key at this path.
fn route(path: &str, rest: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\n{rest}\n")
}

#[tokio::test]
async fn a_route_comes_and_one_goes() {
    let mut agent = Agent::start().await;
    let [old, new] = ["/old", "/new"].map(|path| route(path, "key = [\"query:s\"]"));
    let mut sessmux = Running::start("routes", &file(&agent, "", &old)).await;
    let mut page = sessmux.page("/old?s=1").await;
    let mut server = agent.connection().await;
    let said = sessmux.becomes(&file(&agent, "", &new)).await;
    assert_eq!(
        said,
        "reloaded: route /new is new, route /old is gone\nsessions that no page finds any more: 1\n"
    );
    sessmux.says(&["reloaded", "stranded=1"]).await;

    // pages of the new one find their session
    let mut first = sessmux.page("/new?s=1").await;
    let mut found = agent.connection().await;
    talk(&mut first, &mut found).await;
    let mut second = sessmux.page("/new?s=1").await;
    assert_eq!(second.text().await, "there?");
    talk(&mut second, &mut found).await;
    assert_eq!(agent.count(), 2);

    // the session of the old one goes on, and whoever asks for it has a connection of their own
    talk(&mut page, &mut server).await;
    let mut stranger = sessmux.page("/old?s=1").await;
    let mut own = agent.connection().await;
    talk(&mut stranger, &mut own).await;
    talk(&mut page, &mut server).await;

    // and it is found again once its route is back
    sessmux.becomes(&file(&agent, "", &old)).await;
    let mut back = sessmux.page("/old?s=1").await;
    for _ in 0..2 {
        assert_eq!(back.text().await, "there?");
    }
    talk(&mut back, &mut server).await;
}

#[tokio::test]
async fn what_one_rule_of_keys_or_owners_made_no_other_finds() {
    let mut agent = Agent::start().await;
    let by = |rest: &str| file(&agent, "", &route("/ws", rest));
    let before = by("key = [\"query:name\"]\nbind = [\"key\"]");
    let others = [
        by("key = [\"query:token\"]\nbind = [\"key\"]"),
        by("key = [\"query:name\"]\nbind = [\"header:x-user\"]"),
    ];
    let sessmux = Running::start("rules", &before).await;
    let mut page = sessmux.page("/ws?name=bob").await;
    let mut server = agent.connection().await;
    talk(&mut page, &mut server).await;
    for (other, names) in others.iter().zip(["key", "bind"]) {
        let said = sessmux.becomes(other).await;
        let line = format!("reloaded: route /ws: {names}\nsessions that no page finds any more: 1\n");
        assert!(said.starts_with(&line), "{said}");
        // with the same value under both
        let headers = [("x-user", "bob")];
        let mut stranger = sessmux.page_with("/ws?name=bob&token=bob", &headers).await.unwrap();
        let mut own = agent.connection().await;
        talk(&mut stranger, &mut own).await;
        own.socket.close(None).await.unwrap();
        stranger.close_code().await;
        soon("its end", async {
            while sessmux.sessions().await.len() > 1 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        sessmux.becomes(&before).await;
    }
    let mut back = sessmux.page("/ws?name=bob").await;
    assert_eq!(back.text().await, "there?");
    talk(&mut back, &mut server).await;
}

#[tokio::test]
async fn a_session_keeps_the_profile_that_it_was_opened_with() {
    let mut agent = Agent::start().await;
    let folder = folder("profile");
    let profile = folder.join("profile.toml");
    fs::write(&profile, "name = \"own\"\n").unwrap();
    let file = file(
        &agent,
        "",
        &route("/ws", "key = [\"query:s\"]\nprofile = \"profile.toml\""),
    );
    let sessmux = Running::start_in(folder, &file, &[]).await;
    let hello = r#"{"type":"hello"}"#;
    let mut page = sessmux.page("/ws?s=old").await;
    let mut old = agent.connection().await;
    page.send(hello).await;
    assert_eq!(old.text().await, hello);
    talk(&mut page, &mut old).await;

    // the same file, with other contents
    fs::write(&profile, format!("name = \"own\"\n{HELLO}")).unwrap();
    assert_eq!(sessmux.reload().await.1, "reloaded: route /ws: profile\n");
    // a page of the old one is not waited for: it is shown what there was before it says a word, and what it says goes on
    let mut page = sessmux.page("/ws?s=old").await;
    assert_eq!(page.text().await, "there?");
    page.send(hello).await;
    assert_eq!(old.text().await, hello);
    // of a new one the first hello goes on, and later ones do not
    let mut page = sessmux.page("/ws?s=new").await;
    let mut new = agent.connection().await;
    page.send(hello).await;
    assert_eq!(new.text().await, hello);
    talk(&mut page, &mut new).await;
    let mut page = sessmux.page("/ws?s=new").await;
    page.send(hello).await;
    assert_eq!(page.text().await, "there?");
    talk(&mut page, &mut new).await;

    // and the other way round: the hello of a page is still one of the session's, where new ones know none
    fs::write(&profile, "name = \"own\"\n").unwrap();
    assert_eq!(sessmux.reload().await.1, "reloaded: route /ws: profile\n");
    let mut page = sessmux.page("/ws?s=new").await;
    page.send(hello).await;
    for _ in 0..2 {
        assert_eq!(page.text().await, "there?");
    }
    talk(&mut page, &mut new).await;
}

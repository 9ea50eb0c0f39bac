//! What the service manager is told.

use super::common::Agent;
use super::*;
use tokio::net::UnixDatagram;

const ROUTE: &str = "[[route]]\npath = \"/ws\"\nkey = [\"query:s\"]";

/// What listens in the place of the service manager.
struct Manager(UnixDatagram);

impl Manager {
    /// With a sessmux that it has started.
    async fn start(name: &str, file: &str, variables: &[(&str, &str)]) -> (Self, Running) {
        let folder = folder(name);
        let path = folder.join("notify");
        let manager = Self(UnixDatagram::bind(&path).unwrap());
        let path = shown(&path);
        let variables = [&[("NOTIFY_SOCKET", path.as_str())], variables].concat();
        let sessmux = Running::start_in(folder, file, &variables).await;
        (manager, sessmux)
    }

    /// The assignments of the next message.
    async fn told(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = soon("a message", self.0.recv(&mut bytes)).await.unwrap();
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// Awaits this assignment; returns all that came until then, with its message.
    async fn hears(&self, assignment: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            heard.extend(self.told().await);
            if heard.iter().any(|it| it == assignment) {
                return heard;
            }
        }
    }
}

#[tokio::test]
async fn a_life_from_its_start_to_its_end() {
    let mut agent = Agent::start().await;
    let file = file(&agent, "", ROUTE);
    let (manager, mut sessmux) = Manager::start("life", &file, &[]).await;
    assert_eq!(manager.told().await, ["READY=1"]);
    assert_eq!(manager.told().await, ["STATUS=Sessions: 0"]);
    let mut page = sessmux.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    assert_eq!(manager.told().await, ["STATUS=Sessions: 1"]);

    // whoever asks for it, and whatever becomes of it
    sessmux.signal("-HUP");
    reloads(&manager).await;
    assert_eq!(sessmux.reload().await.0, Some(0));
    reloads(&manager).await;
    sessmux.write("upstream");
    assert_eq!(sessmux.reload().await.0, Some(64));
    reloads(&manager).await;

    sessmux.signal("-TERM");
    assert_eq!(manager.hears("STOPPING=1").await, ["STOPPING=1"]);
    talk(&mut page, &mut server).await;
    server.socket.close(None).await.unwrap();
    page.close_code().await;
    let ended = tokio::task::spawn_blocking(move || {
        let status = sessmux.child.wait();
        (sessmux, status)
    });
    let (_sessmux, status) = soon("the end", ended).await.unwrap();
    assert!(status.unwrap().success());
}

/// A reload is told of, with when it began, and that it is over.
async fn reloads(manager: &Manager) {
    let told = manager.told().await;
    let since = told[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert_eq!((told[0].as_str(), told.len()), ("RELOADING=1", 2));
    assert!(since.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.told().await, ["READY=1"]);
}

#[tokio::test]
async fn the_watchdog_hears_that_it_turns_until_it_has_ended() {
    let mut agent = Agent::start().await;
    let variables = [("WATCHDOG_USEC", "20000")];
    let (manager, sessmux) = Manager::start("watchdog", &file(&agent, "", ROUTE), &variables).await;
    assert_eq!(manager.told().await, ["READY=1"]);
    assert_eq!(manager.told().await, ["WATCHDOG=1", "STATUS=Sessions: 0"]);
    // by far more often than the status is looked at
    for _ in 0..100 {
        assert_eq!(manager.told().await, ["WATCHDOG=1"]);
    }
    let _page = sessmux.page("/ws?s=1").await;
    let _server = agent.connection().await;
    manager.hears("STATUS=Sessions: 1").await;
    sessmux.signal("-TERM");
    manager.hears("STOPPING=1").await;
    // a drain takes its time, and is watched
    manager.hears("WATCHDOG=1").await;
}

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
    let (manager, sessmux) = Manager::start("life", &file, &[]).await;
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
    assert!(ended(sessmux).await.success());
}

/// How the process ended, by itself.
async fn ended(mut sessmux: Running) -> std::process::ExitStatus {
    // until nobody has its standard error any more
    soon("the end", async { while sessmux.log.recv().await.is_some() {} }).await;
    sessmux.child.wait().unwrap()
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
async fn a_disk_that_takes_its_time_stalls_nobody_and_whoever_asked_may_leave() {
    let mut agent = Agent::start().await;
    let file = file(&agent, "", ROUTE);
    let (manager, sessmux) = Manager::start("slow", &file, &[]).await;
    manager.hears("STATUS=Sessions: 0").await;
    let mut page = sessmux.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    manager.hears("STATUS=Sessions: 1").await;
    let path = endless(&sessmux);
    let mut operator = UnixStream::connect(sessmux.folder.join("admin.sock")).await.unwrap();
    let request = b"POST /reload HTTP/1.1\r\nHost: x\r\n\r\n";
    operator.write_all(request).await.unwrap();
    manager.hears("RELOADING=1").await;
    drop(operator);
    talk(&mut page, &mut server).await;
    assert_eq!(sessmux.sessions().await.len(), 1);
    let written = tokio::task::spawn_blocking(move || fs::write(path, file));
    soon("whoever reads it", written).await.unwrap().unwrap();
    assert_eq!(manager.told().await, ["READY=1"]);
}

/// Has the file be one that whoever reads it waits for, until somebody writes it.
fn endless(sessmux: &Running) -> PathBuf {
    let path = sessmux.folder.join("sessmux.toml");
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[tokio::test]
async fn nor_does_it_keep_the_process_from_its_end() {
    let agent = Agent::start().await;
    let (manager, sessmux) = Manager::start("stuck", &file(&agent, "", ROUTE), &[]).await;
    endless(&sessmux);
    sessmux.signal("-HUP");
    manager.hears("RELOADING=1").await;
    sessmux.signal("-TERM");
    assert!(ended(sessmux).await.success());
}

#[tokio::test]
async fn the_watchdog_hears_that_it_turns_until_it_has_ended() {
    let mut agent = Agent::start().await;
    let variables = [("WATCHDOG_USEC", "20000")];
    let (manager, sessmux) = Manager::start("watchdog", &file(&agent, "", ROUTE), &variables).await;
    assert_eq!(manager.told().await, ["READY=1"]);
    assert_eq!(manager.told().await, ["WATCHDOG=1", "STATUS=Sessions: 0"]);
    // by far more often than the status is looked at
    soon("a hundred", async {
        for _ in 0..100 {
            assert_eq!(manager.told().await, ["WATCHDOG=1"]);
        }
    })
    .await;
    let _page = sessmux.page("/ws?s=1").await;
    let _server = agent.connection().await;
    manager.hears("STATUS=Sessions: 1").await;
    sessmux.signal("-TERM");
    manager.hears("STOPPING=1").await;
    // a drain takes its time, and is watched
    manager.hears("WATCHDOG=1").await;
}

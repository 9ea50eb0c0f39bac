//! A well-behaved session beside an attack.

use crate::common::raw::{Pair, Raw, RawAgent};
use crate::common::{Proxy, soon};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Messages go round without end, each with its number, and come as they were sent.
pub(crate) struct Beside {
    stop: CancellationToken,
    going: JoinHandle<u64>,
}

impl Beside {
    pub(crate) async fn start(proxy: &Proxy, agent: &RawAgent) -> Self {
        let pair = agent.session(proxy, "/ws?session=beside").await;
        let stop = CancellationToken::new();
        Self {
            going: tokio::spawn(go(pair, stop.clone())),
            stop,
        }
    }

    /// It was there all the time, lost nothing, and goes on.
    pub(crate) async fn undisturbed(self) {
        self.stop.cancel();
        let rounds = soon("the session beside", self.going).await.unwrap();
        assert!(rounds > 0, "nothing went round");
    }
}

async fn go(mut pair: Pair, stop: CancellationToken) -> u64 {
    let mut round = 0;
    loop {
        for _ in 0..8 {
            pair.page.send(&format!("page {round}")).await;
            assert_eq!(pair.server.text().await, format!("page {round}"));
            pair.server.send(&format!("server {round}")).await;
            assert_eq!(pair.page.text().await, format!("server {round}"));
            round += 1;
        }
        // one more round after it was told: the attack is over, and the session works
        if stop.is_cancelled() {
            return round;
        }
    }
}

/// The lines of a same-origin page in the browser that has this cookie, whose 32 digits are all `id`.
pub(crate) fn browser(proxy: &Proxy, id: char) -> String {
    let port = proxy.address.port();
    format!(
        "Origin: http://{}\r\nCookie: sessmux-{port}={}\r\n",
        proxy.address,
        value(id)
    )
}

/// A minted cookie's value.
pub(crate) fn value(id: char) -> String {
    std::iter::repeat_n(id, 32).collect()
}

/// A session whose page sends these lines.
pub(crate) async fn session(proxy: &Proxy, agent: &RawAgent, target: &str, lines: &str) -> Pair {
    let mut page = Raw::ask(proxy.address, target, lines).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    Pair { page, server }
}

//! A well-behaved session beside an attack.

use crate::common::raw::{Pair, RawAgent};
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

//! The founding case and its kin, over real sockets.

mod common;

use common::{Agent, Proxy, route};
use sessmux::config::KeySource;

#[tokio::test]
async fn an_approval_survives_a_refresh() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::QueryParam("session".into())])).await;

    let mut page = proxy.page("/ws?session=a").await;
    let mut server = agent.connection().await;
    page.send("please").await;
    assert_eq!(server.text().await, "please");
    server.send("approve?").await;
    assert_eq!(page.text().await, "approve?");
    page.leave().await;

    server.send("still here").await;
    let mut page = proxy.page("/ws?session=a").await;
    assert_eq!(page.text().await, "approve?");
    assert_eq!(page.text().await, "still here");
    page.send("yes").await;
    assert_eq!(server.text().await, "yes");
    server.send("done").await;
    assert_eq!(page.text().await, "done");
    assert_eq!(agent.count(), 1);
}

//! stub
/// stub
pub async fn run(_l: std::net::SocketAddr, _s: tokio_util::sync::CancellationToken) -> std::io::Result<()> {
    Ok(())
}

//! The proxies, as they come: one thread each, no access logs.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// What starts this one, between `listen` and `server`; files that it needs are made in `work`.
pub(crate) fn command(
    name: &str,
    sessmux: &str,
    listen: SocketAddr,
    server: SocketAddr,
    work: &Path,
) -> Option<Vec<String>> {
    let configured = |template: &str| {
        let text = template
            .replace("LISTEN", &listen.to_string())
            .replace("SERVER", &server.to_string())
            .replace("WORK", work.to_str().unwrap());
        let path = work.join(format!("{name}-{}", listen.port()));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let command = match name {
        "sessmux" => [
            sessmux.to_owned(),
            format!("--listen={listen}"),
            format!("--upstream=http://{server}"),
            "--key=query:session".to_owned(),
            // sessions that nobody comes back to are none of the next run's
            "--grace=1s".to_owned(),
            "--log=error".to_owned(),
        ]
        .into(),
        "nginx" => {
            let file = configured(include_str!("nginx.conf"));
            ["nginx", "-p", work.to_str().unwrap(), "-c", &file]
                .map(str::to_owned)
                .into()
        }
        "haproxy" => ["haproxy", "-db", "-f", &configured(include_str!("haproxy.cfg"))]
            .map(str::to_owned)
            .into(),
        _ => return None,
    };
    Some(command)
}

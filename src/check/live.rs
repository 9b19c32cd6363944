//! `vigie check --live`: asks the process that these settings describe whether it is alive, as a
//! container's health check does where no other program is at hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::HttpConfig;

/// How long the whole answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longer than any answer of the page.
const LONGEST: u64 = 64 * 1024;

/// What `/livez` says, or why it says nothing; whether the process is alive.
pub(super) async fn ask(config: &HttpConfig) -> (String, bool) {
    if config.listen.is_empty() {
        return (
            "http.listen is empty: there is no page to ask".into(),
            false,
        );
    }
    match tokio::time::timeout(PATIENCE, get(&config.listen)).await {
        Ok(Ok(answer)) => read(&answer),
        Ok(Err(problem)) => (format!("{}: {problem}", config.listen), false),
        Err(_) => (
            format!("{} did not answer within {PATIENCE:?}", config.listen),
            false,
        ),
    }
}

async fn get(listen: &str) -> std::io::Result<String> {
    let mut last = std::io::Error::other("the name has no address");
    for address in tokio::net::lookup_host(listen).await? {
        match TcpStream::connect(near(address)).await {
            Ok(mut socket) => {
                socket
                    .write_all(
                        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                    )
                    .await?;
                let mut answer = String::new();
                socket.take(LONGEST).read_to_string(&mut answer).await?;
                return Ok(answer);
            }
            Err(problem) => last = problem,
        }
    }
    Err(last)
}

/// Who listens on every address is reached on the loopback.
fn near(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// The page's text, and whether its status is 200.
fn read(answer: &str) -> (String, bool) {
    let (head, page) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let alive = head.starts_with("HTTP/1.1 200 ");
    let said = if page.is_empty() { head } else { page };
    (said.trim_end().to_owned(), alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_200_means_alive() {
        let answer = |status: &str| format!("HTTP/1.1 {status}\r\nserver: x\r\n\r\nlane 0 200\n");
        assert_eq!(read(&answer("200 OK")), ("lane 0 200".to_owned(), true));
        assert_eq!(
            read(&answer("503 Service Unavailable")),
            ("lane 0 200".to_owned(), false)
        );
        assert!(!read("").1);
        assert!(!read("SSH-2.0-Server 200").1);
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_the_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("192.0.2.1:9464", "192.0.2.1:9464"),
        ] {
            assert_eq!(near(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}

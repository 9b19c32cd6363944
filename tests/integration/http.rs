//! The pages, asked over a socket.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vigie::config::{ConfigError, HttpConfig};
use vigie::health::Health;
use vigie::http;
use vigie::metrics::{self, Exposition};

/// A process records once, however many tests it runs.
fn exposition() -> Exposition {
    static EXPOSITION: OnceLock<Exposition> = OnceLock::new();
    EXPOSITION
        .get_or_init(|| metrics::install("payments").unwrap())
        .clone()
}

fn settings(listen: &str, token: &str) -> HttpConfig {
    HttpConfig {
        listen: listen.into(),
        metrics_token: token.to_owned().into(),
        metrics_token_file: Default::default(),
    }
}

struct Running {
    address: SocketAddr,
    health: Arc<Health>,
    stop: watch::Sender<bool>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(config: &HttpConfig) -> Running {
    let pages = http::listen(config).await.unwrap().unwrap();
    let (address, health) = (pages.address(), Health::new());
    let (stop, shutdown) = watch::channel(false);
    let task = tokio::spawn(pages.serve(Arc::clone(&health), exposition(), shutdown));
    Running {
        address,
        health,
        stop,
        task,
    }
}

/// Status and whole answer.
async fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

async fn problem(config: &HttpConfig) -> String {
    match http::listen(config).await {
        Err(
            problem @ ConfigError::Wrong {
                setting: "http.listen",
                ..
            },
        ) => problem.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it listens"),
    }
}

#[tokio::test]
async fn the_process_is_ready_when_its_parts_are_and_says_what_is_missing() {
    let running = start(&settings("127.0.0.1:0", "")).await;
    let (status, page) = get(running.address, "/readyz", "").await;
    assert_eq!(status, 503, "{page}");
    let lane = running
        .health
        .join("lane 0", Duration::from_secs(60), "warming up");
    lane.problems(vec![
        "partition 3 is held: too many dead letters".into(),
        "database away".into(),
    ]);
    let (status, page) = get(running.address, "/readyz", "").await;
    assert_eq!(status, 503);
    assert!(
        page.ends_with(
            "\r\n\r\nlane 0: partition 3 is held: too many dead letters\nlane 0: database away\n"
        ),
        "{page}"
    );
    lane.ready();
    assert_eq!(get(running.address, "/readyz", "").await.0, 200);
    assert_eq!(get(running.address, "/livez", "").await.0, 200);
    let stuck = running.health.join("lane 1", Duration::ZERO, "warming up");
    crate::support::eventually("it is not alive", async || {
        (get(running.address, "/livez", "").await.0 == 503).then_some(())
    })
    .await;
    stuck.ended();
    assert_eq!(get(running.address, "/livez", "").await.0, 200);
    assert_eq!(get(running.address, "/nothing", "").await.0, 404);
}

#[tokio::test]
async fn metrics_are_shown_on_loopback_and_count_their_own_requests() {
    let running = start(&settings("127.0.0.1:0", "")).await;
    get(running.address, "/livez", "").await;
    let (status, page) = get(running.address, "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(
        page.contains("vigie_http_request_seconds_bucket{route=\"/livez\",status=\"200\""),
        "{page}"
    );
    assert!(page.contains("process_open_fds "), "{page}");
}

#[tokio::test]
async fn others_need_the_token_for_metrics_and_nothing_for_health() {
    let running = start(&settings("0.0.0.0:0", "correct-horse")).await;
    let address = SocketAddr::from(([127, 0, 0, 1], running.address.port()));
    assert_eq!(get(address, "/metrics", "").await.0, 401);
    assert_eq!(
        get(
            address,
            "/metrics",
            "Authorization: Bearer wrong-horse-\r\n"
        )
        .await
        .0,
        401
    );
    assert_eq!(
        get(
            address,
            "/metrics",
            "Authorization: Bearer correct-horse\r\n"
        )
        .await
        .0,
        200
    );
    assert_eq!(get(address, "/livez", "").await.0, 200);
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_one_sentence_that_names_the_setting() {
    let others = problem(&settings("0.0.0.0:0", "")).await;
    assert!(others.contains("http.metrics_token"), "{others}");
    let running = start(&settings("127.0.0.1:0", "")).await;
    let taken = problem(&settings(&running.address.to_string(), "")).await;
    assert!(taken.contains("is taken"), "{taken}");
    assert!(
        problem(&settings("nonsense", ""))
            .await
            .contains("host:port")
    );
    assert!(http::listen(&settings("", "")).await.unwrap().is_none());
}

#[tokio::test]
async fn the_pages_end_when_told_even_while_somebody_holds_a_connection() {
    let running = start(&settings("127.0.0.1:0", "")).await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    running.stop.send(true).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(8), running.task).await;
    ended.expect("it ends").unwrap().unwrap();
}

/// Exit code and words of `vigie check --live` where the pages are to be at this address.
async fn check_live(listen: String) -> (Option<i32>, String) {
    let mut command = crate::support::vigie::command(&["check", "--live"]);
    command.env("VIGIE_HTTP__LISTEN", listen);
    let asked = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = asked.await.unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[tokio::test]
async fn a_health_check_passes_on_what_the_running_process_says() {
    let running = start(&settings("0.0.0.0:0", "correct-horse")).await;
    let listen = format!("0.0.0.0:{}", running.address.port());
    assert_eq!(
        check_live(listen.clone()).await,
        (Some(0), "alive\n".to_owned())
    );
    let stuck = running.health.join("lane 7", Duration::ZERO, "warming up");
    let (code, said) = crate::support::eventually("it is not alive", async || {
        let (code, said) = check_live(listen.clone()).await;
        (code != Some(0)).then_some((code, said))
    })
    .await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("lane 7"), "{said}");
    stuck.ended();
    running.stop.send(true).unwrap();
    running.task.await.unwrap().unwrap();
    let (code, said) = check_live(listen).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("refused"), "{said}");
    assert_eq!(check_live(String::new()).await.0, Some(1));
}

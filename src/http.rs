//! `/livez`, `/readyz` and `/metrics`, on the loopback unless told otherwise.
//!
//! The first two tell nothing worth hiding and need no credential; the metrics of an address
//! that others reach need the bearer token of `http.metrics_token`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::{ConfigError, HttpConfig, Secret};
use crate::health::Health;
use crate::metrics::{self, Exposition};

/// How often recorded values are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long requests under way may take once the process is to end.
const GRACE: Duration = Duration::from_secs(2);

/// The pages, listening and not yet answered.
pub struct Pages {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<Secret>,
}

#[derive(Clone)]
struct Shared {
    health: Arc<Health>,
    exposition: Exposition,
    token: Option<Arc<Secret>>,
}

/// Takes `http.listen`; `None` when it is empty.
///
/// # Errors
/// When the address is malformed or taken, or would show the metrics to others without a token.
pub async fn listen(config: &HttpConfig) -> Result<Option<Pages>, ConfigError> {
    if config.listen.is_empty() {
        return Ok(None);
    }
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&config.listen)
        .await
        .map_err(|_| wrong(format!("expected host:port, found {:?}", config.listen)))?
        .collect();
    let loopback = addresses.iter().all(|address| address.ip().is_loopback());
    if !loopback && config.metrics_token.is_empty() {
        return Err(wrong(format!(
            "{} is reached by others, so /metrics needs a credential: set http.metrics_token_file \
             or listen on 127.0.0.1",
            config.listen
        )));
    }
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => wrong(format!(
            "{} is taken by another process; choose another port, or \"\" for none",
            config.listen
        )),
        _ => wrong(format!("cannot listen on {}: {error}", config.listen)),
    };
    let listener = TcpListener::bind(addresses.as_slice())
        .await
        .map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let token = &config.metrics_token;
    Ok(Some(Pages {
        listener,
        address,
        token: (!token.is_empty()).then(|| token.clone()),
    }))
}

impl Pages {
    /// Where the pages are; the port chosen when the setting says 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` says true, and keeps the recorded metrics' memory bounded.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self,
        health: Arc<Health>,
        exposition: Exposition,
        shutdown: watch::Receiver<bool>,
    ) -> std::io::Result<()> {
        tracing::info!("health and metrics pages listen on {}", self.address);
        let shared = Shared {
            health,
            exposition: exposition.clone(),
            token: self.token.map(Arc::new),
        };
        let server = axum::serve(self.listener, router(shared))
            .with_graceful_shutdown(told(shutdown.clone()))
            .into_future();
        let overdue = async {
            told(shutdown).await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = server => ended,
            () = overdue => Ok(()),
            () = keep_up(&exposition) => Ok(()),
        }
    }
}

fn wrong(problem: String) -> ConfigError {
    ConfigError::Wrong {
        setting: "http.listen",
        problem,
    }
}

/// Ends when `shutdown` says true, or when nobody is left who could say it.
async fn told(mut shutdown: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a way of being told.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

async fn keep_up(exposition: &Exposition) {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        exposition.upkeep();
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such page\n") })
        .layer(middleware::from_fn(measure))
        .with_state(shared)
}

async fn livez(State(shared): State<Shared>) -> Response {
    say(&shared.health.stuck(), "alive\n")
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let mut problems = shared.health.stuck();
    problems.extend(shared.health.problems());
    say(&problems, "ready\n")
}

fn say(problems: &[String], fine: &'static str) -> Response {
    if problems.is_empty() {
        return fine.into_response();
    }
    let lines: String = problems.iter().flat_map(|line| [line, "\n"]).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

async fn metrics_page(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if !shared.token.is_none_or(|token| bears(&headers, &token)) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "a token is needed\n").into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, shared.exposition.render()).into_response()
}

/// Compares in constant time: how long it takes tells nothing but the token's length.
fn bears(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| given.ct_eq(token.reveal().as_bytes()).into())
}

async fn measure(request: Request, next: Next) -> Response {
    let route = match request.uri().path() {
        "/livez" => "/livez",
        "/readyz" => "/readyz",
        "/metrics" => "/metrics",
        _ => "other",
    };
    let began = Instant::now();
    let response = next.run(request).await;
    metrics::http_request(route, response.status().as_u16(), began.elapsed());
    response
}

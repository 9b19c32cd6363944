//! One POST to a webhook, and what its answer means. The address is a secret: nothing that is
//! said here holds it.

use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::time::timeout;

use super::sender::SendError;
use crate::config::{ConfigError, Secret, WebhookConfig};
use crate::tls;

/// How long is read what a server says to a status that is known.
const WORDS: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 1_024;
/// Characters of an answer that are kept.
const ANSWER_CHARS: usize = 100;
/// Characters of any problem that are kept.
const PROBLEM_CHARS: usize = 300;
/// Longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(900);
/// Parts of an address shorter than this are no secret.
const SECRET_CHARS: usize = 4;

/// Where one webhook's messages go.
pub struct Target {
    url: Url,
    client: Client,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl Target {
    /// Reads the address; `None` when it is empty. `webhook` brings what both kinds share.
    ///
    /// # Errors
    /// When the address is none, is not encrypted, or the certificate authority is unreadable.
    pub fn new(
        setting: &'static str,
        url: &Secret,
        webhook: &WebhookConfig,
    ) -> Result<Option<Self>, ConfigError> {
        if url.is_empty() {
            return Ok(None);
        }
        let wrong = |problem: String| ConfigError::Wrong { setting, problem };
        let url: Url = url
            .reveal()
            .parse()
            .map_err(|_| wrong("expected an address such as https://host/path".into()))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let fits = match url.scheme() {
            "https" => !host.is_empty(),
            "http" => is_loopback(&host),
            _ => false,
        };
        if !fits {
            return Err(wrong(
                "expected https, or http on the loopback: it would be sent in the clear".into(),
            ));
        }
        let tls = tls::client("webhook.ca_file", &webhook.ca_file)?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            // Shorter than the whole, so that what took too long is known to have been the answer.
            .connect_timeout(webhook.timeout.mul_f64(0.75))
            .user_agent(concat!("vigie/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&host) {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| wrong(error.without_url().to_string()))?;
        Ok(Some(Self {
            url,
            client,
            tls: Arc::new(tls),
            timeout: webhook.timeout,
        }))
    }

    /// Sends `body`, once; its status comes within `webhook.timeout`, or not at all.
    ///
    /// # Errors
    /// See [`SendError`]; after `Unsure` the server may nevertheless have it.
    pub async fn post(&self, body: Vec<u8>, headers: HeaderMap) -> Result<(), SendError> {
        let request = self.client.post(self.url.clone()).headers(headers);
        match timeout(self.timeout, request.body(body).send()).await {
            Ok(Ok(answer)) => self.judge(answer).await,
            Ok(Err(error)) if error.is_connect() => Err(SendError::Away(self.sentence(error))),
            Ok(Err(error)) => Err(SendError::Unsure(self.sentence(error))),
            Err(_) => Err(SendError::Unsure(self.no_answer())),
        }
    }

    /// Connects and shakes hands, and sends nothing.
    ///
    /// # Errors
    /// What stood in the way, as a sentence without the address.
    pub async fn probe(&self) -> Result<(), String> {
        let (url, tls, limit) = (self.url.clone(), Arc::clone(&self.tls), self.timeout);
        let shaken = tokio::task::spawn_blocking(move || shake_hands(&url, tls, limit));
        match timeout(self.timeout, shaken).await {
            Ok(Ok(result)) => result.map_err(|error| self.plain(&error.to_string())),
            Ok(Err(_)) | Err(_) => Err(self.no_answer()),
        }
    }

    /// What the answer means.
    async fn judge(&self, answer: Response) -> Result<(), SendError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        if status.is_redirection() {
            return Err(SendError::Refused(format!(
                "it answers {status}: a redirect, and none is followed"
            )));
        }
        let asked = asked_pause(answer.headers(), SystemTime::now());
        // A body that comes drop by drop, or never, does not make the status unknown.
        let words = timeout(WORDS, self.words(answer)).await.unwrap_or_default();
        let problem = format!("it answers {status}{words}");
        let passes = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            );
        Err(match (passes, asked) {
            (false, _) => SendError::Refused(problem),
            (true, None) => SendError::Away(problem),
            (true, Some(pause)) => SendError::NotBefore { problem, pause },
        })
    }

    /// The beginning of an answer such as `: no_service`, where it is plain words.
    async fn words(&self, mut answer: Response) -> String {
        let mut read = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            read.extend_from_slice(&chunk);
            if read.len() >= ANSWER_BYTES {
                break;
            }
        }
        let text = String::from_utf8_lossy(&read);
        let text = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || " _-.,:'".contains(c);
        if text.is_empty() || text.len() > ANSWER_CHARS || !text.chars().all(plain) {
            return String::new();
        }
        match self.secrets().any(|secret| text.contains(&secret)) {
            true => String::new(),
            false => format!(": {text}"),
        }
    }

    /// What of the address must not be said.
    fn secrets(&self) -> impl Iterator<Item = String> {
        let path = self.url.path().split('/');
        let query = self.url.query().unwrap_or_default().split(['&', '=']);
        let host = self.url.host_str();
        let user = [self.url.username(), self.url.password().unwrap_or_default()];
        path.chain(query)
            .chain(host)
            .chain(user)
            .filter(|part| part.len() >= SECRET_CHARS)
            .map(str::to_owned)
    }

    fn no_answer(&self) -> String {
        let limit = humantime::format_duration(self.timeout);
        format!("no answer within {limit}")
    }

    /// The error with its causes, on one line and without the address.
    fn sentence(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            cause = inner.source();
        }
        self.plain(&text)
    }

    fn plain(&self, text: &str) -> String {
        let mut text = text.replace(|c: char| c.is_control(), " ");
        for secret in self.secrets() {
            text = text.replace(&secret, "(address)");
        }
        text.chars().take(PROBLEM_CHARS).collect()
    }
}

/// The pause that a server asks for: seconds, or a date.
fn asked_pause(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?;
            let date = SystemTime::from(date.timestamp());
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(asked.min(LONGEST_ASKED))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip: Result<IpAddr, _> = bare.parse();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn shake_hands(url: &Url, tls: Arc<ClientConfig>, limit: Duration) -> std::io::Result<()> {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(443);
    let mut last = std::io::Error::other("its name has no address");
    for address in (host, port).to_socket_addrs()? {
        let mut socket = match TcpStream::connect_timeout(&address, limit) {
            Ok(socket) => socket,
            Err(error) => {
                last = error;
                continue;
            }
        };
        if url.scheme() == "http" {
            return Ok(());
        }
        socket.set_read_timeout(Some(limit))?;
        socket.set_write_timeout(Some(limit))?;
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let mut session = ClientConnection::new(tls, name).map_err(std::io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        return Ok(());
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn target(url: &str) -> Result<Option<Target>, ConfigError> {
        let webhook = WebhookConfig {
            url: Secret::default(),
            url_file: Default::default(),
            secret: Secret::default(),
            secret_file: Default::default(),
            ca_file: Default::default(),
            timeout: Duration::from_secs(1),
        };
        Target::new("slack.url", &Secret::from(url.to_owned()), &webhook)
    }

    fn asked(value: &'static str, now: SystemTime) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        asked_pause(&headers, now)
    }

    #[test]
    fn an_address_in_the_clear_is_refused_anywhere_but_on_the_loopback() {
        for url in [
            "http://10.0.0.1/x",
            "http://example.org/x",
            "ftp://h/x",
            "x",
            "https:///",
        ] {
            let problem = target(url).err().expect(url).to_string();
            assert!(problem.starts_with("slack.url: expected"), "{problem}");
            assert!(!problem.contains("example.org"), "{problem}");
        }
        for url in [
            "http://127.0.0.1:1/x",
            "http://localhost/x",
            "http://[::1]/x",
        ] {
            assert!(target(url).unwrap().is_some(), "{url}");
        }
        assert!(target("").unwrap().is_none());
    }

    #[test]
    fn nothing_that_is_said_holds_the_address() {
        let target = target("http://127.0.0.1:1/services/T0001/tokenXYZ?key=hush")
            .unwrap()
            .unwrap();
        let said = target.plain("no way to 127.0.0.1 /services/T0001/tokenXYZ?key=hush\r\nnow");
        for secret in ["127.0.0.1", "T0001", "tokenXYZ", "hush", "\r", "\n"] {
            assert!(!said.contains(secret), "{said}");
        }
    }

    #[test]
    fn a_server_may_ask_for_a_pause_in_seconds_or_by_date_and_not_for_ever() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_420);
        assert_eq!(asked("30", now), Some(Duration::from_secs(30)));
        let date = asked("Wed, 21 Oct 2015 07:28:00 GMT", now);
        assert_eq!(date, Some(Duration::from_secs(60)));
        let past = asked("Tue, 20 Oct 2015 07:28:00 GMT", now);
        assert_eq!(past, Some(Duration::ZERO));
        assert_eq!(asked("86400", now), Some(LONGEST_ASKED));
        assert_eq!(asked("soon", now), None);
    }
}

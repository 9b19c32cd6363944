//! One call of the API: bounded in time and size, and never led elsewhere.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use tokio::time::timeout;
use vigie::tls;

/// Largest body; a row of the API has less than a kilobyte.
const BODY_BYTES: usize = 1 << 20;

/// Where payments are asked for.
pub struct Api {
    client: Client,
    url: Url,
    patience: Duration,
}

impl Api {
    /// Reads the address.
    ///
    /// # Errors
    /// When it is none, or no authority of certificates can be read.
    pub fn new(url: &str, ca_file: Option<&Path>, patience: Duration) -> anyhow::Result<Self> {
        let url: Url = url
            .parse()
            .context("--url: expected an address such as https://host/path")?;
        ensure!(
            matches!(url.scheme(), "http" | "https"),
            "--url: expected an address that begins with https:// or http://"
        );
        let tls = match (url.scheme(), ca_file) {
            ("http", None) => tls::client_without_trust().map_err(anyhow::Error::msg)?,
            (_, ca_file) => tls::client("--ca-file", ca_file.unwrap_or(Path::new("")))?,
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .user_agent(concat!("vigie-producer/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("no HTTP client can be had")?;
        Ok(Self {
            client,
            url,
            patience,
        })
    }

    /// The host, for messages: the rest of the address may hold secrets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The body of one answer.
    ///
    /// # Errors
    /// A sentence that says what was wrong.
    pub async fn call(&self) -> anyhow::Result<Vec<u8>> {
        match timeout(self.patience, self.body()).await {
            Ok(answered) => answered,
            Err(_) => bail!("no whole answer within {} s", self.patience.as_secs()),
        }
    }

    async fn body(&self) -> anyhow::Result<Vec<u8>> {
        let request = self.client.get(self.url.clone());
        let answer = request.header(ACCEPT, "application/json").send().await;
        let mut answer = answer.map_err(|error| anyhow!("no answer: {}", sentence(error)))?;
        judge(&answer)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| anyhow!("the answer breaks off: {}", sentence(error)))?
        {
            ensure!(
                body.len() + chunk.len() <= BODY_BYTES,
                "expected an answer of at most {BODY_BYTES} bytes, found more"
            );
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Whether the answer can be what was asked for, by its head.
fn judge(answer: &Response) -> anyhow::Result<()> {
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind: String = kind
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "/+.-".contains(*c))
        .take(60)
        .collect();
    if status.is_redirection() {
        bail!("the answer is {status}: a redirect, and none is followed");
    }
    let asleep = match kind.as_str() {
        "text/html" => "; a host that sleeps sends such pages while it wakes up",
        _ => "",
    };
    ensure!(
        status.is_success(),
        "expected the status 200, found {status}{asleep}"
    );
    let is_json = kind == "application/json" || kind.ends_with("+json");
    let found = if kind.is_empty() { "no type" } else { &kind };
    ensure!(is_json, "expected application/json, found {found}{asleep}");
    Ok(())
}

/// The error with its causes, without the address.
fn sentence(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text.replace(char::is_control, " ")
        .chars()
        .take(300)
        .collect()
}

//! Mail: one attempt to hand one message to the server, and what its failure means.

mod dial;
mod dialogue;

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::Auth;
use lettre::transport::smtp::extension::ClientId;
use tokio::time::{Instant, timeout_at};

use super::outbox::{Attachment, NoticeKind};
use super::queue::Message;
use super::sender::SendError;
use crate::config::{Config, ConfigError, MailConfig, MailTls};

/// The way to the mail server.
#[derive(Clone)]
pub struct Mailer {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    from: Mailbox,
    /// Who hears of incidents and of the system.
    on_call: Mailboxes,
    /// Who gets the report; empty: who hears of incidents.
    readers: Mailboxes,
    /// Where canaries go; empty: as far as the server's greeting.
    canaries: Mailboxes,
    timeout: Duration,
}

#[derive(Clone)]
enum Tls {
    Plain,
    Starttls(TlsParameters),
    Whole(TlsParameters),
}

impl Mailer {
    /// Reads the settings; `None` when `mail.host` is empty: mail is off.
    ///
    /// # Errors
    /// When an address, the certificate authority or the use of a password makes no sense.
    pub fn new(config: &Config) -> Result<Option<Self>, ConfigError> {
        let mail = &config.mail;
        if mail.host.is_empty() {
            return match config.canary.to.is_empty() {
                true => Ok(None),
                false => Err(wrong(
                    "canary.to",
                    "it needs a server: set mail.host".into(),
                )),
            };
        }
        let on_call = mailboxes("mail.to", &mail.to)?;
        if on_call.iter().next().is_none() {
            return Err(wrong("mail.to", "expected at least one recipient".into()));
        }
        let from = mail.from.parse();
        let with_user = !mail.user.is_empty();
        if with_user && mail.tls == MailTls::Plain && !is_loopback(&mail.host) {
            let problem =
                "\"plain\" would send mail.password in the clear; use \"starttls\" or \"tls\"";
            return Err(wrong("mail.tls", problem.into()));
        }
        let password = mail.password.reveal().to_owned();
        Ok(Some(Self {
            host: mail.host.clone(),
            port: mail.port,
            tls: tls(mail)?,
            credentials: with_user.then(|| Credentials::new(mail.user.clone(), password)),
            from: from.map_err(|_| no_address("mail.from", &mail.from))?,
            on_call,
            readers: mailboxes("report.to", &config.report.to)?,
            canaries: mailboxes("canary.to", &config.canary.to)?,
            timeout: mail.timeout,
        }))
    }

    /// Who is told of this.
    fn recipients(&self, kind: NoticeKind) -> &Mailboxes {
        match kind {
            NoticeKind::Incident | NoticeKind::System => &self.on_call,
            NoticeKind::Report if self.readers.iter().next().is_none() => &self.on_call,
            NoticeKind::Report => &self.readers,
            NoticeKind::Canary => &self.canaries,
        }
    }

    /// Hands `message` to the server, once, within `mail.timeout`. Recipients that it does not
    /// take, while it takes others, are logged: the message counts as sent. A canary without a
    /// mailbox of its own goes as far as one can without sending.
    ///
    /// # Errors
    /// See [`SendError`]; after `Unsure` the server may nevertheless have it.
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        if self.recipients(message.kind).iter().next().is_none() {
            return self.probe().await;
        }
        let mail = self.compose(message)?;
        let content = mail.formatted();
        let deadline = Instant::now() + self.timeout;
        let mut connection = in_time(deadline, self.connect(deadline)).await?;
        let named = dialogue::address(&mut connection, mail.envelope(), &content);
        let handed = match in_time(deadline, named).await {
            Ok(left_out) => {
                let handed = dialogue::hand_over(&mut connection, &content, deadline).await;
                handed.map(|()| left_out)
            }
            Err(error) => Err(error),
        };
        dialogue::part(connection);
        for problem in handed? {
            let message = message.id;
            tracing::warn!(message, problem, "a recipient does not get this message");
        }
        Ok(())
    }

    /// Goes as far as one can without sending: greeting, encryption, login.
    ///
    /// # Errors
    /// [`SendError::Away`] with what stood in the way.
    pub async fn probe(&self) -> Result<(), SendError> {
        let deadline = Instant::now() + self.timeout;
        let connection = in_time(deadline, self.connect(deadline)).await?;
        dialogue::part(connection);
        Ok(())
    }

    async fn connect(&self, deadline: Instant) -> Result<AsyncSmtpConnection, SendError> {
        let hello = ClientId::default();
        let whole = match &self.tls {
            Tls::Whole(parameters) => Some(parameters),
            Tls::Plain | Tls::Starttls(_) => None,
        };
        let server = (self.host.as_str(), self.port);
        let mut connection = dial::dial(server, whole, &hello, deadline).await?;
        if let Tls::Starttls(parameters) = &self.tls {
            let upgraded = connection.starttls(parameters.clone(), &hello).await;
            upgraded.map_err(dialogue::away)?;
        }
        if let Some(credentials) = &self.credentials {
            let login = connection.auth(DEFAULT_MECHANISMS, credentials).await;
            login.map_err(|error| no_login(&error, credentials))?;
        }
        Ok(connection)
    }

    fn compose(&self, message: &Message) -> Result<lettre::Message, SendError> {
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .message_id(Some(message.message_id.clone()))
            .date(message.created_at)
            .subject(&message.subject);
        for recipient in self.recipients(message.kind).iter() {
            builder = builder.to(recipient.clone());
        }
        let refused = |error: lettre::error::Error| SendError::Refused(error.to_string());
        let bodies = MultiPart::alternative_plain_html(message.text.clone(), message.html.clone());
        let parts = match message.attachments.is_empty() {
            true => bodies,
            false => with_files(bodies, &message.attachments)?,
        };
        let mut mail = builder.multipart(parts).map_err(refused)?;
        // Asks other robots not to answer.
        mail.headers_mut().insert_raw(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
        Ok(mail)
    }
}

fn tls(config: &MailConfig) -> Result<Tls, ConfigError> {
    let kind = match config.tls {
        MailTls::Plain => return Ok(Tls::Plain),
        MailTls::Starttls => Tls::Starttls,
        MailTls::Tls => Tls::Whole,
    };
    let mut builder = TlsParameters::builder(config.host.clone());
    let file = &config.ca_file;
    if !file.as_os_str().is_empty() {
        let unusable =
            |problem: String| wrong("mail.ca_file", format!("{}: {problem}", file.display()));
        let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
        let authority = Certificate::from_pem(&pem);
        let authority = authority.map_err(|_| unusable("not a PEM certificate".into()))?;
        builder = builder.add_root_certificate(authority);
    }
    let parameters = builder.build();
    let parameters = parameters.map_err(|error| wrong("mail.tls", error.to_string()))?;
    Ok(kind(parameters))
}

fn with_files(bodies: MultiPart, files: &[Attachment]) -> Result<MultiPart, SendError> {
    let mut parts = MultiPart::mixed().multipart(bodies);
    for file in files {
        let unknown = |_| format!("{:?} is no content type", file.content_type);
        let kind = ContentType::parse(&file.content_type).map_err(unknown);
        let kind = kind.map_err(SendError::Refused)?;
        let part = lettre::message::Attachment::new(file.name.clone());
        parts = parts.singlepart(part.body(file.bytes.clone(), kind));
    }
    Ok(parts)
}

/// A list of addresses, which may be empty.
fn mailboxes(setting: &'static str, text: &str) -> Result<Mailboxes, ConfigError> {
    if text.trim().is_empty() {
        return Ok(Mailboxes::new());
    }
    text.parse().map_err(|_| no_address(setting, text))
}

fn no_address(setting: &'static str, text: &str) -> ConfigError {
    wrong(setting, format!("{text:?} is not a list of mail addresses"))
}

fn wrong(setting: &'static str, problem: String) -> ConfigError {
    ConfigError::Wrong { setting, problem }
}

fn is_loopback(host: &str) -> bool {
    let ip: Result<std::net::IpAddr, _> = host.parse();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

async fn in_time<T>(
    deadline: Instant,
    attempt: impl Future<Output = Result<T, SendError>>,
) -> Result<T, SendError> {
    let late = |_| SendError::Away(dialogue::TOO_LATE.into());
    timeout_at(deadline, attempt).await.map_err(late)?
}

/// Why the server does not let us in; never with the password, which some servers repeat.
fn no_login(error: &Error, credentials: &Credentials) -> SendError {
    let said = match (error.status(), repeats_the_password(error, credentials)) {
        (Some(code), true) => format!("it answers {code}"),
        (None, true) => "it does not answer as a mail server does".into(),
        (_, false) => dialogue::sentence(error),
    };
    SendError::Away(match error.is_permanent() {
        true => format!("login refused, check mail.user and mail.password_file: {said}"),
        false => format!("login: {said}"),
    })
}

/// Whether the server's words have the password in them, as it is or as it was sent.
fn repeats_the_password(error: &Error, credentials: &Credentials) -> bool {
    let said = error.to_string();
    let challenge = "Password";
    let password = Mechanism::Login.response(credentials, Some(challenge));
    let coded = [
        (Mechanism::Plain, None),
        (Mechanism::Login, Some(challenge)),
    ]
    .map(|(mechanism, challenge)| {
        let words = Auth::new(mechanism, credentials.clone(), challenge.map(str::to_owned));
        let words = words.map(|words| words.to_string());
        words.map(|words| words.split_whitespace().next_back().map(str::to_owned))
    });
    let coded = coded.into_iter().flatten().flatten();
    password
        .into_iter()
        .chain(coded)
        .any(|secret| said.contains(&secret))
}

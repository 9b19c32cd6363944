//! The words with a mail server that bring one mail across, and what its answers mean.
//!
//! They are said one by one: one recipient that is refused must not cost the others the mail, and
//! whoever breaks off after the end of it may have it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lettre::address::{Address, Envelope};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{Extension, MailBodyParameter, MailParameter};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::sender::SendError;

/// Characters of a server's answer that are kept.
const PROBLEM_CHARS: usize = 300;
/// How long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Names sender and recipients; a sentence for each recipient that gets nothing, of several.
///
/// # Errors
/// When the server takes the sender from nobody, or nobody is left.
pub(super) async fn address(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    content: &[u8],
) -> Result<Vec<String>, SendError> {
    let options = options(connection, envelope, content)?;
    let from = Mail::new(envelope.from().cloned(), options);
    connection.command(from).await.map_err(judged)?;
    let (mut left_out, mut put_off) = (Vec::new(), false);
    let all = envelope.to().len();
    for (number, recipient) in (1..).zip(envelope.to()) {
        let Err(error) = name(connection, recipient).await? else {
            continue;
        };
        put_off |= error.is_later;
        let what = if error.is_later { "put off" } else { "refused" };
        let problem = error.problem;
        left_out.push(format!("recipient {number} of {all} {what}: {problem}"));
    }
    if left_out.len() < all {
        return Ok(left_out);
    }
    let problem = left_out.join("; ").chars().take(PROBLEM_CHARS).collect();
    Err(match put_off {
        true => SendError::Away(problem),
        false => SendError::Refused(problem),
    })
}

/// One recipient that the server does not take.
struct LeftOut {
    problem: String,
    is_later: bool,
}

async fn name(
    connection: &mut AsyncSmtpConnection,
    recipient: &Address,
) -> Result<Result<(), LeftOut>, SendError> {
    if !is_ascii(recipient) && !speaks(connection, Extension::SmtpUtfEight) {
        return Ok(Err(LeftOut {
            problem: "the server takes no address beyond ASCII".into(),
            is_later: false,
        }));
    }
    let answer = connection.command(Rcpt::new(recipient.clone(), Vec::new()));
    match answer.await {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.status().is_some() => Ok(Err(LeftOut {
            problem: sentence(&error),
            is_later: error.is_transient(),
        })),
        // It did not answer: the session is over, not only for this recipient.
        Err(error) => Err(away(error)),
    }
}

fn options(
    connection: &AsyncSmtpConnection,
    envelope: &Envelope,
    content: &[u8],
) -> Result<Vec<MailParameter>, SendError> {
    let mut options = Vec::new();
    let from_is_ascii = envelope.from().is_none_or(is_ascii);
    if !from_is_ascii || !envelope.to().iter().all(is_ascii) {
        match (speaks(connection, Extension::SmtpUtfEight), from_is_ascii) {
            (true, _) => options.push(MailParameter::SmtpUtfEight),
            (false, true) => {}
            (false, false) => {
                let problem = "mail.from: the server takes no address beyond ASCII";
                return Err(SendError::Refused(problem.into()));
            }
        }
    }
    if !content.is_ascii() && speaks(connection, Extension::EightBitMime) {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(options)
}

fn speaks(connection: &AsyncSmtpConnection, extension: Extension) -> bool {
    connection.server_info().supports_feature(extension)
}

fn is_ascii(address: &Address) -> bool {
    let text: &str = address.as_ref();
    text.is_ascii()
}

/// Hands over the mail itself, and waits for the answer until `deadline`.
///
/// # Errors
/// `Unsure` where all of it was said and no answer came.
pub(super) async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    content: &[u8],
    deadline: Instant,
) -> Result<(), SendError> {
    match timeout_at(deadline, connection.command(Data)).await {
        // A process that slept too long must not go on: another may have this mail in hand.
        Ok(Ok(_)) if Instant::now() < deadline => {}
        Ok(Err(error)) => return Err(judged(error)),
        Ok(Ok(_)) | Err(_) => return Err(SendError::Away(TOO_LATE.into())),
    }
    let all_is_said = AtomicBool::new(false);
    // Asked for once everything before it is written, before the final dot.
    let end = std::iter::from_fn(|| {
        all_is_said.store(true, Ordering::Relaxed);
        None
    });
    let parts = std::iter::once(content).chain(end);
    let problem = match timeout_at(deadline, connection.message_iter(parts)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) if error.status().is_some() => return Err(judged(error)),
        Ok(Err(error)) => sentence(&error),
        Err(_) => TOO_LATE.into(),
    };
    Err(match all_is_said.load(Ordering::Relaxed) {
        true => SendError::Unsure(problem),
        false => SendError::Away(problem),
    })
}

/// What is said of a server that takes too long.
pub(super) const TOO_LATE: &str = "no answer within mail.timeout";

/// Says goodbye, and does not wait for it: whatever was to be said has been.
pub(super) fn part(mut connection: AsyncSmtpConnection) {
    tokio::spawn(async move {
        // Nothing hangs on the answer.
        let _ = timeout(GOODBYE, connection.quit()).await;
    });
}

fn judged(error: Error) -> SendError {
    match error.is_permanent() {
        true => SendError::Refused(sentence(&error)),
        false => away(error),
    }
}

pub(super) fn away(error: Error) -> SendError {
    SendError::Away(sentence(&error))
}

/// The error with its causes, on one line and without addresses: servers like to quote them.
pub(super) fn sentence(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    without_addresses(&text)
}

fn without_addresses(text: &str) -> String {
    let words = text
        .split_whitespace()
        .map(|word| match word.contains('@') {
            true => "(address)",
            false => word,
        });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars()
        .filter(|c| !c.is_control())
        .take(PROBLEM_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_kept_without_addresses_and_on_one_line() {
        let said = "550 5.1.1 <oncall@example.org>:\r\n no such \u{1b}[31muser oncall@example.org";
        assert_eq!(
            without_addresses(said),
            "550 5.1.1 (address) no such [31muser (address)"
        );
    }
}

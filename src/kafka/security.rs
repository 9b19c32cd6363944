//! How a client shows who it is, and knows whom it speaks to.

use std::path::Path;

use rdkafka::config::ClientConfig;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::KafkaError;
use crate::config::{KafkaConfig, KafkaSecurity, SaslMechanism};

/// Adds what the brokers' listener asks for. The files are looked at here: librdkafka would name
/// settings of its own.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn protect(settings: &mut ClientConfig, kafka: &KafkaConfig) -> Result<(), KafkaError> {
    settings.set("security.protocol", protocol(kafka.security));
    if kafka.security.is_encrypted() {
        settings
            .set("enable.ssl.certificate.verification", "true")
            .set("ssl.endpoint.identification.algorithm", "https");
        for (setting, key, path) in [
            ("kafka.ca_file", "ssl.ca.location", &kafka.ca_file),
            (
                "kafka.certificate_file",
                "ssl.certificate.location",
                &kafka.certificate_file,
            ),
            (
                "kafka.certificate_key_file",
                "ssl.key.location",
                &kafka.certificate_key_file,
            ),
        ] {
            if !path.as_os_str().is_empty() {
                readable(kafka, setting, path)?;
                settings.set(key, path.display().to_string());
            }
        }
    }
    if kafka.security.has_password() {
        settings
            .set("sasl.mechanism", mechanism(kafka.sasl_mechanism))
            .set("sasl.username", &kafka.user)
            .set("sasl.password", kafka.password.reveal());
    }
    Ok(())
}

fn readable(kafka: &KafkaConfig, setting: &str, path: &Path) -> Result<(), KafkaError> {
    match std::fs::File::open(path) {
        Ok(_) => Ok(()),
        Err(problem) => Err(KafkaError::Refused {
            brokers: kafka.brokers.clone(),
            problem: format!("{setting}: cannot read {}: {problem}", path.display()),
        }),
    }
}

fn protocol(security: KafkaSecurity) -> &'static str {
    match security {
        KafkaSecurity::Plaintext => "plaintext",
        KafkaSecurity::Ssl => "ssl",
        KafkaSecurity::SaslPlaintext => "sasl_plaintext",
        KafkaSecurity::SaslSsl => "sasl_ssl",
    }
}

fn mechanism(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}

/// Why the brokers will not have us, or we not them, whatever we wait: with the settings to look
/// at. `None` for anything that may pass.
pub(super) fn refusal(code: Code, reason: &str) -> Option<String> {
    let settings = match code {
        Code::Authentication | Code::SaslAuthenticationFailed
            if reason.contains("Unsupported SASL mechanism") =>
        {
            "the brokers do not take this kind of login: check kafka.sasl_mechanism"
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "the login is refused: check kafka.user, kafka.password or kafka.password_file, and \
             kafka.sasl_mechanism"
        }
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
            "the brokers do not take this kind of login: check kafka.sasl_mechanism and \
             kafka.security"
        }
        // Said only after the handshake, when the connection breaks.
        _ if reason.contains("SSL alert number") => {
            "the brokers do not take our certificate, or the lack of one: check \
             kafka.certificate_file and kafka.certificate_key_file"
        }
        Code::SSL if reason.contains("certificate") => {
            "the brokers' certificate is not trusted: check kafka.ca_file, and that the \
             certificate is for the name in kafka.brokers and not out of date"
        }
        Code::SSL => "no encrypted session: check kafka.security and the port in kafka.brokers",
        _ => return None,
    };
    Some(format!("{settings} ({})", in_our_words(reason)))
}

/// What kept the client from its brokers for now; with a hint where the listener may be another
/// kind than was thought: it hangs up without a word then.
pub(super) fn trouble(reason: &str) -> String {
    let hung_up = ["APIVERSION_QUERY", "SSL_HANDSHAKE", "in state UP"]
        .iter()
        .any(|state| reason.contains(state));
    let reason = in_our_words(reason);
    match hung_up && reason.contains("isconnected") {
        true => format!("{reason}: is kafka.security what that port speaks?"),
        false => reason,
    }
}

/// librdkafka's names of settings as ours.
pub(super) fn in_our_words(text: &str) -> String {
    text.replace("ssl.ca.location", "kafka.ca_file")
        .replace("ssl.certificate.location", "kafka.certificate_file")
        .replace("ssl.key.location", "kafka.certificate_key_file")
        .replace("sasl.mechanisms", "kafka.sasl_mechanism")
        .replace("security.protocol", "kafka.security")
}

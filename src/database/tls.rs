//! Encrypted sessions with PostgreSQL: who vouches for the server, and what its refusals mean.

use std::error::Error as _;

use rustls::CertificateError;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::DatabaseConfig;

/// Verifies the server's certificate up to a trusted authority, its dates, and its name.
///
/// # Errors
/// A sentence that names the setting, when no authority can be read.
pub(super) fn connector(database: &DatabaseConfig) -> Result<MakeRustlsConnect, String> {
    let settings = crate::tls::client("database.ca_file", &database.ca_file);
    let settings = settings.map_err(|problem| problem.to_string())?;
    Ok(MakeRustlsConnect::new(settings))
}

/// Why there is no encrypted session with the server at `address`, in a sentence that names what
/// to change. `None` when something else is the matter.
pub(super) fn refusal(address: &str, error: &tokio_postgres::Error) -> Option<String> {
    let source = error.source()?;
    if let Some(broken) = source.downcast_ref::<std::io::Error>() {
        let refused: &rustls::Error = broken.get_ref()?.downcast_ref()?;
        return Some(match refused {
            rustls::Error::InvalidCertificate(problem) => certificate(address, problem),
            other => format!("no encrypted session with PostgreSQL at {address}: {other}"),
        });
    }
    // The library has no other sign of it.
    (source.to_string() == "server does not support TLS").then(|| {
        format!(
            "PostgreSQL at {address} has no encrypted sessions: turn on `ssl` there, or set \
             database.tls to \"off\" where the way to it is trusted"
        )
    })
}

fn certificate(address: &str, problem: &CertificateError) -> String {
    let (what, action) = match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "is out of date",
            "have it renewed, or set this machine's clock",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("is not valid yet", "check this machine's clock")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "is for another name",
            "set database.host to a name that the certificate has",
        ),
        CertificateError::UnknownIssuer => (
            "is not signed by an authority that is trusted",
            "set database.ca_file to the one that signed it",
        ),
        _ => ("is refused", "look at it, and at database.ca_file"),
    };
    format!("the certificate of PostgreSQL at {address} {what}: {action} ({problem})")
}

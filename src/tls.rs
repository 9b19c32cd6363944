//! Encrypted sessions with servers: who vouches for them.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::ConfigError;

/// Settings that verify a server's certificate up to a trusted authority, its dates and its
/// name. Trusted is who stands in `ca_file`, the value of `setting`; when it is empty, whom the
/// system trusts.
///
/// # Errors
/// A sentence that names the setting, when no authority can be read.
pub fn client(setting: &'static str, ca_file: &Path) -> Result<ClientConfig, ConfigError> {
    let roots = match ca_file.as_os_str().is_empty() {
        true => of_the_system(),
        false => of_file(ca_file),
    };
    roots
        .and_then(trusting)
        .map_err(|problem| ConfigError::Wrong { setting, problem })
}

/// Settings that trust nobody, for a client that needs some though its address is not encrypted.
///
/// # Errors
/// When no encrypted session could be had at all.
pub fn client_without_trust() -> Result<ClientConfig, String> {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|problem| format!("encrypted sessions cannot be had: {problem}"))?;
    Ok(settings.with_root_certificates(roots).with_no_client_auth())
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let unreadable = |problem: &dyn std::fmt::Display| {
        format!(
            "cannot read {} as certificates (PEM): {problem}",
            path.display()
        )
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if roots.is_empty() {
        return Err(format!("{} holds no certificate", path.display()));
    }
    Ok(roots)
}

fn of_the_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let problem = "this system trusts nobody: name the authority of the server's certificate";
        return Err(problem.into());
    }
    Ok(roots)
}

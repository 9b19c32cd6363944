//! Encrypted sessions of an HTTP client: whom it trusts.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Trusts the authorities of `ca_file` (PEM) alone, or else those of the system. Certificates are
/// verified up to them, with their dates and the server's name.
///
/// # Errors
/// A sentence that names the file, when no authority can be read.
pub fn trust(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        // Where the system has none, an address without encryption can be read all the same.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let unusable = |problem: String| format!("{}: {problem}", path.display());
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
            for certificate in certificates {
                certificate
                    .map_err(|error| error.to_string())
                    .and_then(|found| roots.add(found).map_err(|error| error.to_string()))
                    .map_err(unusable)?;
            }
            if roots.is_empty() {
                return Err(unusable("it holds no certificate".into()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

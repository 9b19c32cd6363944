//! Who decided something by hand, and why: for the audit log.

use crate::engine::mask;

/// The person's login, where the system tells: ` (anna)`.
pub fn person() -> String {
    let login = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    login.map(|login| format!(" ({login})")).unwrap_or_default()
}

/// A reason of a person's, as an argument; card numbers in it are masked.
///
/// # Errors
/// When it says nothing.
pub fn why(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why, for whoever reads the audit log".to_owned()),
        why => Ok(mask::masked(why).into_owned()),
    }
}

//! What many alerts of a message share, so that one command silences them.

use tokio_postgres::{Error, Transaction};

use super::MERCHANT_CHARS;
use crate::desk::text::{number, plain};

/// A merchant or a rule that at least half of the alerts share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// `merchant` or `rule`, as `vigie alerts snooze` has it.
    what: String,
    /// Its name or code.
    key: String,
    /// How many alerts share it.
    alerts: u64,
}

impl Shared {
    /// The commonest merchant, or else the commonest rule; `None` where it is in less than half
    /// of the alerts, or in one, or has a name that a shell would not take as it is.
    pub(super) async fn of(
        transaction: &Transaction<'_>,
        alerts: &[i64],
    ) -> Result<Option<Self>, Error> {
        let commonest = format!(
            "SELECT DISTINCT ON (what) what, key, count(*)
             FROM (SELECT 'merchant' AS what, left(merchant, {MERCHANT_CHARS}) AS key FROM fraud_alerts WHERE id = ANY ($1)
                   UNION ALL
                   SELECT 'rule', unnest(reasons) FROM fraud_alerts WHERE id = ANY ($1)) AS keys
             WHERE key IS NOT NULL
             GROUP BY what, key ORDER BY what, count(*) DESC, key"
        );
        for row in transaction.query(&commonest, &[&alerts]).await? {
            let found = Self {
                what: row.try_get(0)?,
                key: row.try_get(1)?,
                alerts: u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0),
            };
            if found.alerts > 1
                && 2 * found.alerts >= alerts.len() as u64
                && is_plain_word(&found.key)
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The command that silences it, and why one would run it.
    pub(super) fn command(&self) -> (String, String) {
        let Self { what, key, alerts } = self;
        (
            format!(
                "To silence the {what} that {} of them share:",
                number(*alerts)
            ),
            format!("vigie alerts snooze --{what} \"{key}\" --for 2h --why \"…\""),
        )
    }
}

/// Whether it may stand between double quotes in a command: names are hostile.
fn is_plain_word(key: &str) -> bool {
    let is_harmless = |c: char| c.is_alphanumeric() || " _.,&'-/+".contains(c);
    !key.is_empty() && !key.starts_with('-') && key.chars().all(is_harmless) && plain(key) == key
}

#[cfg(test)]
impl Shared {
    /// For the tests of messages.
    pub(super) fn merchant(key: &str, alerts: u64) -> Self {
        Self {
            what: "merchant".into(),
            key: key.into(),
            alerts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_shell_would_act_on_is_in_no_command() {
        for key in [
            "fraud_Heller, Gutmann and Zieme",
            "O'Keefe-Hudson",
            "Łódź & Co.",
        ] {
            assert!(is_plain_word(key), "{key}");
        }
        let long = "m".repeat(100);
        for key in [
            "",
            "a\"; rm -rf /",
            "$(reboot)",
            "`reboot`",
            "a\\",
            "a!b",
            "--for",
            "a\nb",
            "a;b",
            &long,
        ] {
            assert!(!is_plain_word(key), "{key}");
        }
    }
}

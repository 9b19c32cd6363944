//! What was simulated, by scenario.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::scenarios::KINDS;
use super::traffic::Payment;

/// Counts payments as they are sent.
#[derive(Default)]
pub struct Summary {
    parts: [Part; KINDS.len()],
}

#[derive(Default)]
struct Part {
    payments: u64,
    cents: i64,
    accounts: HashSet<u32>,
}

impl Summary {
    /// Counts one.
    pub fn add(&mut self, payment: &Payment) {
        let part = &mut self.parts[payment.kind as usize];
        part.payments += 1;
        part.cents += payment.cents;
        part.accounts.insert(payment.account);
    }

    /// A line for each scenario.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:<17} {:>11} {:>9} {:>15} {:>9}\n",
            "scenario", "payments", "accounts", "amount", "share"
        );
        let all: u64 = self.parts.iter().map(|part| part.payments).sum();
        for (kind, part) in KINDS.iter().zip(&self.parts) {
            let share = 100.0 * part.payments as f64 / all.max(1) as f64;
            let _ = writeln!(
                text,
                "{kind:<17} {:>11} {:>9} {:>12}.{:02} {share:>8.3}%",
                part.payments,
                part.accounts.len(),
                part.cents / 100,
                part.cents % 100
            );
        }
        text
    }
}

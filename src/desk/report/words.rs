//! Numbers as a report writes them.

use crate::desk::text::{grouped, plain};

/// `1,203,398`
pub fn count(number: i64) -> String {
    grouped(&number.to_string())
}

/// A decimal number of major units, `EUR 1,234.50`.
pub fn amount(currency: Option<&str>, major: &str) -> String {
    match currency {
        Some(currency) => format!("{} {}", plain(currency), grouped(major)),
        None => grouped(major),
    }
}

/// `0.42 %`; a dash of nothing.
pub fn share(part: i64, whole: i64) -> String {
    match ratio(part, whole) {
        Some(ratio) => format!("{:.2} %", 100.0 * ratio),
        None => "-".to_owned(),
    }
}

/// `5.1 bp`: hundredths of a percent.
pub fn basis_points(part: i64, whole: i64) -> String {
    match ratio(part, whole) {
        Some(ratio) => format!("{:.1} bp", 10_000.0 * ratio),
        None => "-".to_owned(),
    }
}

/// From `then` to `now`, `+3.1 %`; a dash where there was nothing.
pub fn change(now: f64, then: f64) -> String {
    if then == 0.0 {
        return "-".to_owned();
    }
    let percent = 100.0 * (now - then) / then.abs();
    format!("{percent:+.1} %")
}

/// From one rate to the other in percentage points, `+0.12 pp`.
pub fn points(now: (i64, i64), then: (i64, i64)) -> String {
    match (ratio(now.0, now.1), ratio(then.0, then.1)) {
        (Some(now), Some(then)) => format!("{:+.2} pp", 100.0 * (now - then)),
        _ => "-".to_owned(),
    }
}

/// `35 ms`, `1.3 s`, `2.5 h`, `60 days`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1_000.0),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole != 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(count(1_203_398), "1,203,398");
        assert_eq!(amount(Some("EUR\n"), "-1234.50"), "EUR  -1,234.50");
        assert_eq!(share(5, 1_000), "0.50 %");
        assert_eq!(share(0, 0), "-");
        assert_eq!(basis_points(51, 100_000), "5.1 bp");
        assert_eq!(change(110.0, 100.0), "+10.0 %");
        assert_eq!(change(90.0, 100.0), "-10.0 %");
        assert_eq!(change(90.0, 0.0), "-");
        assert_eq!(points((2, 100), (1, 100)), "+1.00 pp");
        assert_eq!(points((2, 100), (0, 0)), "-");
        assert_eq!(seconds(0.035), "35 ms");
        assert_eq!(seconds(90.0), "90.0 s");
        assert_eq!(seconds(200_000_000.0), "2315 days");
    }
}

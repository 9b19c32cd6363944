//! The report for plain readers.

use std::fmt::Write;

use super::counts::Hour;
use super::page::{Block, Page};

/// Characters of the longest bar.
const BAR: usize = 40;
/// Eighths of a block, from nothing to seven of them.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Writes it.
pub fn render(page: &Page) -> String {
    let mut text = format!("{}\n", page.title);
    for section in &page.sections {
        if !section.title.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n\n{}\n", section.title.to_uppercase());
        }
        for sentence in &section.sentences {
            let _ = write!(text, "\n{sentence}\n");
        }
        match &section.block {
            Block::None => {}
            Block::Table {
                heading,
                rows,
                texts,
            } => {
                text.push('\n');
                table(&mut text, heading, rows, *texts);
            }
            Block::Chart(hours) => {
                text.push('\n');
                chart(&mut text, hours);
            }
        }
    }
    text
}

/// Columns as wide as their widest cell; texts to the left, numbers to the right.
fn table(text: &mut String, heading: &[String], rows: &[Vec<String>], texts: usize) {
    let lines = || std::iter::once(heading).chain(rows.iter().map(Vec::as_slice));
    let mut widths = vec![0; heading.len()];
    for line in lines() {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    for line in lines() {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Writing to a String cannot fail.
            let _ = match column < texts {
                true => write!(row, "{cell:<width$}  "),
                false => write!(row, "{cell:>width$}  "),
            };
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
}

fn chart(text: &mut String, hours: &[Hour]) {
    let most = hours.iter().map(|hour| hour.payments).max().unwrap_or(0);
    let payments = width(hours.iter().map(|hour| hour.payments));
    let flagged = width(hours.iter().map(|hour| hour.flagged)).max("flagged".len());
    let payments = payments.max("payments".len());
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "hour   {:>payments$}  {:>flagged$}",
        "payments", "flagged"
    );
    for hour in hours {
        let line = format!(
            "{}  {:>payments$}  {:>flagged$}  {}",
            hour.clock,
            hour.payments,
            hour.flagged,
            bar(hour.payments, most)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn width(numbers: impl Iterator<Item = i64>) -> usize {
    numbers
        .map(|number| number.to_string().len())
        .max()
        .unwrap_or(0)
}

/// A bar of blocks, as long as `part` is of `most`; whatever is not nothing is seen.
fn bar(part: i64, most: i64) -> String {
    if part <= 0 || most <= 0 {
        return String::new();
    }
    let eighths = (part as f64 / most as f64 * (BAR * 8) as f64)
        .round()
        .max(1.0) as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_one_payment_is_seen() {
        assert_eq!(bar(10, 10).chars().count(), BAR);
        assert_eq!(bar(5, 10).chars().count(), BAR / 2);
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(0, 0), "");
    }

    #[test]
    fn numbers_line_up_at_their_right() {
        let mut text = String::new();
        let heading = ["what", "payments"].map(str::to_owned);
        let rows = [
            vec!["all".into(), "1".into()],
            vec!["b".into(), "22".into()],
        ];
        table(&mut text, &heading, &rows, 1);
        assert_eq!(text, "what  payments\nall          1\nb           22\n");
    }
}

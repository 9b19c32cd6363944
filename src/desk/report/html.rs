//! The report for mail readers that show more: tables alone, so that every one of them shows the
//! same, and nothing that is fetched from elsewhere.

use std::fmt::Write;

use super::counts::Hour;
use super::page::{Block, Page};
use crate::desk::text::escape;

/// Pixels of the longest bar.
const BAR: f64 = 260.0;
const CELL: &str = "padding:2px 12px 2px 0";
const PAYMENTS: &str = "#5b7fa6";
const FLAGGED: &str = "#c0392b";

/// Writes it.
pub fn render(page: &Page) -> String {
    let mut html = format!(
        "<html><body style=\"font-family:sans-serif;font-size:14px;color:#222\">\n<h2>{}</h2>\n",
        escape(&page.title)
    );
    for section in &page.sections {
        if !section.title.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(html, "<h3>{}</h3>", escape(&section.title));
        }
        for sentence in &section.sentences {
            let _ = writeln!(html, "<p>{}</p>", escape(sentence));
        }
        match &section.block {
            Block::None => {}
            Block::Table {
                heading,
                rows,
                texts,
            } => table(&mut html, heading, rows, *texts),
            Block::Chart(hours) => chart(&mut html, hours),
        }
    }
    html.push_str("</body></html>\n");
    html
}

fn table(html: &mut String, heading: &[String], rows: &[Vec<String>], texts: usize) {
    html.push_str("<table style=\"border-collapse:collapse\">\n<tr>");
    for (column, cell) in heading.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(
            html,
            "<th align=\"{}\" style=\"{CELL};border-bottom:1px solid #999\">{}</th>",
            side(column, texts),
            escape(cell)
        );
    }
    html.push_str("</tr>\n");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(
                html,
                "<td align=\"{}\" style=\"{CELL}\">{}</td>",
                side(column, texts),
                escape(cell)
            );
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n");
}

fn side(column: usize, texts: usize) -> &'static str {
    if column < texts { "left" } else { "right" }
}

/// Two bars an hour, each to its own scale: there are hundreds of payments to one that is flagged.
fn chart(html: &mut String, hours: &[Hour]) {
    let most = |of: fn(&Hour) -> i64| hours.iter().map(of).max().unwrap_or(0);
    let (payments, flagged) = (most(|hour| hour.payments), most(|hour| hour.flagged));
    html.push_str(
        "<table cellspacing=\"0\" cellpadding=\"0\" style=\"font-size:12px\">\n\
         <tr><th align=\"left\">hour</th><th align=\"left\" colspan=\"2\">payments</th>\
         <th align=\"left\" colspan=\"2\">flagged</th></tr>\n",
    );
    for hour in hours {
        // Writing to a String cannot fail.
        let _ = writeln!(
            html,
            "<tr><td style=\"{CELL}\">{}</td>{}{}</tr>",
            escape(&hour.clock),
            bar(hour.payments, payments, PAYMENTS),
            bar(hour.flagged, flagged, FLAGGED)
        );
    }
    html.push_str("</table>\n");
}

/// A number, and a bar as a cell with a background.
fn bar(part: i64, most: i64, colour: &str) -> String {
    let mut cells = format!("<td align=\"right\" style=\"padding:0 6px 0 0\">{part}</td><td");
    if part > 0 && most > 0 {
        let width = (part as f64 / most as f64 * BAR).round().max(1.0);
        // Writing to a String cannot fail.
        let _ = write!(
            cells,
            "><table cellspacing=\"0\" cellpadding=\"0\"><tr><td bgcolor=\"{colour}\" width=\"{width}\" \
             height=\"10\" style=\"font-size:1px;line-height:10px\">&nbsp;</td></tr></table></td>"
        );
    } else {
        cells.push_str("></td>");
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::report::page::Section;

    #[test]
    fn whatever_a_cell_holds_is_only_text_and_nothing_is_fetched() {
        let nasty = "<img src=x onerror=alert(1)>";
        let page = Page {
            subject: String::new(),
            title: nasty.into(),
            sections: vec![
                Section {
                    title: nasty.into(),
                    sentences: vec![nasty.into()],
                    block: Block::Table {
                        heading: vec![nasty.into()],
                        rows: vec![vec![nasty.into()]],
                        texts: 1,
                    },
                },
                Section {
                    title: "chart".into(),
                    sentences: Vec::new(),
                    block: Block::Chart(vec![Hour {
                        clock: nasty.into(),
                        payments: 3,
                        flagged: 0,
                    }]),
                },
            ],
        };
        let html = render(&page);
        assert!(!html.contains("<img"), "{html}");
        assert!(!html.contains("http") && !html.contains("src=\""), "{html}");
        assert_eq!(
            html.matches("&lt;img src=x onerror=alert(1)&gt;").count(),
            6
        );
    }

    #[test]
    fn the_longest_bar_is_the_busiest_hour() {
        assert!(bar(10, 10, PAYMENTS).contains("width=\"260\""));
        assert!(bar(1, 1_000_000, FLAGGED).contains("width=\"1\""));
        assert!(!bar(0, 10, FLAGGED).contains("bgcolor"));
    }
}

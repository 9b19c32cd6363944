//! Plain tables for the terminal, harmless whatever their cells hold.

/// Rows under a heading; columns as wide as their widest cell.
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with a heading and no rows.
    pub fn new(heading: [&str; N]) -> Self {
        Self {
            rows: vec![heading.map(str::to_owned)],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// The table, a line per row; the last line has its end.
    pub fn render(&self) -> String {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut page = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            page.push_str(line.trim_end());
            page.push('\n');
        }
        page
    }
}

/// The text on one line, cut to `chars`, without characters that a terminal would act on.
pub fn one_line(text: &str, chars: usize) -> String {
    let mut line: String = printable(text).replace(['\n', '\t'], " ");
    if let Some((at, _)) = line.char_indices().nth(chars) {
        line.truncate(at);
        line.push('…');
    }
    line
}

/// The text without characters that a terminal would act on, but for line ends and tabs.
pub fn printable(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars()
        .map(|c| if harmless(c) { c } else { '\u{fffd}' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_escape_sequences_do_not_reach_the_terminal() {
        let mut table = Table::new(["a", "long heading", "c"]);
        table.row(["12345".into(), "é".into(), one_line("x\u{1b}[2Jy\nz", 80)]);
        assert_eq!(
            table.render(),
            "a      long heading  c\n12345  é             x\u{fffd}[2Jy z\n"
        );
        assert_eq!(one_line("abcdef", 3), "abc…");
    }
}

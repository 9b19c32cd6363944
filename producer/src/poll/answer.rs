//! What the API answers: a JSON string that holds the "split" table of pandas, or the table itself.

use std::collections::{HashMap, HashSet};

use serde_json::error::Category;
use serde_json::value::RawValue;

/// A row, its values by the column's name: a text without its quotes, a number as it is written,
/// nothing for null.
pub type Cells = HashMap<String, String>;

/// What an answer may hold: somebody else chose it, and each row has every column's name.
const COLUMNS: usize = 256;
const NAME_BYTES: usize = 128;
const ROWS: usize = 1_000;

/// Rows of an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// Those that could be read.
    pub rows: Vec<Cells>,
    /// What was wrong with the others, a sentence each.
    pub refused: Vec<String>,
}

/// Reads a body.
///
/// # Errors
/// A sentence that says what was expected and found; never a value.
pub fn read(body: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(body)
        .map_err(|_| "expected JSON in UTF-8, found other bytes".to_owned())?
        .trim_ascii();
    if text.starts_with('"') {
        let inner: String = serde_json::from_str(text).map_err(|error| told("text", &error))?;
        return table(inner.trim_ascii());
    }
    table(text)
}

fn table(text: &str) -> Result<Answer, String> {
    if text.starts_with('"') {
        return Err("expected a table in a text, found a text in a text in a text".into());
    }
    let members: HashMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|error| told("table", &error))?;
    let member = |name: &str| {
        members
            .get(name)
            .map(|raw| raw.get())
            .ok_or_else(|| format!("expected a table with `columns` and `data`, found no `{name}`"))
    };
    let columns: Vec<String> = serde_json::from_str(member("columns")?)
        .map_err(|_| "expected `columns` to be a list of names".to_owned())?;
    let data: Vec<&RawValue> = serde_json::from_str(member("data")?)
        .map_err(|_| "expected `data` to be a list of rows".to_owned())?;
    check(&columns, data.len())?;
    let mut answer = Answer::default();
    for (number, row) in (1..).zip(data) {
        match cells(&columns, row.get()) {
            Ok(cells) => answer.rows.push(cells),
            Err(problem) => answer.refused.push(format!("row {number}{problem}")),
        }
    }
    Ok(answer)
}

/// Before anything is made of it.
fn check(columns: &[String], rows: usize) -> Result<(), String> {
    if columns.len() > COLUMNS {
        let found = columns.len();
        return Err(format!("expected at most {COLUMNS} columns, found {found}"));
    }
    if rows > ROWS {
        return Err(format!("expected at most {ROWS} rows, found {rows}"));
    }
    let mut earlier = HashSet::new();
    for (number, column) in (1..).zip(columns) {
        if column.len() > NAME_BYTES {
            return Err(format!(
                "column {number} has a name of more than {NAME_BYTES} bytes"
            ));
        }
        if !earlier.insert(column) {
            return Err(format!("column {number} has the name of an earlier one"));
        }
    }
    Ok(())
}

fn cells(columns: &[String], row: &str) -> Result<Cells, String> {
    let values: Vec<&RawValue> = serde_json::from_str(row)
        .map_err(|_| ": expected a list of values, found something else".to_owned())?;
    if values.len() != columns.len() {
        return Err(format!(
            ": expected {} values, one for each column, found {}",
            columns.len(),
            values.len()
        ));
    }
    let cells = columns.iter().zip(values).map(|(column, value)| {
        let text = cell(value.get())
            .ok_or_else(|| format!(", column `{}`: expected a text or a number", shown(column)))?;
        Ok((column.clone(), text))
    });
    cells.collect()
}

/// The value's text; none where it is a list or an object, or no UTF-8 could hold it.
fn cell(raw: &str) -> Option<String> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok(),
        b'n' => Some(String::new()),
        b'[' | b'{' => None,
        _ => Some(raw.to_owned()),
    }
}

/// A name as it may be shown: somebody else chose it.
pub fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
    let kept = name.chars().take(40);
    kept.map(|c| if plain(c) { c } else { '?' }).collect()
}

fn told(what: &str, error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Eof => format!("the {what} breaks off: half of an answer"),
        Category::Data => format!("expected a {what}, found JSON of another kind"),
        _ => format!("expected a {what}, found something that is no JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the service sends it; the card number is invented.
    const BODY: &str = r#""{\"columns\":[\"cc_num\",\"merchant\",\"amt\",\"job\",\"is_fraud\",\"current_time\"],\"index\":[301199],\"data\":[[4497913965512794051,\"fraud_Berge, Kautzer and Harris\",45,\"Television\\/film\\/video producer\",0,1730134684025]]}""#;

    fn inner() -> String {
        serde_json::from_str(BODY).unwrap()
    }

    #[test]
    fn a_text_that_holds_a_table_and_a_table_are_read_the_same() {
        let answer = read(BODY.as_bytes()).unwrap();
        assert_eq!(answer, read(inner().as_bytes()).unwrap());
        let [row] = answer.rows.as_slice() else {
            panic!("{answer:?}")
        };
        assert_eq!(row["cc_num"], "4497913965512794051");
        assert_eq!(row["amt"], "45");
        assert_eq!(row["job"], "Television/film/video producer");
        assert_eq!(row["current_time"], "1730134684025");
    }

    #[test]
    fn any_number_of_rows_in_any_order_of_columns_is_read_by_name() {
        let rows = r#"{"data":[[1,"a"],[2,null]],"extra":0,"columns":["b","a"]}"#;
        let answer = read(rows.as_bytes()).unwrap();
        assert_eq!((&*answer.rows[0]["a"], &*answer.rows[0]["b"]), ("a", "1"));
        assert_eq!((&*answer.rows[1]["a"], &*answer.rows[1]["b"]), ("", "2"));
        assert_eq!(
            read(br#"{"columns":["a"],"data":[]}"#).unwrap(),
            Answer::default()
        );
    }

    #[test]
    fn a_row_that_does_not_fit_is_refused_and_the_others_are_read() {
        let rows = r#"{"columns":["a\n","b"],"data":[[1],[1,2],["x",[3]],[{},1],7,["\ud800",1]]}"#;
        let answer = read(rows.as_bytes()).unwrap();
        assert_eq!(answer.rows.len(), 1);
        assert_eq!(
            answer.refused,
            [
                "row 1: expected 2 values, one for each column, found 1",
                "row 3, column `b`: expected a text or a number",
                "row 4, column `a?`: expected a text or a number",
                "row 5: expected a list of values, found something else",
                "row 6, column `a?`: expected a text or a number",
            ]
        );
    }

    #[test]
    fn an_answer_that_would_fill_the_memory_is_refused_before_it_is_read() {
        let table = |columns: &[String], row: &str, rows: usize| {
            let columns = serde_json::to_string(columns).unwrap();
            let data = vec![row; rows].join(",");
            read(format!("{{\"columns\":{columns},\"data\":[{data}]}}").as_bytes())
        };
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        for (found, words) in [
            (
                table(&names(100_000), "[]", 1),
                "at most 256 columns, found 100000",
            ),
            (
                table(&["n".repeat(129)], "[1]", 1),
                "column 1 has a name of more than 128 bytes",
            ),
            (
                table(&names(1), "[1]", 200_000),
                "at most 1000 rows, found 200000",
            ),
        ] {
            assert!(found.unwrap_err().contains(words), "{words}");
        }
        let row = format!("[{}]", names(256).join(","));
        assert_eq!(table(&names(256), &row, 1_000).unwrap().rows.len(), 1_000);
    }

    #[test]
    fn a_body_that_is_no_table_is_told_in_a_sentence() {
        let half = &BODY[..BODY.len() / 2];
        let inner_half = serde_json::to_string(&inner()[..60]).unwrap();
        // The escape that two imitations of the service get wrong.
        let escape = inner().replace("\\/", "\\f\\i");
        for (body, words) in [
            (half, "the text breaks off"),
            (&*inner_half, "the table breaks off"),
            ("<!DOCTYPE html>", "no JSON"),
            ("", "breaks off"),
            ("[1]", "expected a table, found JSON of another kind"),
            ("42", "expected a table, found JSON of another kind"),
            (r#""\"\"""#, "a text in a text"),
            (r#"{"columns":["a"]}"#, "found no `data`"),
            (r#"{"columns":"a","data":[]}"#, "`columns` to be a list"),
            (r#"{"columns":["a"],"data":{}}"#, "`data` to be a list"),
            (
                r#"{"columns":["a","a"],"data":[]}"#,
                "column 2 has the name",
            ),
            (&*escape, "no JSON"),
        ] {
            let said = read(body.as_bytes()).unwrap_err();
            assert!(said.contains(words), "{said} for {body}");
        }
        assert!(read(b"\"\xff\"").unwrap_err().contains("UTF-8"));
    }
}

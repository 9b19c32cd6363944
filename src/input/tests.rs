use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::bundle::Bundle;

const HEADER: &str =
    ",trans_date_trans_time,cc_num,merchant,amt,zip,lat,trans_num,unix_time,is_fraud";

fn schema() -> Schema {
    Bundle::read(Path::new("models/card")).unwrap().schema
}

/// A file of its own that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("vigie-input-{}-{name}", std::process::id()));
        File::create(&path).unwrap().write_all(content).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read_all(path: &Path, pass: &Pass) -> Result<Vec<(Place, String, Value)>, InputError> {
    let mut input = Input::open(path, &schema())?;
    let (mut rows, mut row) = (Vec::new(), Row::default());
    while input.next_row(pass, &mut row)? {
        let payload = serde_json::from_slice(&row.payload).unwrap();
        rows.push((row.place, row.account.clone(), payload));
    }
    Ok(rows)
}

fn refusal(name: &str, content: &[u8]) -> String {
    let scratch = Scratch::new(name, content);
    read_all(&scratch.0, &Pass::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_row_becomes_a_payload_with_all_columns_of_the_file() {
    let text = format!(
        "{HEADER}\n7,2019-01-07 13:04:44,4242424242424242001,\"Welch, \"\"Rath\"\"\",38.50,02139,4.20,a1,1325941484,0\n\
         8,2019-01-08 00:00:00,5,,1.0E7,48034,,a2,1,1\n"
    );
    let scratch = Scratch::new("columns", text.as_bytes());
    let rows = read_all(&scratch.0, &Pass::default()).unwrap();
    let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[0].0, rows[0].1.as_str()),
        (Place::Line(2), "4242424242424242001")
    );
    assert_eq!(
        rows[0].2,
        json!({"": 7, "trans_date_trans_time": "2019-01-07 13:04:44",
            "cc_num": "4242424242424242001", "merchant": "Welch, \"Rath\"", "amt": number("38.50"),
            "zip": "02139", "lat": number("4.20"), "trans_num": "a1", "unix_time": 1325941484,
            "is_fraud": 0})
    );
    assert_eq!(
        rows[1].2,
        json!({"": 8, "trans_date_trans_time": "2019-01-08 00:00:00", "cc_num": "5",
            "merchant": null, "amt": number("1.0E7"), "zip": 48034, "lat": null, "trans_num": "a2",
            "unix_time": 1, "is_fraud": 1})
    );
}

#[test]
fn a_number_keeps_the_digits_of_the_file() {
    let text = format!("{HEADER}\n1,2019-01-07 13:04:44,5,m,38.50,1,41.680471000000004,a,1,0\n");
    let scratch = Scratch::new("digits", text.as_bytes());
    let mut input = Input::open(&scratch.0, &schema()).unwrap();
    let mut row = Row::default();
    assert!(input.next_row(&Pass::default(), &mut row).unwrap());
    let payload = String::from_utf8(row.payload).unwrap();
    assert!(payload.contains("\"amt\":38.50,"), "{payload}");
    assert!(payload.contains("\"lat\":41.680471000000004,"), "{payload}");
}

#[test]
fn plain_and_zstd_files_read_the_same() {
    let text = format!("{HEADER}\n1,2019-01-07 13:04:44,5,m,1,1,1,a,1,0\n");
    let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let (plain, small) = (
        Scratch::new("plain.csv", text.as_bytes()),
        Scratch::new("small.csv.zst", &packed),
    );
    let pass = Pass::default();
    assert_eq!(
        read_all(&plain.0, &pass).unwrap(),
        read_all(&small.0, &pass).unwrap()
    );
    let cut = Scratch::new("cut.csv.zst", &packed[..packed.len() - 6]);
    assert!(read_all(&cut.0, &pass).is_err());
    let named = refusal("named.csv.zst", text.as_bytes());
    assert!(named.contains("not zstd"), "{named}");
}

#[test]
fn a_later_pass_changes_the_id_and_the_day_and_nothing_else() {
    let text = format!("{HEADER}\n1,2019-01-07 13:04:44,5,m,1,1,1,a,1,0\n");
    let scratch = Scratch::new("pass", text.as_bytes());
    let pass = Pass {
        days: 9,
        suffix: "-2".into(),
    };
    let mut expected = read_all(&scratch.0, &Pass::default()).unwrap();
    expected[0].2["trans_num"] = json!("a-2");
    expected[0].2["trans_date_trans_time"] = json!("2019-01-16 13:04:44");
    assert_eq!(read_all(&scratch.0, &pass).unwrap(), expected);
}

#[test]
fn a_header_that_does_not_fit_is_refused_by_file_line_and_column() {
    for (name, content, words) in [
        (
            "other.csv",
            HEADER.replace("amt", "amount"),
            "other.csv, line 1, column `amt`: the header has no such column, which the bundle's \
             field `amt` requires",
        ),
        (
            "twice.csv",
            HEADER.replace("zip", "lat"),
            "twice.csv, line 1, column `lat`: the header names it twice",
        ),
        (
            "empty.csv",
            String::new(),
            "empty.csv, line 1: expected a header, found nothing",
        ),
        (
            "blank.csv",
            "\n\n".into(),
            ": expected a header, found nothing",
        ),
    ] {
        let text = refusal(name, content.as_bytes());
        assert!(
            text.contains("vigie-input-") && text.contains(words),
            "{text}"
        );
    }
}

#[test]
fn a_bad_row_is_refused_by_line_and_column() {
    let good = "1,2019-01-07 13:04:44,5,m,1,1,1,a,1,0";
    let short = refusal("short", format!("{HEADER}\n{good}\n1,2\n").as_bytes());
    assert!(
        short.contains("line 3") && short.contains("found 2"),
        "{short}"
    );
    let empty = good.replace(",5,", ",,");
    let empty = refusal("empty", format!("{HEADER}\n{good}\n{empty}\n").as_bytes());
    assert!(empty.contains("line 3, column `cc_num`"), "{empty}");
    let mut bytes = format!("{HEADER}\n{good}\n").into_bytes();
    let merchant = bytes.iter().rposition(|&byte| byte == b'm').unwrap();
    bytes[merchant] = 0xff;
    let bytes = refusal("utf8", &bytes);
    assert!(bytes.contains("line 2, column `merchant`"), "{bytes}");
}

#[test]
fn an_id_that_a_suffix_makes_too_long_is_refused() {
    let id = "i".repeat(127);
    let text = format!("{HEADER}\n1,2019-01-07 13:04:44,5,m,1,1,1,{id},1,0\n");
    let scratch = Scratch::new("long", text.as_bytes());
    let pass = Pass {
        days: 1,
        suffix: "-2".into(),
    };
    let text = read_all(&scratch.0, &pass).unwrap_err().to_string();
    assert!(
        text.contains("column `trans_num`") && !text.contains("iii"),
        "{text}"
    );
}

fn span_of(times: &[&str]) -> Option<Span> {
    let mut text = format!("{HEADER}\n");
    for time in times {
        text.push_str(&format!("1,{time},5,m,1,1,1,a,1,0\n"));
    }
    let scratch = Scratch::new(&format!("span-{}", times.len()), text.as_bytes());
    Span::of(&scratch.0, &schema(), &Window::ALL, 3).unwrap()
}

#[test]
fn a_span_counts_rows_and_days_of_the_rows_within_the_limit() {
    assert_eq!(span_of(&[]), None);
    let span = span_of(&[
        "2019-01-07 23:59:59",
        "2019-01-09 00:00:00",
        "2019-01-08 05:00:00",
        "2031-01-01 00:00:00",
    ])
    .unwrap();
    assert_eq!((span.rows, span.days), (3, 3));
    assert_eq!(span.last - span.first, DAY + 1_000_000);
}

#[test]
fn passes_follow_each_other_on_later_days_and_the_last_ends_now() {
    let span = span_of(&["2019-01-07 13:00:00", "2019-01-15 03:00:00"]).unwrap();
    assert_eq!(span.days, 9);
    let plain: Vec<i64> = passes(&span, 3, None).iter().map(|p| p.days).collect();
    assert_eq!(plain, [0, 9, 18]);
    let suffixes: Vec<String> = passes(&span, 3, None)
        .into_iter()
        .map(|p| p.suffix)
        .collect();
    assert_eq!(suffixes, ["", "-2", "-3"]);
    for (now, whole_days) in [
        (0, 0),
        (1, 0),
        (DAY - 1, 0),
        (DAY, 1),
        (-1, -1),
        (400 * DAY, 400),
    ] {
        let days: Vec<i64> = passes(&span, 3, Some(span.last + now))
            .iter()
            .map(|pass| pass.days)
            .collect();
        assert_eq!(days, [whole_days - 18, whole_days - 9, whole_days], "{now}");
    }
}

mod formats;
mod growing;

//! JSON lines and Parquet.

use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArrayType, DoubleType, Int32Type, Int64Type, Int96, Int96Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::json;

use super::*;

const LINE: &str = r#"{ "trans_date_trans_time": "2019-01-07 13:04:44", "cc_num": 4242424242424242001,
 "amt": 38.50, "trans_num": "a1", "note": {"x": [1, "\/"]} }"#;

fn line() -> String {
    LINE.replace('\n', "")
}

fn payloads(path: &Path, pass: &Pass) -> Vec<String> {
    let mut input = Input::open(path, &schema()).unwrap();
    let (mut payloads, mut row) = (Vec::new(), Row::default());
    while input.next_row(pass, &mut row).unwrap() {
        payloads.push(String::from_utf8(row.payload.clone()).unwrap());
    }
    payloads
}

#[test]
fn a_json_line_is_sent_as_it_stands() {
    let text = format!("{}\r\n\n  {}", line(), line());
    let scratch = Scratch::new("as-is.jsonl", text.as_bytes());
    assert_eq!(payloads(&scratch.0, &Pass::default()), [line(), line()]);
    let rows = read_all(&scratch.0, &Pass::default()).unwrap();
    assert_eq!((rows[0].0, rows[1].0), (Place::Line(1), Place::Line(3)));
    assert_eq!(rows[0].1, "4242424242424242001");
}

#[test]
fn json_lines_are_known_by_their_name_or_their_start_and_may_be_packed() {
    let packed = zstd::encode_all(line().as_bytes(), 1).unwrap();
    for (name, content) in [
        ("a.ndjson", line().into_bytes()),
        ("events", format!("\n {}", line()).into_bytes()),
        ("a.jsonl.zst", packed.clone()),
        ("packed", packed),
    ] {
        let scratch = Scratch::new(name, &content);
        assert_eq!(payloads(&scratch.0, &Pass::default()), [line()], "{name}");
    }
}

#[test]
fn a_later_pass_changes_the_id_and_the_day_of_a_json_line_and_nothing_else() {
    let scratch = Scratch::new("pass.jsonl", line().as_bytes());
    let pass = Pass {
        days: 9,
        suffix: "-2".into(),
    };
    let expected = line()
        .replace("2019-01-07", "2019-01-16")
        .replace("\"a1\"", "\"a1-2\"");
    assert_eq!(payloads(&scratch.0, &pass), [expected]);
}

#[test]
fn a_bad_json_line_is_refused_by_line_and_column() {
    let good = line();
    let second = |bad: &str| format!("{good}\n{bad}\n");
    let changed = |from: &str, to: &str| second(&good.replace(from, to));
    for (name, text, words) in [
        (
            "half",
            second(&good[..30]),
            "line 2: expected a JSON object, found a line that breaks",
        ),
        (
            "array",
            second("[1]"),
            "line 2: expected a JSON object, found another value",
        ),
        (
            "bare",
            second("{\"a\": NaN}"),
            "line 2: expected a JSON object, found something",
        ),
        ("two", second("{} {}"), "line 2: "),
        (
            "null",
            changed("4242424242424242001", "null"),
            "line 2, column `cc_num`: expected a value",
        ),
        (
            "gone",
            changed("\"trans_num\"", "\"id\""),
            "line 2, column `trans_num`: expected a value",
        ),
        (
            "bool",
            changed("\"a1\"", "true"),
            "line 2, column `trans_num`: expected a text",
        ),
        (
            "lone",
            changed("\"a1\"", "\"\\ud800\""),
            "line 2, column `trans_num`: expected a text",
        ),
        (
            "other",
            good.replace("\"amt\"", "\"amount\""),
            "line 1, column `amt`: the object has no",
        ),
    ] {
        let said = refusal(&format!("{name}.jsonl"), text.as_bytes());
        assert!(
            said.contains(words) && said.contains("vigie-input-"),
            "{said}"
        );
    }
    let mut bytes = second(&good).into_bytes();
    *bytes.iter_mut().rfind(|byte| **byte == b'x').unwrap() = 0xff;
    let said = refusal("bytes.jsonl", &bytes);
    assert!(said.contains("line 2: expected UTF-8"), "{said}");
    let said = refusal("long.jsonl", second(&" ".repeat(5 << 20)).as_bytes());
    assert!(
        said.contains("line 2: expected a line of at most"),
        "{said}"
    );
}

const MESSAGE: &str = "message payments {
    required binary trans_num (STRING);
    required int64 cc_num;
    required int64 trans_date_trans_time (TIMESTAMP(NANOS, false));
    required int32 amt (DECIMAL(9, 2));
    optional double lat;
    optional boolean is_fraud;
    optional int32 dob (DATE);
    required int96 seen;
    optional group tags (LIST) { repeated group list { optional binary element (STRING); } }
}";

/// Two payments.
fn parquet(name: &str, message: &str, compression: Compression) -> Scratch {
    let scratch = Scratch::new(name, b"");
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let schema = Arc::new(parse_message_type(message).unwrap());
    let file = File::create(&scratch.0).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut seen = Int96::new();
    // Noon of 1970-01-02, as nanoseconds of the day and the Julian day.
    const NOON: u64 = 43_200_000_000_000;
    seen.set_data(NOON as u32, (NOON >> 32) as u32, 2_440_589);
    macro_rules! column {
        ($kind:ty, $values:expr, $levels:expr) => {{
            let mut column = group.next_column().unwrap().unwrap();
            let levels: Option<&[i16]> = $levels;
            let typed = column.typed::<$kind>();
            typed.write_batch(&$values, levels, None).unwrap();
            column.close().unwrap();
        }};
    }
    column!(ByteArrayType, ["a1".into(), "a2".into()], None);
    column!(Int64Type, [4_242_424_242_424_242_001, 5], None);
    column!(
        Int64Type,
        [1_546_866_284_000_000_000, 1_546_866_285_000_000_000],
        None
    );
    column!(Int32Type, [3850, -5], None);
    column!(DoubleType, [f64::NAN, 41.680471000000004], Some(&[1, 1]));
    column!(BoolType, [true], Some(&[1, 0]));
    column!(Int32Type, [-1], Some(&[1, 0]));
    column!(Int96Type, [seen, seen], None);
    let mut tags = group.next_column().unwrap().unwrap();
    let typed = tags.typed::<ByteArrayType>();
    typed
        .write_batch(&[], Some(&[0, 0]), Some(&[0, 0]))
        .unwrap();
    tags.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    scratch
}

#[test]
fn a_parquet_row_is_what_a_csv_row_would_have_been_in_every_codec() {
    for (name, compression) in [
        ("plain.parquet", Compression::UNCOMPRESSED),
        ("snappy.parquet", Compression::SNAPPY),
        ("zstd", Compression::ZSTD(ZstdLevel::default())),
        ("lz4.parquet", Compression::LZ4_RAW),
        ("gzip.parquet", Compression::GZIP(Default::default())),
    ] {
        let scratch = parquet(name, MESSAGE, compression);
        let rows = read_all(&scratch.0, &Pass::default()).unwrap();
        assert_eq!(rows.len(), 2, "{name}");
        assert_eq!(
            (rows[1].0, rows[0].1.as_str()),
            (Place::Row(2), "4242424242424242001")
        );
        assert_eq!(
            rows[0].2,
            json!({"trans_num": "a1", "cc_num": "4242424242424242001",
                "trans_date_trans_time": "2019-01-07 13:04:44",
                "amt": serde_json::from_str::<Value>("38.50").unwrap(), "lat": null,
                "is_fraud": "true", "dob": "1969-12-31", "seen": "1970-01-02T12:00:00Z"})
        );
        let payload = &payloads(&scratch.0, &Pass::default())[1];
        assert!(
            payload.contains("\"amt\":-0.05,\"lat\":41.680471000000004,"),
            "{payload}"
        );
    }
}

#[test]
fn a_parquet_file_with_other_columns_is_refused_by_column() {
    for (from, to, words) in [
        (
            " amt ",
            " amount ",
            "column `amt`: the file has no such column",
        ),
        (
            " lat;",
            " merchant;",
            "column `merchant`: expected texts or whole numbers",
        ),
        (
            " tags ",
            " category ",
            "column `category`: expected plain values, found a list",
        ),
    ] {
        let scratch = parquet("other", &MESSAGE.replace(from, to), Compression::SNAPPY);
        let said = read_all(&scratch.0, &Pass::default())
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("vigie-input-") && said.contains(words),
            "{said}"
        );
    }
}

#[test]
fn a_damaged_parquet_file_is_an_error_and_no_crash() {
    let whole = parquet("whole.parquet", MESSAGE, Compression::SNAPPY);
    let bytes = std::fs::read(&whole.0).unwrap();
    for cut in [4, 8, bytes.len() / 2, bytes.len() - 1] {
        let scratch = Scratch::new("cut.parquet", &bytes[..cut]);
        assert!(read_all(&scratch.0, &Pass::default()).is_err(), "{cut}");
    }
    for at in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        let scratch = Scratch::new("changed.parquet", &changed);
        let _ = read_all(&scratch.0, &Pass::default());
    }
    let named = refusal("named.parquet", b"a,b\n");
    assert!(named.contains("not Parquet"), "{named}");
}

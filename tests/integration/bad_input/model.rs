//! A model that fails: the policy's fallback decides, and the row says that nothing assessed it.

use std::path::PathBuf;

use tokio_postgres::Client;

use super::stop;
use crate::support::event::{recently, written};
use crate::support::topic::{self, Record};
use crate::support::vigie::{Place, consumed};

const BUNDLE: &str = r#"
name = "table"
version = "1"

[schema.fields]
id = { kind = "text", required = true }
who = { kind = "text", required = true }
at = { kind = "time", format = "%Y-%m-%d %H:%M:%S", zone = "UTC", required = true }
amt = { kind = "amount", scale = 2, required = true, min = 0 }

[roles]
id = "id"
time = "at"
account = "who"
amount = "amt"

[[feature]]
name = "amt"
event = "value"
of = "amt"

[[stage]]
model = "model.onnx"

[policy]
review = 0.35
block = 0.90
fallback = "review"
"#;

/// Scores of the amounts 0, 1 and 2; for any other amount the graph fails.
const SCORES: [f32; 3] = [0.1, 0.95, f32::NAN];

/// A bundle in a folder of its own, removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn with_bundle() -> Self {
        let path = std::env::temp_dir().join(topic::unused("table"));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("bundle.toml"), BUNDLE).unwrap();
        std::fs::write(path.join("model.onnx"), onnx::table(&SCORES)).unwrap();
        let golden = |number: usize| {
            let time = format!("2026-01-01 00:00:0{number}");
            format!(
                "{{\"event\":{{\"id\":\"{number}\",\"who\":\"a\",\"at\":\"{time}\",\
                 \"amt\":{number}}},\"features\":{{\"amt\":{number}}},\"score\":{}}}\n",
                SCORES[number]
            )
        };
        std::fs::write(path.join("golden.jsonl"), golden(0) + &golden(1)).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn payment(id: &str, amount: u32) -> Record {
    let time = written(recently());
    let text = format!(r#"{{"id":"{id}","who":"ada","at":"{time}","amt":{amount}}}"#);
    Record::of(0, text).keyed("ada")
}

/// Id, score, decision and reasons of every row, by offset.
async fn rows(client: &Client) -> Vec<(String, Option<f32>, String, Option<Vec<String>>)> {
    let query = "SELECT trans_num, score, decision, reasons FROM payments ORDER BY source_offset";
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect()
}

#[tokio::test]
async fn a_graph_that_fails_or_gives_no_number_leaves_rows_that_say_so_and_the_fallback_decides() {
    let place = Place::new("no-score", 1).await;
    let folder = Folder::with_bundle();
    let bundle = folder.0.to_str().unwrap();
    let vigie = place.run(&[("VIGIE_STREAM__BUNDLE", bundle)]);
    let client = place.look().await;
    let batches = [
        vec![
            payment("good", 0),
            payment("bad", 1),
            payment("no number", 2),
        ],
        // The graph is asked once for a batch, so both of these are without a score.
        vec![payment("beside it", 0), payment("no entry", 3)],
        vec![payment("good again", 0)],
    ];
    let mut sent = 0;
    for batch in batches {
        place.send(&batch).await;
        sent += batch.len() as i64;
        consumed(&client, sent).await;
    }
    let found = rows(&client).await;
    let not_assessed = |id: &str| {
        let reasons = vec!["not_assessed".to_owned()];
        (id.to_owned(), None, "review".to_owned(), Some(reasons))
    };
    let good = |id: &str| (id.to_owned(), Some(0.1), "allow".to_owned(), None);
    assert_eq!(found[0], good("good"));
    assert_eq!((found[1].1, found[1].2.as_str()), (Some(0.95), "block"));
    assert_eq!(found[2], not_assessed("no number"));
    // Two sends may be two batches; the one that fails is not assessed in any case.
    assert_eq!(found[4], not_assessed("no entry"));
    assert_eq!(found[5], good("good again"));
    assert_eq!(found.len(), 6);
    let alerts = "SELECT count(*) FROM fraud_alerts WHERE score IS NULL";
    let unassessed = found.iter().filter(|row| row.1.is_none()).count() as i64;
    assert_eq!(
        crate::support::database::count(&client, alerts).await,
        unassessed
    );
    let (_, page) = vigie.page("/metrics").await;
    let line = format!("vigie_scorer_fallback_total {unassessed}\n");
    assert!(page.contains(&line), "{line}\n{page}");
    let said = stop(vigie).await;
    assert!(said.contains("the model failed"), "{said}");
}

/// The few lines of ONNX that make a graph, byte by byte: a table that is looked up by a number.
mod onnx {
    const FLOAT: u64 = 1;
    const INT64: u64 = 7;

    /// A graph with the input `amt` and one output: `scores[amt]`.
    pub fn table(scores: &[f32]) -> Vec<u8> {
        let data: Vec<u8> = scores
            .iter()
            .flat_map(|score| score.to_le_bytes())
            .collect();
        let values = [
            number(1, scores.len() as u64),
            number(2, FLOAT),
            bytes(4, &data),
            text(8, "scores"),
        ]
        .concat();
        let to = [text(1, "to"), number(3, INT64), number(20, 2)].concat();
        let cast = [
            text(1, "amt"),
            text(2, "entry"),
            text(4, "Cast"),
            bytes(5, &to),
        ]
        .concat();
        let gather = [
            text(1, "scores"),
            text(1, "entry"),
            text(2, "score"),
            text(4, "Gather"),
        ]
        .concat();
        let graph = [
            bytes(1, &cast),
            bytes(1, &gather),
            text(2, "table"),
            bytes(5, &values),
            bytes(11, &column("amt")),
            bytes(12, &column("score")),
        ]
        .concat();
        let opset = [text(1, ""), number(2, 18)].concat();
        [number(1, 9), bytes(7, &graph), bytes(8, &opset)].concat()
    }

    /// A named tensor of floats, any number of rows by one.
    fn column(name: &str) -> Vec<u8> {
        let rows = bytes(1, &text(2, "rows"));
        let one = bytes(1, &number(1, 1));
        let shape = [rows, one].concat();
        let tensor = [number(1, FLOAT), bytes(2, &shape)].concat();
        [text(1, name), bytes(2, &bytes(1, &tensor))].concat()
    }

    fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    fn text(field: u64, value: &str) -> Vec<u8> {
        bytes(field, value.as_bytes())
    }

    fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [
            varint(field << 3 | 2),
            varint(value.len() as u64),
            value.to_vec(),
        ]
        .concat()
    }

    fn varint(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }
}

//! Files that grow while they are read.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::sync::atomic::AtomicUsize;

use super::*;

/// Something that happens to a file.
type Step = Box<dyn FnOnce(&Path) + Send>;

/// Reads a file while `steps` happen to it, one whenever there is nothing to read; also how many
/// half lines were told of.
fn followed(scratch: &Scratch, steps: Vec<Step>) -> (Vec<(Place, String)>, usize) {
    let path = scratch.0.clone();
    let mut steps = VecDeque::from(steps);
    let half_lines = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&half_lines);
    let patience = move |lull| {
        if lull == Lull::HalfLine {
            told.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let step = steps.pop_front();
        let goes_on = step.is_some();
        step.into_iter().for_each(|step| step(&path));
        goes_on
    };
    let mut input = Input::follow(&scratch.0, &schema(), Box::new(patience)).unwrap();
    let (mut rows, mut row) = (Vec::new(), Row::default());
    while input.next_row(&Pass::default(), &mut row).unwrap() {
        let event: Value = serde_json::from_slice(&row.payload).unwrap();
        rows.push((row.place, event["trans_num"].as_str().unwrap().to_owned()));
    }
    (rows, half_lines.load(Ordering::Relaxed))
}

fn follow(scratch: &Scratch, steps: Vec<Step>) -> Vec<(Place, String)> {
    followed(scratch, steps).0
}

fn add(text: &str) -> Step {
    let text = text.to_owned();
    Box::new(move |path| {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    })
}

fn replace(text: &str) -> Step {
    let text = text.to_owned();
    Box::new(move |path| {
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    })
}

fn cut_short(text: &str) -> Step {
    let text = text.to_owned();
    Box::new(move |path| std::fs::write(path, text).unwrap())
}

fn csv_row(id: &str) -> String {
    format!("1,2019-01-07 13:04:44,5,m,1,1,1,{id},1,0\n")
}

fn json_row(id: &str) -> String {
    format!(
        "{{\"trans_date_trans_time\":\"2019-01-07 13:04:44\",\"cc_num\":5,\"amt\":1,\
         \"trans_num\":\"{id}\"}}\n"
    )
}

fn at(lines: &[(u64, &str)]) -> Vec<(Place, String)> {
    lines
        .iter()
        .map(|(line, id)| (Place::Line(*line), (*id).to_owned()))
        .collect()
}

#[test]
fn a_half_written_last_line_waits_for_its_rest() {
    for (name, header, row) in [
        (
            "half.csv",
            format!("{HEADER}\n"),
            csv_row as fn(&str) -> String,
        ),
        ("half.jsonl", String::new(), json_row),
    ] {
        let scratch = Scratch::new(name, b"");
        let (first, second) = (row("a"), row("b"));
        let steps = vec![
            add(&header[..header.len() / 2]),
            add(&header[header.len() / 2..]),
            add(&first[..20]),
            add(&first[20..]),
            add(&second[..second.len() - 1]),
            add("\n"),
            add(&row("never whole")[..30]),
        ];
        let start = if header.is_empty() { 1 } else { 2 };
        assert_eq!(
            follow(&scratch, steps),
            at(&[(start, "a"), (start + 1, "b")]),
            "{name}"
        );
    }
}

#[test]
fn a_file_that_is_replaced_or_cut_short_is_read_from_its_start() {
    let scratch = Scratch::new(
        "rotated.csv",
        format!("{HEADER}\n{}", csv_row("a")).as_bytes(),
    );
    let steps = vec![
        add(&csv_row("b")),
        replace(&format!("{HEADER}\n{}", csv_row("c"))),
        add(&csv_row("d")),
        add(&csv_row("lost")[..9]),
        cut_short(&format!("{HEADER}\n")),
        add(&csv_row("e")),
    ];
    let expected = [(2, "a"), (3, "b"), (2, "c"), (3, "d"), (2, "e")];
    assert_eq!(follow(&scratch, steps), at(&expected));
}

#[test]
fn a_half_line_of_a_file_that_is_replaced_is_left_out_and_told() {
    let csv = format!("{HEADER}\n{}", csv_row("a"));
    let halves = [
        // Every cell is there, but perhaps not every digit of the last one.
        csv_row("half").trim_end().to_owned(),
        csv_row("half")[..9].to_owned(),
        // A line ends within the quotes of a cell.
        "1,2019-01-07 13:04:44,5,\"m\n".to_owned(),
    ];
    for half in halves {
        let scratch = Scratch::new("half-replaced.csv", csv.as_bytes());
        let steps = vec![add(&half), replace(&format!("{HEADER}\n{}", csv_row("b")))];
        let expected = (
            at(&[(2, "a"), (2, "b")]),
            usize::from(!half.ends_with('\n')),
        );
        assert_eq!(followed(&scratch, steps), expected, "{half}");
    }
}

#[test]
fn a_half_object_of_a_file_that_is_replaced_is_left_out_and_told() {
    let whole = json_row("half");
    for half in [whole.trim_end(), &whole[..40]] {
        let scratch = Scratch::new("half-replaced.jsonl", json_row("a").as_bytes());
        let steps = vec![add(half), replace(&json_row("b"))];
        let expected = (at(&[(1, "a"), (1, "b")]), 1);
        assert_eq!(followed(&scratch, steps), expected, "{half}");
    }
}

#[test]
fn an_empty_file_may_be_replaced_by_a_full_one() {
    for (name, full, line) in [
        ("empty.csv", format!("{HEADER}\n{}", csv_row("a")), 2),
        ("empty.jsonl", json_row("a"), 1),
    ] {
        let scratch = Scratch::new(name, b"");
        let steps = vec![Box::new(|_: &Path| {}) as _, replace(&full)];
        assert_eq!(followed(&scratch, steps), (at(&[(line, "a")]), 0), "{name}");
    }
}

#[test]
fn a_file_that_is_not_there_yet_is_waited_for() {
    let scratch = Scratch::new("later.jsonl", b"");
    std::fs::remove_file(&scratch.0).unwrap();
    let steps = vec![Box::new(|_: &Path| {}) as _, add(&json_row("a"))];
    assert_eq!(follow(&scratch, steps), at(&[(1, "a")]));
}

#[test]
fn what_cannot_grow_line_by_line_is_refused() {
    for name in ["grows.csv.zst", "grows.parquet"] {
        let scratch = Scratch::new(name, b"");
        let mut input = Input::follow(&scratch.0, &schema(), Box::new(|_| false)).unwrap();
        let said = input.next_row(&Pass::default(), &mut Row::default());
        let said = said.unwrap_err().to_string();
        assert!(said.contains(name) && said.contains("followed"), "{said}");
    }
}

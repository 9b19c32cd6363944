//! `vigie reset` and the mark that permits it.

use std::process::Output;

use vigie::migrate;

use crate::support::database::{count, owner};
use crate::support::event::{Event, account, recently};
use crate::support::eventually;
use crate::support::topic::Record;
use crate::support::vigie::{LONG, Place, consumed};

/// A payment, a dead letter, and a process that stored them.
async fn used(place: &Place) -> crate::support::vigie::Vigie {
    let payment = Record::payment(0, &Event::new("t1", &account(1), recently()));
    place.send(&[payment, Record::of(0, "no payment")]).await;
    let vigie = place.run(&[]);
    consumed(&place.look().await, 2).await;
    vigie
}

fn said(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(bytes).unwrap()
}

fn reset(place: &Place, arguments: &[&str]) -> Output {
    let words: Vec<&str> = ["reset"].iter().chain(arguments).copied().collect();
    place
        .command(&words)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

/// Everything that holds a row, by the catalogue.
async fn holding(place: &Place) -> Vec<String> {
    let owner = owner(&place.config).await;
    let tables = "SELECT relname::text FROM pg_class
                  WHERE relnamespace = current_schema::regnamespace AND relkind IN ('r', 'p') ORDER BY relname";
    let mut holding = Vec::new();
    for row in owner.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        if count(&owner, &format!("SELECT count(*) FROM {table}")).await > 0 {
            holding.push(table);
        }
    }
    holding
}

#[tokio::test]
async fn a_demo_is_emptied_once_nobody_writes_to_it_and_begins_anew() {
    let place = Place::new("reset", 1).await;
    migrate::mark_as_demo(&place.config).await.unwrap();
    let mut vigie = used(&place).await;
    let refused = reset(&place, &["--yes"]);
    let sentence = said(&refused);
    assert_eq!(refused.status.code(), Some(2), "{sentence}");
    assert!(
        sentence.contains("held by vigie lane") && sentence.contains("stop `vigie run`"),
        "{sentence}"
    );
    assert!(vigie.stopped(LONG).await.success());

    let asked = reset(&place, &[]);
    let sentence = said(&asked);
    assert_eq!(asked.status.code(), Some(2), "{sentence}");
    for words in ["payments_scored", "dead_letters", "say --yes"] {
        assert!(sentence.contains(words), "{words} is not in: {sentence}");
    }
    assert!(
        holding(&place)
            .await
            .contains(&"payments_scored".to_owned())
    );

    let done = reset(&place, &["--yes"]);
    let page = said(&done);
    assert_eq!(done.status.code(), Some(0), "{page}");
    for words in [
        "payments_scored",
        "dead_letters",
        "stream_offsets",
        &place.topic,
        "earliest",
    ] {
        assert!(page.contains(words), "{words} is not in: {page}");
    }
    assert_eq!(
        holding(&place).await,
        ["audit_log", "demo_mark", "schema_migrations"]
    );
    let noted = "SELECT count(*) FROM audit_log WHERE action = 'reset' AND actor LIKE 'vigie_migrator%' \
                 AND subject->>'payments_scored' = '1' AND subject->>'dead_letters' = '1'";
    assert_eq!(count(&owner(&place.config).await, noted).await, 1);

    // A demo stays one, and its stream begins at the earliest offset.
    migrate::mark_as_demo(&place.config).await.unwrap();
    let mut again = place.run(&[]);
    let totals = consumed(&place.look().await, 2).await;
    assert_eq!((totals.scored, totals.dead), (1, 1));
    assert!(again.stopped(LONG).await.success());
}

/// As after a restart of PostgreSQL in a quiet minute: lanes without work do not notice.
#[tokio::test]
async fn a_process_whose_sessions_were_cut_keeps_a_demo_from_being_emptied() {
    let place = Place::new("reset-cut", 1).await;
    migrate::mark_as_demo(&place.config).await.unwrap();
    let mut vigie = used(&place).await;
    let client = place.look().await;
    let there = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
                   AND ((classid::bigint << 32) | objid::bigint)
                       = hashtextextended('vigie run in ' || current_schema, 0)";
    eventually("it says that it is there", async || {
        let sessions = format!("SELECT count(*) FROM ({there}) AS t");
        (count(&client, &sessions).await == 1).then_some(())
    })
    .await;
    let cut = format!(
        "SELECT count(pg_terminate_backend(pid, 5000))
         FROM ({there} UNION SELECT owner_pid FROM stream_offsets) AS t"
    );
    assert!(count(&client, &cut).await >= 2);
    eventually("it is there again", async || {
        let sessions = format!("SELECT count(*) FROM ({there}) AS t");
        (count(&client, &sessions).await == 1).then_some(())
    })
    .await;
    let refused = reset(&place, &["--yes"]);
    let sentence = said(&refused);
    assert_eq!(refused.status.code(), Some(2), "{sentence}");
    assert!(sentence.contains("stop `vigie run`"), "{sentence}");
    let stored = "SELECT count(*) FROM payments_scored";
    assert_eq!(count(&client, stored).await, 1);
    assert!(vigie.stopped(LONG).await.success());
    let done = reset(&place, &["--yes"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
}

#[tokio::test]
async fn what_is_not_marked_is_never_emptied_and_what_was_used_is_never_marked() {
    let place = Place::new("no-demo", 1).await;
    let mut vigie = used(&place).await;
    assert!(vigie.stopped(LONG).await.success());
    let before = holding(&place).await;
    let refused = reset(&place, &["--yes"]);
    let sentence = said(&refused);
    assert_eq!(refused.status.code(), Some(2), "{sentence}");
    assert!(sentence.contains("is not marked as a demo"), "{sentence}");
    let marking = place.command(&["migrate", "--demo"]).output().unwrap();
    let sentence = said(&marking);
    assert_eq!(marking.status.code(), Some(2), "{sentence}");
    assert!(sentence.contains("take an empty one"), "{sentence}");
    assert_eq!(holding(&place).await, before);
}

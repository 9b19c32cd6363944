//! Taking partitions, and what a stream's number stands for.

use std::time::{Duration, Instant};

use vigie::stream::store::{Binding, Store, StoreError};

use super::no_conflict;
use crate::support::database::{binding, card, count, migrated, store, writer};
use crate::support::payments::{decided, payment, span, versions};

#[tokio::test]
async fn a_partition_never_seen_begins_at_the_earliest_offset() {
    let config = migrated().await;
    let mut store = store(&config).await;
    let taken = store.take(&[5, 2], |p| i64::from(p) + 100).await.unwrap();
    let places: Vec<_> = taken.iter().map(|t| (t.partition, t.next_offset)).collect();
    assert_eq!(places, [(2, 102), (5, 105)]);
    let again = store.take(&[2], |_| 999).await.unwrap();
    assert_eq!(again[0].next_offset, 102, "the earliest is asked once only");
    assert_eq!(again[0].epoch, taken[0].epoch + 1);
}

#[tokio::test]
async fn an_owner_stopped_in_mid_transaction_is_ended_after_two_seconds() {
    let config = migrated().await;
    let mut stale = store(&config).await;
    stale.take(&[0, 1], |_| 0).await.unwrap();
    // The owner's session, with the row locked as in the middle of a commit. It is the writer's
    // second session, recorded as the owner in place of the lane's.
    let stuck = writer(&config).await;
    stuck
        .batch_execute(
            "UPDATE stream_offsets SET owner_pid = pg_backend_pid(), owner_backend_start = \
                 (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) \
             WHERE partition = 0",
        )
        .await
        .unwrap();
    stuck
        .batch_execute("BEGIN; SELECT 1 FROM stream_offsets WHERE partition = 0 FOR UPDATE")
        .await
        .unwrap();
    let mut fresh = store(&config).await;
    let began = Instant::now();
    let taken = fresh.take(&[0, 1], |_| 0).await.unwrap();
    assert_eq!(taken.len(), 2);
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "it may finish first"
    );
    assert!(began.elapsed() < Duration::from_secs(8));
    assert!(
        stuck.batch_execute("SELECT 1").await.is_err(),
        "the owner that held the row is ended"
    );
    let batch = decided(&card(), &[payment(1, 0)]);
    stale
        .take(&[1], |_| 0)
        .await
        .expect("the session of the owner whose row was free goes on");
    let refused = fresh
        .commit(&batch, &[span(&taken[1], 1)], &versions(), no_conflict)
        .await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })));
}

#[tokio::test]
async fn a_row_locked_by_somebody_else_is_waited_for_and_nobody_is_ended() {
    let config = migrated().await;
    let mut first = store(&config).await;
    first.take(&[0], |_| 0).await.unwrap();
    let person = writer(&config).await;
    person
        .batch_execute("BEGIN; SELECT 1 FROM stream_offsets FOR UPDATE")
        .await
        .unwrap();
    let mut second = store(&config).await;
    let taking = tokio::spawn(async move { second.take(&[0], |_| 0).await });
    let looking = writer(&config).await;
    crate::support::eventually("the taker waits for the lock", async || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN \
                       (SELECT pid FROM pg_stat_activity WHERE application_name = 'vigie test lane')";
        (count(&looking, waiting).await > 0).then_some(())
    })
    .await;
    person.batch_execute("COMMIT").await.unwrap();
    taking.await.unwrap().unwrap();
    person.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_binding_that_differs_is_refused_by_name() {
    let config = migrated().await;
    let mut store = store(&config).await;
    store.bind(&binding()).await.unwrap();
    for (other, word) in [
        (
            Binding {
                topic_id: "new".into(),
                ..binding()
            },
            "topic id",
        ),
        (
            Binding {
                partitions: 9,
                ..binding()
            },
            "number of partitions",
        ),
        (
            Binding {
                token_fingerprint: "0000".into(),
                ..binding()
            },
            "tokens.key",
        ),
    ] {
        let refused = store.bind(&other).await.unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
    let mut other_group = config.clone();
    other_group.stream.group = "somebody-else".into();
    let mut store = Store::connect(&other_group, &card().schema, "vigie test lane")
        .await
        .unwrap();
    let refused = store.bind(&binding()).await.unwrap_err().to_string();
    assert!(refused.contains("stream.group"), "{refused}");
}

#[tokio::test]
async fn a_held_partition_stays_held_until_it_is_released() {
    let config = migrated().await;
    let mut store = store(&config).await;
    let taken = store.take(&[0, 1], |_| 0).await.unwrap();
    let mut held = span(&taken[0], 0);
    held.held = Some("600 of the last 1,000 records are dead letters".into());
    let nothing = decided(&card(), &[]);
    store
        .commit(&nothing, &[held], &versions(), no_conflict)
        .await
        .unwrap();
    assert_eq!(store.released(&[0]).await.unwrap(), Vec::<i32>::new());
    let again = store.take(&[0], |_| 0).await.unwrap();
    assert!(again[0].held.as_deref().unwrap().starts_with("600 of"));
    assert_eq!(again[0].recent, [0b1010]);

    writer(&config)
        .await
        .batch_execute("UPDATE stream_offsets SET held = NULL, held_at = NULL WHERE partition = 0")
        .await
        .unwrap();
    assert_eq!(store.released(&[0]).await.unwrap(), [0]);
}

//! What a commit leaves behind.

use vigie::engine::batch::Reason;
use vigie::stream::store::{Committed, Since, Span, StoreError};

use super::{conflict, no_conflict};
use crate::support::database::{card, count, migrated, owner, store, writer};
use crate::support::payments::{
    DAY, HOUR, MARCH, Payment, dead_letter, decided, payment, span, versions,
};

#[tokio::test]
async fn a_batch_is_stored_whole_with_its_offsets() {
    let config = migrated().await;
    let mut store = store(&config).await;
    let taken = store.take(&[0, 3], |p| 10 * i64::from(p)).await.unwrap();
    let fraud = Payment {
        score: 0.97,
        label: Some(true),
        ..payment(0, 1)
    };
    let mut batch = decided(&card(), &[payment(0, 0), fraud, payment(3, 30)]);
    batch.dead_letters = vec![dead_letter(0, 2, Reason::WrongType)];
    let spans = [
        Span {
            dead: 1,
            to: 3,
            ..span(&taken[0], 2)
        },
        Span {
            held: Some("too many dead letters".into()),
            ..span(&taken[1], 1)
        },
    ];
    let committed = store
        .commit(&batch, &spans, &versions(), no_conflict)
        .await
        .unwrap();
    assert_eq!(committed, Committed::default());

    let client = writer(&config).await;
    let row = client
        .query_one(
            "SELECT amount::text, decision, reasons, event::text, features, merchant, country, \
                    event_time::text, event_day::text, account, score, currency IS NULL \
             FROM payments WHERE trans_num = 't-0-1'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0).trim_end_matches('0'), "1.01");
    assert_eq!(row.get::<_, &str>(1), "block");
    assert_eq!(row.get::<_, Vec<String>>(2), ["score_block"]);
    assert_eq!(
        row.get::<_, &str>(3),
        "{\"city\":\"Zürich\",\"city_pop\":-3495,\"dob\":\"1988-03-09T00:00:00Z\",\
         \"gender\":\"Zürich\",\"job\":\"Zürich\",\"lat\":41.25,\"long\":41.25,\
         \"merch_lat\":41.25,\"merch_long\":41.25}"
    );
    let features: Vec<f32> = row.get(4);
    assert_eq!(features.len(), 37);
    assert_eq!(features[0].to_bits(), (101f32 / 3.0).to_bits());
    assert!(features[1].is_nan(), "a text feature has its own column");
    assert_eq!(features[36].to_bits(), (101f32 / 3.0 - 36.0).to_bits());
    assert_eq!(row.get::<_, &str>(5), "fraud_Kirlin \"and\" Sons");
    assert_eq!(row.get::<_, &str>(6), "NY");
    assert_eq!(row.get::<_, &str>(7), "2026-03-01 01:00:00+00");
    assert_eq!(row.get::<_, &str>(8), "2026-03-01");
    assert_eq!(row.get::<_, String>(9), "01".repeat(16));
    assert_eq!(row.get::<_, f32>(10).to_bits(), 0.97f32.to_bits());
    assert!(row.get::<_, bool>(11));

    for (query, expected) in [
        ("SELECT count(*) FROM payments_scored", 3),
        (
            "SELECT count(*) FROM dead_letters WHERE payload LIKE '%\u{fffd}%'",
            1,
        ),
        (
            "SELECT count(*) FROM labels WHERE label AND trans_num = 't-0-1'",
            1,
        ),
        ("SELECT count(*) FROM labels", 1),
        (
            "SELECT count(*) FROM fraud_alerts WHERE source_offset = 1 AND outbox_id IS NULL",
            1,
        ),
        (
            "SELECT next_offset FROM stream_offsets WHERE partition = 0",
            3,
        ),
        ("SELECT dead FROM stream_offsets WHERE partition = 0", 1),
        (
            "SELECT next_offset FROM stream_offsets WHERE partition = 3",
            31,
        ),
        (
            "SELECT count(*) FROM stream_offsets WHERE held_at IS NOT NULL",
            1,
        ),
    ] {
        assert_eq!(count(&client, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_payment_without_a_score_is_stored_as_not_assessed() {
    let config = migrated().await;
    let mut store = store(&config).await;
    let taken = store.take(&[0], |_| 0).await.unwrap();
    let unscored = Payment {
        score: f32::NAN,
        ..payment(0, 0)
    };
    let batch = decided(&card(), &[unscored]);
    store
        .commit(&batch, &[span(&taken[0], 1)], &versions(), no_conflict)
        .await
        .unwrap();
    let client = writer(&config).await;
    let query = "SELECT count(*) FROM payments_scored \
                 WHERE score IS NULL AND decision = 1 AND reasons = '{not_assessed}'";
    assert_eq!(count(&client, query).await, 1);
    let query = "SELECT count(*) FROM fraud_alerts WHERE score IS NULL";
    assert_eq!(count(&client, query).await, 1);
}

#[tokio::test]
async fn a_payment_stored_before_is_counted_and_its_neighbours_are_stored() {
    let config = migrated().await;
    let mut store = store(&config).await;
    let taken = store.take(&[0], |_| 0).await.unwrap();
    let bundle = card();
    let first = [payment(0, 0), payment(0, 1)];
    store
        .commit(
            &decided(&bundle, &first),
            &[span(&taken[0], 2)],
            &versions(),
            no_conflict,
        )
        .await
        .unwrap();

    let again = |offset: i64, of: i64| Payment {
        offset,
        score: 0.99,
        label: Some(false),
        ..payment(0, of)
    };
    let other_body = Payment {
        body: 1,
        ..again(4, 1)
    };
    let new = Payment {
        label: Some(true),
        score: 0.5,
        ..payment(0, 5)
    };
    // 2 repeats 0, 4 contradicts 1, 6 repeats 5 of the same batch; 3 and 5 are new.
    let batch = decided(
        &bundle,
        &[again(2, 0), payment(0, 3), other_body, new, again(6, 5)],
    );
    let mut moved = span(&taken[0], 5);
    moved.from = 2;
    moved.to = 7;
    let committed = store
        .commit(&batch, &[moved], &versions(), conflict(0, 4))
        .await
        .unwrap();
    assert_eq!(
        committed,
        Committed {
            duplicates: vec![0, 4],
            conflicts: vec![2]
        }
    );
    let client = writer(&config).await;
    for (query, expected) in [
        ("SELECT scored FROM stream_offsets", 4),
        ("SELECT duplicates FROM stream_offsets", 2),
        ("SELECT dead FROM stream_offsets", 1),
        ("SELECT next_offset FROM stream_offsets", 7),
        ("SELECT count(*) FROM payments_scored", 4),
        ("SELECT count(*) FROM payments_scored WHERE score > 0.9", 0),
        ("SELECT count(*) FROM fraud_alerts", 1),
        ("SELECT count(*) FROM labels", 1),
        (
            "SELECT count(*) FROM dead_letters \
             WHERE source_offset = 4 AND reason = 'conflicting_duplicate'",
            1,
        ),
    ] {
        assert_eq!(count(&client, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn what_another_lane_took_is_fenced_and_the_rest_goes_through() {
    let config = migrated().await;
    let mut stale = store(&config).await;
    let mut fresh = store(&config).await;
    let old = stale.take(&[0, 1], |_| 0).await.unwrap();
    let new = fresh.take(&[1], |_| 0).await.unwrap();
    assert_eq!(new[0].epoch, old[1].epoch + 1);
    assert!(old[1].first && !new[0].first);

    let bundle = card();
    let both = decided(&bundle, &[payment(0, 0), payment(1, 0)]);
    let spans = [span(&old[0], 1), span(&old[1], 1)];
    let refused = stale
        .commit(&both, &spans, &versions(), no_conflict)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, StoreError::Fenced { partitions } if partitions == &[1]),
        "{refused}"
    );
    let client = writer(&config).await;
    assert_eq!(
        count(&client, "SELECT count(*) FROM payments_scored").await,
        0
    );

    let rest = decided(&bundle, &[payment(0, 0)]);
    stale
        .commit(&rest, &spans[..1], &versions(), no_conflict)
        .await
        .unwrap();
    let other = decided(&bundle, &[payment(1, 0)]);
    fresh
        .commit(&other, &[span(&new[0], 1)], &versions(), no_conflict)
        .await
        .unwrap();
    assert_eq!(
        count(&client, "SELECT count(*) FROM payments_scored").await,
        2
    );
}

#[tokio::test]
async fn the_same_batch_sent_twice_is_fenced_by_its_place() {
    let config = migrated().await;
    let mut store = store(&config).await;
    let taken = store.take(&[0], |_| 0).await.unwrap();
    let batch = decided(&card(), &[payment(0, 0)]);
    let spans = [span(&taken[0], 1)];
    store
        .commit(&batch, &spans, &versions(), no_conflict)
        .await
        .unwrap();
    let again = store.commit(&batch, &spans, &versions(), no_conflict).await;
    assert!(matches!(again, Err(StoreError::Fenced { .. })), "{again:?}");
}

#[tokio::test]
async fn a_session_that_is_killed_is_unavailable_and_the_batch_goes_through_afterwards() {
    let config = migrated().await;
    let mut store = store(&config).await;
    let taken = store.take(&[0], |_| 0).await.unwrap();
    let client = writer(&config).await;
    let kill = "SELECT count(pg_terminate_backend(owner_pid, 5000)) FROM stream_offsets";
    assert_eq!(count(&client, kill).await, 1);

    let batch = decided(&card(), &[payment(0, 0)]);
    let spans = [span(&taken[0], 1)];
    let refused = store.commit(&batch, &spans, &versions(), no_conflict).await;
    // The lane may learn of the end before it sends anything: then a new session is opened.
    if let Err(error) = &refused {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let again = store.take(&[0], |_| 0).await.unwrap();
        assert_eq!(again[0].next_offset, 0);
        let retaken = [Span {
            epoch: again[0].epoch,
            ..spans[0].clone()
        }];
        store
            .commit(&batch, &retaken, &versions(), no_conflict)
            .await
            .unwrap();
    }
    let stored = "SELECT count(*) FROM payments_scored";
    assert_eq!(count(&client, stored).await, 1);
}

#[tokio::test]
async fn many_lanes_make_the_same_days_at_once() {
    let config = migrated().await;
    let bundle = card();
    let lanes = (0..6).map(|partition| {
        let (config, bundle) = (config.clone(), bundle.clone());
        tokio::spawn(async move {
            let mut store = store(&config).await;
            let mut taken = store.take(&[partition], |_| 0).await.unwrap();
            for batch in 0..5 {
                let payments: Vec<Payment> = (0..48)
                    .map(|row| payment(partition, 48 * batch + row))
                    .collect();
                let moved = span(&taken[0], 48);
                store
                    .commit(
                        &decided(&bundle, &payments),
                        &[moved],
                        &versions(),
                        no_conflict,
                    )
                    .await
                    .unwrap();
                taken[0].next_offset += 48;
            }
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await.unwrap();
    }
    let client = writer(&config).await;
    let stored = "SELECT count(*) FROM payments_scored";
    assert_eq!(count(&client, stored).await, 6 * 240);
    let days = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'payments_scored'::regclass";
    // Ten days from a Sunday on, with the whole weeks they lie in.
    assert_eq!(count(&client, days).await, 21);
}

#[tokio::test]
async fn a_day_that_retention_removed_is_made_again() {
    let config = migrated().await;
    let mut store = store(&config).await;
    let taken = store.take(&[0], |_| 0).await.unwrap();
    let bundle = card();
    let commit = |offset: i64| (decided(&bundle, &[payment(0, offset)]), offset);
    let (batch, _) = commit(0);
    let mut moved = span(&taken[0], 1);
    store
        .commit(&batch, &[moved.clone()], &versions(), no_conflict)
        .await
        .unwrap();
    owner(&config)
        .await
        .batch_execute("DROP TABLE payments_scored_20260301; DROP TABLE labels_202603")
        .await
        .unwrap();
    let (batch, _) = commit(1);
    (moved.from, moved.to) = (1, 2);
    store
        .commit(&batch, &[moved], &versions(), no_conflict)
        .await
        .unwrap();
    let client = writer(&config).await;
    let stored = "SELECT count(*) FROM payments_scored";
    assert_eq!(count(&client, stored).await, 1);
}

#[tokio::test]
async fn warm_up_reads_what_lies_between_horizon_and_next_offset() {
    let config = migrated().await;
    let mut store = store(&config).await;
    let taken = store.take(&[0, 1, 2], |_| 0).await.unwrap();
    let payments: Vec<Payment> = (0..300)
        .map(|row| payment(row % 3, i64::from(row / 3)))
        .collect();
    let spans: Vec<Span> = taken.iter().map(|taken| span(taken, 100)).collect();
    let batch = decided(&card(), &payments);
    store
        .commit(&batch, &spans, &versions(), no_conflict)
        .await
        .unwrap();
    let since = [
        Since {
            partition: 0,
            next_offset: 50,
            horizon: MARCH + DAY,
        },
        Since {
            partition: 2,
            next_offset: 100,
            horizon: MARCH + 90 * HOUR,
        },
    ];
    let mut found = Vec::new();
    store
        .warm_up(&since, |row| {
            let expected = payment(row.partition, row.offset);
            assert_eq!(row.trans_num, expected.id);
            assert_eq!(row.time, expected.time);
            assert_eq!(row.amount, expected.amount);
            assert_eq!(row.body_hash, expected.body);
            assert_eq!(row.account.0, [expected.account; 16]);
            assert_eq!(i64::from(row.day), expected.time / DAY);
            found.push((row.partition, row.offset));
        })
        .await
        .unwrap();
    found.sort_unstable();
    let expected: Vec<(i32, i64)> = (25..50)
        .map(|offset| (0, offset))
        .chain((91..100).map(|offset| (2, offset)))
        .collect();
    assert_eq!(found, expected);

    let mut any = false;
    let beyond = Since {
        partition: 1,
        next_offset: 100,
        horizon: MARCH + 400 * DAY,
    };
    store.warm_up(&[beyond], |_| any = true).await.unwrap();
    assert!(!any, "nothing lies beyond the horizon");
}

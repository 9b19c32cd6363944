//! The rare way: some payment of the batch is stored already.
//!
//! The same batch goes through a staging table into an insert that passes over what is there.
//! What was passed over is a repeat (same body) or a conflict (another body): the first answer
//! stands in both cases.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::Error;

use crate::database::{Day, Moment};
use crate::engine::batch::DeadLetter;

use super::commit::{Batch, Committed, Failure, copy};
use super::encode::PAYMENT_COLUMNS;
use super::{StoreError, rows};

const MAKE_STAGING: &str = "\
    CREATE TEMPORARY TABLE staging (LIKE payments_scored INCLUDING DEFAULTS) ON COMMIT DELETE ROWS";

/// In the order of the topic, so that of two repeats in one batch the first one stands.
const FROM_STAGING: &str = "\
    ORDER BY source_partition, source_offset \
    ON CONFLICT (event_time, trans_num, account, event_day, stream) DO NOTHING \
    RETURNING source_partition, source_offset";

/// One day at a time: with the day in hand, one partition is looked into.
const STORED_BODIES: &str = "\
    SELECT r.number, p.body_hash \
    FROM unnest($3::integer[], $4::timestamptz[], $5::text[], $6::bytea[]) \
         AS r (number, event_time, trans_num, account) \
    JOIN payments_scored AS p \
      ON p.event_time = r.event_time AND p.trans_num = r.trans_num AND p.account = r.account \
    WHERE p.event_day = $1 AND p.stream = $2";

const CORRECT_COUNTS: &str = "\
    UPDATE stream_offsets AS o \
    SET scored = o.scored - c.duplicates - c.conflicts, duplicates = o.duplicates + c.duplicates, \
        dead = o.dead + c.conflicts \
    FROM unnest($2::integer[], $3::bigint[], $4::bigint[]) AS c (partition, duplicates, conflicts) \
    WHERE o.stream = $1 AND o.partition = c.partition";

impl Batch<'_> {
    pub(super) async fn upsert(
        &mut self,
        refuse: &impl Fn(usize) -> DeadLetter,
    ) -> Result<Committed, Failure> {
        let mut committing = false;
        let patience = self.patience;
        let work = self.try_upsert(refuse, &mut committing);
        let written = tokio::time::timeout(patience, work).await;
        self.end(written, committing).await
    }

    async fn try_upsert(
        &mut self,
        refuse: &impl Fn(usize) -> DeadLetter,
        committing: &mut bool,
    ) -> Result<Committed, Failure> {
        if !self.session.staged {
            self.session.client.batch_execute(MAKE_STAGING).await?;
            self.session.staged = true;
        }
        self.begin().await?;
        let passed_over = self.insert_from_staging().await?;
        let committed = self.tell_apart(passed_over).await?;
        self.correct_counts(&committed).await?;
        let refused: BTreeSet<usize> = committed
            .duplicates
            .iter()
            .chain(&committed.conflicts)
            .copied()
            .collect();
        let stored = |row: usize| !refused.contains(&row);
        let letters: Vec<DeadLetter> = committed
            .conflicts
            .iter()
            .map(|&row| refuse(row))
            .chain(self.decided.dead_letters.iter().cloned())
            .collect();
        let labels = self.encoder.labels(self.decided, stored);
        let (session, topic) = (&*self.session, (self.stream, self.topic));
        rows::insert_dead_letters(session, topic, &letters).await?;
        rows::insert_alerts(session, self.stream, self.encoder, self.decided, stored).await?;
        copy(&session.client, &session.statements.copy_labels, labels).await?;
        *committing = true;
        session.client.batch_execute("COMMIT").await?;
        Ok(committed)
    }

    /// Inserts what is new and returns the events that were passed over.
    async fn insert_from_staging(&self) -> Result<Vec<usize>, Error> {
        let client = &self.session.client;
        let fill = format!("COPY pg_temp.staging ({PAYMENT_COLUMNS}) FROM STDIN (FORMAT binary)");
        let fill = client.prepare(&fill).await?;
        copy(client, &fill, Some(self.payments.clone())).await?;
        let insert = format!(
            "INSERT INTO payments_scored ({PAYMENT_COLUMNS}) SELECT {PAYMENT_COLUMNS} \
             FROM pg_temp.staging {FROM_STAGING}"
        );
        let events = &self.decided.events;
        let mut rows: HashMap<(i32, i64), usize> = (0..events.len())
            .map(|row| {
                let head = &self.decided.heads[events.record[row] as usize];
                ((head.partition, head.offset), row)
            })
            .collect();
        for inserted in client.query(&insert, &[]).await? {
            rows.remove(&(inserted.try_get(0)?, inserted.try_get(1)?));
        }
        let mut passed_over: Vec<usize> = rows.into_values().collect();
        passed_over.sort_unstable();
        Ok(passed_over)
    }

    /// Repeats from conflicts, by the body that is stored.
    async fn tell_apart(&self, passed_over: Vec<usize>) -> Result<Committed, Failure> {
        let events = &self.decided.events;
        let ids = self.encoder.ids(self.decided);
        let mut by_day: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for row in passed_over {
            by_day.entry(events.day[row]).or_default().push(row);
        }
        let mut committed = Committed::default();
        for (day, rows) in by_day {
            let numbers: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
            let times: Vec<Moment> = rows.iter().map(|&row| Moment(events.time[row])).collect();
            let names: Vec<Option<&str>> = rows.iter().map(|&row| ids.get(row)).collect();
            let accounts: Vec<&[u8]> = rows
                .iter()
                .map(|&row| events.account[row].0.as_slice())
                .collect();
            let stored = self
                .session
                .client
                .query(
                    STORED_BODIES,
                    &[&Day(day), &self.stream, &numbers, &times, &names, &accounts],
                )
                .await?;
            for found in &stored {
                let row = found.try_get::<_, i32>(0)? as usize;
                let same = found.try_get::<_, i64>(1)?.cast_unsigned() == events.body_hash[row];
                if same {
                    committed.duplicates.push(row);
                } else {
                    committed.conflicts.push(row);
                }
            }
        }
        Ok(committed)
    }

    async fn correct_counts(&self, committed: &Committed) -> Result<(), Failure> {
        let mut corrections: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        let partition =
            |row: usize| self.decided.heads[self.decided.events.record[row] as usize].partition;
        for &row in &committed.duplicates {
            corrections.entry(partition(row)).or_default().0 += 1;
        }
        for &row in &committed.conflicts {
            corrections.entry(partition(row)).or_default().1 += 1;
        }
        let partitions: Vec<i32> = corrections.keys().copied().collect();
        let duplicates: Vec<i64> = corrections.values().map(|counts| counts.0).collect();
        let conflicts: Vec<i64> = corrections.values().map(|counts| counts.1).collect();
        self.session
            .client
            .execute(
                CORRECT_COUNTS,
                &[&self.stream, &partitions, &duplicates, &conflicts],
            )
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }
}

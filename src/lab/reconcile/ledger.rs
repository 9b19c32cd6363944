//! The database against what the producer was told had been written.
//!
//! Ledgers are files of lines `partition offset account id amount time`, separated by tabs and
//! escaped as COPY reads them. They go into a temporary table as they are: the database joins
//! better than we do, and spills to disk when they are large.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::Context;
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::Transaction;

use super::Check;

const CHUNK: usize = 1 << 20;

const MAKE: &str = "\
    CREATE TEMPORARY TABLE ledger (partition integer, position bigint, account text, \
        trans_num text COLLATE \"C\", amount bigint, micros bigint) ON COMMIT DROP";

/// What was sent, each payment once: less what became a dead letter, and however often it was sent.
const DISTINCT: &str = "\
    CREATE TEMPORARY TABLE sent ON COMMIT DROP AS \
    SELECT DISTINCT decode(l.account, 'hex') AS account, l.trans_num, \
           TIMESTAMPTZ 'epoch' + l.micros * INTERVAL '1 microsecond' AS event_time, l.amount \
    FROM ledger AS l \
    WHERE NOT EXISTS (SELECT FROM dead_letters AS d \
                      WHERE d.stream = $1 AND d.source_partition = l.partition \
                        AND d.source_offset = l.position)";

const UNREAD: &str = "\
    SELECT format('partition %s offset %s was sent, and is not among the offsets consumed (%s to %s)', \
                  l.partition, l.position, o.first_offset, o.next_offset - 1) \
    FROM ledger AS l \
    LEFT JOIN stream_offsets AS o ON o.stream = $1 AND o.partition = l.partition \
    WHERE (l.position >= o.first_offset AND l.position < o.next_offset) IS NOT TRUE";

const LOST: &str = "\
    SELECT format('%s of account %s at %s was sent, and is not stored', \
                  s.trans_num, encode(s.account, 'hex'), s.event_time) \
    FROM sent AS s \
    WHERE NOT EXISTS (SELECT FROM payments_scored AS p \
                      WHERE p.stream = $1 AND p.event_time = s.event_time \
                        AND p.trans_num = s.trans_num AND p.account = s.account)";

/// Our own canary is in no producer's ledger.
const INVENTED: &str = "\
    SELECT format('%s of account %s at %s is stored, and was not sent', \
                  p.trans_num, encode(p.account, 'hex'), p.event_time) \
    FROM payments_scored AS p \
    WHERE p.stream = $1 AND p.origin <> 2 \
      AND NOT EXISTS (SELECT FROM sent AS s \
                      WHERE s.event_time = p.event_time AND s.trans_num = p.trans_num \
                        AND s.account = p.account)";

const SUMS: &str = "\
    SELECT format('account %s: %s minor units in %s payments sent, %s in %s stored', \
                  encode(account, 'hex'), s.total, s.payments, p.total, p.payments) \
    FROM (SELECT account, sum(amount) AS total, count(*) AS payments \
          FROM sent GROUP BY account) AS s \
    FULL JOIN (SELECT account, sum(amount) AS total, count(*) AS payments \
               FROM payments_scored WHERE stream = $1 AND origin <> 2 GROUP BY account) AS p USING (account) \
    WHERE s.total IS DISTINCT FROM p.total OR s.payments IS DISTINCT FROM p.payments";

const FIGURES: &str = "\
    SELECT (SELECT count(*) FROM ledger), (SELECT count(*) FROM sent), \
           (SELECT count(DISTINCT account) FROM sent), \
           (SELECT coalesce(sum(amount), 0)::text FROM sent)";

/// Compares the ledgers, all together, with what is stored, both ways.
pub(super) async fn checks(
    snapshot: &Transaction<'_>,
    stream: i16,
    ledgers: &[PathBuf],
) -> anyhow::Result<Vec<Check>> {
    snapshot.batch_execute(MAKE).await?;
    for path in ledgers {
        load(snapshot, path)
            .await
            .with_context(|| format!("--ledger {}", path.display()))?;
    }
    snapshot.batch_execute("ANALYZE ledger").await?;
    // CREATE TABLE AS takes no parameters; what goes in is a number.
    let distinct = DISTINCT.replace("$1", &stream.to_string());
    snapshot.batch_execute(&distinct).await?;
    snapshot.batch_execute("ANALYZE sent").await?;

    let figures = snapshot.query_one(FIGURES, &[]).await?;
    let (lines, sent): (i64, i64) = (figures.try_get(0)?, figures.try_get(1)?);
    let (accounts, total): (i64, String) = (figures.try_get(2)?, figures.try_get(3)?);
    let mut checks = Vec::new();
    for (name, query, summary) in [
        (
            "consumed",
            UNREAD,
            format!("{lines} records acknowledged to the producer are consumed"),
        ),
        (
            "sent",
            LOST,
            format!("{sent} payments sent that are no dead letter are stored"),
        ),
        ("stored", INVENTED, "every payment stored was sent".into()),
        (
            "sums",
            SUMS,
            format!("{total} minor units over {accounts} accounts, equal per account"),
        ),
    ] {
        checks.push(Check::of_stream(snapshot, stream, name, query, summary).await?);
    }
    Ok(checks)
}

async fn load(snapshot: &Transaction<'_>, path: &Path) -> anyhow::Result<()> {
    let file = BufReader::new(File::open(path)?);
    let mut lines: Box<dyn Read> = if path.extension().is_some_and(|ending| ending == "zst") {
        Box::new(zstd::Decoder::new(file)?)
    } else {
        Box::new(file)
    };
    let mut sink = pin!(snapshot.copy_in("COPY ledger FROM STDIN").await?);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = lines.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        sink.send(Bytes::copy_from_slice(&chunk[..read])).await?;
    }
    sink.finish().await?;
    Ok(())
}

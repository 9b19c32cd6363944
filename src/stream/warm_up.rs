//! Rebuilding histories beside the lane: its other partitions go on meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::stop::Stop;
use super::store::{Since, Store, StoreError, Taken, WarmRow};
use super::{LaneError, Setup};
use crate::engine::batch::Micros;
use crate::engine::velocity::{Observed, Shard, identity};

/// A rebuild under way, of partitions that were taken together.
pub struct WarmUp {
    taken: Vec<Taken>,
    rebuilt: Receiver<Result<BTreeMap<i32, Shard>, LaneError>>,
}

impl WarmUp {
    /// Starts a thread that reads the histories of these partitions.
    pub fn start(setup: Arc<Setup>, lane: usize, taken: Vec<Taken>, stop: Stop) -> Self {
        let (send, rebuilt) = channel();
        let partitions = taken.clone();
        std::thread::spawn(move || {
            // A lane that has ended meanwhile does not listen any more.
            let _ = send.send(rebuild(&setup, lane, &partitions, &stop));
        });
        Self { taken, rebuilt }
    }

    /// The partitions being rebuilt.
    pub fn taken(&self) -> &[Taken] {
        &self.taken
    }

    /// The histories, once they are there.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn finished(&self) -> Result<Option<BTreeMap<i32, Shard>>, LaneError> {
        match self.rebuilt.try_recv() {
            Ok(result) => result.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(LaneError::Refused(
                "the thread that rebuilds histories ended early".into(),
            )),
        }
    }
}

fn rebuild(
    setup: &Setup,
    lane: usize,
    taken: &[Taken],
    stop: &Stop,
) -> Result<BTreeMap<i32, Shard>, LaneError> {
    let runtime = super::single_threaded()?;
    let mut pause = Duration::from_millis(200);
    loop {
        match runtime.block_on(read(setup, lane, taken)) {
            Err(StoreError::Unavailable(problem)) if !stop.is_requested() => {
                tracing::warn!(lane, %problem, "waiting for the database to rebuild histories");
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            other => return Ok(other?),
        }
    }
}

async fn read(
    setup: &Setup,
    lane: usize,
    taken: &[Taken],
) -> Result<BTreeMap<i32, Shard>, StoreError> {
    let reach = setup.plan.reach();
    let mut shards: BTreeMap<i32, Shard> = taken
        .iter()
        .map(|row| (row.partition, Shard::new(reach.clone())))
        .collect();
    let since: Vec<Since> = taken
        .iter()
        .filter_map(|row| {
            Some(Since {
                partition: row.partition,
                next_offset: row.next_offset,
                horizon: reach.horizon(row.watermark?),
            })
        })
        .collect();
    let began = Instant::now();
    let mut rows: u64 = 0;
    if !since.is_empty() {
        let name = format!("vigie lane {lane} warm-up");
        let mut store = Store::connect(&setup.config, &setup.bundle.schema, &name).await?;
        let seed = setup.key.id_seed();
        let restore = |row: WarmRow<'_>| {
            rows += 1;
            if let Some(shard) = shards.get_mut(&row.partition) {
                shard.restore(&observed(&row, seed));
            }
        };
        store.warm_up(&since, restore).await?;
    }
    for row in taken {
        if let Some(shard) = shards.get_mut(&row.partition) {
            shard.restore_watermark(row.watermark);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(
        lane,
        partitions = taken.len(),
        rows,
        seconds,
        "histories are rebuilt"
    );
    Ok(shards)
}

fn observed(row: &WarmRow<'_>, seed: u64) -> Observed {
    let time: Micros = row.time;
    Observed {
        account: row.account,
        time,
        amount: row.amount,
        id: identity(xxh3_64_with_seed(row.trans_num.as_bytes(), seed), row.day),
        body: row.body_hash,
    }
}

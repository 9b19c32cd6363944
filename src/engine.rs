//! The engine: records in, decisions out. No clock, no I/O but the model's graph.
//!
//! The same code runs in the stream, offline and in tests: time is an argument, and whoever
//! wants to know how long a step takes passes an observer that owns a clock.

pub mod batch;
pub mod decode;
pub mod features;
pub mod golden;
pub mod mask;
pub mod origin;
pub mod policy;
pub mod score;
pub mod stored;
pub mod token;
pub mod velocity;

use std::collections::BTreeMap;

use batch::{DeadLetter, Decided, Events, Features, Reason, Records};
use decode::{Decoder, decode};
use features::Plan;
use origin::OriginRule;
use policy::Policy;
use score::OnnxModel;
use velocity::{Observed, Seen, Shard, Tally, WindowStats, identity};

/// A step that has just ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bytes became events or dead letters.
    Decode,
    /// Events became features.
    Features,
    /// Features became scores.
    Score,
    /// Scores became decisions.
    Decide,
}

/// Decoding, account histories and features: all of a decision but the model and the policy.
#[derive(Debug)]
pub struct Preparation {
    decoder: Decoder,
    plan: Plan,
    shards: BTreeMap<i32, Shard>,
}

/// A batch with its features.
#[derive(Debug, Default)]
pub struct Prepared {
    /// New payments, in the batch's order.
    pub events: Events,
    /// Their features.
    pub features: Features,
    /// Records that are no payment.
    pub dead_letters: Vec<DeadLetter>,
    /// Repeats, by partition and offset.
    pub duplicates: Vec<(i32, i64)>,
}

impl Preparation {
    /// No partition is owned yet.
    pub fn new(decoder: Decoder, plan: Plan) -> Self {
        Self {
            decoder,
            plan,
            shards: BTreeMap::new(),
        }
    }

    /// What decodes the records.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// How the features are computed.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A history that holds nothing yet.
    pub fn empty_shard(&self) -> Shard {
        Shard::new(self.plan.reach().clone())
    }

    /// Takes a partition with its history.
    pub fn own(&mut self, partition: i32, shard: Shard) {
        self.shards.insert(partition, shard);
    }

    /// Forgets a partition's history.
    pub fn disown(&mut self, partition: i32) {
        self.shards.remove(&partition);
    }

    /// The histories of a partition, when it is owned.
    pub fn shard(&self, partition: i32) -> Option<&Shard> {
        self.shards.get(&partition)
    }

    /// How much all histories hold.
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in self.shards.values().map(Shard::tally) {
            sum.accounts += tally.accounts;
            sum.events += tally.events;
            sum.bytes += tally.bytes;
        }
        sum
    }

    /// Decodes the records and computes their features; the histories move on.
    ///
    /// Every record must be of a partition that is owned.
    pub fn prepare(&mut self, records: &Records, ended: &mut dyn FnMut(Step)) -> Prepared {
        let (mut events, mut dead_letters) = decode(&self.decoder, records);
        ended(Step::Decode);
        let mut columns = self.plan.window_columns();
        let mut stats = vec![WindowStats::default(); self.plan.reach().windows.len()];
        let mut duplicates = Vec::new();
        let mut keep = vec![true; events.len()];
        for (row, keep) in keep.iter_mut().enumerate() {
            let record = events.record[row] as usize;
            let head = records.head(record);
            let Some(shard) = self.shards.get_mut(&head.partition) else {
                unreachable!("partition {} is not owned by this engine", head.partition)
            };
            match shard.observe(&observed(&events, row), &mut stats) {
                Seen::New { last } => {
                    let event = (events.time[row], events.amount[row]);
                    self.plan.add_windows(&mut columns, event, last, &stats);
                }
                Seen::Duplicate => {
                    *keep = false;
                    duplicates.push((head.partition, head.offset));
                }
                Seen::Conflict => {
                    *keep = false;
                    dead_letters.push(self.conflicting(records, record));
                }
            }
        }
        if keep.contains(&false) {
            events.retain(&keep);
        }
        let features = self.plan.join(&events, columns);
        ended(Step::Features);
        Prepared {
            events,
            features,
            dead_letters,
            duplicates,
        }
    }

    /// The dead letter of a payment that was already stored with another body.
    pub fn conflicting(&self, records: &Records, record: usize) -> DeadLetter {
        let message = "another payment of this account and day has this id".to_owned();
        self.decoder
            .dead_letter(records, record, Reason::ConflictingDuplicate, None, message)
    }
}

fn observed(events: &Events, row: usize) -> Observed {
    Observed {
        account: events.account[row],
        time: events.time[row],
        amount: events.amount[row],
        id: identity(events.id_hash[row], events.day[row]),
        body: events.body_hash[row],
    }
}

/// One lane's engine.
#[derive(Debug)]
pub struct Engine {
    /// Decoding, histories and features.
    pub preparation: Preparation,
    model: OnnxModel,
    policy: Policy,
    origin: OriginRule,
}

impl Engine {
    /// Joins the parts.
    pub fn new(
        preparation: Preparation,
        model: OnnxModel,
        policy: Policy,
        origin: OriginRule,
    ) -> Self {
        Self {
            preparation,
            model,
            policy,
            origin,
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Decides every record of a batch: payments with their decision, dead letters, repeats.
    ///
    /// A graph that fails leaves every payment of the batch without a score: they are decided
    /// by the policy's fallback and marked as not assessed.
    pub fn decide(&mut self, records: &Records, ended: &mut dyn FnMut(Step)) -> Decided {
        let prepared = self.preparation.prepare(records, ended);
        let rows = prepared.events.len();
        let (scores, score_error) = match self.model.score(&prepared.features, rows) {
            Ok(scores) => (scores, None),
            Err(error) => (vec![f32::NAN; rows], Some(error.to_string())),
        };
        ended(Step::Score);
        let (decisions, reasons) = scores
            .iter()
            .map(|score| self.policy.decide(*score))
            .unzip();
        let origins = self.origin.of_events(records.heads(), &prepared.events);
        ended(Step::Decide);
        Decided {
            heads: records.heads().to_vec(),
            events: prepared.events,
            features: prepared.features,
            scores,
            decisions,
            reasons,
            origins,
            dead_letters: prepared.dead_letters,
            duplicates: prepared.duplicates,
            score_error,
        }
    }
}

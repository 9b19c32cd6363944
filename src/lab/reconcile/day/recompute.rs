//! The sample's decisions once more, by the code that took them.

use anyhow::Context;
use tokio_postgres::Transaction;

use super::sample::{self, Known, Sampled};
use crate::bundle::Bundle;
use crate::config::Config;
use crate::engine::batch::{Decision, FeatureColumn, Features, Micros};
use crate::engine::features::Plan;
use crate::engine::policy::Policy;
use crate::engine::score::{OnnxModel, Runtime};
use crate::engine::stored;
use crate::engine::velocity::{Observed, Seen, Shard, WindowStats};

/// How many differences are shown.
const EXAMPLES: usize = 20;

/// What came of the sample.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) recomputed: usize,
    pub(super) other_version: usize,
    pub(super) different: usize,
    pub(super) examples: Vec<String>,
}

/// Recomputes features, scores and decisions, and compares them bit for bit.
pub(super) async fn compare(
    config: &Config,
    snapshot: &Transaction<'_>,
    mut sample: Vec<Sampled>,
) -> anyhow::Result<Outcome> {
    // Where nothing is to be recomputed, no model is needed.
    if sample.is_empty() {
        return Ok(Outcome::default());
    }
    let bundle = Bundle::read(&config.stream.bundle)?;
    let policy = Policy::of_bundle(&bundle.version, bundle.policy);
    let model_version = bundle.model_version();
    let chosen = sample.len();
    sample.retain(|s| s.model_version == model_version && s.policy_version == policy.version);
    let mut outcome = Outcome {
        recomputed: sample.len(),
        other_version: chosen - sample.len(),
        ..Outcome::default()
    };
    if sample.is_empty() {
        return Ok(outcome);
    }
    stored::is_enough_for(&bundle)?;
    let plan = Plan::new(&bundle, config.events.lateness.as_micros() as Micros);
    let longest = plan.reach().windows.last().copied().unwrap_or(0);
    let known = sample::known(snapshot, config.stream.id, &sample, longest).await?;
    let features = features(&bundle, &plan, &sample, &known)?;
    let mut model = OnnxModel::load(&Runtime::load(&config.model.onnxruntime)?, &bundle)?;
    let scores = model
        .score(&features, sample.len())
        .context("the sample's decisions cannot be recomputed")?;
    for (row, sampled) in sample.iter().enumerate() {
        let mut differing = differing_features(&bundle, &features, row, sampled);
        differing.extend(differing_decision(&policy, scores[row], sampled));
        if !differing.is_empty() {
            outcome.different += 1;
            if outcome.examples.len() < EXAMPLES {
                outcome.examples.push(format!(
                    "{:?} (partition {} offset {}): {}",
                    sampled.payment.id,
                    sampled.partition,
                    sampled.offset,
                    differing.join(", ")
                ));
            }
        }
    }
    Ok(outcome)
}

/// The sample's features, each from a history of its own.
fn features(
    bundle: &Bundle,
    plan: &Plan,
    sample: &[Sampled],
    known: &[Known],
) -> anyhow::Result<Features> {
    let payments: Vec<_> = sample.iter().map(|s| s.payment.clone()).collect();
    let events = stored::events(&bundle.schema, &payments)?;
    let mut columns = plan.window_columns();
    let mut stats = vec![WindowStats::default(); plan.reach().windows.len()];
    for (sampled, known) in sample.iter().zip(known) {
        let payment = &sampled.payment;
        let mut shard = Shard::new(plan.reach().clone());
        for observed in &known.history {
            shard.restore(observed);
        }
        shard.restore_watermark(known.watermark);
        let observed = Observed {
            account: payment.account,
            time: payment.time,
            amount: payment.amount,
            id: sampled.offset.cast_unsigned(),
            body: 0,
        };
        let Seen::New { last } = shard.observe(&observed, &mut stats) else {
            anyhow::bail!("two payments are stored at one position: run `vigie reconcile`");
        };
        plan.add_windows(&mut columns, (payment.time, payment.amount), last, &stats);
    }
    Ok(plan.join(&events, columns))
}

fn differing_features(
    bundle: &Bundle,
    features: &Features,
    row: usize,
    sampled: &Sampled,
) -> Vec<String> {
    let (stored, rest) = sampled.features.as_chunks::<4>();
    if stored.len() != features.columns.len() || !rest.is_empty() {
        return vec![format!(
            "{} bytes of features, expected {}",
            sampled.features.len(),
            4 * features.columns.len()
        )];
    }
    let mut differing = Vec::new();
    let columns = bundle.features.iter().zip(&features.columns);
    for ((feature, column), stored) in columns.zip(stored) {
        // A text feature is a declared field, which the row holds elsewhere.
        let FeatureColumn::Number(values) = column else {
            continue;
        };
        let stored = f32::from_le_bytes(*stored);
        if stored.to_bits() != values[row].to_bits() {
            let name = &feature.name;
            differing.push(format!("{name} is {stored}, recomputed {}", values[row]));
        }
    }
    differing
}

/// A payment that was not assessed has no score: its decision is the fallback.
fn differing_decision(policy: &Policy, score: f32, sampled: &Sampled) -> Vec<String> {
    let mut differing = Vec::new();
    let score = match sampled.score {
        Some(stored) if stored.to_bits() != score.to_bits() => {
            differing.push(format!("score is {stored}, recomputed {score}"));
            score
        }
        Some(_) => score,
        None => f32::NAN,
    };
    let (decision, reason) = policy.decide(score);
    let stored = usize::try_from(sampled.decision)
        .ok()
        .and_then(|code| Decision::ALL.get(code));
    if stored != Some(&decision) {
        differing.push(format!(
            "decision is {}, recomputed {}",
            stored.map_or("none", |decision| decision.as_str()),
            decision.as_str()
        ));
    }
    let reasons: Vec<&str> = sampled
        .reasons
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let expected: Vec<&str> = Some(reason.as_str())
        .filter(|reason| !reason.is_empty())
        .into_iter()
        .collect();
    if reasons != expected {
        differing.push(format!("reasons are {reasons:?}, recomputed {expected:?}"));
    }
    differing
}

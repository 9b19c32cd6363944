//! Whether the scores are still those that the model was trained for.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio_postgres::{Client, Error};

use super::not_assessed::Unscored;
use super::{Finding, Trouble};
use crate::config::Config;
use crate::database::{Day, Moment};
use crate::desk::text::counted;

/// How often the scores are read: an hour of them may be millions.
const EVERY: Duration = Duration::from_secs(300);
/// With fewer, chance alone moves the index.
const FEWEST: u64 = 1_000;
/// Scores read in one look; at a higher rate the window is shorter than an hour.
const MOST: f64 = 500_000.0;
/// Stands for the share of a bin without a score, whose logarithm there is not.
const EMPTY: f64 = 1e-4;

/// Reads the scores every five minutes, and remembers what it found.
#[derive(Debug)]
pub(super) struct Drift {
    reference: Option<Reference>,
    looked: Option<Instant>,
    found: Found,
}

/// What the last look found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Found {
    /// Index and number of scores; `None` where too few say nothing.
    index: Option<(f64, u64)>,
    /// Payments without a score.
    pub(super) not_assessed: Unscored,
}

/// `counts[i]` holds `edges[i-1] <= score < edges[i]`; the first and the last bin are open.
#[derive(Debug, Clone, Deserialize)]
struct Reference {
    edges: Vec<f64>,
    counts: Vec<u64>,
}

#[derive(Deserialize)]
struct ReferenceFile {
    score: Reference,
}

impl Drift {
    /// Reads the bundle's `reference.json`; without it, only payments without a score are found.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            reference: Reference::read(&config.stream.bundle),
            looked: None,
            found: Found::default(),
        }
    }

    /// What is known of this process's stream, at most five minutes old.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn look(&mut self, client: &Client, config: &Config) -> Result<Found, Error> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= EVERY) {
            self.found = self.read(client, config.stream.id).await?;
            self.looked = Some(Instant::now());
        }
        Ok(self.found)
    }

    async fn read(&self, client: &Client, stream: i16) -> Result<Found, Error> {
        let Some(window) = Window::of(client, stream).await? else {
            return Ok(Found::default());
        };
        let edges = self
            .reference
            .as_ref()
            .map_or(&[][..], |reference| &reference.edges);
        let rows = client
            .query(
                "SELECT width_bucket(score::float8, $5::float8[]) AS bin, count(*),
                        count(*) FILTER (WHERE score IS NULL AND scored_at > now() - interval '10 min')
                 FROM payments_scored
                 WHERE event_day BETWEEN $1 AND $2 AND event_time > $3 AND stream = $4 AND origin = 0
                 GROUP BY bin",
                &[
                    &window.first_day,
                    &window.last_day,
                    &window.from,
                    &stream,
                    &edges,
                ],
            )
            .await?;
        let mut counts = vec![0; edges.len() + 1];
        let mut unscored = 0;
        for row in &rows {
            unscored += row.try_get::<_, i64>(2)?;
            let bin: Option<i32> = row.try_get(0)?;
            let bin = bin.and_then(|bin| counts.get_mut(usize::try_from(bin).ok()?));
            if let Some(count) = bin {
                *count = u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0);
            }
        }
        let scores: u64 = counts.iter().sum();
        let known = self.reference.as_ref().filter(|_| scores >= FEWEST);
        Ok(Found {
            index: known.map(|reference| (stability_index(&reference.counts, &counts), scores)),
            not_assessed: Unscored {
                stream,
                payments: unscored,
            },
        })
    }
}

/// The last hour of event time, or less of it where payments are many.
struct Window {
    first_day: Day,
    last_day: Day,
    from: Moment,
}

impl Window {
    /// Reckoned from the median of the partitions' watermarks: one event that is ahead of its time
    /// does not move it. `None` before the first payment.
    async fn of(client: &Client, stream: i16) -> Result<Option<Self>, Error> {
        let row = client
            .query_opt(
                "SELECT ((ends - span) AT TIME ZONE zone)::date, ((ends + interval '1 day') AT TIME ZONE zone)::date,
                        ends - span
                 FROM (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY o.watermark) AS ends,
                              min(s.business_zone) AS zone,
                              interval '1 h' * least(1, $2::float8 / greatest(1, (
                                  SELECT sum(records) FROM stream_minutes AS m
                                  WHERE m.stream = $1 AND m.minute > now() - interval '1 h'))::float8) AS span
                       FROM stream_offsets AS o JOIN streams AS s USING (stream)
                       WHERE o.stream = $1 AND o.watermark IS NOT NULL) AS w
                 WHERE ends IS NOT NULL",
                &[&stream, &MOST],
            )
            .await?;
        row.map(|row| {
            Ok(Self {
                first_day: row.try_get(0)?,
                last_day: row.try_get(1)?,
                from: row.try_get(2)?,
            })
        })
        .transpose()
    }
}

impl Found {
    /// The finding about this process's stream; what is open is over below half the limit.
    pub(super) fn moved(
        &self,
        config: &Config,
        is_open: impl Fn(Trouble, i16) -> bool,
    ) -> Option<Finding> {
        let (index, scores) = self.index?;
        let (stream, limit) = (config.stream.id, config.incidents.score_psi);
        let allowed = if is_open(Trouble::ScoresMoved, stream) {
            limit / 2.0
        } else {
            limit
        };
        if index <= allowed {
            return Some(Finding::fine(Trouble::ScoresMoved, stream));
        }
        let detail = format!(
            "the stability index of the last hour's {} against the model's training period is {index:.2}; from \
             {limit} on they are taken to have moved. Has what is sent changed, or how people pay?",
            counted(scores, "score")
        );
        Some(Finding::wrong(Trouble::ScoresMoved, stream, detail))
    }
}

impl Reference {
    fn read(bundle: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(bundle.join("reference.json")).ok()?;
        let file: Result<ReferenceFile, _> = serde_json::from_str(&text);
        match file {
            Ok(ReferenceFile { score }) if score.counts.len() == score.edges.len() + 1 => {
                Some(score)
            }
            _ => {
                tracing::warn!("the bundle's reference.json has no usable histogram of scores");
                None
            }
        }
    }
}

/// The population stability index: `Σ (aᵢ − eᵢ) ln(aᵢ / eᵢ)` over the bins' shares, expected `e`
/// and actual `a`; 0 for equal distributions, and from 0.25 on, by the usual rule, another
/// population (N. Siddiqi, Credit Risk Scorecards, 2006; its distribution: B. Yurdakul,
/// Statistical Properties of Population Stability Index, 2018).
fn stability_index(expected: &[u64], actual: &[u64]) -> f64 {
    let shares = |counts: &[u64]| -> Vec<f64> {
        let all = counts.iter().sum::<u64>().max(1) as f64;
        counts
            .iter()
            .map(|count| (*count as f64 / all).max(EMPTY))
            .collect()
    };
    let terms = shares(expected).into_iter().zip(shares(actual));
    terms.map(|(e, a)| (a - e) * (a / e).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_distributions_have_an_index_of_zero_whatever_their_size() {
        assert!(stability_index(&[900, 90, 10], &[90_000, 9_000, 1_000]).abs() < 1e-12);
        assert!(stability_index(&[5, 0, 5], &[1, 0, 1]).abs() < 1e-12);
    }

    #[test]
    fn the_index_is_that_of_the_formula() {
        // (0.5 - 0.8) ln(0.5 / 0.8) + (0.5 - 0.2) ln(0.5 / 0.2)
        let index = stability_index(&[80, 20], &[50, 50]);
        assert!((index - 0.415_888_308_335_967_2).abs() < 1e-12, "{index}");
    }

    #[test]
    fn a_bin_that_was_empty_does_not_make_it_infinite() {
        let index = stability_index(&[100, 0], &[0, 100]);
        assert!(index.is_finite() && index > 10.0, "{index}");
    }

    #[test]
    fn the_card_bundle_brings_a_histogram() {
        let reference = Reference::read(Path::new("models/card")).unwrap();
        assert_eq!(reference.counts.len(), 18);
        assert!(Reference::read(Path::new("models/training")).is_none());
    }
}

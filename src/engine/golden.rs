//! Golden rows: raw events with the features of an independent implementation and the scores
//! of the training library. A bundle whose rows do not come out equal is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::batch::{FeatureColumn, Micros, Records};
use super::decode::{Decoder, Rules};
use super::features::Plan;
use super::score::{OnnxModel, ScoreError};
use super::token::TokenKey;
use super::{Preparation, Prepared};
use crate::bundle::Bundle;
use crate::config::KeyCheck;

/// Features agree to this share of the expected value.
const FEATURE_TOLERANCE: f64 = 1e-6;

/// Scores agree to this much.
const SCORE_TOLERANCE: f64 = 1e-4;

/// How late an event may be, as the golden rows were computed: 7 days.
const LATENESS: Micros = 7 * 86_400_000_000;

/// Any key does: golden accounts are invented, and their tokens are not kept.
const KEY: &str = "golden rows are invented and their tokens are never kept";

/// Why a bundle does not do what it promises.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The file is missing, unreadable or malformed.
    #[error("{path}: {problem}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// A value came out different.
    #[error("{path} line {line}: {what}: expected {expected}, found {found}")]
    Different {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Feature's name, or the score.
        what: String,
        /// What the file says.
        expected: String,
        /// What came out.
        found: String,
    },
    /// The graph failed.
    #[error(transparent)]
    Score(#[from] ScoreError),
}

#[derive(Deserialize)]
struct GoldenRow<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
    features: BTreeMap<String, Expected>,
    score: f64,
}

#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum Expected {
    Missing,
    Number(f64),
    Text(String),
}

/// Runs the bundle's `golden.jsonl` through decoder, histories, features and graph; returns how
/// many rows agreed.
///
/// # Errors
/// The first value that differs, by file, line and feature.
pub fn check(bundle: &Bundle, model: &mut OnnxModel) -> Result<usize, GoldenError> {
    let path = bundle.dir.join("golden.jsonl");
    let text = text_of(&path)?;
    let rows = rows_of(&path, &text)?;
    if rows.is_empty() {
        return Err(unreadable(&path, "no rows".into()));
    }
    let prepared = prepare(bundle, &rows).map_err(|problem| unreadable(&path, problem))?;
    compare_features(bundle, &path, &rows, &prepared)?;
    let scores = model.score(&prepared.features, rows.len())?;
    for (index, (row, score)) in rows.iter().zip(scores).enumerate() {
        let apart = (row.score - f64::from(score)).abs();
        if apart.is_nan() || apart > SCORE_TOLERANCE {
            return Err(different(&path, index, "score", &row.score, &score));
        }
    }
    Ok(rows.len())
}

/// The raw event of the row with the highest score: of what the bundle knows, the likeliest fraud.
///
/// # Errors
/// When the file is missing, unreadable or malformed.
pub fn riskiest(bundle: &Bundle) -> Result<Box<RawValue>, GoldenError> {
    let path = bundle.dir.join("golden.jsonl");
    let text = text_of(&path)?;
    let rows = rows_of(&path, &text)?;
    let riskiest = rows.iter().max_by(|a, b| a.score.total_cmp(&b.score));
    let riskiest = riskiest.ok_or_else(|| unreadable(&path, "no rows".into()))?;
    Ok(riskiest.event.to_owned())
}

fn text_of(path: &Path) -> Result<String, GoldenError> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, error.to_string()))
}

fn rows_of<'a>(path: &Path, text: &'a str) -> Result<Vec<GoldenRow<'a>>, GoldenError> {
    let row = |(index, line)| {
        serde_json::from_str(line)
            .map_err(|error| unreadable(path, format!("line {}: {error}", index + 1)))
    };
    text.lines().enumerate().map(row).collect()
}

fn unreadable(path: &Path, problem: String) -> GoldenError {
    GoldenError::Unreadable {
        path: path.to_path_buf(),
        problem,
    }
}

fn prepare(bundle: &Bundle, rows: &[GoldenRow<'_>]) -> Result<Prepared, String> {
    let key = TokenKey::new(KEY).map_err(|error| error.to_string())?;
    let rules = Rules {
        key_check: KeyCheck::Off,
        first_day: Micros::MIN,
        max_ahead: 0,
        business_zone: jiff::tz::TimeZone::UTC,
    };
    let decoder = Decoder::new(bundle.schema.clone(), key, rules);
    let mut preparation = Preparation::new(decoder, Plan::new(bundle, LATENESS));
    let shard = preparation.empty_shard();
    preparation.own(0, shard);
    let mut records = Records::default();
    for (index, row) in rows.iter().enumerate() {
        // Sent at the end of time: no golden event is ahead of its record.
        let payload = row.event.get().as_bytes();
        records.push((0, index as i64), Micros::MAX / 2, None, Some(payload));
    }
    let prepared = preparation.prepare(&records, &mut |_| {});
    if let Some(letter) = prepared.dead_letters.first() {
        return Err(format!(
            "line {}: the event is a dead letter: {} {}: {}",
            letter.offset + 1,
            letter.reason.as_str(),
            letter.field.as_deref().unwrap_or_default(),
            letter.message
        ));
    }
    if let Some((_, offset)) = prepared.duplicates.first() {
        return Err(format!(
            "line {}: the event repeats an earlier one",
            offset + 1
        ));
    }
    Ok(prepared)
}

fn compare_features(
    bundle: &Bundle,
    path: &Path,
    rows: &[GoldenRow<'_>],
    prepared: &Prepared,
) -> Result<(), GoldenError> {
    for (feature, column) in bundle.features.iter().zip(&prepared.features.columns) {
        for (index, row) in rows.iter().enumerate() {
            let Some(expected) = row.features.get(&feature.name) else {
                return Err(different(
                    path,
                    index,
                    &feature.name,
                    &"a value",
                    &"none in the file",
                ));
            };
            let (equal, found) = match (column, expected) {
                (FeatureColumn::Number(values), Expected::Number(number)) => (
                    close(*number, f64::from(values[index])),
                    values[index].to_string(),
                ),
                (FeatureColumn::Number(values), Expected::Missing) => {
                    (values[index].is_nan(), values[index].to_string())
                }
                (FeatureColumn::Text(texts), expected) => {
                    let found = texts.get(index).unwrap_or_default();
                    let equal = match expected {
                        Expected::Text(text) => text == found,
                        Expected::Missing => found.is_empty(),
                        Expected::Number(_) => false,
                    };
                    (equal, format!("{found:?}"))
                }
                (FeatureColumn::Number(values), Expected::Text(_)) => {
                    (false, values[index].to_string())
                }
            };
            if !equal {
                return Err(different(
                    path,
                    index,
                    &feature.name,
                    &Shown(expected),
                    &found,
                ));
            }
        }
    }
    Ok(())
}

fn close(expected: f64, found: f64) -> bool {
    (expected - found).abs() <= FEATURE_TOLERANCE * expected.abs().max(found.abs())
}

struct Shown<'a>(&'a Expected);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Expected::Missing => f.write_str("a missing value"),
            Expected::Number(number) => number.fmt(f),
            Expected::Text(text) => write!(f, "{text:?}"),
        }
    }
}

fn different(
    path: &Path,
    index: usize,
    what: &str,
    expected: &dyn std::fmt::Display,
    found: &dyn std::fmt::Display,
) -> GoldenError {
    GoldenError::Different {
        path: path.to_path_buf(),
        line: index + 1,
        what: what.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

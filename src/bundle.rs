//! The bundle: everything a model brings. Its fields, roles, features, stage and policy defaults.
//!
//! A [`Bundle`] is parsed once, checked whole, and immutable afterwards: whoever holds one
//! may index its fields and features without asking again.

pub mod features;
pub mod schema;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use features::{AccountKind, EventKind, Feature, FeatureKind, Window};
pub use schema::{Field, Kind, Roles, Schema, TimeFormat};

/// Why a bundle cannot be used; every message names the file and what to look at in it.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file is missing or unreadable.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not the TOML that a bundle is.
    #[error("{path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: Box<toml::de::Error>,
    },
    /// The file reads well but contradicts itself.
    #[error("{path}: {problem}")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// Which entry, what was expected and what was found.
        problem: String,
    },
}

/// A model with everything it brings.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Folder that the bundle was read from.
    pub dir: PathBuf,
    /// Name, for instance `card`.
    pub name: String,
    /// Version, stored with every row it scores.
    pub version: String,
    /// The user's event, field by field.
    pub schema: Schema,
    /// The graph's inputs, in the bundle's order.
    pub features: Vec<Feature>,
    /// The ONNX graph's path.
    pub model: PathBuf,
    /// Thresholds and fallback until the database holds a newer policy.
    pub policy: PolicyDefaults,
}

/// The `[policy]` table.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDefaults {
    /// Scores from here on are reviewed.
    pub review: f32,
    /// Scores from here on are blocked.
    pub block: f32,
    /// What happens to a payment that could not be scored.
    pub fallback: Fallback,
}

/// The decision for a payment without a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// Let it pass.
    Allow,
    /// Have a person look at it.
    Review,
    /// Refuse it.
    Block,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleFile {
    name: String,
    version: String,
    schema: schema::SchemaFile,
    roles: schema::RolesFile,
    feature: Vec<features::FeatureFile>,
    stage: Vec<StageFile>,
    policy: PolicyDefaults,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageFile {
    model: PathBuf,
}

impl Bundle {
    /// Reads and checks `dir/bundle.toml`. The graph itself is checked when it is loaded.
    ///
    /// # Errors
    /// When the file is missing, malformed or contradicts itself.
    pub fn read(dir: &Path) -> Result<Self, BundleError> {
        let path = dir.join("bundle.toml");
        let text = std::fs::read_to_string(&path).map_err(|source| BundleError::Unreadable {
            path: path.clone(),
            source,
        })?;
        Self::parse(dir, &path, &text)
    }

    fn parse(dir: &Path, path: &Path, text: &str) -> Result<Self, BundleError> {
        let file: BundleFile = toml::from_str(text).map_err(|source| BundleError::Malformed {
            path: path.to_path_buf(),
            source: Box::new(source),
        })?;
        Self::check(dir, file).map_err(|problem| BundleError::Inconsistent {
            path: path.to_path_buf(),
            problem,
        })
    }

    fn check(dir: &Path, file: BundleFile) -> Result<Self, String> {
        let schema = Schema::from_file(file.schema, file.roles)?;
        let features = features::resolve(file.feature, &schema)?;
        let [stage] = <[StageFile; 1]>::try_from(file.stage)
            .map_err(|stages| format!("expected one [[stage]], found {}", stages.len()))?;
        let policy = file.policy;
        if !(policy.review > 0.0 && policy.review <= policy.block && policy.block <= 1.0) {
            return Err(format!(
                "[policy]: expected 0 < review <= block <= 1, found review = {} and block = {}",
                policy.review, policy.block
            ));
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            name: file.name,
            version: file.version,
            schema,
            features,
            model: dir.join(stage.model),
            policy,
        })
    }

    /// The version that is stored with every row that this bundle's graph scores.
    pub fn model_version(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Whether a feature is a text category rather than a number.
    pub fn is_text(&self, feature: &Feature) -> bool {
        match feature.kind {
            FeatureKind::Event(EventKind::Value(field)) => {
                matches!(self.schema.field(field).kind, Kind::Text { .. })
            }
            _ => false,
        }
    }

    /// The longest window that any feature reads, in microseconds.
    pub fn longest_window(&self) -> i64 {
        features::longest_window(&self.features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card_with(from: &str, to: &str) -> Result<Bundle, BundleError> {
        let dir = Path::new("models/card");
        let text = std::fs::read_to_string(dir.join("bundle.toml")).unwrap();
        assert!(text.contains(from), "the bundle no longer says {from}");
        Bundle::parse(dir, &dir.join("bundle.toml"), &text.replacen(from, to, 1))
    }

    #[test]
    fn the_card_bundle_reads_and_its_longest_window_is_thirty_days() {
        let bundle = Bundle::read(Path::new("models/card")).unwrap();
        assert_eq!(bundle.features.len(), 37);
        assert_eq!(bundle.longest_window(), 30 * 86_400 * 1_000_000);
        assert_eq!(
            bundle.schema.field(bundle.schema.roles.account).name,
            "cc_num"
        );
    }

    #[test]
    fn a_role_without_a_field_is_refused_by_name() {
        let problem = card_with("id = \"trans_num\"", "id = \"nope\"").unwrap_err();
        assert!(problem.to_string().contains("nope"), "{problem}");
    }

    #[test]
    fn a_time_pattern_that_cannot_be_read_is_refused() {
        for pattern in ["%Y-%m-%dT%T", "%Y-%m %H:%M", "%Y-%m-%d %d", "%Y-%m-%d %"] {
            let problem = card_with("%Y-%m-%d %H:%M:%S", pattern).unwrap_err();
            assert!(problem.to_string().contains("event_time"), "{problem}");
        }
    }

    #[test]
    fn thresholds_out_of_order_are_refused() {
        let problem = card_with("fallback = ", "# \nfallback = ");
        assert!(problem.is_ok());
        let text = std::fs::read_to_string("models/card/bundle.toml").unwrap();
        let review = text.lines().find(|l| l.starts_with("review")).unwrap();
        let problem = card_with(review, "review = 1.5").unwrap_err();
        assert!(problem.to_string().contains("review"), "{problem}");
    }

    #[test]
    fn a_label_cannot_be_a_feature() {
        let problem = card_with("of = \"category\"", "of = \"is_fraud\"").unwrap_err();
        assert!(problem.to_string().contains("is_fraud"), "{problem}");
    }
}

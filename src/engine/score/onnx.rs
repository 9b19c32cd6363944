//! The model's graph in this process; the only file that names `ort`.
//!
//! One session a lane, on one thread: the same rows give the same bits on any number of lanes.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ndarray::Ix2;
use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{Tensor, TensorElementType, ValueType};

use super::super::batch::{FeatureColumn, Features};
use crate::bundle::Bundle;

/// Why a graph cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The run time's shared library cannot be used.
    #[error("model.onnxruntime: cannot load {path}: {problem}")]
    Runtime {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        problem: String,
    },
    /// The graph's file cannot be loaded.
    #[error("cannot load {path}: {problem}")]
    Graph {
        /// The graph.
        path: PathBuf,
        /// What the run time said.
        problem: String,
    },
    /// The graph and the bundle's features do not fit.
    #[error("{path}: {problem}")]
    Mismatch {
        /// The graph.
        path: PathBuf,
        /// Which input or output, what was expected and found.
        problem: String,
    },
    /// The graph failed on a batch.
    #[error("the graph failed: {0}")]
    Run(String),
}

/// A loaded graph with its inputs in the bundle's order.
#[derive(Debug)]
pub struct OnnxModel {
    session: Session,
    inputs: Vec<String>,
    output: String,
}

/// The run time's shared library, loaded once a process and shared by all who score in it.
#[derive(Debug)]
pub struct Runtime(Environment);

/// There may be one in a process, ever: it stays for whoever comes after the first.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

impl Runtime {
    /// Loads the library at `path`, or hands out the one that was loaded before.
    ///
    /// # Errors
    /// When the path is no such library, or another one is loaded.
    pub fn load(path: &Path) -> Result<Self, ScoreError> {
        let problem = |problem: String| ScoreError::Runtime {
            path: path.to_path_buf(),
            problem,
        };
        if path.as_os_str().is_empty() {
            return Err(problem(
                "the setting is empty; name libonnxruntime.so".into(),
            ));
        }
        if !path.is_file() {
            return Err(problem("no such file".into()));
        }
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*loaded {
            Some((known, environment)) if known == path => return Ok(Self(environment.clone())),
            Some((known, _)) => {
                return Err(problem(format!("{} is loaded already", known.display())));
            }
            None => {}
        }
        let environment = ort::init_from(path)
            .map_err(|error| problem(error.to_string()))?
            .with_name("vigie")
            .with_telemetry(false)
            .build()
            .map_err(|error| problem(error.to_string()))?;
        *loaded = Some((path.to_path_buf(), environment.clone()));
        Ok(Self(environment))
    }
}

impl OnnxModel {
    /// Loads the bundle's graph and checks its inputs and output against the features.
    ///
    /// # Errors
    /// When the file is no graph, or an input has no feature of its type, or the reverse.
    pub fn load(runtime: &Runtime, bundle: &Bundle) -> Result<Self, ScoreError> {
        let path = &bundle.model;
        let session = open(runtime, path).map_err(|problem| ScoreError::Graph {
            path: path.clone(),
            problem,
        })?;
        let output = check(&session, bundle).map_err(|problem| ScoreError::Mismatch {
            path: path.clone(),
            problem,
        })?;
        Ok(Self {
            session,
            inputs: bundle
                .features
                .iter()
                .map(|feature| feature.name.clone())
                .collect(),
            output,
        })
    }

    /// The risk score, 0 to 1, of every event: one call for the whole batch.
    ///
    /// # Errors
    /// When the graph fails; no event has a score then.
    pub fn score(&mut self, features: &Features, rows: usize) -> Result<Vec<f32>, ScoreError> {
        if rows == 0 {
            return Ok(Vec::new());
        }
        // A batch of one takes another path through the run time's kernels and was seen to give
        // other bits: it is padded to two rows.
        let padded = rows.max(2);
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
            Vec::with_capacity(self.inputs.len());
        for (name, column) in self.inputs.iter().zip(&features.columns) {
            let value = tensor(column, rows, padded).map_err(run_error)?;
            inputs.push((Cow::Borrowed(name.as_str()), value));
        }
        let outputs = self.session.run(inputs).map_err(run_error)?;
        let found = outputs[self.output.as_str()]
            .try_extract_array::<f32>()
            .map_err(run_error)?;
        let shape = format!(
            "expected {padded} rows of probabilities, found {:?}",
            found.shape()
        );
        let probabilities = found
            .into_dimensionality::<Ix2>()
            .map_err(|_| ScoreError::Run(shape.clone()))?;
        if probabilities.nrows() != padded || probabilities.ncols() == 0 {
            return Err(ScoreError::Run(shape));
        }
        // The last column: the probability of fraud, alone or beside that of its absence.
        let fraud = probabilities.column(probabilities.ncols() - 1);
        Ok(fraud.iter().take(rows).copied().collect())
    }
}

fn open(Runtime(environment): &Runtime, path: &Path) -> Result<Session, String> {
    if !path.is_file() {
        return Err("no such file".into());
    }
    let builder = || -> Result<_, ort::Error> {
        Ok(Session::builder(environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::All)?)
    };
    builder()
        .and_then(|mut builder| builder.commit_from_file(path))
        .map_err(|error| error.to_string())
}

fn check(session: &Session, bundle: &Bundle) -> Result<String, String> {
    for input in session.inputs() {
        if !bundle
            .features
            .iter()
            .any(|feature| feature.name == input.name())
        {
            return Err(format!(
                "the graph's input `{}` has no [[feature]]",
                input.name()
            ));
        }
    }
    for feature in &bundle.features {
        let input = session
            .inputs()
            .iter()
            .find(|input| input.name() == feature.name)
            .ok_or_else(|| {
                format!(
                    "the [[feature]] `{}` is no input of the graph",
                    feature.name
                )
            })?;
        let expected = match bundle.is_text(feature) {
            true => TensorElementType::String,
            false => TensorElementType::Float32,
        };
        match input.dtype() {
            ValueType::Tensor { ty, .. } if *ty == expected => {}
            other => {
                return Err(format!(
                    "input `{}`: expected a tensor of {expected}, found {other}",
                    feature.name
                ));
            }
        }
    }
    session
        .outputs()
        .iter()
        .find(|output| {
            matches!(
                output.dtype(),
                ValueType::Tensor {
                    ty: TensorElementType::Float32,
                    ..
                }
            )
        })
        .map(|output| output.name().to_owned())
        .ok_or_else(|| "expected an output of float32 probabilities (zipmap = False)".to_owned())
}

fn tensor(
    column: &FeatureColumn,
    rows: usize,
    padded: usize,
) -> Result<SessionInputValue<'static>, ort::Error> {
    let shape = [padded, 1];
    match column {
        FeatureColumn::Number(values) => {
            let mut values = values.clone();
            values.resize(padded, 0.0);
            Ok(Tensor::from_array((shape, values))?.into())
        }
        FeatureColumn::Text(texts) => {
            // Owned texts: the run time's wrapper takes none that are borrowed.
            let text = |row| texts.get(row).unwrap_or_default().to_owned();
            let mut values: Vec<String> = (0..rows).map(text).collect();
            values.resize(padded, String::new());
            Ok(Tensor::from_string_array((shape, values.as_slice()))?.into())
        }
    }
}

fn run_error(error: ort::Error) -> ScoreError {
    ScoreError::Run(error.to_string())
}

//! Feature columns in, one risk score per event out.

mod onnx;

pub use onnx::{OnnxModel, Runtime, ScoreError};

//! Why a verb ended badly, and the exit code that says so.

use std::process::ExitCode;

/// Why a verb ended badly.
pub enum Trouble {
    /// Something to be set right before it can begin.
    Configuration(anyhow::Error),
    /// Something that happened on the way.
    Failure(anyhow::Error),
}

impl Trouble {
    /// Says it on standard error.
    pub fn report(self) -> ExitCode {
        let (code, error) = match self {
            Self::Configuration(error) => (2, error),
            Self::Failure(error) => (1, error),
        };
        eprintln!("vigie-producer: {error:#}");
        ExitCode::from(code)
    }
}

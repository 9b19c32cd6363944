//! The end of a file that somebody else writes: what comes is read, what is missing waited for.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Waits a moment; false when nothing more is to be waited for.
pub type Patience = Box<dyn FnMut() -> bool + Send>;

/// Reads a file as it grows. The text ends where the file was replaced. When it was cut short or
/// patience ended, a read fails, so that nobody takes a half-written line for a whole one.
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    at: u64,
    patience: Arc<Mutex<Patience>>,
}

impl Tail {
    /// Begins at the file's start; one that is not there yet is waited for.
    pub(super) fn new(path: &Path, patience: &Arc<Mutex<Patience>>) -> Self {
        Self {
            path: path.to_path_buf(),
            file: None,
            at: 0,
            patience: Arc::clone(patience),
        }
    }

    /// Whether a read failed because nothing more is waited for.
    pub(super) fn is_end(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::TimedOut
    }

    /// Whether a read failed because what was read is not in the file any more.
    pub(super) fn is_cut_short(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::StaleNetworkFileHandle
    }

    fn wait(&self) -> io::Result<()> {
        let mut patience = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        if patience() {
            Ok(())
        } else {
            Err(io::ErrorKind::TimedOut.into())
        }
    }

    /// The file, once it is there.
    fn open(&mut self) -> io::Result<File> {
        loop {
            match File::open(&self.path) {
                Ok(file) => return Ok(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.wait()?,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for Tail {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        loop {
            // Looked at before reading: what was written before a file was replaced is read.
            let replaced = is_replaced(&self.path, &file.metadata()?)?;
            let count = file.read(into)?;
            // And after it: what is cut short now may be replaced already.
            if file.metadata()?.len() < self.at {
                return Err(io::ErrorKind::StaleNetworkFileHandle.into());
            }
            if count > 0 || replaced {
                self.at += count as u64;
                self.file = Some(file);
                return Ok(count);
            }
            self.wait()?;
        }
    }
}

/// Whether another file has the name now. One that was moved away is gone on with until there is
/// another.
fn is_replaced(path: &Path, open: &Metadata) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) != (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

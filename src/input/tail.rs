//! The end of a file that somebody else writes: what comes is read, what is missing waited for.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What is told of a file that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lull {
    /// There is nothing to read now.
    Quiet,
    /// The file was replaced or cut short in the middle of a line, which is left out.
    HalfLine,
}

/// Hears of each lull and waits a moment where it is quiet; false when nothing more is to be waited
/// for.
pub type Patience = Box<dyn FnMut(Lull) -> bool + Send>;

/// Reads a file as it grows. Its text has no end: where the file was replaced or cut short, or
/// patience ended, a read fails, so that nobody takes a half-written line for a whole one.
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    at: u64,
    /// Whether what was read ends with a whole line.
    line_ended: bool,
    patience: Arc<Mutex<Patience>>,
}

impl Tail {
    /// Begins at the file's start; one that is not there yet is waited for.
    pub(super) fn new(path: &Path, patience: &Arc<Mutex<Patience>>) -> Self {
        Self {
            path: path.to_path_buf(),
            file: None,
            at: 0,
            line_ended: true,
            patience: Arc::clone(patience),
        }
    }

    /// Whether a read failed because nothing more is waited for.
    pub(super) fn is_end(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::TimedOut
    }

    /// Whether a read failed because the file of that name is another now, or begins anew.
    pub(super) fn begins_anew(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::StaleNetworkFileHandle
    }

    fn wait(&self) -> io::Result<()> {
        if self.tell(Lull::Quiet) {
            Ok(())
        } else {
            Err(io::ErrorKind::TimedOut.into())
        }
    }

    fn tell(&self, lull: Lull) -> bool {
        let mut patience = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        patience(lull)
    }

    /// Nothing more is to be read of the file.
    fn left(&self) -> io::Error {
        if !self.line_ended {
            self.tell(Lull::HalfLine);
        }
        io::ErrorKind::StaleNetworkFileHandle.into()
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
                return Err(self.left());
            }
            if let Some(last) = into[..count].last() {
                self.at += count as u64;
                self.line_ended = *last == b'\n';
                self.file = Some(file);
                return Ok(count);
            }
            if replaced {
                return Err(self.left());
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

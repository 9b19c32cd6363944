//! The `card` bundle with thresholds of a test's choice: what is decided then does not depend on
//! what the model thinks of invented payments.

use std::path::PathBuf;

use super::topic;

/// Card's own files in a folder of their own, removed with the test.
pub struct Thresholds(PathBuf);

impl Thresholds {
    /// Payments are reviewed from this score on, and blocked from that.
    pub fn new(review: &str, block: &str) -> Self {
        let card = std::fs::canonicalize("models/card").unwrap();
        let path = std::env::temp_dir().join(topic::unused("card"));
        std::fs::create_dir(&path).unwrap();
        for entry in std::fs::read_dir(&card).unwrap() {
            let from = entry.unwrap().path();
            let to = path.join(from.file_name().unwrap());
            std::os::unix::fs::symlink(from, to).unwrap();
        }
        let declared = path.join("bundle.toml");
        let text = std::fs::read_to_string(&declared).unwrap();
        let lines = text.lines().map(|line| match line.split(' ').next() {
            Some("review") => format!("review = {review}"),
            Some("block") => format!("block = {block}"),
            _ => line.to_owned(),
        });
        let text: Vec<String> = lines.collect();
        std::fs::remove_file(&declared).unwrap();
        std::fs::write(&declared, text.join("\n") + "\n").unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Thresholds {
    fn drop(&mut self) {
        // Left behind, it does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

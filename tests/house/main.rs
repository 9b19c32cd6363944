//! The rules of the house, read from the committed text: who may name whom, which settings the
//! pages may speak of, which metrics rules and dashboards, and where no card number may stand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cards;
mod imports;
mod metrics;
mod names;
mod pages;

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is committed, or about to be, and is text.
fn committed_texts() -> Vec<(String, String)> {
    let listing = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        listing.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&listing.stderr)
    );
    String::from_utf8(listing.stdout)
        .unwrap()
        .split_terminator('\0')
        // One that was deleted and is not staged yet, and everything that is no text, is left out.
        .filter_map(|file| {
            Some((
                file.to_owned(),
                std::fs::read_to_string(root().join(file)).ok()?,
            ))
        })
        .collect()
}

//! Work on a thread of its own, which neither holds up whoever shares a thread with the one that
//! waits for it, nor the end of the process.

use anyhow::Context;
use tokio::sync::oneshot;

/// What `work` comes to; the thread has this name.
///
/// # Errors
/// When there is no thread to be had, or the work ended in a bug.
pub async fn apart<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody waits any more when the process is to end.
            let _ = answer.send(work());
        })?;
    answered
        .await
        .with_context(|| format!("the thread {name} ended in a bug"))
}

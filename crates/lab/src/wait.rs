//! Waiting for something to become true, with a deadline and a sentence about what was waited for.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition rests between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Polls `condition` until it yields a value; returns it with the time it took.
///
/// # Errors
/// When `timeout` passes first; the message says what was waited for.
pub fn for_value<T>(
    timeout: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok((value, start.elapsed()));
        }
        if start.elapsed() > timeout {
            bail!("waited {:.1} s in vain for {what}", timeout.as_secs_f64());
        }
        std::thread::sleep(POLL);
    }
}

/// Polls `condition` until it holds; returns the time it took.
///
/// # Errors
/// When `timeout` passes first.
pub fn until(timeout: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<Duration> {
    for_value(timeout, what, || condition().then_some(())).map(|(_, took)| took)
}

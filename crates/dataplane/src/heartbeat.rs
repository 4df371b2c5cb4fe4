//! Whether a worker still goes round its loop: a question that the supervisor leaves and the worker takes away.
//!
//! A thread that waits for a lock for ever, or spins, looks alive to the kernel and to systemd. It costs a worker one
//! relaxed load a round, of a cache line that nobody writes between two questions.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// One worker's.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    asked: AtomicBool,
}

impl Heartbeat {
    /// The worker came by.
    pub(crate) fn beat(&self) {
        if self.asked.load(Relaxed) {
            self.asked.store(false, Relaxed);
        }
    }

    /// Whether it came by since the question before this one; there was none before the first.
    pub(crate) fn ask(&self) -> bool {
        !self.asked.swap(true, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_came_by_has_answered_and_one_that_did_not_has_not() {
        let heartbeat = Heartbeat::default();
        assert!(heartbeat.ask(), "nobody had asked before");
        assert!(!heartbeat.ask());
        heartbeat.beat();
        assert!(heartbeat.ask());
        assert!(!heartbeat.ask());
    }
}

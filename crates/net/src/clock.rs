//! The one real clock, as `model::Instant`.

use model::Instant;

/// `CLOCK_BOOTTIME`: monotonic, and it goes on while the machine sleeps, as the peer's lifetimes do.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

impl MonotonicClock {
    /// Now, in nanoseconds since boot; every caller in the machine sees the same epoch.
    pub fn now() -> Instant {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid, writable timespec for the duration of the call.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
        debug_assert_eq!(result, 0, "CLOCK_BOOTTIME exists since Linux 2.6.39");
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_runs_backwards() {
        let early = MonotonicClock::now();
        let late = MonotonicClock::now();
        assert!(early <= late);
        assert!(early > Instant::ZERO);
    }
}

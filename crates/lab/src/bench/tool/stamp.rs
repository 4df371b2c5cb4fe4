//! What every datagram of the generator begins with: which trial it belongs to, its number, when it was sent.

use net::MonotonicClock;

/// Octets of a stamp.
pub(super) const LEN: usize = 24;

/// Trial, number, time of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Number of the trial; a latecomer of the one before must not count.
    pub(super) trial: u64,
    /// Position in the flow, from zero.
    pub(super) number: u64,
    /// [`now`] at the sender: both ends run on one machine and share its clock.
    pub(super) sent_nanos: u64,
}

impl Stamp {
    /// Writes it to the beginning of a datagram of at least [`LEN`] octets.
    pub(super) fn write(self, datagram: &mut [u8]) {
        let words = [self.trial, self.number, self.sent_nanos];
        for (slot, word) in datagram.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Reads it back; `None` for a datagram that is too short.
    pub(super) fn read(datagram: &[u8]) -> Option<Self> {
        let mut words =
            datagram.get(..LEN)?.chunks_exact(8).filter_map(|c| c.try_into().ok().map(u64::from_le_bytes));
        Some(Self { trial: words.next()?, number: words.next()?, sent_nanos: words.next()? })
    }
}

/// Nanoseconds of the machine's one monotonic clock.
pub(super) fn now() -> u64 {
    MonotonicClock::now().as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_wire() {
        let stamp = Stamp { trial: 7, number: 1 << 40, sent_nanos: 12_345 };
        let mut datagram = [0; 36];
        stamp.write(&mut datagram);
        assert_eq!(Stamp::read(&datagram), Some(stamp));
        assert_eq!(Stamp::read(&datagram[..LEN - 1]), None);
    }
}

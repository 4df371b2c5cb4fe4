//! The anti-replay window: a ring of 64-bit words, and the inference of the upper half of extended sequence
//! numbers. `check` never changes anything; `mark` is called after the ICV was verified and only then. One
//! owner per window, no atomics. RFC 4303 §3.4.3 and Appendix A2, with the ring of RFC 6479 (but an exact width).

/// Narrowest window in packets (RFC 4303 §3.4.3: 64 is the default that SHOULD be used).
pub const MIN_REPLAY_WINDOW: u32 = 64;
/// Widest window in packets; it bounds an inbound SA's memory to 16 KiB of bitmap.
pub const MAX_REPLAY_WINDOW: u32 = 1 << 16;

const WORD_BITS: u64 = u64::BITS as u64;

/// Which of the last `width` sequence numbers were seen.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    /// Highest sequence number marked; 0 before the first.
    top: u64,
    width: u64,
    /// A power of two of words, at least one more than the window spans.
    words: Box<[u64]>,
}

impl ReplayWindow {
    /// A window of `width` packets, clamped to [`MIN_REPLAY_WINDOW`]..=[`MAX_REPLAY_WINDOW`].
    pub fn new(width: u32) -> Self {
        let width = width.clamp(MIN_REPLAY_WINDOW, MAX_REPLAY_WINDOW);
        // One word more than the window spans: the top may lie anywhere in its word.
        let words = (width.div_ceil(u64::BITS) as usize + 1).next_power_of_two();
        Self { top: 0, width: u64::from(width), words: vec![0; words].into_boxed_slice() }
    }

    /// Width in packets, after clamping.
    pub const fn width(&self) -> u64 {
        self.width
    }

    /// The highest sequence number marked so far; 0 before the first.
    pub const fn top(&self) -> u64 {
        self.top
    }

    /// Whether `sequence` is new: right of the window, or inside and unmarked. Zero is never sent, so never new.
    #[inline]
    pub fn check(&self, sequence: u64) -> bool {
        if sequence > self.top {
            return true;
        }
        if sequence == 0 || self.top - sequence >= self.width {
            return false;
        }
        let (index, mask) = self.position(sequence);
        self.words.get(index).is_some_and(|word| word & mask == 0)
    }

    /// Records `sequence`, moving the window when it lies to the right. Call it after the ICV was verified.
    #[inline]
    pub fn mark(&mut self, sequence: u64) {
        if sequence > self.top {
            self.advance(sequence);
        } else if self.top - sequence >= self.width {
            return;
        }
        let (index, mask) = self.position(sequence);
        if let Some(word) = self.words.get_mut(index) {
            *word |= mask;
        }
    }

    /// The 64-bit number that the 32 bits `low` of a packet stand for; `None` when it would lie before the
    /// first packet of the SA. The ICV tells whether the guess was right.
    ///
    /// `low` is taken to lie in the window or at most 2^32 - width to the right of it.
    #[inline]
    pub fn infer(&self, low: u32) -> Option<u64> {
        //= RFC 4303 Appendix A2.1
        //# With the window inside one 2^32 subspace, numbers below its left edge belong to the next subspace;
        //# with the window spanning two of them, numbers from its left edge on belong to the previous one.
        // `wrapping_sub` gives the left edge's low half in both cases.
        let top_low = self.top as u32;
        let top_high = self.top >> 32;
        let width = self.width as u32;
        let left = top_low.wrapping_sub(width - 1);
        let high = if top_low >= width - 1 {
            if low >= left {
                top_high
            } else {
                top_high.checked_add(1).filter(|h| *h <= u64::from(u32::MAX))?
            }
        } else if low >= left {
            top_high.checked_sub(1)?
        } else {
            top_high
        };
        Some(high << 32 | u64::from(low))
    }

    fn advance(&mut self, sequence: u64) {
        let from = self.top / WORD_BITS;
        let steps = sequence / WORD_BITS - from;
        let len = self.words.len() as u64;
        if steps >= len {
            self.words.fill(0);
        } else {
            for block in from + 1..=from + steps {
                let index = (block & (len - 1)) as usize;
                if let Some(word) = self.words.get_mut(index) {
                    *word = 0;
                }
            }
        }
        self.top = sequence;
    }

    #[inline]
    fn position(&self, sequence: u64) -> (usize, u64) {
        let index = (sequence / WORD_BITS) & (self.words.len() as u64 - 1);
        (index as usize, 1 << (sequence % WORD_BITS))
    }
}

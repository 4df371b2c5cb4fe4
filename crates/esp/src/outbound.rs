//! One outbound SA: reserves sequence numbers and seals packets. It is shared by reference between threads
//! (the counter is atomic) and never hands out a number twice. RFC 4303 §3.3.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{EspKeys, EspSuite, Spi};

use crate::crypt::{AeadProvider, KeyError, Sealer, Sequence};
use crate::lifetime::{Lifetime, SequenceExhausted};
use crate::{ESP_HEADER_LEN, trailer};

/// The sending half of a child SA.
pub struct OutboundSa {
    spi: Spi,
    suite: EspSuite,
    sealer: Sealer,
    lifetime: Lifetime,
    /// The last sequence number handed out; 0 before the first.
    last: AtomicU64,
}

impl OutboundSa {
    /// An SA that has sent nothing yet.
    ///
    /// # Errors
    /// When the keys have the wrong length for the suite.
    pub fn new(spi: Spi, suite: EspSuite, keys: &EspKeys) -> Result<Self, KeyError> {
        Self::with_provider(AeadProvider::preferred(), spi, suite, keys)
    }

    /// The same with a library of the caller's choice for AES-GCM.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_provider(
        provider: AeadProvider,
        spi: Spi,
        suite: EspSuite,
        keys: &EspKeys,
    ) -> Result<Self, KeyError> {
        let sealer = Sealer::new(provider, suite, keys)?;
        Ok(Self { spi, suite, sealer, lifetime: Lifetime::new(suite.esn), last: AtomicU64::new(0) })
    }

    /// Starts the counter behind `last`, so that a test can stand at the end of the number space.
    ///
    /// A counter must never be moved back under a live key (RFC 4106 §3.1): the method consumes the SA, and
    /// `last` counts only when it is the larger one.
    #[must_use]
    pub fn with_sent(self, last: u64) -> Self {
        self.last.fetch_max(last, Ordering::Relaxed);
        self
    }

    /// Reserves `count` consecutive sequence numbers and returns the first. Numbers start at 1 and never wrap;
    /// unused ones are lost, which a receiver's window tolerates.
    ///
    /// # Errors
    /// When fewer than `count` are left; none is reserved then.
    #[inline]
    pub fn reserve(&self, count: u32) -> Result<u64, SequenceExhausted> {
        let hard = self.lifetime.hard;
        self.last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                last.checked_add(u64::from(count)).filter(|new| *new <= hard)
            })
            .map(|last| last.saturating_add(1))
            .map_err(|sent| SequenceExhausted { sent })
    }

    /// Octets from SPI to ICV for an inner packet of `inner_len` octets; UDP and IP headers not counted.
    #[inline]
    pub const fn sealed_len(&self, inner_len: usize) -> usize {
        let transform = self.suite.transform;
        self.payload_offset() + trailer::padded_len(inner_len, transform.alignment()) + transform.icv_len()
    }

    /// Where the inner packet stands in the ESP packet: 16 octets for AES-GCM, 24 for AES-CBC.
    #[inline]
    pub const fn payload_offset(&self) -> usize {
        ESP_HEADER_LEN + self.suite.transform.iv_len()
    }

    /// Seals a copy of `inner` into `out` and returns the length written, [`Self::sealed_len`].
    ///
    /// `seq` comes from [`Self::reserve`] and must be used once. Returns 0, and the packet must not be sent,
    /// when `out` is shorter than the sealed packet.
    #[must_use]
    #[inline]
    pub fn seal_into(&self, seq: u64, inner: &[u8], next_header: u8, out: &mut [u8]) -> usize {
        let start = self.payload_offset();
        match out.get_mut(start..start + inner.len()) {
            Some(payload) => payload.copy_from_slice(inner),
            None => return 0,
        }
        self.seal_in_place(seq, out, inner.len(), next_header)
    }

    /// Seals the inner packet that already stands at `buffer[payload_offset()..][..inner_len]` and returns the
    /// length of the ESP packet that `buffer` now begins with, [`Self::sealed_len`].
    ///
    /// `seq` comes from [`Self::reserve`] and must be used once. Returns 0, and the packet must not be sent,
    /// when `buffer` is shorter than the sealed packet.
    #[must_use]
    #[inline]
    pub fn seal_in_place(&self, seq: u64, buffer: &mut [u8], inner_len: usize, next_header: u8) -> usize {
        let total = self.sealed_len(inner_len);
        let trailer = self.payload_offset() + inner_len..total - self.suite.transform.icv_len();
        let sequence = Sequence { value: seq, esn: self.suite.esn };
        buffer
            .get_mut(..total)
            .and_then(|packet| {
                trailer::write(packet.get_mut(trailer)?, next_header)?;
                self.sealer.seal(self.spi, sequence, packet)
            })
            .map_or(0, |()| total)
    }

    /// Sequence numbers handed out so far.
    #[inline]
    pub fn sent(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Whether the SA is close enough to its end to be replaced now (see [`Lifetime`]).
    #[inline]
    pub fn nearly_exhausted(&self) -> bool {
        self.sent() >= self.lifetime.soft
    }

    /// The packet limits.
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// The peer's SPI, in every packet's header.
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// Algorithms and sequence-number size.
    pub const fn suite(&self) -> EspSuite {
        self.suite
    }
}

impl fmt::Debug for OutboundSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundSa")
            .field("spi", &self.spi)
            .field("suite", &self.suite)
            .field("sent", &self.sent())
            .finish_non_exhaustive()
    }
}

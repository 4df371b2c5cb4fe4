//! One inbound SA: replay check, ICV, then the window, then the trailer. It has one owner, the receive worker,
//! and changes nothing for a packet whose ICV is wrong. RFC 4303 §3.4.

use std::fmt;

use model::{EspKeys, EspSuite, Spi};

use crate::crypt::{AeadProvider, KeyError, Opener, Sequence};
use crate::{DropReason, ESP_HEADER_LEN, ReplayWindow, peek_spi, trailer};

/// The receiving half of a child SA.
pub struct InboundSa {
    spi: Spi,
    suite: EspSuite,
    opener: Opener,
    window: ReplayWindow,
}

/// A verified and decrypted packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'p> {
    /// The inner IP packet, ESP and TFC padding removed; it begins at the SA's `payload_offset()` of the packet.
    pub inner: &'p mut [u8],
    /// 4 or 41; it agrees with the version field of `inner`.
    pub next_header: u8,
    /// The sequence number, all 64 bits when extended ones were negotiated.
    pub sequence: u64,
}

impl InboundSa {
    /// An SA that has received nothing yet, with a window of `replay_window` packets (clamped to
    /// [`crate::MIN_REPLAY_WINDOW`]..=[`crate::MAX_REPLAY_WINDOW`]).
    ///
    /// # Errors
    /// When the keys have the wrong length for the suite.
    pub fn new(spi: Spi, suite: EspSuite, keys: &EspKeys, replay_window: u32) -> Result<Self, KeyError> {
        Self::with_provider(AeadProvider::preferred(), spi, suite, keys, replay_window)
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
        replay_window: u32,
    ) -> Result<Self, KeyError> {
        let opener = Opener::new(provider, suite, keys)?;
        Ok(Self { spi, suite, opener, window: ReplayWindow::new(replay_window) })
    }

    /// Verifies and decrypts the ESP packet `packet` (SPI to ICV) where it stands.
    ///
    /// # Errors
    /// [`DropReason::Malformed`], [`DropReason::NoSa`] (another SPI), [`DropReason::Replay`] and
    /// [`DropReason::Auth`] leave the SA as it was; the others ([`DropReason::is_authenticated`]) have moved the
    /// window. The packet's content is undefined after an error.
    #[inline]
    pub fn open_in_place<'p>(&mut self, packet: &'p mut [u8]) -> Result<Opened<'p>, DropReason> {
        let sequence = self.precheck(packet)?;
        let tagged = Sequence { value: sequence, esn: self.suite.esn };
        let plaintext = self.opener.open(tagged, packet).ok_or(DropReason::Auth)?;
        //= RFC 4303 §3.4.3
        //# The window is updated only after the ICV was verified.
        self.window.mark(sequence);
        let (inner_len, next_header) = trailer::parse(plaintext)?;
        let inner = plaintext.get_mut(..inner_len).ok_or(DropReason::Inner)?;
        Ok(Opened { inner, next_header, sequence })
    }

    /// Everything that can be refused without cryptography; the full sequence number otherwise.
    #[inline]
    fn precheck(&self, packet: &[u8]) -> Result<u64, DropReason> {
        let transform = self.suite.transform;
        let overhead = ESP_HEADER_LEN + transform.iv_len() + transform.icv_len();
        let body = packet.len().checked_sub(overhead).ok_or(DropReason::Malformed)?;
        if body == 0 || !body.is_multiple_of(transform.alignment()) {
            return Err(DropReason::Malformed);
        }
        if peek_spi(packet) != Some(self.spi) {
            return Err(DropReason::NoSa);
        }
        let Some([_, _, _, _, low @ ..]) = packet.first_chunk::<ESP_HEADER_LEN>() else {
            return Err(DropReason::Malformed);
        };
        let low = u32::from_be_bytes(*low);
        let sequence =
            if self.suite.esn { self.window.infer(low).ok_or(DropReason::Replay)? } else { u64::from(low) };
        if self.window.check(sequence) { Ok(sequence) } else { Err(DropReason::Replay) }
    }

    /// Where the inner packet stands in an ESP packet of this SA: 16 octets for AES-GCM, 24 for AES-CBC.
    pub const fn payload_offset(&self) -> usize {
        ESP_HEADER_LEN + self.suite.transform.iv_len()
    }

    /// The highest authenticated sequence number; 0 before the first packet.
    pub const fn highest_sequence(&self) -> u64 {
        self.window.top()
    }

    /// Our SPI, in every packet's header.
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// Algorithms and sequence-number size.
    pub const fn suite(&self) -> EspSuite {
        self.suite
    }
}

impl fmt::Debug for InboundSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundSa")
            .field("spi", &self.spi)
            .field("suite", &self.suite)
            .field("highest_sequence", &self.window.top())
            .finish_non_exhaustive()
    }
}

//! IKE fragmentation (RFC 7383): one message as one or more datagrams, and the way back.
//!
//! A [`Flight`] is what goes out for one message: a single datagram, or all fragments of it. A [`Reassembly`]
//! holds the fragments of one message of the peer. It sees authenticated fragments only, holds one message at a
//! time, and is bounded in number, octets and time; so a stranger can neither fill nor poison it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use model::{Instant, SecureRng};

use crate::config::Config;
use crate::crypto::{FragmentHead, OpenError, Protection, Verified, VerifiedFragment};
use crate::error::DropReason;
use crate::sa::nat::Path;
use crate::wire::{Encoded, Header, Payload, encode_payloads};

/// Fragments that one message may have. Far more than any message of ours or of a chain of certificates needs.
pub(crate) const MAX_FRAGMENTS: u16 = 64;
/// Octets of content that one message may have together.
pub(crate) const MAX_OCTETS: usize = 32 * 1024;
/// An incomplete message is forgotten after this time; its sender has repeated it by then (RFC 7383 §2.6).
const REASSEMBLY_TIMEOUT: Duration = Duration::from_secs(30);
/// What every network carries (RFC 7383 §2.5.1), for IPv4 and IPv6.
const SMALLEST_V4: u16 = 576;
/// See [`SMALLEST_V4`].
const SMALLEST_V6: u16 = 1280;
/// Octets of a UDP header and of the marker on the NAT-T port (RFC 3948 §2.2).
const UDP: usize = 8;
/// See [`UDP`].
const MARKER: usize = 4;
/// A message that went unanswered this often is cut smaller: its large datagrams may not get through
/// (RFC 7383 §2.5.2).
pub(crate) const SHRINK_AFTER: u32 = 2;

/// How large our datagrams to a peer that takes fragments may be, in octets of UDP payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sizes {
    /// At first.
    pub(crate) usual: usize,
    /// When that seems not to get through.
    pub(crate) smallest: usize,
}

impl Sizes {
    /// The sizes for a path; `None` when we do not fragment.
    pub(crate) fn new(config: &Config, path: &Path) -> Option<Self> {
        let (header, smallest) = match path.remote.ip() {
            IpAddr::V4(_) => (20, SMALLEST_V4),
            IpAddr::V6(_) => (40, SMALLEST_V6),
        };
        let usual = config.fragment_size?;
        let marker = if path.local.port() == config.local_nat_t_port { MARKER } else { 0 };
        let room = |size: u16| usize::from(size).saturating_sub(header + UDP + marker);
        Some(Self { usual: room(usual), smallest: room(usual.min(smallest)) })
    }

    /// For the answer to a request that came in fragments of at most `largest` octets: its sender may have found
    /// that the way takes no more.
    pub(crate) fn within(self, largest: Option<usize>) -> Self {
        let usual = largest.map_or(self.usual, |largest| self.usual.min(largest.max(self.smallest)));
        Self { usual, ..self }
    }
}

/// One message as it goes out: all of its datagrams.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Flight {
    datagrams: Vec<Vec<u8>>,
    /// What is inside, while the message may have to be cut smaller.
    source: Option<(Header, Encoded)>,
}

/// The content may be worth hiding.
impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Flight({} datagrams)", self.datagrams.len())
    }
}

impl Flight {
    /// A message that is never cut: one in the clear.
    pub(crate) fn whole(datagram: Vec<u8>) -> Self {
        Self { datagrams: vec![datagram], source: None }
    }

    /// Seals a message: whole when it fits or the peer takes no fragments (`sizes` is `None`), cut otherwise.
    pub(crate) fn seal(
        seal: &mut Protection,
        header: &Header,
        payloads: &[Payload],
        sizes: Option<Sizes>,
        rng: &mut dyn SecureRng,
    ) -> Self {
        let content = encode_payloads(payloads);
        let length = seal.sealed_len(content.bytes.len());
        match sizes {
            Some(sizes) if length > sizes.smallest => {
                let mut flight = Self { datagrams: Vec::new(), source: Some((*header, content)) };
                flight.cut(seal, sizes.usual, rng);
                flight
            }
            _ => Self::whole(seal.seal_encoded(header, &content, rng)),
        }
    }

    /// Seals the kept content anew in datagrams of at most `size` octets.
    fn cut(&mut self, seal: &mut Protection, size: usize, rng: &mut dyn SecureRng) {
        let Some((header, content)) = &self.source else { return };
        if seal.sealed_len(content.bytes.len()) <= size {
            self.datagrams = vec![seal.seal_encoded(header, content, rng)];
            return;
        }
        let pieces: Vec<_> = content.bytes.chunks(seal.fragment_room(size).max(1)).collect();
        let Some(total) = u16::try_from(pieces.len()).ok().filter(|total| *total <= MAX_FRAGMENTS) else {
            // Nobody would put that many together; whole, IP may still carry it.
            self.datagrams = vec![seal.seal_encoded(header, content, rng)];
            return;
        };
        let head = |number| FragmentHead { first: content.first, number, total };
        self.datagrams =
            (1..).zip(pieces).map(|(n, piece)| seal.seal_fragment(header, head(n), piece, rng)).collect();
    }

    /// Cuts the message smaller, once; `false` when it is small enough already.
    pub(crate) fn shrink(
        &mut self,
        seal: &mut Protection,
        sizes: Option<Sizes>,
        rng: &mut dyn SecureRng,
    ) -> bool {
        let Some(sizes) = sizes.filter(|_| self.source.is_some()) else { return false };
        let large = self.datagrams.iter().any(|datagram| datagram.len() > sizes.smallest);
        if large {
            self.cut(seal, sizes.smallest, rng);
        }
        self.source = None;
        large
    }

    /// All datagrams, in their order.
    pub(crate) fn datagrams(&self) -> &[Vec<u8>] {
        &self.datagrams
    }

    /// The first datagram: all of a message that is not cut.
    pub(crate) fn first(&self) -> &[u8] {
        self.datagrams.first().map_or(&[], Vec::as_slice)
    }
}

/// A protected datagram that passed its integrity check.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A whole message.
    Whole(Box<Verified>),
    /// Authentic, and malformed inside.
    Malformed,
    /// A part of one.
    Fragment(Box<VerifiedFragment>),
}

/// A message put together.
#[derive(Debug)]
pub(crate) struct Complete {
    /// `None`: authentic, and malformed inside.
    pub(crate) verified: Option<Verified>,
    /// The datagram of fragment 1: its repetition asks for the answer once more (RFC 7383 §2.6.1).
    pub(crate) first: Vec<u8>,
    /// Octets of the largest fragment's datagram.
    pub(crate) largest: usize,
}

#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
struct Partial {
    id: u32,
    total: u16,
    octets: usize,
    largest: usize,
    until: Instant,
    pieces: BTreeMap<u16, VerifiedFragment>,
    first: Vec<u8>,
}

/// The fragments of one message of the peer, in one direction of one IKE SA.
#[derive(Debug, Default)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Reassembly {
    /// Both sides have announced that they take fragments (RFC 7383 §2.3).
    pub(crate) negotiated: bool,
    partial: Option<Partial>,
}

impl Reassembly {
    /// An empty one.
    pub(crate) const fn new(negotiated: bool) -> Self {
        Self { negotiated, partial: None }
    }

    /// Opens a datagram and judges it; changes nothing.
    pub(crate) fn open(&self, protection: &Protection, datagram: &[u8]) -> Result<Opened, DropReason> {
        match protection.open(datagram) {
            Ok(verified) => return Ok(Opened::Whole(Box::new(verified))),
            Err(OpenError::Inner { .. }) => return Ok(Opened::Malformed),
            //= RFC 7383 §2.3: fragments that were not negotiated are not looked at.
            Err(OpenError::NotEncrypted) if self.negotiated => {}
            Err(error) => return Err(dropped(&error)),
        }
        match protection.open_fragment(datagram) {
            Ok(fragment) => self.judge(&fragment).map(|()| Opened::Fragment(Box::new(fragment))),
            Err(OpenError::Inner { .. }) => Ok(Opened::Malformed),
            Err(error) => Err(dropped(&error)),
        }
    }

    //= RFC 7383 §2.6: a larger total replaces what is held, a smaller one and a doubled fragment are ignored.
    fn judge(&self, fragment: &VerifiedFragment) -> Result<(), DropReason> {
        // An empty piece brings nothing, unless it is all of an empty message.
        let useless = fragment.is_empty() && fragment.total > 1;
        if fragment.total > MAX_FRAGMENTS || fragment.len() > MAX_OCTETS || useless {
            return Err(DropReason::Fragment);
        }
        let held = self.partial.as_ref().filter(|partial| partial.id == fragment.header.message_id);
        match held {
            Some(partial) if fragment.total < partial.total => Err(DropReason::Fragment),
            Some(partial) if fragment.total == partial.total => {
                let doubled = partial.pieces.contains_key(&fragment.number);
                let fits = partial.octets + fragment.len() <= MAX_OCTETS;
                if doubled || !fits { Err(DropReason::Fragment) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Stores a judged fragment; gives the message when it was the last one missing.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        fragment: VerifiedFragment,
        datagram: &[u8],
    ) -> Option<Complete> {
        let (id, total) = (fragment.header.message_id, fragment.total);
        if self.partial.as_ref().is_none_or(|partial| (partial.id, partial.total) != (id, total)) {
            let until = now + REASSEMBLY_TIMEOUT;
            self.partial = Some(Partial {
                id,
                total,
                octets: 0,
                largest: 0,
                until,
                pieces: BTreeMap::new(),
                first: Vec::new(),
            });
        }
        let partial = self.partial.as_mut()?;
        partial.octets += fragment.len();
        partial.largest = partial.largest.max(datagram.len());
        if fragment.number == 1 {
            partial.first = datagram.to_vec();
        }
        partial.pieces.insert(fragment.number, fragment);
        if partial.pieces.len() < usize::from(total) {
            return None;
        }
        let Partial { pieces, first, largest, .. } = self.partial.take()?;
        match Verified::from_fragments(pieces.into_values().collect()) {
            Ok(verified) => Some(Complete { verified: Some(verified), first, largest }),
            Err(OpenError::FragmentSet) => None,
            Err(_) => Some(Complete { verified: None, first, largest }),
        }
    }

    /// Forgets an incomplete message: a whole one came instead.
    pub(crate) fn clear(&mut self) {
        self.partial = None;
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.partial.as_ref().is_some_and(|partial| partial.until <= now) {
            self.partial = None;
        }
    }

    /// When the clock matters next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.partial.as_ref().map(|partial| partial.until)
    }

    /// What [`crate::Endpoint::state_digest`] sees.
    pub(crate) fn digest(&self, out: &mut Vec<u64>) {
        if let Some(partial) = &self.partial {
            out.extend([u64::from(partial.id), u64::from(partial.total), partial.octets as u64]);
            out.extend(partial.pieces.keys().map(|number| u64::from(*number)));
        }
    }
}

/// Why a datagram that could not be opened is dropped.
fn dropped(error: &OpenError) -> DropReason {
    match error {
        OpenError::Outer(error) | OpenError::Inner { error, .. } => DropReason::Malformed(*error),
        OpenError::NotEncrypted => DropReason::Unprotected,
        OpenError::Size(_) | OpenError::Integrity | OpenError::FragmentSet => DropReason::Forged,
    }
}

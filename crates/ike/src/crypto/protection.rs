//! The Encrypted payload, sealed and opened (RFC 7296 §3.14, RFC 5282, RFC 7383 §2.5).

use model::SecureRng;

use super::algorithm::Suite;
use super::cipher::Cipher;
use super::keys::SaKeys;
use crate::wire::{
    self, Encoded, Encrypted, EncryptedFragment, HEADER_LEN, Header, Payload, PayloadType, Sealed, encode,
    encode_payloads, parse_payloads, split_encrypted,
};

/// Octets from the start of a message we seal to the body of its SK payload; we put nothing in front of it.
const BODY_AT: usize = HEADER_LEN + 4;
/// Octets of Fragment Number and Total Fragments (RFC 7383 §2.5).
const FRAGMENT_NUMBERS: usize = 4;

/// Whose messages a [`Protection`] is for: the original initiator's or the original responder's of the IKE SA,
/// whoever starts the exchange at hand (RFC 7296 §2.2, §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// SK_ei, SK_ai.
    Initiator,
    /// SK_er, SK_ar.
    Responder,
}

/// A suite whose parts do not go together, or keys that are not its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0} cannot protect messages with these keys: a CBC cipher needs an integrity algorithm, an AEAD none"
)]
pub struct UnsupportedSuite(
    /// The suite.
    pub Suite,
);

/// Protects one direction of one IKE SA. Neither cloned nor rebuilt: an AES-GCM IV is a counter in here, and
/// must never repeat under one key (RFC 5282 §3.1). The feature `fork` is for the checker of interleavings alone.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub struct Protection {
    cipher: Cipher,
}

/// A message whose integrity check succeeded; made only by [`Protection::open`] and
/// [`Verified::from_fragments`].
#[derive(Debug)]
pub struct Verified {
    /// The header, covered by the check.
    pub header: Header,
    /// The payloads that were inside the encrypted payload.
    pub payloads: Vec<Payload>,
    /// Payloads that stood in the clear before it: covered by the check, but never secret. Nothing is expected
    /// here; look at it for unknown critical payloads only.
    pub outer: Vec<Payload>,
    inside: Encoded,
    _checked: Checked,
}

/// Only this module can make one, so only this module can make a [`Verified`].
#[derive(Debug)]
struct Checked;

/// A fragment whose integrity check succeeded (RFC 7383 §2.5).
#[cfg_attr(feature = "fork", derive(Clone))]
pub struct VerifiedFragment {
    /// The header, covered by the check.
    pub header: Header,
    /// From 1 to `total`.
    pub number: u16,
    /// How many fragments make the message.
    pub total: u16,
    first: PayloadType,
    outer: Vec<Payload>,
    content: Vec<u8>,
}

/// Its content was encrypted for a reason.
impl std::fmt::Debug for VerifiedFragment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifiedFragment({} of {}, {} octets)", self.number, self.total, self.content.len())
    }
}

/// Where a fragment to be sent stands in its message (RFC 7383 §2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentHead {
    /// Type of the message's first payload; only fragment 1 carries it.
    pub first: PayloadType,
    /// From 1 to `total`.
    pub number: u16,
    /// How many fragments make the message.
    pub total: u16,
}

/// Why a message could not be opened. Only [`OpenError::Inner`] comes from the peer; all others may be
/// anybody's, and the datagram is dropped without changing anything.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Malformed outside the encrypted payload.
    #[error("malformed message: {0}")]
    Outer(wire::Error),
    /// No encrypted payload of the kind asked for.
    #[error("a message without the encrypted payload that this SA requires")]
    NotEncrypted,
    /// Too short for IV and ICV, or not a whole number of cipher blocks.
    #[error("an encrypted payload of {0} octets cannot hold IV, data and integrity check value")]
    Size(
        /// Octets of its body.
        usize,
    ),
    /// The integrity check failed.
    #[error("the integrity check failed")]
    Integrity,
    /// Fragments that are not one whole message (RFC 7383 §2.6): one is missing, doubled or of another message.
    #[error("the fragments do not make one message")]
    FragmentSet,
    /// Authentic, but what was inside is malformed: answered INVALID_SYNTAX inside SK (RFC 7296 §2.21.2).
    #[error("malformed payloads inside an authentic message: {error}")]
    Inner {
        /// The authentic header.
        header: Header,
        /// What is malformed.
        error: wire::Error,
    },
}

impl Protection {
    /// The protection of one sender's messages.
    ///
    /// # Errors
    /// When `suite` is not a valid combination, or `keys` were not derived for it.
    pub fn new(suite: &Suite, keys: &SaKeys, sender: Sender) -> Result<Self, UnsupportedSuite> {
        let (encryption, integrity) = match sender {
            Sender::Initiator => (&keys.sk_ei, &keys.sk_ai),
            Sender::Responder => (&keys.sk_er, &keys.sk_ar),
        };
        let cipher = Cipher::new(suite, encryption, integrity).ok_or(UnsupportedSuite(*suite))?;
        Ok(Self { cipher })
    }

    /// A whole protected datagram: `header`, and one SK payload around `payloads`. The initiator and response
    /// flags in `header` are the caller's.
    pub fn seal(&mut self, header: &Header, payloads: &[Payload], rng: &mut dyn SecureRng) -> Vec<u8> {
        self.seal_encoded(header, &encode_payloads(payloads), rng)
    }

    /// As [`Self::seal`], for payloads that are encoded already.
    pub fn seal_encoded(&mut self, header: &Header, inside: &Encoded, rng: &mut dyn SecureRng) -> Vec<u8> {
        let data = self.cipher.frame(&inside.bytes);
        let sk = Payload::Encrypted(Encrypted { first: inside.first, data });
        self.finish(encode(header, &[sk]), BODY_AT, rng)
    }

    /// Octets of the datagram that [`Self::seal_encoded`] makes of `content` octets.
    pub fn sealed_len(&self, content: usize) -> usize {
        BODY_AT + self.cipher.framed_len(content)
    }

    /// Octets of content that a fragment of at most `datagram` octets holds; zero when it holds none.
    pub fn fragment_room(&self, datagram: usize) -> usize {
        self.cipher.room(datagram.saturating_sub(BODY_AT + FRAGMENT_NUMBERS))
    }

    /// One fragment as a whole datagram; `piece` is its part of [`wire::encode_payloads`]. The caller has made
    /// sure that 1 <= number <= total.
    pub fn seal_fragment(
        &mut self,
        header: &Header,
        head: FragmentHead,
        piece: &[u8],
        rng: &mut dyn SecureRng,
    ) -> Vec<u8> {
        //= RFC 7383 §2.5: fragments after the first say "no next payload".
        let first = if head.number == 1 { head.first } else { PayloadType::NONE };
        let data = self.cipher.frame(piece);
        let skf = EncryptedFragment { first, number: head.number, total: head.total, data };
        let datagram = encode(header, &[Payload::EncryptedFragment(skf)]);
        self.finish(datagram, BODY_AT + FRAGMENT_NUMBERS, rng)
    }

    /// Encrypts the framed body of a complete message in place. A message that cannot be sealed, because it is
    /// longer than a datagram may be, becomes empty: nothing leaves in the clear.
    fn finish(&mut self, mut datagram: Vec<u8>, body_at: usize, rng: &mut dyn SecureRng) -> Vec<u8> {
        let sealed = datagram.len() <= usize::from(u16::MAX)
            && datagram
                .split_at_mut_checked(body_at)
                .is_some_and(|(associated, body)| self.cipher.seal(associated, body, rng).is_some());
        if !sealed {
            datagram.clear();
        }
        datagram
    }

    /// Checks and opens a datagram with an SK payload. Nothing inside is looked at before the check.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, datagram: &[u8]) -> Result<Verified, OpenError> {
        let sealed = split(datagram)?;
        if sealed.fragment.is_some() {
            return Err(OpenError::NotEncrypted);
        }
        let content = self.content(&sealed)?;
        let header = sealed.header;
        let payloads =
            parse_payloads(sealed.first, &content).map_err(|error| OpenError::Inner { header, error })?;
        let inside = Encoded { first: sealed.first, bytes: content };
        Ok(Verified { header, payloads, outer: sealed.outer, inside, _checked: Checked })
    }

    /// Checks and opens a datagram with an SKF payload.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_fragment(&self, datagram: &[u8]) -> Result<VerifiedFragment, OpenError> {
        let sealed = split(datagram)?;
        let (number, total) = sealed.fragment.ok_or(OpenError::NotEncrypted)?;
        let content = self.content(&sealed)?;
        let Sealed { header, outer, first, .. } = sealed;
        Ok(VerifiedFragment { header, number, total, first, outer, content })
    }

    /// The decrypted content without padding, after the integrity check.
    fn content(&self, sealed: &Sealed<'_>) -> Result<Vec<u8>, OpenError> {
        if !self.cipher.fits(sealed.body.len()) {
            return Err(OpenError::Size(sealed.body.len()));
        }
        let mut content = self.cipher.open(sealed.associated, sealed.body).ok_or(OpenError::Integrity)?;
        //= RFC 7296 §3.14: any padding content and length is accepted, as long as it lies inside.
        let kept = content.pop().and_then(|padding| content.len().checked_sub(usize::from(padding))).ok_or(
            OpenError::Inner { header: sealed.header, error: wire::Error::BadLength(PayloadType::SK) },
        )?;
        content.truncate(kept);
        Ok(content)
    }
}

fn split(datagram: &[u8]) -> Result<Sealed<'_>, OpenError> {
    split_encrypted(datagram).map_err(OpenError::Outer)?.ok_or(OpenError::NotEncrypted)
}

/// A | P of RFC 9242 §3.3.2: the message as it would be without encryption, IV, padding and ICV, and without
/// fragmentation. Both lengths count what stands there.
pub fn intermediate_octets(header: &Header, outer: &[Payload], inside: &Encoded) -> Vec<u8> {
    let sk = Payload::Encrypted(Encrypted { first: inside.first, data: inside.bytes.clone() });
    let payloads: Vec<_> = outer.iter().cloned().chain([sk]).collect();
    encode(header, &payloads)
}

impl Verified {
    /// What AUTH covers of an IKE_INTERMEDIATE message, see [`intermediate_octets`].
    pub fn intermediate_octets(&self) -> Vec<u8> {
        intermediate_octets(&self.header, &self.outer, &self.inside)
    }

    /// Puts a message together from all of its fragments, in any order.
    ///
    /// # Errors
    /// [`OpenError::FragmentSet`] when they are not exactly the fragments of one message,
    /// [`OpenError::Inner`] when what they hold together is malformed.
    pub fn from_fragments(mut fragments: Vec<VerifiedFragment>) -> Result<Self, OpenError> {
        fragments.sort_by_key(|fragment| fragment.number);
        let mut content = Vec::with_capacity(fragments.iter().map(VerifiedFragment::len).sum());
        let count = fragments.len();
        let mut head: Option<(Header, PayloadType, Vec<Payload>)> = None;
        for (number, fragment) in (1..).zip(fragments) {
            if fragment.number != number || usize::from(fragment.total) != count {
                return Err(OpenError::FragmentSet);
            }
            content.extend_from_slice(&fragment.content);
            match &head {
                None => head = Some((fragment.header, fragment.first, fragment.outer)),
                Some((header, ..)) if !same_message(header, &fragment.header) => {
                    return Err(OpenError::FragmentSet);
                }
                Some(_) => {}
            }
        }
        let (header, first, outer) = head.ok_or(OpenError::FragmentSet)?;
        let payloads = parse_payloads(first, &content).map_err(|error| OpenError::Inner { header, error })?;
        let inside = Encoded { first, bytes: content };
        Ok(Self { header, payloads, outer, inside, _checked: Checked })
    }
}

impl VerifiedFragment {
    /// Octets of content: what a reassembly buffer has to count.
    pub const fn len(&self) -> usize {
        self.content.len()
    }

    /// Whether the fragment holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.content.is_empty()
    }
}

/// Whether two fragments' headers belong to one message: all but the first payload's type agrees.
fn same_message(one: &Header, other: &Header) -> bool {
    Header { next_payload: PayloadType::NONE, ..*one } == Header { next_payload: PayloadType::NONE, ..*other }
}

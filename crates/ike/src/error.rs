//! Why an attempt failed, and why a datagram was dropped.
//!
//! A [`Failure`] says what went wrong between the two configurations or with the peer, and what to do about
//! it; a [`DropReason`] says why a datagram changed nothing. Text exists only in `Display`.

use std::fmt;

use crate::certificate::CertificateProblem;
use crate::config::Identity;
use crate::wire::{self, DhGroup, NotifyType, PayloadType};

/// What an attempt was doing when it failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// IKE_SA_INIT (UDP 500).
    SaInit,
    /// IKE_AUTH (UDP 4500 when a NAT was found or claimed).
    Auth,
    /// IKE_INTERMEDIATE: an additional key exchange before IKE_AUTH (RFC 9242).
    Intermediate,
    /// CREATE_CHILD_SA for a child SA.
    Child,
    /// CREATE_CHILD_SA for an IKE SA.
    IkeRekey,
    /// INFORMATIONAL: liveness or delete.
    Informational,
}

impl Stage {
    /// The exchange's name in RFC 7296.
    pub const fn exchange(self) -> &'static str {
        match self {
            Self::SaInit => "IKE_SA_INIT",
            Self::Auth => "IKE_AUTH",
            Self::Intermediate => "IKE_INTERMEDIATE",
            Self::Child | Self::IkeRekey => "CREATE_CHILD_SA",
            Self::Informational => "INFORMATIONAL",
        }
    }
}

/// Why there is no tunnel, in terms an operator can act on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// AUTHENTICATION_FAILED, sent by the peer (`by_peer`) or found by us.
    #[error("AUTHENTICATION_FAILED: {}: the pre-shared keys or the identities differ; compare the key (whitespace?) and the local and remote identity with the peer's configuration",
        if *.by_peer { "the peer refuses our authentication" } else { "the peer's authentication does not verify" })]
    AuthenticationFailed {
        /// Who refused.
        by_peer: bool,
    },
    /// AUTHENTICATION_FAILED, sent by a peer that does not take our certificate.
    #[error(
        "AUTHENTICATION_FAILED: the peer refuses our certificate; see that it trusts our CA and the intermediates, that our identity is the one it expects, and that the certificate is neither expired nor revoked (its log says which)"
    )]
    CertificateRefused,
    /// The peer's certificate, or what it signed, proves nothing.
    #[error("AUTHENTICATION_FAILED: {0}")]
    Certificate(#[from] CertificateProblem),
    /// One side needs a post-quantum pre-shared key, and there is none that both have (RFC 8784).
    #[error("AUTHENTICATION_FAILED: {0}")]
    Ppk(#[from] PpkProblem),
    /// NO_PROPOSAL_CHOSEN: no common algorithms.
    #[error("NO_PROPOSAL_CHOSEN in {}: no common algorithms; offered: {offered}; allow one of these on the other side, or offer what it allows", .stage.exchange())]
    NoProposalChosen {
        /// The exchange that failed.
        stage: Stage,
        /// The offer, in text: ours, or the peer's when we refused it.
        offered: String,
        /// Whether the peer refused our offer, or we the peer's.
        by_peer: bool,
    },
    /// INVALID_KE_PAYLOAD that leads nowhere: a group we do not allow, or asked for again and again.
    #[error("INVALID_KE_PAYLOAD in {}: the peer wants {wanted}, which the configuration does not allow or which did not satisfy it; allow that group here or another one there", .stage.exchange())]
    InvalidKe {
        /// The exchange that failed.
        stage: Stage,
        /// The group the peer asked for.
        wanted: DhGroup,
    },
    /// TS_UNACCEPTABLE: the traffic selectors have nothing in common.
    #[error(
        "TS_UNACCEPTABLE: the traffic selectors have nothing in common ({offered}); make ours the mirror image of the peer's (AWS: local and remote network CIDR of the connection)"
    )]
    TsUnacceptable {
        /// The offer, in text, initiator's then responder's.
        offered: String,
        /// Whether the peer refused our offer, or we the peer's.
        by_peer: bool,
    },
    /// Nobody answers.
    #[error("no answer to {}: {}", .stage.exchange(), if *.stage == Stage::SaInit {
        "UDP 500 is blocked, the address is wrong, or the peer does not know our public address"
    } else {
        "UDP 4500 is blocked, or the peer discards what it gets there"
    })]
    NoAnswer {
        /// Where it stopped.
        stage: Stage,
    },
    /// The peer speaks only another major version.
    #[error("the peer does not speak IKEv2 (INVALID_MAJOR_VERSION or IKEv1 messages); enable IKEv2 there")]
    UnsupportedVersion,
    /// The peer proved another identity than the configured one.
    #[error("the peer calls itself {got}, the configuration expects {expected}")]
    PeerIdentityMismatch {
        /// The configured identity.
        expected: Identity,
        /// The identity in the peer's ID payload.
        got: Identity,
    },
    /// The peer insists on a payload we do not know, or refuses one of ours.
    #[error("UNSUPPORTED_CRITICAL_PAYLOAD: payload {0} is critical for one side and unknown to the other")]
    UnsupportedCritical(PayloadType),
    /// The peer's message is not one that RFC 7296 allows here.
    #[error("the peer's {} message is invalid: {what}", .stage.exchange())]
    ProtocolViolation {
        /// The exchange.
        stage: Stage,
        /// What was missing or wrong.
        what: &'static str,
    },
    /// Any other error notification.
    #[error("the peer answers {0}")]
    PeerNotify(NotifyType),
    /// The peer demanded more cookies or key exchanges than is sane.
    #[error("the peer keeps asking for the first message in another form and never goes on")]
    NegotiationLoop,
    /// The configuration cannot be used.
    #[error("the configuration offers no usable algorithms ({0})")]
    Unusable(&'static str),
}

impl Failure {
    /// The RFC's name of the notification behind this, if there is one.
    pub fn notify(&self) -> Option<NotifyType> {
        Some(match self {
            Self::AuthenticationFailed { .. }
            | Self::CertificateRefused
            | Self::Certificate(_)
            | Self::Ppk(_)
            | Self::PeerIdentityMismatch { .. } => NotifyType::AUTHENTICATION_FAILED,
            Self::NoProposalChosen { .. } => NotifyType::NO_PROPOSAL_CHOSEN,
            Self::InvalidKe { .. } => NotifyType::INVALID_KE_PAYLOAD,
            Self::TsUnacceptable { .. } => NotifyType::TS_UNACCEPTABLE,
            Self::UnsupportedVersion => NotifyType::INVALID_MAJOR_VERSION,
            Self::UnsupportedCritical(_) => NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
            Self::PeerNotify(kind) => *kind,
            Self::NoAnswer { .. }
            | Self::ProtocolViolation { .. }
            | Self::NegotiationLoop
            | Self::Unusable(_) => return None,
        })
    }
}

/// Why a post-quantum pre-shared key (PPK) did not do (RFC 8784 §3). Names are the configured ones or the peer's, escaped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PpkProblem {
    /// The responder did not say USE_PPK, and we need it.
    #[error(
        "the peer has no PPK for us or cannot use one (no USE_PPK in its answer), and ours is required; give it the PPK \"{id}\", or set `ppk_required = false` here"
    )]
    NotSupported {
        /// What we call ours.
        id: String,
    },
    /// The initiator did not say USE_PPK, and we need it.
    #[error(
        "the peer did not offer a PPK (no USE_PPK in its request), and ours is required; give it the PPK \"{id}\", or set `ppk_required = false` here"
    )]
    NotOffered {
        /// What we call ours.
        id: String,
    },
    /// The initiator said USE_PPK and then named none.
    #[error("the peer offered a PPK and then named none (no PPK_IDENTITY); give it the PPK \"{id}\"")]
    NotNamed {
        /// What we call ours.
        id: String,
    },
    /// The initiator named one that we do not have, and one side needs it.
    #[error(
        "the peer uses the PPK \"{got}\", ours is called \"{id}\"; give both sides the same PPK and the same `ppk_id`"
    )]
    Unknown {
        /// What the peer calls its own.
        got: String,
        /// What we call ours.
        id: String,
    },
    /// The responder went on without it, and we need it.
    #[error(
        "the peer does not use the PPK \"{id}\" (no PPK_IDENTITY in its answer), and ours is required; give it this PPK, or set `ppk_required = false` here"
    )]
    NotUsed {
        /// What we call ours.
        id: String,
    },
    /// The peer's proof holds without the PPK and not with it.
    #[error(
        "the two sides have different keys under the name \"{id}\"; give both the same PPK, octet by octet"
    )]
    Differs {
        /// What both call it.
        id: String,
    },
    /// AUTH does not verify when the PPK is mixed in. Whether that is the PPK's fault cannot be told.
    #[error(
        "{}: with the PPK \"{id}\" its key differs, or is unknown there, or else the pre-shared key, the certificates or the identities do; compare the PPK first (its name, white space, hexadecimal or text)",
        if *.by_peer { "the peer refuses our authentication" } else { "the peer's authentication does not verify" }
    )]
    Unverified {
        /// What we call ours.
        id: String,
        /// Who refused.
        by_peer: bool,
    },
}

/// Why a datagram changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// Not a well-formed IKE message.
    Malformed(wire::Error),
    /// Another major version (RFC 7296 §2.5).
    Version(u8),
    /// From an address that is not the peer's.
    UnknownPeer,
    /// No IKE SA with these SPIs.
    UnknownSpi,
    /// A message ID outside the window (RFC 7296 §2.3).
    MessageId,
    /// The initiator or response flag contradicts the IKE SA.
    Flags,
    /// The integrity check failed.
    Forged,
    /// An exchange type that has no place in this state.
    Unexpected,
    /// Too many half-open IKE SAs, or answers to strangers.
    Limit,
    /// An unprotected message where only protected ones count.
    Unprotected,
    /// The endpoint is closed by command.
    Closed,
    /// An authentic fragment that is not wanted: doubled, of a smaller set, or beyond the limits (RFC 7383 §2.6).
    Fragment,
}

impl DropReason {
    /// Index into a table of counters; below [`DropReason::KINDS`].
    pub const fn index(self) -> usize {
        match self {
            Self::Malformed(_) => 0,
            Self::Version(_) => 1,
            Self::UnknownPeer => 2,
            Self::UnknownSpi => 3,
            Self::MessageId => 4,
            Self::Flags => 5,
            Self::Forged => 6,
            Self::Unexpected => 7,
            Self::Limit => 8,
            Self::Unprotected => 9,
            Self::Closed => 10,
            Self::Fragment => 11,
        }
    }

    /// Number of kinds.
    pub const KINDS: usize = 12;

    /// Short names by index, for metrics.
    pub const NAMES: [&'static str; Self::KINDS] = [
        "malformed",
        "version",
        "unknown_peer",
        "unknown_spi",
        "message_id",
        "flags",
        "forged",
        "unexpected",
        "limit",
        "unprotected",
        "closed",
        "fragment",
    ];
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed: {error}"),
            Self::Version(major) => write!(f, "IKE major version {major}"),
            Self::UnknownPeer => f.write_str("not from the configured peer"),
            Self::UnknownSpi => f.write_str("no IKE SA with these SPIs"),
            Self::MessageId => f.write_str("message ID outside the window"),
            Self::Flags => f.write_str("flags contradict the IKE SA"),
            Self::Forged => f.write_str("integrity check failed"),
            Self::Unexpected => f.write_str("exchange not possible in this state"),
            Self::Limit => f.write_str("limit for unauthenticated peers reached"),
            Self::Unprotected => f.write_str("unprotected where only protected messages count"),
            Self::Closed => f.write_str("closed by command"),
            Self::Fragment => f.write_str("fragment doubled, of a smaller set, or beyond the limits"),
        }
    }
}

impl Failure {
    /// What an error notification of the peer means at this stage; `offered` is our offer in text.
    pub(crate) fn from_notify(notify: &wire::Notify, stage: Stage, offered: &str) -> Self {
        let offered = offered.to_owned();
        match notify.kind {
            NotifyType::AUTHENTICATION_FAILED => Self::AuthenticationFailed { by_peer: true },
            NotifyType::NO_PROPOSAL_CHOSEN => Self::NoProposalChosen { stage, offered, by_peer: true },
            NotifyType::TS_UNACCEPTABLE | NotifyType::SINGLE_PAIR_REQUIRED => {
                Self::TsUnacceptable { offered, by_peer: true }
            }
            NotifyType::INVALID_KE_PAYLOAD => {
                let wanted = crate::message::wanted_group(notify).unwrap_or(DhGroup::NONE);
                Self::InvalidKe { stage, wanted }
            }
            NotifyType::INVALID_MAJOR_VERSION => Self::UnsupportedVersion,
            NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD => {
                Self::UnsupportedCritical(PayloadType(notify.data.first().copied().unwrap_or(0)))
            }
            kind => Self::PeerNotify(kind),
        }
    }
}

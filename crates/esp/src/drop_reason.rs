//! Why a packet was not forwarded, and which of the six published counters that is. It never formats packets
//! into messages: a drop reason is a number that a counter can be indexed with. RFC 4301 §5, RFC 4303 §3.4.

/// Why a packet was dropped, in either direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
pub enum DropReason {
    /// No SA for the SPI (inbound) or for the traffic (outbound).
    #[error("no SA for this SPI")]
    NoSa,
    /// Too short, unaligned or otherwise no ESP packet; seen before any cryptography.
    #[error("not a well-formed ESP packet")]
    Malformed,
    /// Sequence number seen before or left of the replay window.
    #[error("sequence number already seen or too old")]
    Replay,
    /// The ICV does not match.
    #[error("integrity check failed")]
    Auth,
    /// The ICV is right, the padding is not 1, 2, 3, ... (RFC 4303 §2.4).
    #[error("authenticated, but the padding is wrong")]
    Padding,
    /// The ICV is right, but what is inside is no IPv4 or IPv6 packet of the announced length.
    #[error("authenticated, but the inner packet is malformed")]
    Inner,
    /// The inner addresses, protocol or ports are outside the SA's traffic selectors (RFC 4301 §5.2).
    #[error("inner packet outside the traffic selectors")]
    Selector,
    /// Next header 59: a dummy packet for traffic-flow confidentiality. Not an error (RFC 4303 §2.6).
    #[error("dummy packet")]
    Dummy,
    /// The outer header says congestion experienced, the inner transport is not ECN-capable (RFC 6040 §4.2).
    #[error("congestion experienced on a packet that is not ECN-capable")]
    Congestion,
    /// Larger than the tunnel's MTU and must not be fragmented.
    #[error("larger than the tunnel's MTU")]
    TooBig,
    /// The outbound SA has no sequence number left (RFC 4303 §3.3.3); a new SA must be negotiated.
    #[error("sequence numbers exhausted")]
    SequenceExhausted,
    /// A named queue limit was reached.
    #[error("queue full")]
    QueueFull,
}

/// The six drop counters of the status document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DropCounter {
    /// `auth`
    Auth,
    /// `replay`
    Replay,
    /// `no_sa`
    NoSa,
    /// `malformed`
    Malformed,
    /// `mtu`
    Mtu,
    /// `queue`
    Queue,
}

impl DropCounter {
    /// All counters, in the order of the status document; a counter's position is `self as usize`.
    pub const ALL: [Self; 6] =
        [Self::Auth, Self::Replay, Self::NoSa, Self::Malformed, Self::Mtu, Self::Queue];

    /// The key in the status document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Replay => "replay",
            Self::NoSa => "no_sa",
            Self::Malformed => "malformed",
            Self::Mtu => "mtu",
            Self::Queue => "queue",
        }
    }
}

impl DropReason {
    /// All reasons; a reason's position is `self as usize`.
    pub const ALL: [Self; 12] = [
        Self::NoSa,
        Self::Malformed,
        Self::Replay,
        Self::Auth,
        Self::Padding,
        Self::Inner,
        Self::Selector,
        Self::Dummy,
        Self::Congestion,
        Self::TooBig,
        Self::SequenceExhausted,
        Self::QueueFull,
    ];

    /// The published counter; `None` for a dummy packet, whose discarding is normal operation.
    pub const fn counter(self) -> Option<DropCounter> {
        match self {
            Self::Auth => Some(DropCounter::Auth),
            Self::Replay => Some(DropCounter::Replay),
            // No SA may carry this traffic: the selectors or the counter of the one at hand forbid it.
            Self::NoSa | Self::Selector | Self::SequenceExhausted => Some(DropCounter::NoSa),
            Self::Malformed | Self::Padding | Self::Inner => Some(DropCounter::Malformed),
            Self::TooBig => Some(DropCounter::Mtu),
            // A router marked instead of dropping; we carry out the drop that it meant.
            Self::QueueFull | Self::Congestion => Some(DropCounter::Queue),
            Self::Dummy => None,
        }
    }

    /// Whether the packet had passed the ICV check, so that it proves the peer alive all the same.
    pub const fn is_authenticated(self) -> bool {
        matches!(self, Self::Padding | Self::Inner | Self::Selector | Self::Dummy | Self::Congestion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_match_the_enumerations() {
        assert!(DropReason::ALL.iter().enumerate().all(|(i, reason)| *reason as usize == i));
        assert!(DropCounter::ALL.iter().enumerate().all(|(i, counter)| *counter as usize == i));
    }

    #[test]
    fn every_reason_but_the_dummy_is_counted() {
        for reason in DropReason::ALL {
            assert_eq!(reason.counter().is_none(), reason == DropReason::Dummy, "{reason:?}");
        }
        assert_eq!(DropReason::TooBig.counter().map(DropCounter::name), Some("mtu"));
    }
}

//! How many packets one SA may protect. It counts packets only; seconds are IKE's affair.
//! RFC 4303 §3.3.3: the counter must not be allowed to cycle. RFC 7296 §2.8: rekey before that happens.

/// The outbound SA has no sequence number left. Remedy: the SA must be replaced (rekeyed).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the SA's sequence numbers are exhausted after {sent} packets; it must be rekeyed")]
pub struct SequenceExhausted {
    /// Sequence numbers handed out so far.
    pub sent: u64,
}

/// Packet limits of one outbound SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// From this many packets on the SA should be replaced.
    pub soft: u64,
    /// The last sequence number that may be sent.
    pub hard: u64,
}

impl Lifetime {
    /// Distance between soft and hard limit of a 32-bit counter, in packets: at five million packets a second
    /// it leaves 54 seconds for the rekey, at one million four and a half minutes.
    pub const MARGIN: u64 = 1 << 28;
    /// Soft limit with extended sequence numbers, in packets. 2^40 packets of 1440 octets are 2^46.5 AES blocks:
    /// the distinguishing advantage (blocks squared over 2^129) is still below 2^-35. Hours at line rate.
    pub const ESN_SOFT: u64 = 1 << 40;

    /// The limits for a 32-bit or a 64-bit counter.
    pub const fn new(esn: bool) -> Self {
        if esn {
            Self { soft: Self::ESN_SOFT, hard: u64::MAX }
        } else {
            //= RFC 4303 §3.3.3
            //# 2^32 - 1 packets at most: the counter never cycles, whatever replay protection the peer has.
            Self { soft: u32::MAX as u64 - Self::MARGIN, hard: u32::MAX as u64 }
        }
    }
}

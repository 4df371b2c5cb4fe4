//! A received route: prefix, shared attributes, and whether policy lets it in.
//!
//! Attributes are shared between the prefixes of one UPDATE; nothing here knows wire encodings.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// ORIGIN (RFC 4271 §5.1.1), the lower preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// From an interior protocol.
    Igp = 0,
    /// From EGP.
    Egp = 1,
    /// By other means, usually redistribution.
    Incomplete = 2,
}

/// One segment of an AS path (RFC 4271 §4.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AsSegment {
    /// Ordered ASes.
    Sequence(Vec<u32>),
    /// Unordered ASes; counts as one (RFC 4271 §9.1.2.2 (a)).
    Set(Vec<u32>),
}

/// What an UPDATE says about all its prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, nearest first.
    pub as_path: Vec<AsSegment>,
    /// NEXT_HOP or that of MP_REACH_NLRI.
    pub next_hop: IpAddr,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// COMMUNITIES (RFC 1997), AS in the high half. Shown, not acted on.
    pub communities: Vec<u32>,
}

impl Attributes {
    /// Length for comparison (RFC 4271 §9.1.2.2 (a)): a set counts as one.
    pub fn as_path_length(&self) -> u32 {
        let count: usize = self
            .as_path
            .iter()
            .map(|segment| match segment {
                AsSegment::Sequence(ases) => ases.len(),
                AsSegment::Set(_) => 1,
            })
            .sum();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The neighbour that announced it: first AS of a leading sequence.
    pub fn neighbour_as(&self) -> Option<u32> {
        match self.as_path.first() {
            Some(AsSegment::Sequence(ases)) => ases.first().copied(),
            _ => None,
        }
    }

    /// Whether `asn` is anywhere in the path.
    pub fn contains_as(&self, asn: u32) -> bool {
        self.as_path.iter().any(|segment| match segment {
            AsSegment::Sequence(ases) | AsSegment::Set(ases) => ases.contains(&asn),
        })
    }

    /// The path in the usual notation: `64512 65010 {65020,65021}`.
    pub fn as_path_text(&self) -> String {
        let mut words = Vec::new();
        for segment in &self.as_path {
            match segment {
                AsSegment::Sequence(ases) => words.extend(ases.iter().map(u32::to_string)),
                AsSegment::Set(ases) => {
                    let members: Vec<_> = ases.iter().map(u32::to_string).collect();
                    words.push(format!("{{{}}}", members.join(",")));
                }
            }
        }
        words.join(" ")
    }
}

/// Why a received route is not used; it is kept, so that a changed policy needs no refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// Our own AS is in its path (RFC 4271 §9.1.2): it came from us.
    Loop,
    /// The first AS of its path is not the neighbour's (RFC 4271 §6.3).
    FirstAs,
    /// Not contained in the accept list.
    NotAccepted,
    /// A default route, and none is wanted.
    Default,
    /// Loopback, link-local, multicast or unspecified destination.
    Martian,
    /// The next hop is our own address (RFC 4271 §5.1.3).
    NextHopIsUs,
    /// It is one of the prefixes that we announce ourselves.
    Own,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loop => "our own AS is in its path",
            Self::FirstAs => "its path does not begin with the neighbour's AS",
            Self::NotAccepted => "not in the accept list",
            Self::Default => "default route, and allow_default_route is off",
            Self::Martian => "not a routable prefix",
            Self::NextHopIsUs => "its next hop is our own address",
            Self::Own => "we announce this prefix ourselves",
        })
    }
}

/// A received route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Destination.
    pub prefix: IpNet,
    /// Everything else the neighbour said.
    pub attributes: Arc<Attributes>,
    /// Why it is not used; `None` when it is.
    pub rejected: Option<Rejection>,
}

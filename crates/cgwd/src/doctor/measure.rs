//! Measuring: packets that the doctor itself sends. Few, bounded in number and time, and only where nothing else tells.
//!
//! * [`mtu`]: does a packet as large as the tunnel promises come back through it? One echo where it does.
//! * [`path`]: where does the way to a host end? Only when somebody asks for a host.
//! * [`rate`]: is a tunnel near AWS's limit?
//! * [`silence`]: are packets that want an answer among those that get none? Only where the counters look like it.
//!
//! What was found are values in [`Measured`]; what follows from them is decided elsewhere.

mod echo;
mod message;
mod mtu;
mod path;
mod rate;
mod silence;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Facts;
pub use path::Target;

/// What was measured; empty where nothing could be.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// How large a packet passes, by AWS's outside address.
    pub mtu: BTreeMap<IpAddr, Mtu>,
    /// Bits a second of tunnels that carry much, by AWS's outside address.
    pub rate: BTreeMap<IpAddr, u64>,
    /// The way to the host that was asked for.
    pub path: Option<Path>,
    /// Packets that want an answer and got none, by connection; a connection that is missing was not looked at.
    pub unanswered: BTreeMap<String, Vec<Talk>>,
}

/// How large a packet passes through a tunnel, both ways, without being fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu {
    /// The interface's MTU: what the tunnel promises.
    pub promised: u16,
    /// The largest that came back; the same as `promised` on a sound way.
    pub passes: u16,
    /// The interface's MTU before the daemon lowered it, because the first large packet taught the kernel the path's.
    pub lowered_from: Option<u16>,
    /// The same outside the tunnel, measured only where large packets are lost inside.
    pub outside: Outside,
}

/// Packets of the outer size, with DF, to AWS's outside address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Not measured, or nothing answers there.
    Unknown,
    /// Packets of the configured path MTU come back.
    Wide,
    /// No packet larger than this comes back.
    Narrow(u16),
}

/// The way to a host behind AWS.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The host.
    pub target: IpAddr,
    /// The TCP port that was tried too.
    pub port: Option<u16>,
    /// Where the kernel sends a packet of this machine, or what it said.
    pub route: Result<String, String>,
    /// The outside address of the tunnel that the route leads into.
    pub tunnel: Option<IpAddr>,
    /// The address that was sent from.
    pub source: Option<IpAddr>,
    /// It is an address of our LAN, as the hosts behind this gateway have them.
    pub from_lan: bool,
    /// What the kernel does with a packet of a LAN host; `None` without a LAN interface.
    pub forward: Option<Forward>,
    /// Whether AWS's inside address answers our inside address.
    pub inside: Option<bool>,
    /// Whether AWS's inside address answers our LAN address.
    pub inside_from_lan: Option<bool>,
    /// The routers on the way, from 1 up to the last that answered.
    pub hops: Vec<Hop>,
    /// How it ended.
    pub end: End,
    /// Octets asked for, and the largest packet that came back from the host; only where it answers echo requests.
    pub mtu: Option<(u16, u16)>,
}

/// What the kernel does with a packet of a LAN host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// An address of the LAN that is not ours.
    pub from: IpAddr,
    /// The interface that it arrives on.
    pub arrives: String,
    /// Where it leaves.
    pub leaves: Result<String, Refusal>,
}

/// Why the kernel forwards nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Forwarding is off, for the machine or this interface.
    Off,
    /// The reverse path filter.
    ReversePath,
    /// Something else, in the kernel's words.
    Other(String),
}

/// One router.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hop {
    /// How many routers away, from 1.
    pub ttl: u8,
    /// Its address; `None` when it does not answer.
    pub from: Option<IpAddr>,
    /// Round trip.
    pub rtt_ms: f64,
}

/// How a path ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Nothing was sent: the route does not lead into a tunnel.
    NotSent,
    /// The host answers.
    Answered {
        /// It answers TCP (with a handshake or a refusal), not only echo requests.
        tcp: bool,
        /// Round trip of the echo.
        rtt_ms: Option<f64>,
    },
    /// A router says that the packet cannot be delivered.
    Refused {
        /// The router.
        from: IpAddr,
        /// Its reason.
        why: &'static str,
    },
    /// Nobody says anything.
    Silent,
}

/// Two addresses that talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Talk {
    /// On our side.
    pub from: IpAddr,
    /// Behind AWS.
    pub to: IpAddr,
    /// The TCP port that a connection is tried to; `None` for echo requests.
    pub port: Option<u16>,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum CannotMeasure {
    /// Raw sockets need a capability.
    #[error("a path can be followed by root only (CAP_NET_RAW): {0}; run it with sudo")]
    NotAllowed(String),
    /// The tunnels are elsewhere.
    #[error(
        "a path can be followed in the daemon's network namespace only; run `nsenter --net=/proc/{0}/ns/net cgwd doctor` with the same options"
    )]
    Elsewhere(i32),
}

/// Measures what the facts leave open; with `to` also the way to that host. Takes milliseconds on a sound connection,
/// and at most some 15 s.
///
/// # Errors
/// Only with `to`: when it cannot be followed from here.
pub fn measure(facts: &Facts, to: Option<Target>) -> Result<Measured, CannotMeasure> {
    let elsewhere = facts.running().and_then(|running| running.elsewhere);
    if let (Some(process), Some(_)) = (elsewhere, to) {
        return Err(CannotMeasure::Elsewhere(process));
    }
    if facts.host.is_none() {
        return Ok(Measured::default());
    }
    // Before anything is sent, so that nobody's traffic is disturbed by what is measured.
    let rate = rate::measure(facts);
    let mut measured = Measured { mtu: mtu::measure(facts), rate, ..Measured::default() };
    if let Some(to) = to {
        measured.path = Some(path::follow(facts, to, &measured.mtu)?);
    }
    measured.unanswered = silence::listen(facts);
    Ok(measured)
}

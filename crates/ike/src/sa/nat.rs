//! Where an IKE SA's datagrams go, and what stands between.
//!
//! NAT detection, the float to port 4500, forced UDP encapsulation by claiming a NAT, and the peer's
//! authenticated move to another address. RFC 7296 §2.23; RFC 3948 for keepalives.

use std::net::SocketAddr;

use model::{Encapsulation, IkeSpi};

use super::Ctx;
use crate::config::Config;
use crate::crypto::nat_detection_hash;
use crate::message::{self, Parts};
use crate::wire::{NotifyType, Payload};

/// The two ends of an IKE SA as we see them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Path {
    /// Our address and port.
    pub(crate) local: SocketAddr,
    /// The peer's address and port.
    pub(crate) remote: SocketAddr,
    /// The peer sent NAT detection hashes.
    pub(crate) supported: bool,
    /// We are behind a NAT.
    pub(crate) nat_local: bool,
    /// The peer is behind a NAT, or claims it.
    pub(crate) nat_remote: bool,
    /// We claim a NAT.
    forced: bool,
}

impl Path {
    /// A path nothing is known about yet.
    pub(crate) const fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { local, remote, supported: false, nat_local: false, nat_remote: false, forced: false }
    }

    /// What the peer's hashes tell. `spi_i` and `spi_r` are those of the header that carried them.
    pub(crate) fn detect(&mut self, config: &Config, parts: &Parts, spi_i: IkeSpi, spi_r: IkeSpi) {
        let hashes = |kind| parts.notifies.iter().filter(move |notify| notify.kind == kind);
        let matches = |kind, address| {
            let hash = nat_detection_hash(spi_i, spi_r, address);
            //= RFC 7296 §2.23: there may be several source hashes; one that matches is enough.
            hashes(kind).any(|notify| notify.data == hash)
        };
        self.supported = hashes(NotifyType::NAT_DETECTION_SOURCE_IP).next().is_some()
            && hashes(NotifyType::NAT_DETECTION_DESTINATION_IP).next().is_some();
        self.nat_remote = self.supported && !matches(NotifyType::NAT_DETECTION_SOURCE_IP, self.remote);
        self.nat_local = self.supported && !matches(NotifyType::NAT_DETECTION_DESTINATION_IP, self.local);
        self.forced = self.supported && config.force_udp_encapsulation;
    }

    /// Initiator: moves to the NAT-T ports when a NAT was found or claimed (RFC 7296 §2.23).
    pub(crate) fn float(&mut self, config: &Config) {
        if self.encapsulation() == Encapsulation::Udp {
            self.local.set_port(config.local_nat_t_port);
            self.remote.set_port(config.remote_nat_t_port);
        }
    }

    /// What carries ESP.
    pub(crate) const fn encapsulation(&self) -> Encapsulation {
        if self.nat_local || self.nat_remote || self.forced { Encapsulation::Udp } else { Encapsulation::Esp }
    }

    /// Whether the peer may move: only one behind a NAT does, and only if we are not (RFC 7296 §2.23).
    pub(crate) const fn may_move(&self) -> bool {
        self.nat_remote && !self.nat_local
    }
}

/// The two detection payloads. Where we force UDP encapsulation, the source hash is of no address: the peer
/// then sees a NAT in front of us.
pub(crate) fn detection(
    ctx: &mut Ctx,
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    local: SocketAddr,
    remote: SocketAddr,
) -> [Payload; 2] {
    let mut source = nat_detection_hash(spi_i, spi_r, local);
    if ctx.config.force_udp_encapsulation {
        ctx.rng.fill(&mut source);
    }
    let destination = nat_detection_hash(spi_i, spi_r, remote);
    [
        message::notify(NotifyType::NAT_DETECTION_SOURCE_IP, source),
        message::notify(NotifyType::NAT_DETECTION_DESTINATION_IP, destination),
    ]
}

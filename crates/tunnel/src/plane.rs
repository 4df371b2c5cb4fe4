//! What a tunnel needs from a data plane.

use std::net::SocketAddr;

use ike::{ChildId, ChildSa};
use model::Encapsulation;

/// The data plane as the negotiator commands it: `dataplane::Tunnel` in production, [`crate::Recording`] in tests.
pub trait Plane {
    /// When it returns, inbound packets of the child are decrypted; outbound traffic moves to it at once iff
    /// `child.activate_outbound`.
    ///
    /// # Errors
    /// When the child cannot be installed; nothing of it is left then.
    fn install(&self, child: &ChildSa) -> Result<(), PlaneError>;

    /// Outbound traffic moves to this installed child.
    fn activate(&self, child: ChildId);

    /// Both directions of this child are gone when it returns.
    fn retire(&self, child: ChildId);

    /// The outside path of this child changes.
    ///
    /// # Errors
    /// When the new path cannot be used; the child keeps the old one then.
    fn set_path(
        &self,
        child: ChildId,
        local: SocketAddr,
        remote: SocketAddr,
        encapsulation: Encapsulation,
    ) -> Result<(), PlaneError>;
}

impl Plane for dataplane::Tunnel {
    fn install(&self, child: &ChildSa) -> Result<(), PlaneError> {
        self.install(dataplane::Child {
            id: child.id.0,
            spi_in: child.spi_in,
            spi_out: child.spi_out,
            suite: child.suite,
            keys_in: child.keys_in.clone(),
            keys_out: child.keys_out.clone(),
            ts_local: child.ts_local.clone(),
            ts_remote: child.ts_remote.clone(),
            local: child.local,
            remote: child.remote,
            encapsulation: child.encapsulation,
            activate_outbound: child.activate_outbound,
        })
        .map_err(|error| PlaneError(error.to_string()))
    }

    fn activate(&self, child: ChildId) {
        self.activate(child.0);
    }

    fn retire(&self, child: ChildId) {
        self.retire(child.0);
    }

    fn set_path(
        &self,
        child: ChildId,
        local: SocketAddr,
        remote: SocketAddr,
        encapsulation: Encapsulation,
    ) -> Result<(), PlaneError> {
        self.set_path(child.0, local, remote, encapsulation).map_err(|error| PlaneError(error.to_string()))
    }
}

/// Why the data plane refused, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlaneError(pub String);

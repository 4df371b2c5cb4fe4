//! A data plane that only remembers what it was told, for tests of everything above it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use ike::{ChildId, ChildSa};
use model::{Encapsulation, Spi};

use crate::plane::{Plane, PlaneError};

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Plane::install`].
    Install {
        /// The child.
        child: ChildId,
        /// Its inbound SPI.
        spi_in: Spi,
        /// Whether traffic moves at once.
        activate: bool,
    },
    /// [`Plane::activate`].
    Activate(ChildId),
    /// [`Plane::retire`].
    Retire(ChildId),
    /// [`Plane::set_path`].
    Path(ChildId, SocketAddr),
}

/// Remembers every call; clones share one memory.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    calls: Rc<RefCell<Vec<Call>>>,
    refuse: Rc<RefCell<Option<PlaneError>>>,
}

impl Recording {
    /// The calls since the last time.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.borrow_mut())
    }

    /// From now on every install fails with `error`; `None` lets them pass again.
    pub fn refuse(&self, error: Option<PlaneError>) {
        *self.refuse.borrow_mut() = error;
    }
}

impl Plane for Recording {
    fn install(&self, child: &ChildSa) -> Result<(), PlaneError> {
        if let Some(error) = self.refuse.borrow().clone() {
            return Err(error);
        }
        self.calls.borrow_mut().push(Call::Install {
            child: child.id,
            spi_in: child.spi_in,
            activate: child.activate_outbound,
        });
        Ok(())
    }

    fn activate(&self, child: ChildId) {
        self.calls.borrow_mut().push(Call::Activate(child));
    }

    fn retire(&self, child: ChildId) {
        self.calls.borrow_mut().push(Call::Retire(child));
    }

    fn set_path(
        &self,
        child: ChildId,
        _local: SocketAddr,
        remote: SocketAddr,
        _encapsulation: Encapsulation,
    ) -> Result<(), PlaneError> {
        self.calls.borrow_mut().push(Call::Path(child, remote));
        Ok(())
    }
}

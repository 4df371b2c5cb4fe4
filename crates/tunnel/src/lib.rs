//! One tunnel: its negotiator ([`ike::Endpoint`]) and its data plane put together.
//!
//! The negotiator says in one ordered queue what must happen; this crate executes what concerns the data plane,
//! in that order, and hands the rest (datagrams to send, notices) to the shell in the same order. So an inbound
//! SA is installed before the answer that lets the peer use it leaves this host. It has no clock, no socket and
//! no thread of its own; it never decides anything. `cgwd` and the lab's stand-in for AWS share it.
#![forbid(unsafe_code)]

mod plane;
mod recording;

use std::collections::BTreeMap;

use ike::{ChildId, Endpoint, Input, Notice, Output, Status, Timer, Transmit};
use model::{Encapsulation, EspSuite, Instant};

pub use plane::{Plane, PlaneError};
pub use recording::{Call, Recording};

/// What is left for the shell.
#[derive(Debug)]
pub enum Effect {
    /// Send a datagram.
    Send(Transmit),
    /// Log and count.
    Notice(Notice),
    /// Outbound traffic can flow, or flows through another child or in another way now.
    Carrying(Carrying),
    /// No child is left that could carry traffic.
    Idle,
    /// Keys, where [`Tunnel::expose_keys`] asked for them; before anything is sent that they protect.
    Keys(Box<ExposedKeys>),
    /// A child could not be installed and will carry nothing, or could not follow the peer's new address.
    PlaneFailed {
        /// The child.
        child: ChildId,
        /// Why.
        error: PlaneError,
    },
}

/// Keys for whoever was allowed to see them. Its `Debug` shows no key.
#[derive(Clone, Debug)]
pub enum ExposedKeys {
    /// Of an IKE SA.
    Ike(ike::ExposedKeys),
    /// Of a child SA, both directions.
    Child(ike::ChildSa),
}

/// The child that outbound traffic takes, with what its packets cost on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrying {
    /// The child.
    pub child: ChildId,
    /// Its algorithms.
    pub suite: EspSuite,
    /// What carries it.
    pub encapsulation: Encapsulation,
}

/// An endpoint and the data plane that it commands.
pub struct Tunnel<P> {
    endpoint: Endpoint,
    plane: P,
    installed: BTreeMap<ChildId, Carrying>,
    /// What outbound traffic takes.
    carrying: Option<ChildId>,
    exposes: bool,
    exposed: Option<Box<ExposedKeys>>,
}

impl<P: Plane> Tunnel<P> {
    /// Nothing is installed yet, so `plane` must not hold children.
    pub fn new(endpoint: Endpoint, plane: P) -> Self {
        Self { endpoint, plane, installed: BTreeMap::new(), carrying: None, exposes: false, exposed: None }
    }

    /// From now on the keys of every SA come out as [`Effect::Keys`].
    pub fn expose_keys(&mut self) {
        self.exposes = true;
        self.endpoint.expose_keys();
    }

    /// Feeds one input; call [`Tunnel::poll`] until it is empty afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.endpoint.handle_input(now, input);
    }

    /// Does what is due; call [`Tunnel::poll`] until it is empty afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
    }

    /// When [`Tunnel::handle_timeout`] must be called next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.endpoint.poll_timeout()
    }

    /// Executes outputs up to the next one that the shell has to carry out.
    pub fn poll(&mut self) -> Option<Effect> {
        loop {
            if let Some(keys) = self.exposed.take() {
                return Some(Effect::Keys(keys));
            }
            if let Some(keys) = self.endpoint.take_exposed() {
                return Some(Effect::Keys(Box::new(ExposedKeys::Ike(keys))));
            }
            let output = self.endpoint.poll_output()?;
            if let Some(effect) = self.execute(output) {
                return Some(effect);
            }
        }
    }

    /// The negotiator's snapshot.
    pub fn status(&self) -> Status {
        self.endpoint.status()
    }

    /// The data plane.
    pub fn plane(&self) -> &P {
        &self.plane
    }

    /// The child that outbound traffic takes.
    pub fn carrying(&self) -> Option<Carrying> {
        self.installed.get(&self.carrying?).copied()
    }

    /// Ends the negotiator without a word to the peer and gives the data plane back, its children retired.
    pub fn into_plane(self) -> P {
        for child in self.installed.keys() {
            self.plane.retire(*child);
        }
        self.plane
    }

    fn execute(&mut self, output: Output) -> Option<Effect> {
        match output {
            Output::Install(child) => {
                if self.exposes {
                    self.exposed = Some(Box::new(ExposedKeys::Child((*child).clone())));
                }
                if let Err(error) = self.plane.install(&child) {
                    return Some(Effect::PlaneFailed { child: child.id, error });
                }
                let what =
                    Carrying { child: child.id, suite: child.suite, encapsulation: child.encapsulation };
                self.installed.insert(child.id, what);
                if child.activate_outbound {
                    return self.carry(child.id);
                }
                None
            }
            Output::Activate { child } => {
                // A child whose installation failed was reported then.
                if !self.installed.contains_key(&child) {
                    return None;
                }
                self.plane.activate(child);
                self.carry(child)
            }
            Output::Retire { child } => {
                self.installed.remove(&child)?;
                self.plane.retire(child);
                if self.carrying == Some(child) {
                    self.carrying = None;
                    return Some(Effect::Idle);
                }
                None
            }
            Output::Path { child, local, remote, encapsulation } => {
                let known = self.installed.get_mut(&child)?;
                if let Err(error) = self.plane.set_path(child, local, remote, encapsulation) {
                    return Some(Effect::PlaneFailed { child, error });
                }
                let changed = std::mem::replace(&mut known.encapsulation, encapsulation) != encapsulation;
                (changed && self.carrying == Some(child)).then_some(Effect::Carrying(*known))
            }
            Output::Send(transmit) => Some(Effect::Send(transmit)),
            Output::Notice(notice) => Some(Effect::Notice(notice)),
        }
    }

    fn carry(&mut self, child: ChildId) -> Option<Effect> {
        let changed = self.carrying.replace(child) != Some(child);
        self.carrying().filter(|_| changed).map(Effect::Carrying)
    }
}

//! rtnetlink, synchronously: links, addresses, routes, rules, route look-ups, and a monitor of changes.
//!
//! It works in the network namespace of the calling thread at the time of [`Netlink::open`]. It translates values
//! and never decides which route should exist; that is `routes`' business.

mod address;
mod link;
mod lookup;
mod monitor;
mod route;
mod rule;
mod socket;

use std::net::IpAddr;

use ipnet::IpNet;

pub use address::Address;
pub use link::{Link, LinkChange};
pub use lookup::RouteLookup;
pub use monitor::{Change, Monitor};
pub use route::{NextHop, Route, RouteChange, RouteFilter, RouteKind};
pub use rule::Rule;
use socket::Requests;

use crate::Error;

/// The main routing table.
pub const TABLE_MAIN: u32 = 254;

/// A request socket. Not shared between threads; open one each, it is cheap.
#[derive(Debug)]
pub struct Netlink {
    requests: Requests,
}

impl Netlink {
    /// Opens a socket in the current network namespace. Reading needs no privilege, changing CAP_NET_ADMIN.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { requests: Requests::open()? })
    }

    /// All interfaces.
    ///
    /// # Errors
    /// The kernel's.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        link::list(&mut self.requests)
    }

    /// The interface `name`.
    ///
    /// # Errors
    /// [`Error::NoInterface`] when there is none; the kernel's.
    pub fn link(&mut self, name: &str) -> Result<Link, Error> {
        link::by_name(&mut self.requests, name)
    }

    /// Changes an interface; fields left `None` stay.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_link(&mut self, index: u32, change: &LinkChange) -> Result<(), Error> {
        link::set(&mut self.requests, index, change)
    }

    /// Removes an interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_link(&mut self, index: u32) -> Result<(), Error> {
        link::delete(&mut self.requests, index)
    }

    /// The addresses of all interfaces, or of one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn addresses(&mut self, index: Option<u32>) -> Result<Vec<Address>, Error> {
        address::list(&mut self.requests, index)
    }

    /// Adds an address with its prefix length; one that exists already is no error. IPv6 addresses come without
    /// duplicate address detection, which a point-to-point device does not need.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_address(&mut self, index: u32, address: IpNet) -> Result<(), Error> {
        address::add(&mut self.requests, index, address)
    }

    /// Removes an address; one that is gone already is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_address(&mut self, index: u32, address: IpNet) -> Result<(), Error> {
        address::delete(&mut self.requests, index, address)
    }

    /// The routes that match `filter`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn routes(&mut self, filter: &RouteFilter) -> Result<Vec<Route>, Error> {
        route::list(&mut self.requests, filter)
    }

    /// Adds a route.
    ///
    /// # Errors
    /// `EEXIST` when one with the same destination, table and metric exists; the kernel's.
    pub fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        route::add(&mut self.requests, route, false)
    }

    /// Adds a route, or replaces the one with the same destination, table and metric in one step.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace_route(&mut self, route: &Route) -> Result<(), Error> {
        route::add(&mut self.requests, route, true)
    }

    /// Removes exactly this route (destination, table, metric, protocol, next hops); one that is gone already is
    /// no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_route(&mut self, route: &Route) -> Result<(), Error> {
        route::delete(&mut self.requests, route)
    }

    /// Carries out many changes in their order, some dozens at a time: thousands of routes in well under a
    /// second. What became of each comes back; one refused does not keep the later ones from being tried.
    ///
    /// # Errors
    /// When a route cannot be expressed, then none was changed; when the socket fails.
    pub fn change_routes(&mut self, changes: &[RouteChange]) -> Result<Vec<Result<(), Error>>, Error> {
        route::change_all(&mut self.requests, changes)
    }

    /// All policy rules.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rules(&mut self) -> Result<Vec<Rule>, Error> {
        rule::list(&mut self.requests)
    }

    /// Adds a policy rule.
    ///
    /// # Errors
    /// `EEXIST` when it exists; the kernel's.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        rule::add(&mut self.requests, rule)
    }

    /// Removes a policy rule; one that is gone already is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        rule::delete(&mut self.requests, rule)
    }

    /// How the kernel would send to `destination` now (`ip route get`).
    ///
    /// # Errors
    /// `ENETUNREACH` when there is no route; the kernel's.
    pub fn route_to(&mut self, destination: IpAddr, source: Option<IpAddr>) -> Result<RouteLookup, Error> {
        lookup::route_to(&mut self.requests, destination, source)
    }

    /// Where the kernel would forward a packet from `source` to `destination` that arrives on the interface with the
    /// index `arrives` (`ip route get DESTINATION from SOURCE iif INTERFACE`).
    ///
    /// # Errors
    /// `EHOSTUNREACH` when it does not forward, `EXDEV` when the reverse path filter drops it, `ENETUNREACH` when there
    /// is no route; the kernel's.
    pub fn forwarded(
        &mut self,
        destination: IpAddr,
        source: IpAddr,
        arrives: u32,
    ) -> Result<RouteLookup, Error> {
        lookup::forwarded(&mut self.requests, destination, source, arrives)
    }
}

//! What the kernel has, as the shell dumped it.
//!
//! It never filters: foreign routes are needed to report conflicts.

use std::collections::BTreeMap;

use crate::route::{Route, RouteKey};

/// The routes of the kernel at one moment, ours and everybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    ours: BTreeMap<RouteKey, Route>,
    foreign: Vec<Route>,
}

impl Observed {
    /// From a netlink dump of unicast routes of both families (all tables, or at least those we use).
    ///
    /// Several entries of ours with one key are the next hops of one IPv6 multipath route, which some kernels
    /// dump one by one; they are put together again.
    pub fn from_dump(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut observed = Self::default();
        for route in routes {
            if !route.is_ours() {
                observed.foreign.push(route);
                continue;
            }
            let key = route.key();
            match observed.ours.get_mut(&key) {
                Some(known) => {
                    known.via.extend(route.via);
                    known.via.sort();
                    known.via.dedup();
                }
                None => {
                    observed.ours.insert(key, route);
                }
            }
        }
        observed
    }

    /// Our routes by key.
    pub fn ours(&self) -> &BTreeMap<RouteKey, Route> {
        &self.ours
    }

    /// Everybody else's routes.
    pub fn foreign(&self) -> &[Route] {
        &self.foreign
    }
}

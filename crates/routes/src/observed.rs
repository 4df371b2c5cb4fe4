//! What the kernel has, as the shell dumped it.
//!
//! It never filters: foreign routes are needed to report conflicts.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::route::{NextHop, Route, RouteKey, covers};

/// The routes of the kernel at one moment, ours and everybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    ours: BTreeMap<RouteKey, Route>,
    foreign: Vec<Route>,
}

impl Observed {
    /// From a netlink dump of unicast and dropping routes of both families (all tables, or at least those we use).
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

    /// How packets to `address` would leave without us: the longest foreign match in `table`, the lower metric
    /// first. Routes over `tunnels` (our own interfaces, which FRR or BIRD may use too) do not count.
    pub fn underlay(&self, address: IpAddr, table: u32, tunnels: &[String]) -> Option<NextHop> {
        let host = IpNet::from(address);
        let outside = |route: &&Route| {
            route.table == table
                && covers(&route.prefix, &host)
                && !route.via.iter().any(|hop| tunnels.contains(&hop.interface))
        };
        let best = self
            .foreign
            .iter()
            .filter(outside)
            .max_by_key(|route| (route.prefix.prefix_len(), Reverse(route.effective_metric())))?;
        best.via.first().map(|hop| NextHop { weight: 1, ..hop.clone() })
    }
}

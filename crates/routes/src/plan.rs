//! From desired and observed routes to an ordered list of changes.
//!
//! It never proposes to change or delete a route of somebody else, and never leaves a moment without a route
//! where one was and will be: new before old, protecting host routes first in and last out.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;

use crate::desired::Desired;
use crate::observed::Observed;
use crate::route::Route;

/// One step for the shell to carry out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make this route; must fail when one with its key exists (`NLM_F_CREATE | NLM_F_EXCL`).
    Add(Route),
    /// Put `new` in the place of `old`, which is ours and has the same key (`NLM_F_REPLACE`).
    Replace {
        /// What is there now.
        old: Route,
        /// What shall be there.
        new: Route,
    },
    /// Remove this route, which is ours.
    Delete(Route),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(route) => write!(f, "add {route}"),
            Self::Replace { old, new } => write!(f, "replace {old} by {new}"),
            Self::Delete(route) => write!(f, "delete {route}"),
        }
    }
}

/// What a foreign route to the same prefix means for ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictEffect {
    /// Same table, prefix and metric: ours cannot be made.
    Blocked,
    /// The foreign route has the lower metric: packets follow it, not ours.
    ForeignWins,
    /// Ours has the lower metric: packets follow ours.
    OursWins,
}

/// A route of somebody else to a prefix that we route too. Reported, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The route we want.
    pub ours: Route,
    /// The one that is there.
    pub foreign: Route,
    /// Who wins.
    pub effect: ConflictEffect,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ours, foreign, effect } = self;
        write!(f, "route [{foreign}] (protocol {}) is not ours: ", foreign.protocol)?;
        match effect {
            ConflictEffect::Blocked => write!(
                f,
                "it blocks [{ours}], so traffic to {} does not use the tunnel. Remove it, or set another \
                 routes.metric than {}",
                ours.prefix, ours.metric
            ),
            ConflictEffect::ForeignWins => write!(
                f,
                "its metric {} beats our {}, so traffic to {} does not use the tunnel. Remove it, or set \
                 routes.metric below {}",
                foreign.effective_metric(),
                ours.effective_metric(),
                ours.prefix,
                foreign.effective_metric()
            ),
            ConflictEffect::OursWins => write!(
                f,
                "our metric {} beats its {}; it takes over when both tunnels are down",
                ours.effective_metric(),
                foreign.effective_metric()
            ),
        }
    }
}

/// The work to do, and what cannot be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order to carry them out.
    pub changes: Vec<Change>,
    /// For the operator; each is also true of the state after the changes.
    pub conflicts: Vec<Conflict>,
}

/// The changes that make the kernel's routes of ours equal to `desired`. Idempotent: carrying them out and
/// planning again gives no change.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let mut foreign: BTreeMap<(u32, IpNet), Vec<&Route>> = BTreeMap::new();
    for route in observed.foreign() {
        foreign.entry((route.table, route.prefix.trunc())).or_default().push(route);
    }
    let others = |route: &Route| foreign.get(&(route.table, route.prefix)).map_or(&[][..], Vec::as_slice);

    for route in desired.protective().values() {
        // Somebody else's host route to an outside address protects as well as ours.
        if others(route).is_empty() {
            plan.put(route, observed);
        }
    }
    let mut blocked = BTreeSet::new();
    for route in desired.routes().values() {
        for other in others(route) {
            let effect = match other.effective_metric().cmp(&route.effective_metric()) {
                Ordering::Equal => ConflictEffect::Blocked,
                Ordering::Less => ConflictEffect::ForeignWins,
                Ordering::Greater => ConflictEffect::OursWins,
            };
            if effect == ConflictEffect::Blocked {
                blocked.insert(route.key());
            }
            // A last resort is meant to lose.
            if !route.via.is_empty() {
                plan.conflicts.push(Conflict { ours: route.clone(), foreign: (*other).clone(), effect });
            }
        }
        // Replacing by key would hit the foreign route, and adding beside it must fail.
        if !blocked.contains(&route.key()) {
            plan.put(route, observed);
        }
    }

    let wanted = |route: &Route| {
        let key = route.key();
        let routes =
            desired.routes().get(&key).filter(|it| !blocked.contains(&key) || it.same_content(route));
        routes.is_some() || desired.protective().contains_key(&key)
    };
    let mut gone: Vec<&Route> = observed.ours().values().filter(|route| !wanted(route)).collect();
    // Wide before narrow: what a host route protects against goes before the host route.
    gone.sort_by_key(|route| (route.prefix.prefix_len(), route.key()));
    plan.changes.extend(gone.into_iter().cloned().map(Change::Delete));
    plan
}

impl Plan {
    /// Adds what it takes to have `route`.
    fn put(&mut self, route: &Route, observed: &Observed) {
        match observed.ours().get(&route.key()) {
            None => self.changes.push(Change::Add(route.clone())),
            Some(old) if old.same_content(route) => {}
            Some(old) => self.changes.push(Change::Replace { old: old.clone(), new: route.clone() }),
        }
    }
}

/// The changes that remove everything of ours: on exit, or after a crash with nothing configured.
pub fn cleanup(observed: &Observed) -> Plan {
    plan(&Desired::default(), observed)
}

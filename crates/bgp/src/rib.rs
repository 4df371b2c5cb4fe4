//! The routes received from the neighbour (Adj-RIB-In) and what policy makes of them.
//!
//! Routes that policy rejects are kept too, so that a changed policy needs no refresh and the operator can see
//! them; all count against the limit. It never decides between neighbours.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::adapter::Update;
use crate::config::{Config, Family};
use crate::output::RoutesChanged;
use crate::path::{Attributes, Path, Rejection};

/// Routes by prefix, and the changes not yet reported.
#[derive(Debug, Default)]
pub(crate) struct Rib {
    paths: BTreeMap<IpNet, Path>,
    pending: BTreeMap<IpNet, Option<Path>>,
}

impl Rib {
    pub(crate) fn received(&self) -> u32 {
        u32::try_from(self.paths.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn received_of(&self, family: Family) -> u32 {
        let count = self.paths.keys().filter(|prefix| Family::of_prefix(prefix) == family).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(crate) fn accepted(&self) -> u32 {
        let count = self.paths.values().filter(|path| path.rejected.is_none()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.paths.values()
    }

    /// Takes what an UPDATE says. A prefix both withdrawn and announced is announced (RFC 4271 §4.3).
    pub(crate) fn apply(&mut self, config: &Config, update: &Update) {
        for prefix in &update.withdrawn {
            if let Some(old) = self.paths.remove(prefix) {
                self.changed(*prefix, Some(&old), None);
            }
        }
        for (prefixes, attributes) in &update.announced {
            for prefix in prefixes {
                let rejected = judge(config, prefix, attributes);
                let path = Path { prefix: *prefix, attributes: Arc::clone(attributes), rejected };
                let old = self.paths.insert(*prefix, path.clone());
                self.changed(*prefix, old.as_ref(), Some(path));
            }
        }
    }

    /// Judges everything again after `config` changed.
    pub(crate) fn judge_again(&mut self, config: &Config) {
        let prefixes: Vec<IpNet> = self.paths.keys().copied().collect();
        for prefix in prefixes {
            let Some(path) = self.paths.get_mut(&prefix) else { continue };
            let old = path.clone();
            path.rejected = judge(config, &prefix, &path.attributes);
            let new = path.clone();
            self.changed(prefix, Some(&old), Some(new));
        }
    }

    /// Forgets everything: the session is over.
    pub(crate) fn clear(&mut self) {
        for path in std::mem::take(&mut self.paths).into_values() {
            self.changed(path.prefix, Some(&path), None);
        }
    }

    /// The difference since the last call, if there is one.
    pub(crate) fn take_changes(&mut self) -> Option<RoutesChanged> {
        if self.pending.is_empty() {
            return None;
        }
        let mut changes = RoutesChanged::default();
        for (prefix, path) in std::mem::take(&mut self.pending) {
            match path {
                Some(path) => changes.reachable.push(path),
                None => changes.withdrawn.push(prefix),
            }
        }
        Some(changes)
    }

    /// Notes a difference of the usable routes, if it is one.
    fn changed(&mut self, prefix: IpNet, old: Option<&Path>, new: Option<Path>) {
        let usable = |path: &&Path| path.rejected.is_none();
        let before = old.filter(usable);
        let after = new.as_ref().filter(usable);
        match (before, after) {
            (None, None) => {}
            (Some(before), Some(after)) if before.attributes == after.attributes => {}
            (_, after) => _ = self.pending.insert(prefix, after.cloned()),
        }
    }
}

/// Whether policy lets a route in; the first reason against it.
fn judge(config: &Config, prefix: &IpNet, attributes: &Attributes) -> Option<Rejection> {
    let contains = |outer: &IpNet| match (outer, prefix) {
        (IpNet::V4(outer), IpNet::V4(prefix)) => outer.contains(prefix),
        (IpNet::V6(outer), IpNet::V6(prefix)) => outer.contains(prefix),
        _ => false,
    };
    let default = prefix.prefix_len() == 0;
    if martian(prefix) {
        Some(Rejection::Martian)
    } else if attributes.contains_as(config.local_as) {
        Some(Rejection::Loop)
    } else if attributes.neighbour_as() != Some(config.remote_as) {
        Some(Rejection::FirstAs)
    } else if attributes.next_hop == config.local_addr {
        Some(Rejection::NextHopIsUs)
    } else if default && !config.accept_default {
        Some(Rejection::Default)
    } else if config.advertise.iter().any(|own| own.trunc() == *prefix) {
        Some(Rejection::Own)
    } else if !default && config.accept.as_ref().is_some_and(|accept| !accept.iter().any(contains)) {
        Some(Rejection::NotAccepted)
    } else {
        None
    }
}

fn martian(prefix: &IpNet) -> bool {
    if prefix.prefix_len() == 0 {
        return false;
    }
    match prefix.network() {
        IpAddr::V4(network) => {
            network.is_loopback() || network.is_multicast() || network.octets().first() == Some(&0)
        }
        IpAddr::V6(network) => {
            network.is_loopback()
                || network.is_multicast()
                || network.is_unspecified()
                || network.is_unicast_link_local()
        }
    }
}

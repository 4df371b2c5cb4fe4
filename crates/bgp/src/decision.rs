//! The choice between paths to one destination from several neighbours (RFC 4271 §9.1.2.2), numbered.
//!
//! The RFC's phases, with what cannot occur here (internal BGP, confederations) left out:
//!
//! 1. **Longest prefix**, for paths to different prefixes that cover one address.
//! 2. **Local preference**, the higher: configured per neighbour, equal by default.
//! 3. **AS path**, the shorter; a set counts as one.
//! 4. **Origin**, the lower: IGP, EGP, incomplete.
//! 5. **MED**, the lower, among paths from the same neighbour AS; a missing one counts as 0.
//! 6. **Router ID** of the neighbour, the lower.
//! 7. **Neighbour address**, the lower.
//!
//! It says what BGP prefers. Which tunnel carries traffic is the route manager's question, whose rules contain
//! 2 to 5 in the same order.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};

use crate::path::Path;

/// A path and what is known about the neighbour it came from.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The path; a rejected one is no offer.
    pub path: &'a Path,
    /// LOCAL_PREF we give the neighbour's routes.
    pub local_preference: u32,
    /// The neighbour's BGP Identifier.
    pub router_id: Ipv4Addr,
    /// The neighbour's address.
    pub peer: IpAddr,
}

/// The numbered steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// 1: longer prefix.
    LongestPrefix = 1,
    /// 2: higher local preference.
    LocalPreference,
    /// 3: shorter AS path.
    AsPath,
    /// 4: lower origin.
    Origin,
    /// 5: lower MED.
    Med,
    /// 6: lower router ID.
    RouterId,
    /// 7: lower address.
    Address,
}

/// The best offer: its index, and the step that separated it from the last other one (`None` when there was
/// no other). `None` when every offer is rejected. Independent of the order of `offers`.
pub fn best(offers: &[Offer<'_>]) -> Option<(usize, Option<Step>)> {
    let mut left: Vec<usize> = (0..offers.len())
        .filter(|index| offers.get(*index).is_some_and(|it| it.path.rejected.is_none()))
        .collect();
    let mut decided = None;
    let mut keep = |step, fits: &dyn Fn(&Offer<'_>, &[&Offer<'_>]) -> bool| {
        let all: Vec<&Offer<'_>> = left.iter().filter_map(|index| offers.get(*index)).collect();
        let count = left.len();
        left.retain(|index| offers.get(*index).is_some_and(|offer| fits(offer, &all)));
        if left.len() < count {
            decided = Some(step);
        }
    };
    // Each step keeps the offers that no other one beats, so one is always left.
    keep(Step::LongestPrefix, &|it, all| least(it, all, |it| Reverse(it.path.prefix.prefix_len())));
    keep(Step::LocalPreference, &|it, all| least(it, all, |it| Reverse(it.local_preference)));
    keep(Step::AsPath, &|it, all| least(it, all, |it| it.path.attributes.as_path_length()));
    keep(Step::Origin, &|it, all| least(it, all, |it| it.path.attributes.origin));
    keep(Step::Med, &|it, all| {
        let med = |offer: &Offer<'_>| offer.path.attributes.med.unwrap_or(0);
        let neighbour = |offer: &Offer<'_>| offer.path.attributes.neighbour_as();
        !all.iter().any(|other| neighbour(other) == neighbour(it) && med(other) < med(it))
    });
    keep(Step::RouterId, &|it, all| least(it, all, |it| it.router_id));
    keep(Step::Address, &|it, all| least(it, all, |it| it.peer));
    left.first().map(|index| (*index, decided))
}

fn least<K: Ord>(offer: &Offer<'_>, all: &[&Offer<'_>], key: impl Fn(&Offer<'_>) -> K) -> bool {
    let own = key(offer);
    all.iter().all(|other| own <= key(other))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::path::{AsSegment, Attributes, Origin, Rejection};

    fn path(as_path: &[u32], origin: Origin, med: Option<u32>) -> Path {
        let as_path = vec![AsSegment::Sequence(as_path.to_vec())];
        let next_hop = IpAddr::V4(Ipv4Addr::new(169, 254, 10, 1));
        let attributes = Arc::new(Attributes { origin, as_path, next_hop, med, communities: Vec::new() });
        Path { prefix: "10.20.0.0/16".parse().unwrap(), attributes, rejected: None }
    }

    fn offer(path: &Path, last: u8) -> Offer<'_> {
        let address = Ipv4Addr::new(169, 254, 10, last);
        Offer { path, local_preference: 100, router_id: address, peer: IpAddr::V4(address) }
    }

    #[test]
    fn each_step_decides_against_all_later_ones() {
        let plain = path(&[64512], Origin::Igp, Some(100));
        let narrow =
            Path { prefix: "10.20.1.0/24".parse().unwrap(), ..path(&[64512, 1], Origin::Igp, Some(100)) };
        let long = path(&[64512, 65010], Origin::Igp, Some(1));
        let incomplete = path(&[64512], Origin::Incomplete, Some(1));
        let high_med = path(&[64512], Origin::Igp, Some(200));
        let preferred = Offer { local_preference: 200, ..offer(&long, 9) };
        let low_id = Offer { router_id: Ipv4Addr::new(1, 1, 1, 1), ..offer(&plain, 9) };
        let low_address = Offer { router_id: Ipv4Addr::new(169, 254, 10, 9), ..offer(&plain, 5) };
        for (winner, loser, step) in [
            (offer(&narrow, 9), offer(&plain, 1), Step::LongestPrefix),
            (preferred, offer(&plain, 1), Step::LocalPreference),
            (offer(&incomplete, 9), offer(&long, 1), Step::AsPath),
            (offer(&high_med, 9), offer(&incomplete, 1), Step::Origin),
            (offer(&plain, 9), offer(&high_med, 1), Step::Med),
            (low_id, offer(&plain, 5), Step::RouterId),
            (low_address, offer(&plain, 9), Step::Address),
        ] {
            assert_eq!(best(&[winner, loser]), Some((0, Some(step))));
            assert_eq!(best(&[loser, winner]), Some((1, Some(step))));
        }
    }

    #[test]
    fn med_compares_only_within_one_neighbour_as() {
        let ours = path(&[64512], Origin::Igp, Some(300));
        let other = path(&[64513], Origin::Igp, Some(100));
        assert_eq!(best(&[offer(&ours, 1), offer(&other, 9)]), Some((0, Some(Step::RouterId))));
    }

    #[test]
    fn a_rejected_path_is_no_offer() {
        let good = path(&[64512, 1, 2, 3], Origin::Incomplete, None);
        let bad = Path { rejected: Some(Rejection::Loop), ..path(&[64512], Origin::Igp, None) };
        assert_eq!(best(&[offer(&bad, 1), offer(&good, 9)]), Some((1, None)));
        assert_eq!(best(&[offer(&bad, 1)]), None);
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn three_paths_have_one_winner_in_any_order_though_med_is_not_transitive() {
        let (a, b, c) = (
            path(&[64512], Origin::Igp, Some(200)),
            path(&[64513], Origin::Igp, Some(150)),
            path(&[64512], Origin::Igp, Some(100)),
        );
        let offers = [offer(&a, 1), offer(&b, 2), offer(&c, 3)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let shuffled = order.map(|index| offers[index]);
            let (winner, _) = best(&shuffled).unwrap();
            assert_eq!(shuffled[winner].peer, offers[1].peer);
        }
    }
}

//! Routes in and out of an established session.
//!
//! Nothing learned is ever announced again: what goes out is the configured list, cut to the limit before AWS
//! would end the session for it.

use std::collections::BTreeSet;

use ipnet::IpNet;
use model::Instant;

use super::{MAX_PREFIXES, Speaker};
use crate::adapter::{self, Announcement, Update};
use crate::config::Family;
use crate::input::{Command, Connection};
use crate::output::{Notice, Output};

/// Share of the limit, in per cent, from which we warn.
const WARN_PERCENT: u64 = 80;

impl Speaker {
    pub(super) fn update(&mut self, now: Instant, connection: Connection, update: &Update) {
        self.counters.updates_in += 1;
        for why in &update.discarded {
            self.counters.attributes_discarded += 1;
            self.notice(Notice::AttributeDiscarded { why: why.clone() });
        }
        if let Some((why, prefixes)) = update.treated_as_withdraw.clone() {
            self.counters.treated_as_withdraw += 1;
            self.notice(Notice::TreatedAsWithdraw { why, prefixes });
        }
        self.rib.apply(&self.config, update);
        let (received, limit) = (self.rib.received(), self.config.max_prefix_in);
        if received > limit {
            let family = update.announced.first().and_then(|(prefixes, _)| prefixes.first());
            let family = family.map_or_else(|| Family::of(self.config.peer_addr), Family::of_prefix);
            self.end(now, connection, MAX_PREFIXES, &adapter::max_prefix_data(family, limit));
            return;
        }
        let Some(session) = &mut self.session else { return };
        if !session.warned_many && u64::from(received) * 100 >= u64::from(limit) * WARN_PERCENT {
            session.warned_many = true;
            self.outputs.push_back(Output::Notice(Notice::ManyPrefixesIn { received, limit }));
        }
        if let Some(family) = update.end_of_rib.filter(|family| session.end_of_rib.insert(*family)) {
            self.flush_routes();
            let prefixes = self.rib.received_of(family);
            self.notice(Notice::EndOfRib { family, prefixes });
        }
    }

    pub(super) fn flush_routes(&mut self) {
        if let Some(changes) = self.rib.take_changes() {
            self.outputs.push_back(Output::RoutesChanged(changes));
        }
    }

    /// The first announcements of a session, ended by End-of-RIB for each family.
    pub(super) fn announce_all(&mut self) {
        let (chosen, withheld) = self.selection();
        self.withheld(withheld);
        self.announce(&chosen);
        self.advertised = chosen;
        for family in self.families() {
            if let Some(marker) = adapter::end_of_rib_marker(family) {
                self.send_update(marker);
            }
        }
    }

    /// New attributes for what is announced.
    pub(super) fn announce_again(&mut self) {
        let advertised = self.advertised.clone();
        self.announce(&advertised);
    }

    pub(super) fn refresh_requested(&mut self, family: Family) {
        self.counters.refreshes_in += 1;
        self.notice(Notice::RefreshRequested(family));
        let advertised = self.advertised.iter().filter(|prefix| Family::of_prefix(prefix) == family);
        let again: Vec<IpNet> = advertised.copied().collect();
        self.announce(&again);
    }

    pub(super) fn advertise(&mut self, prefixes: Vec<IpNet>) {
        if let Some(prefix) =
            prefixes.iter().find(|it| !self.config.families.contains(&Family::of_prefix(it)))
        {
            let family = Family::of_prefix(prefix);
            let why = format!("{prefix} is not announced: this session does not carry {family} routes");
            self.notice(Notice::CommandRefused { why });
            return;
        }
        self.config.advertise = prefixes;
        self.rib.judge_again(&self.config);
        if self.session.is_none() {
            return;
        }
        let (chosen, withheld) = self.selection();
        self.withheld(withheld);
        let old: BTreeSet<IpNet> = self.advertised.iter().copied().collect();
        let new: BTreeSet<IpNet> = chosen.iter().copied().collect();
        let added: Vec<IpNet> = chosen.iter().filter(|prefix| !old.contains(prefix)).copied().collect();
        let gone: Vec<IpNet> =
            self.advertised.iter().filter(|prefix| !new.contains(prefix)).copied().collect();
        // New before old, so that an aggregate and its parts cover each other; unless the sum would pass the
        // neighbour's limit.
        if old.len() + added.len() <= usize::try_from(self.config.max_prefix_out).unwrap_or(usize::MAX) {
            self.announce(&added);
            self.withdraw(&gone);
        } else {
            self.withdraw(&gone);
            self.announce(&added);
        }
        self.advertised = chosen;
    }

    pub(super) fn request_refresh(&mut self) {
        let able = self.session.as_ref().map(|session| session.negotiated.route_refresh);
        match able {
            Some(true) => {
                for family in self.families() {
                    if let Some(bytes) = adapter::route_refresh(family) {
                        self.counters.refreshes_out += 1;
                        self.send(bytes);
                    }
                }
            }
            Some(false) => self.refused(&Command::RouteRefresh, "the neighbour does not offer route refresh"),
            None => self.refused(&Command::RouteRefresh, "the session is not Established"),
        }
    }

    fn refused(&mut self, command: &Command, why: &str) {
        self.notice(Notice::CommandRefused { why: format!("{command:?}: {why}; reset the session instead") });
    }

    fn families(&self) -> Vec<Family> {
        self.session.as_ref().map_or_else(Vec::new, |session| session.negotiated.families.clone())
    }

    /// What to announce in this session, and what has no room.
    fn selection(&self) -> (Vec<IpNet>, Vec<IpNet>) {
        let families = self.families();
        let mut seen = BTreeSet::new();
        let mut chosen: Vec<IpNet> = self.config.advertise.iter().map(IpNet::trunc).collect();
        chosen.retain(|prefix| families.contains(&Family::of_prefix(prefix)) && seen.insert(*prefix));
        let limit = usize::try_from(self.config.max_prefix_out).unwrap_or(usize::MAX);
        let withheld = chosen.split_off(limit.min(chosen.len()));
        (chosen, withheld)
    }

    fn withheld(&mut self, withheld: Vec<IpNet>) {
        if !withheld.is_empty() {
            let limit = self.config.max_prefix_out;
            self.notice(Notice::PrefixesWithheld { withheld, limit });
        }
    }

    fn announce(&mut self, prefixes: &[IpNet]) {
        let Some(four_octet_as) = self.session.as_ref().map(|it| it.negotiated.four_octet_as) else { return };
        for family in self.families() {
            let Some(next_hop) = self.config.next_hop(family) else { continue };
            let as_path = vec![self.config.local_as; 1 + usize::from(self.config.prepend)];
            let with = Announcement { as_path, med: self.config.med_out, next_hop };
            for update in adapter::announce(family, &of_family(prefixes, family), &with, four_octet_as) {
                self.send_update(update);
            }
        }
    }

    fn withdraw(&mut self, prefixes: &[IpNet]) {
        for family in self.families() {
            for update in adapter::withdraw(family, &of_family(prefixes, family)) {
                self.send_update(update);
            }
        }
    }

    fn send_update(&mut self, bytes: Vec<u8>) {
        self.counters.updates_out += 1;
        self.send(bytes);
    }

    fn send(&mut self, bytes: Vec<u8>) {
        if let Some(session) = &self.session {
            self.outputs.push_back(Output::Send { connection: session.connection, bytes });
        }
    }
}

fn of_family(prefixes: &[IpNet], family: Family) -> Vec<IpNet> {
    prefixes.iter().filter(|prefix| Family::of_prefix(prefix) == family).copied().collect()
}

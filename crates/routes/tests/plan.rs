//! The plan, as an operator of a kernel routing table would judge it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use model::Instant;
use routes::{
    Candidate, Change, ConflictEffect, Desired, NextHop, Observed, PROTOCOL, PathAttributes, Policy,
    Prefixes, Refusal, RefusalReason, Route, Rule, RuleChange, TABLE_MAIN, Tunnel, build, cleanup, plan,
    plan_rules,
};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn desired(policy: &Policy, routes: &[(&str, &str)]) -> Desired {
    let mut desired = Desired::default();
    for (prefix, interface) in routes {
        desired.insert(net(prefix), vec![NextHop::device(*interface)], policy).unwrap();
    }
    desired
}

fn foreign(prefix: &str, via: NextHop, metric: u32, protocol: u8) -> Route {
    Route { protocol, ..Route::ours(net(prefix), vec![via], metric, TABLE_MAIN) }
}

/// A kernel that keeps the rules of `NLM_F_EXCL` and `NLM_F_REPLACE`, and remembers the worst moment.
#[derive(Default, Clone)]
struct Kernel {
    routes: Vec<Route>,
}

impl Kernel {
    fn observed(&self) -> Observed {
        Observed::from_dump(self.routes.clone())
    }

    fn carry_out(&mut self, change: &Change) {
        let same_key = |key| move |route: &Route| route.key() == key;
        match change {
            Change::Add(route) => {
                assert!(!self.routes.iter().any(same_key(route.key())), "EEXIST: {route}");
                self.routes.push(route.clone());
            }
            Change::Replace { old, new } => {
                assert_eq!(old.key(), new.key());
                let place = self.routes.iter().position(same_key(old.key())).expect("something to replace");
                assert!(self.routes[place].is_ours(), "replaced a foreign route");
                self.routes[place] = new.clone();
            }
            Change::Delete(route) => {
                assert_eq!(route.protocol, PROTOCOL, "deleted a foreign route");
                let place = self.routes.iter().position(|it| it == route).expect("something to delete");
                self.routes.remove(place);
            }
        }
    }

    fn settle(&mut self, desired: &Desired) -> usize {
        let changes = plan(desired, &self.observed()).changes;
        changes.iter().for_each(|change| self.carry_out(change));
        assert_eq!(plan(desired, &self.observed()).changes, [], "a plan carried out leaves nothing to do");
        changes.len()
    }
}

#[test]
fn an_empty_kernel_gets_every_desired_route_once() {
    let wanted = desired(&Policy::default(), &[("172.31.0.0/16", "cgw0"), ("10.20.0.0/16", "cgw1")]);
    let mut kernel = Kernel::default();
    assert_eq!(kernel.settle(&wanted), 2);
    assert_eq!(kernel.settle(&wanted), 0);
    assert!(kernel.routes.iter().all(|route| route.protocol == PROTOCOL));
}

#[test]
fn a_failover_replaces_the_route_in_one_step() {
    let policy = Policy::default();
    let mut kernel = Kernel::default();
    kernel.settle(&desired(&policy, &[("172.31.0.0/16", "cgw0")]));
    let changes = plan(&desired(&policy, &[("172.31.0.0/16", "cgw1")]), &kernel.observed()).changes;
    assert!(matches!(&changes[..], [Change::Replace { .. }]), "{changes:?}");
    assert_eq!(
        changes[0].to_string(),
        "replace 172.31.0.0/16 dev cgw0 metric 100 by 172.31.0.0/16 dev cgw1 metric 100"
    );
}

#[test]
fn a_new_metric_adds_the_new_route_before_it_deletes_the_old_one() {
    let mut kernel = Kernel::default();
    kernel.settle(&desired(&Policy::default(), &[("172.31.0.0/16", "cgw0")]));
    let policy = Policy { metric: 50, ..Policy::default() };
    let changes = plan(&desired(&policy, &[("172.31.0.0/16", "cgw0")]), &kernel.observed()).changes;
    assert!(matches!(&changes[..], [Change::Add(_), Change::Delete(_)]), "{changes:?}");
}

#[test]
fn the_kernels_default_metric_for_ipv6_is_not_a_difference() {
    let policy = Policy { metric: 0, ..Policy::default() };
    let wanted = desired(&policy, &[("fd00:1::/32", "cgw0")]);
    let as_dumped = Route {
        metric: 1024,
        ..Route::ours(net("fd00:1::/32"), vec![NextHop::device("cgw0")], 0, TABLE_MAIN)
    };
    assert_eq!(plan(&wanted, &Observed::from_dump([as_dumped])).changes, []);
}

#[test]
fn multipath_routes_compare_without_order_and_come_together_from_single_dump_entries() {
    let via = |names: &[&str]| names.iter().map(|name| NextHop::device(*name)).collect::<Vec<_>>();
    let mut wanted = Desired::default();
    wanted.insert(net("fd00:1::/32"), via(&["cgw1", "cgw0"]), &Policy::default()).unwrap();
    let entry = |name| Route::ours(net("fd00:1::/32"), via(&[name]), 100, TABLE_MAIN);
    assert_eq!(plan(&wanted, &Observed::from_dump([entry("cgw1"), entry("cgw0")])).changes, []);
    assert!(matches!(
        &plan(&wanted, &Observed::from_dump([entry("cgw0")])).changes[..],
        [Change::Replace { .. }]
    ));
}

#[test]
fn foreign_routes_to_the_same_prefix_are_reported_by_who_wins_and_never_touched() {
    let wanted = desired(&Policy::default(), &[("172.31.0.0/16", "cgw0")]);
    let eth = NextHop::gateway("eth0", ip("192.0.2.1"));
    for (metric, effect, changes) in [
        (100, ConflictEffect::Blocked, 0),
        (50, ConflictEffect::ForeignWins, 1),
        (200, ConflictEffect::OursWins, 1),
    ] {
        let mut kernel = Kernel { routes: vec![foreign("172.31.0.0/16", eth.clone(), metric, 4)] };
        assert_eq!(kernel.settle(&wanted), changes, "metric {metric}");
        let conflicts = plan(&wanted, &kernel.observed()).conflicts;
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].effect, effect);
        assert!(conflicts[0].to_string().contains("via 192.0.2.1 dev eth0"), "{}", conflicts[0]);
        assert!(kernel.routes.contains(&foreign("172.31.0.0/16", eth.clone(), metric, 4)));
    }
}

#[test]
fn a_foreign_route_in_another_table_or_to_a_wider_prefix_is_no_conflict() {
    let wanted = desired(&Policy::default(), &[("172.31.0.0/16", "cgw0")]);
    let eth = NextHop::gateway("eth0", ip("192.0.2.1"));
    let elsewhere = Route { table: 100, ..foreign("172.31.0.0/16", eth.clone(), 100, 4) };
    let observed = Observed::from_dump([elsewhere, foreign("172.16.0.0/12", eth, 100, 4)]);
    assert_eq!(plan(&wanted, &observed).conflicts, []);
}

#[test]
fn cleanup_removes_ours_wide_before_narrow_and_nothing_else() {
    let policy = Policy {
        allow_default: true,
        outside: vec![ip("198.51.100.1")],
        underlay: BTreeMap::from([(ip("198.51.100.1"), NextHop::gateway("eth0", ip("192.0.2.1")))]),
        ..Policy::default()
    };
    let default = foreign("0.0.0.0/0", NextHop::gateway("eth0", ip("192.0.2.1")), 1024, 16);
    let mut kernel = Kernel { routes: vec![default.clone()] };
    let wanted = desired(&policy, &[("0.0.0.0/0", "cgw0"), ("172.31.0.0/16", "cgw0")]);
    kernel.settle(&wanted);
    let first_in = plan(&wanted, &Observed::default()).changes;
    assert_eq!(first_in[0].to_string(), "add 198.51.100.1/32 via 192.0.2.1 dev eth0 metric 100");
    let changes = cleanup(&kernel.observed()).changes;
    assert_eq!(changes.len(), 3);
    assert_eq!(changes[2].to_string(), "delete 198.51.100.1/32 via 192.0.2.1 dev eth0 metric 100");
    changes.iter().for_each(|change| kernel.carry_out(change));
    assert_eq!(kernel.routes, [default]);
}

#[test]
fn somebodys_own_host_route_to_an_outside_address_is_protection_enough() {
    let eth = NextHop::gateway("eth0", ip("192.0.2.1"));
    let policy = Policy {
        allow_default: true,
        outside: vec![ip("198.51.100.1")],
        underlay: BTreeMap::from([(ip("198.51.100.1"), eth.clone())]),
        ..Policy::default()
    };
    let wanted = desired(&policy, &[("0.0.0.0/0", "cgw0")]);
    let plan = plan(&wanted, &Observed::from_dump([foreign("198.51.100.1/32", eth, 0, 4)]));
    assert_eq!(plan.conflicts, []);
    assert!(
        matches!(&plan.changes[..], [Change::Add(route)] if route.prefix == net("0.0.0.0/0")),
        "{plan:?}"
    );
}

#[test]
fn dangerous_routes_are_refused_with_the_reason() {
    let policy = Policy {
        outside: vec![ip("198.51.100.1"), ip("2001:db8::1")],
        inside: vec![net("169.254.10.0/30")],
        lan: vec![net("10.10.0.0/16")],
        ..Policy::default()
    };
    let allowed = Policy { allow_default: true, ..policy.clone() };
    let refused = |prefix: &str, policy: &Policy| {
        let mut desired = Desired::default();
        let refusal = desired.insert(net(prefix), vec![NextHop::device("cgw0")], policy).err();
        assert_eq!(refusal.is_some(), desired == Desired::default(), "a refusal changes nothing");
        refusal.map(|Refusal { reason, .. }| reason)
    };
    for (prefix, reason) in [
        ("0.0.0.0/0", RefusalReason::Default),
        ("128.0.0.0/1", RefusalReason::Default),
        ("::/0", RefusalReason::Default),
        ("2000::/3", RefusalReason::Default),
        ("198.51.0.0/16", RefusalReason::Swallows(ip("198.51.100.1"))),
        ("198.51.100.1/32", RefusalReason::Swallows(ip("198.51.100.1"))),
        ("2001:db8::/32", RefusalReason::Swallows(ip("2001:db8::1"))),
        ("169.254.10.0/30", RefusalReason::Inside),
        ("169.254.10.1/32", RefusalReason::Inside),
        ("10.10.0.0/16", RefusalReason::Lan),
        ("127.0.0.0/8", RefusalReason::Unroutable),
        ("224.0.0.0/4", RefusalReason::Unroutable),
        ("fe80::/10", RefusalReason::Unroutable),
        ("ff00::/8", RefusalReason::Unroutable),
    ] {
        assert_eq!(refused(prefix, &policy), Some(reason), "{prefix}");
    }
    assert_eq!(refused("0.0.0.0/0", &allowed), Some(RefusalReason::Swallows(ip("198.51.100.1"))));
    for prefix in ["10.10.5.0/24", "10.0.0.0/8", "172.31.0.0/16", "fd00::/8"] {
        assert_eq!(refused(prefix, &policy), None, "{prefix}");
    }
    let text = Refusal { prefix: net("0.0.0.0/0"), reason: RefusalReason::Default }.to_string();
    assert_eq!(
        text,
        "no route to 0.0.0.0/0: a default route is made only when allow_default_route = true asks for it"
    );
}

#[test]
fn a_route_without_a_source_takes_the_inside_address_of_its_own_tunnel() {
    let mut wanted = desired(&Policy::default(), &[("172.31.0.0/16", "cgw0"), ("fd00:1::/32", "cgw0")]);
    let lan = Policy { source_v4: Some([10, 10, 0, 1].into()), ..Policy::default() };
    wanted.insert(net("10.20.0.0/16"), vec![NextHop::device("cgw0")], &lan).unwrap();
    wanted.default_source("cgw1", Some([169, 254, 11, 2].into()), None);
    wanted.default_source("cgw0", Some([169, 254, 10, 2].into()), None);
    let sources: Vec<_> = wanted.routes().values().map(|route| route.source).collect();
    assert_eq!(sources, [Some(ip("10.10.0.1")), Some(ip("169.254.10.2")), None]);
}

#[test]
fn the_underlay_is_the_longest_foreign_match_outside_the_tunnels() {
    let gateway = |interface: &str, address: &str| NextHop::gateway(interface, ip(address));
    let observed = Observed::from_dump([
        foreign("0.0.0.0/0", gateway("eth1", "203.0.113.1"), 200, 16),
        foreign("0.0.0.0/0", gateway("eth0", "192.0.2.1"), 100, 16),
        foreign("198.51.100.0/24", NextHop::device("cgw0"), 20, 186),
        Route::ours(net("198.51.100.1/32"), vec![gateway("eth9", "10.9.9.9")], 100, TABLE_MAIN),
    ]);
    let tunnels = ["cgw0".to_owned(), "cgw1".to_owned()];
    assert_eq!(
        observed.underlay(ip("198.51.100.1"), TABLE_MAIN, &tunnels),
        Some(gateway("eth0", "192.0.2.1"))
    );
    assert_eq!(observed.underlay(ip("2001:db8::1"), TABLE_MAIN, &tunnels), None);
}

fn tunnel(name: &str, interface: &str, prefixes: Prefixes) -> Tunnel {
    Tunnel {
        candidate: Candidate::usable(name, Instant::from_secs(1)),
        interface: interface.into(),
        policy: 0,
        prefixes,
    }
}

fn path(med: u32) -> PathAttributes {
    PathAttributes { as_path_length: 1, origin: 0, med: Some(med), neighbour_as: 64512 }
}

#[test]
fn each_bgp_prefix_leaves_by_its_own_best_tunnel() {
    let now = Instant::from_secs(100);
    let one = BTreeMap::from([(net("10.20.0.0/16"), path(100)), (net("10.30.0.0/16"), path(200))]);
    let two = BTreeMap::from([(net("10.20.0.0/16"), path(200)), (net("10.40.0.0/16"), path(100))]);
    let tunnels = [tunnel("t1", "cgw0", Prefixes::Bgp(one)), tunnel("t2", "cgw1", Prefixes::Bgp(two))];
    let outcome = build(now, &tunnels, &[Policy::default()], &BTreeMap::new());
    let table: Vec<_> = outcome.desired.routes().values().map(ToString::to_string).collect();
    assert_eq!(
        table,
        [
            "10.20.0.0/16 dev cgw0 metric 100",
            "10.30.0.0/16 dev cgw0 metric 100",
            "10.40.0.0/16 dev cgw1 metric 100"
        ]
    );
    let why: Vec<_> = outcome.choices.iter().map(|it| format!("{} {}", it.prefix, it.decision)).collect();
    assert_eq!(why[0], "10.20.0.0/16 t1: MED 100 beats 200 of t2 (rule 9)");
    assert_eq!(outcome.previous().len(), 3);
}

#[test]
fn multipath_uses_all_equal_tunnels_and_only_those() {
    let now = Instant::from_secs(100);
    let policy = Policy { multipath: true, ..Policy::default() };
    let offer = |med| Prefixes::Bgp(BTreeMap::from([(net("10.20.0.0/16"), path(med))]));
    let tunnels = [
        tunnel("t1", "cgw0", offer(100)),
        tunnel("t2", "cgw1", offer(100)),
        tunnel("t3", "cgw2", offer(300)),
    ];
    let outcome = build(now, &tunnels, &[policy], &BTreeMap::new());
    let table: Vec<_> = outcome.desired.routes().values().map(ToString::to_string).collect();
    assert_eq!(table, ["10.20.0.0/16 nexthop dev cgw0 nexthop dev cgw1 metric 100"]);
}

fn table(outcome: &routes::Outcome) -> Vec<String> {
    outcome.desired.routes().values().map(ToString::to_string).collect()
}

#[test]
fn connections_share_the_flows_to_a_common_prefix_where_all_of_them_ask_for_it() {
    let now = Instant::from_secs(100);
    let offer = || Prefixes::Bgp(BTreeMap::from([(net("10.20.0.0/16"), path(100))]));
    let mut tunnels = [
        tunnel("vpn-a/tunnel1", "cgw0", offer()),
        tunnel("vpn-a/tunnel2", "cgw1", offer()),
        tunnel("vpn-b/tunnel1", "cgw2", offer()),
        tunnel("vpn-b/tunnel2", "cgw3", offer()),
    ];
    tunnels[2].policy = 1;
    tunnels[3].policy = 1;
    let sharing = Policy { multipath: true, ..Policy::default() };
    let all = build(now, &tunnels, &[sharing.clone(), sharing.clone()], &BTreeMap::new());
    assert_eq!(
        table(&all),
        ["10.20.0.0/16 nexthop dev cgw0 nexthop dev cgw1 nexthop dev cgw2 nexthop dev cgw3 metric 100"]
    );
    let one = build(now, &tunnels, &[sharing, Policy::default()], &BTreeMap::new());
    assert_eq!(table(&one), ["10.20.0.0/16 nexthop dev cgw0 nexthop dev cgw1 metric 100"]);
    // Without ECMP the other connection is what is left when the first one is lost.
    tunnels[0].candidate = Candidate::down("vpn-a/tunnel1", "dead peer");
    tunnels[1].candidate = Candidate::down("vpn-a/tunnel2", "dead peer");
    let policies = [Policy::default(), Policy::default()];
    let lost = build(now, &tunnels, &policies, &one.previous());
    assert_eq!(table(&lost), ["10.20.0.0/16 dev cgw2 metric 100"]);
    assert_eq!(lost.choices[0].offers.len(), 4);
    assert_eq!(lost.choices[0].carriers, ["vpn-b/tunnel1"]);
}

#[test]
fn each_connection_keeps_its_own_policy() {
    let wide = || Prefixes::Static(vec![net("0.0.0.0/0"), net("172.31.0.0/16")]);
    let mut tunnels = [tunnel("vpn-a/tunnel1", "cgw0", wide()), tunnel("vpn-b/tunnel1", "cgw2", wide())];
    tunnels[1].policy = 1;
    let internet = Policy { allow_default: true, ..Policy::default() };
    let outcome = build(Instant::from_secs(9), &tunnels, &[Policy::default(), internet], &BTreeMap::new());
    // The default route goes by the connection that allows one, though the other tunnel is the first by name.
    assert_eq!(table(&outcome), ["0.0.0.0/0 dev cgw2 metric 100", "172.31.0.0/16 dev cgw0 metric 100"]);
    assert_eq!(outcome.refusals, [Refusal { prefix: net("0.0.0.0/0"), reason: RefusalReason::Default }]);
}

#[test]
fn a_last_resort_stands_behind_every_other_route_and_keeps_the_outside_address_reachable() {
    let eth = NextHop::gateway("eth0", ip("192.0.2.1"));
    let policy = Policy {
        outside: vec![ip("198.51.100.1")],
        underlay: BTreeMap::from([(ip("198.51.100.1"), eth.clone())]),
        last_resort: vec![net("172.31.0.0/16"), net("198.51.0.0/16"), net("0.0.0.0/0")],
        ..Policy::default()
    };
    let offer = Prefixes::Static(vec![net("172.31.0.0/16")]);
    let mut tunnels = [tunnel("tunnel1", "cgw0", offer)];
    let mut kernel = Kernel::default();
    let up = build(Instant::from_secs(9), &tunnels, std::slice::from_ref(&policy), &BTreeMap::new());
    kernel.settle(&up.desired);
    assert_eq!(
        table(&up),
        [
            "172.31.0.0/16 dev cgw0 metric 100",
            "unreachable 172.31.0.0/16 metric 4294967295",
            "unreachable 198.51.0.0/16 metric 4294967295"
        ],
        "a default route is never cut off by accident"
    );
    assert_eq!(up.desired.protective().len(), 1);
    tunnels[0].candidate = Candidate::down("tunnel1", "dead peer");
    let down = build(Instant::from_secs(10), &tunnels, &[policy], &up.previous());
    let changes = plan(&down.desired, &kernel.observed());
    assert!(matches!(&changes.changes[..], [Change::Delete(route)] if !route.via.is_empty()), "{changes:?}");
    // Somebody's backup route wins over it, and that is no conflict.
    kernel.routes.push(foreign("172.31.0.0/16", eth, 200, 4));
    assert_eq!(plan(&down.desired, &kernel.observed()).conflicts, []);
}

#[test]
fn with_every_tunnel_down_the_prefix_has_no_route_and_a_reason() {
    let mut lost = tunnel("t1", "cgw0", Prefixes::Static(vec![net("172.31.0.0/16")]));
    lost.candidate = Candidate::down("t1", "dead peer");
    let outcome = build(Instant::from_secs(9), &[lost], &[Policy::default()], &BTreeMap::new());
    assert_eq!(outcome.desired, Desired::default());
    assert_eq!(
        outcome.choices[0].decision.to_string(),
        "no egress: no tunnel can carry traffic (t1: dead peer)"
    );
}

#[test]
fn five_thousand_prefixes_move_with_five_thousand_replacements() {
    let now = Instant::from_secs(100);
    let prefixes: Vec<IpNet> =
        (0..5_000u32).map(|n| net(&format!("10.{}.{}.0/24", n / 250, n % 250))).collect();
    let offer = |med| Prefixes::Bgp(prefixes.iter().map(|prefix| (*prefix, path(med))).collect());
    let both = |first, second| [tunnel("t1", "cgw0", offer(first)), tunnel("t2", "cgw1", offer(second))];
    let before = build(now, &both(100, 200), &[Policy::default()], &BTreeMap::new());
    let mut kernel = Kernel::default();
    plan(&before.desired, &Observed::default()).changes.into_iter().for_each(|change| match change {
        Change::Add(route) => kernel.routes.push(route),
        other => panic!("{other}"),
    });
    let after = build(now, &both(100, 50), &[Policy::default()], &before.previous());
    let changes = plan(&after.desired, &kernel.observed()).changes;
    assert_eq!(changes.len(), 5_000);
    assert!(changes.iter().all(|change| matches!(change, Change::Replace { .. })));
}

#[test]
fn a_kill_in_the_middle_of_any_plan_heals_at_the_next_start() {
    let eth = NextHop::gateway("eth0", ip("192.0.2.1"));
    let start = Kernel {
        routes: vec![foreign("0.0.0.0/0", eth.clone(), 100, 16), foreign("10.30.0.0/16", eth, 100, 4)],
    };
    let old = desired(&Policy::default(), &[("10.20.0.0/16", "cgw0"), ("10.40.0.0/16", "cgw0")]);
    let policy = Policy { metric: 70, ..Policy::default() };
    let new = desired(&policy, &[("10.20.0.0/16", "cgw1"), ("10.30.0.0/16", "cgw1")]);
    let mut running = start.clone();
    running.settle(&old);
    let changes = plan(&new, &running.observed()).changes;
    let mut whole = running.clone();
    whole.settle(&new);
    for killed_after in 0..=changes.len() {
        let mut kernel = running.clone();
        changes.iter().take(killed_after).for_each(|change| kernel.carry_out(change));
        kernel.settle(&new);
        let key = |route: &Route| (route.key(), route.protocol);
        kernel.routes.sort_by_key(key);
        whole.routes.sort_by_key(key);
        assert_eq!(kernel.routes, whole.routes, "killed after {killed_after} changes");
    }
}

#[test]
fn rules_are_added_before_others_go_and_foreign_ones_stay() {
    let rule = |priority, protocol| Rule {
        priority,
        from: Some(net("10.10.0.0/16")),
        to: None,
        input_interface: None,
        ipv6: false,
        table: 100,
        protocol,
    };
    let changes = plan_rules(&[rule(1_000, PROTOCOL)], &[rule(999, PROTOCOL), rule(998, 4)]);
    assert_eq!(changes, [RuleChange::Add(rule(1_000, PROTOCOL)), RuleChange::Delete(rule(999, PROTOCOL))]);
    assert_eq!(plan_rules(&[rule(1, PROTOCOL)], &[rule(1, PROTOCOL)]), []);
}

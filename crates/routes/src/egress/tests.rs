use super::*;

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

const NOW: Instant = Instant::from_secs(1_000);

fn tunnel(name: &str) -> Candidate {
    Candidate::usable(name, at(100))
}

fn bgp(name: &str, as_path_length: u32, origin: u8, med: Option<u32>) -> Candidate {
    let path = Some(PathAttributes { as_path_length, origin, med, neighbour_as: 64512 });
    Candidate { path, ..tunnel(name) }
}

fn in_use(name: &str) -> Option<Previous> {
    Some(Previous { tunnel: name.to_owned(), since: at(500) })
}

struct Case {
    rule: Rule,
    candidates: [Candidate; 2],
    previous: Option<Previous>,
    winner: &'static str,
    line: &'static str,
}

/// One case per rule. The loser would win by some later rule, so the order of the rules is tested too.
fn cases() -> Vec<Case> {
    vec![
        Case {
            rule: Rule::Usable,
            candidates: [
                Candidate { drained: true, ..tunnel("tunnel2") },
                Candidate::down("tunnel1", "no answer to IKE_SA_INIT"),
            ],
            previous: in_use("tunnel1"),
            winner: "tunnel2",
            line: "tunnel2: tunnel1 is down: no answer to IKE_SA_INIT (rule 1), although it is drained",
        },
        Case {
            rule: Rule::NotDrained,
            candidates: [
                Candidate { drained: true, ..tunnel("tunnel1") },
                Candidate { dampened_until: Some(at(1_060)), loss_permille: 900, ..tunnel("tunnel2") },
            ],
            previous: in_use("tunnel1"),
            winner: "tunnel2",
            line: "tunnel2: tunnel1 is drained (rule 2), although it has been flapping and it loses probes",
        },
        Case {
            rule: Rule::NotFlapping,
            candidates: [
                Candidate { dampened_until: Some(at(1_060)), ..tunnel("tunnel1") },
                Candidate { loss_permille: 300, ..tunnel("tunnel2") },
            ],
            previous: in_use("tunnel1"),
            winner: "tunnel2",
            line: "tunnel2: tunnel1 has been flapping and is held back for another 60 s (rule 3), although it \
                   loses probes",
        },
        Case {
            rule: Rule::NotLossy,
            candidates: [
                Candidate { loss_permille: 250, ..tunnel("tunnel1") },
                Candidate { loss_permille: 10, since: at(995), ..tunnel("tunnel2") },
            ],
            previous: in_use("tunnel1"),
            winner: "tunnel2",
            line: "tunnel2: tunnel1 loses 25 % of its probes, this one 1 % (rule 4)",
        },
        Case {
            rule: Rule::Settled,
            candidates: [
                bgp("tunnel1", 1, 0, Some(200)),
                Candidate { since: at(996), local_preference: 200, ..bgp("tunnel2", 1, 0, Some(100)) },
            ],
            previous: in_use("tunnel1"),
            winner: "tunnel1",
            line: "tunnel1: tunnel2 came up only 4 s ago and must stay up for 10 s to take over (rule 5)",
        },
        Case {
            rule: Rule::LocalPreference,
            candidates: [
                bgp("tunnel1", 1, 0, Some(100)),
                Candidate { local_preference: 200, ..bgp("tunnel2", 3, 0, Some(200)) },
            ],
            previous: in_use("tunnel1"),
            winner: "tunnel2",
            line: "tunnel2: local preference 200 beats 100 of tunnel1 (rule 6)",
        },
        Case {
            rule: Rule::AsPath,
            candidates: [bgp("tunnel1", 3, 0, Some(100)), bgp("tunnel2", 1, 2, Some(200))],
            previous: in_use("tunnel1"),
            winner: "tunnel2",
            line: "tunnel2: AS path length 1 beats 3 of tunnel1 (rule 7)",
        },
        Case {
            rule: Rule::Origin,
            candidates: [bgp("tunnel1", 1, 2, Some(100)), bgp("tunnel2", 1, 0, Some(200))],
            previous: in_use("tunnel1"),
            winner: "tunnel2",
            line: "tunnel2: origin IGP beats incomplete of tunnel1 (rule 8)",
        },
        Case {
            rule: Rule::Med,
            candidates: [
                Candidate { arrival: Arrival { packets: 1_000 }, ..bgp("tunnel1", 1, 0, Some(200)) },
                bgp("tunnel2", 1, 0, Some(100)),
            ],
            previous: in_use("tunnel1"),
            winner: "tunnel2",
            line: "tunnel2: MED 100 beats 200 of tunnel1 (rule 9)",
        },
        Case {
            rule: Rule::Arrivals,
            candidates: [
                Candidate { arrival: Arrival { packets: 50 }, ..tunnel("tunnel1") },
                Candidate { arrival: Arrival { packets: 950 }, ..tunnel("tunnel2") },
            ],
            previous: in_use("tunnel1"),
            winner: "tunnel2",
            line: "tunnel2: AWS sends here: 95 % of its packets arrive on this tunnel (rule 10)",
        },
        Case {
            rule: Rule::Stay,
            candidates: [Candidate { since: at(50), ..tunnel("tunnel1") }, tunnel("tunnel2")],
            previous: in_use("tunnel2"),
            winner: "tunnel2",
            line: "tunnel2: as good as tunnel1 and already in use (rule 11)",
        },
        Case {
            rule: Rule::Age,
            candidates: [tunnel("tunnel1"), Candidate { since: at(50), ..tunnel("tunnel2") }],
            previous: None,
            winner: "tunnel2",
            line: "tunnel2: as good as tunnel1 and up for longer (rule 12)",
        },
        Case {
            rule: Rule::Name,
            candidates: [tunnel("tunnel2"), tunnel("tunnel1")],
            previous: None,
            winner: "tunnel1",
            line: "tunnel1: as good as tunnel2; the first by name (rule 13)",
        },
    ]
}

#[test]
fn each_rule_decides_and_says_so_in_one_line() {
    for case in cases() {
        let Case { rule, mut candidates, previous, winner, line } = case;
        for _ in 0..2 {
            let decision = choose(NOW, &candidates, previous.as_ref());
            assert_eq!(decision.tunnel.as_deref(), Some(winner), "{rule:?}");
            assert!(
                matches!(&decision.reason, Reason::Decided { rule: by, .. } if *by == rule),
                "{decision:?}"
            );
            assert_eq!(decision.to_string(), line);
            candidates.reverse();
        }
    }
    let tested: Vec<_> = cases().iter().map(|case| case.rule.number()).collect();
    assert_eq!(tested, (1..=13).collect::<Vec<_>>(), "one case for each numbered rule, in order");
}

/// The numbered titles ("4. **Not lossy.**") of a text.
fn titles(text: &str) -> Vec<String> {
    let item = |line: &str| {
        let line = line.trim_start_matches("//!").trim();
        let (number, rest) = line.split_once(". **")?;
        number.parse::<u8>().ok()?;
        Some(format!("{number} {}", rest.split("**").next()?.trim_end_matches(['.', ','])))
    };
    text.lines().filter_map(item).collect()
}

#[test]
fn the_manual_lists_the_same_rules_with_the_same_numbers() {
    let source = titles(include_str!("../egress.rs"));
    let manual = titles(include_str!("../../../../docs/routing.md"));
    assert_eq!(source.len(), 13);
    assert_eq!(manual, source);
}

#[test]
fn nothing_usable_gives_no_egress_and_every_reason() {
    let candidates = [Candidate::down("tunnel1", "drained by AWS"), Candidate::down("tunnel2", "")];
    let decision = choose(NOW, &candidates, in_use("tunnel1").as_ref());
    assert_eq!(decision.tunnel, None);
    assert_eq!(
        decision.to_string(),
        "no egress: no tunnel can carry traffic (tunnel1: drained by AWS; tunnel2: down)"
    );
    assert_eq!(decision.previous(), None);
    assert_eq!(choose(NOW, &[], None).to_string(), "no egress: no tunnel offers this prefix");
}

#[test]
fn a_single_candidate_needs_no_rule() {
    let decision = choose(NOW, &[tunnel("tunnel1")], None);
    assert_eq!(decision.to_string(), "tunnel1: the only tunnel that offers this prefix");
}

#[test]
fn a_lossy_tunnel_that_recovers_halfway_does_not_get_the_traffic_back() {
    let recovering = |loss_permille| {
        [Candidate { loss_permille, ..bgp("tunnel1", 1, 0, Some(100)) }, bgp("tunnel2", 1, 0, Some(200))]
    };
    let on_two = in_use("tunnel2");
    assert_eq!(choose(NOW, &recovering(190), on_two.as_ref()).tunnel.as_deref(), Some("tunnel2"));
    assert_eq!(choose(NOW, &recovering(60), on_two.as_ref()).tunnel.as_deref(), Some("tunnel2"));
    assert_eq!(choose(NOW, &recovering(50), on_two.as_ref()).tunnel.as_deref(), Some("tunnel1"));
    // And the tunnel in use is not left for a little loss.
    let on_one = in_use("tunnel1");
    assert_eq!(choose(NOW, &recovering(190), on_one.as_ref()).tunnel.as_deref(), Some("tunnel1"));
}

#[test]
fn loss_on_both_tunnels_moves_nothing() {
    let candidates = [
        Candidate { loss_permille: 600, ..tunnel("tunnel1") },
        Candidate { loss_permille: 300, ..tunnel("tunnel2") },
    ];
    assert_eq!(choose(NOW, &candidates, in_use("tunnel1").as_ref()).tunnel.as_deref(), Some("tunnel1"));
}

#[test]
fn a_returned_tunnel_takes_over_by_its_med_once_it_has_settled() {
    let candidates =
        [Candidate { since: at(990), ..bgp("tunnel1", 1, 0, Some(100)) }, bgp("tunnel2", 1, 0, Some(200))];
    let on_two = in_use("tunnel2");
    assert_eq!(choose(at(999), &candidates, on_two.as_ref()).tunnel.as_deref(), Some("tunnel2"));
    let moved = choose(at(1_000), &candidates, on_two.as_ref());
    assert_eq!((moved.tunnel.as_deref(), moved.since), (Some("tunnel1"), at(1_000)));
}

#[test]
fn aws_maintenance_is_followed_at_once() {
    // AWS lowers the MED on the tunnel that will stay, long before it takes the other one away.
    let before = [bgp("tunnel1", 1, 0, Some(100)), bgp("tunnel2", 1, 0, Some(200))];
    let during = [bgp("tunnel1", 1, 0, Some(100)), bgp("tunnel2", 1, 0, Some(50))];
    let first = choose(at(1_000), &before, None);
    assert_eq!(first.tunnel.as_deref(), Some("tunnel1"));
    let second = choose(at(1_001), &during, first.previous().as_ref());
    assert_eq!(second.tunnel.as_deref(), Some("tunnel2"));
    assert_eq!(second.reason.to_string(), "MED 50 beats 100 of tunnel1 (rule 9)");
}

#[test]
fn meds_of_different_neighbours_do_not_compare() {
    let other = |name: &str, neighbour_as, med| {
        let path = PathAttributes { as_path_length: 1, origin: 0, med: Some(med), neighbour_as };
        Candidate { path: Some(path), ..tunnel(name) }
    };
    let candidates = [other("tunnel1", 64512, 300), other("tunnel2", 64513, 100)];
    let decision = choose(NOW, &candidates, in_use("tunnel1").as_ref());
    assert!(matches!(decision.reason, Reason::Decided { rule: Rule::Stay, .. }), "{decision}");
}

#[test]
fn a_missing_med_is_the_best_med() {
    let candidates = [bgp("tunnel1", 1, 0, Some(1)), bgp("tunnel2", 1, 0, None)];
    let decision = choose(NOW, &candidates, in_use("tunnel1").as_ref());
    assert_eq!(decision.to_string(), "tunnel2: MED none beats 1 of tunnel1 (rule 9)");
}

#[test]
fn arrivals_decide_only_with_enough_packets_a_clear_share_and_after_a_pause() {
    let arrivals = |one, two| {
        [
            Candidate { arrival: Arrival { packets: one }, ..tunnel("tunnel1") },
            Candidate { arrival: Arrival { packets: two }, ..tunnel("tunnel2") },
        ]
    };
    let on_one = in_use("tunnel1");
    let chosen = |candidates: &[Candidate], previous: Option<Previous>| {
        choose(NOW, candidates, previous.as_ref()).tunnel
    };
    assert_eq!(chosen(&arrivals(0, 49), on_one.clone()).as_deref(), Some("tunnel1"), "too few packets");
    assert_eq!(chosen(&arrivals(300, 700), on_one.clone()).as_deref(), Some("tunnel1"), "no clear share");
    assert_eq!(chosen(&arrivals(100, 900), on_one).as_deref(), Some("tunnel2"));
    let just_moved = Some(Previous { tunnel: "tunnel1".into(), since: at(980) });
    assert_eq!(chosen(&arrivals(0, 900), just_moved).as_deref(), Some("tunnel1"), "moved 20 s ago");
}

#[test]
fn equals_are_the_members_of_an_ecmp_route() {
    let candidates = [
        bgp("tunnel1", 1, 0, Some(100)),
        bgp("tunnel2", 1, 0, Some(100)),
        bgp("tunnel3", 2, 0, Some(100)),
        Candidate { drained: true, ..bgp("tunnel4", 1, 0, Some(100)) },
    ];
    let decision = choose(NOW, &candidates, in_use("tunnel2").as_ref());
    assert_eq!(decision.equals, ["tunnel1", "tunnel2"]);
    assert_eq!(decision.tunnel.as_deref(), Some("tunnel2"));
}

#[test]
fn a_decision_asked_again_is_the_same_and_keeps_its_time() {
    for case in cases() {
        let first = choose(NOW, &case.candidates, case.previous.as_ref());
        let again = choose(NOW + Duration::from_secs(1), &case.candidates, first.previous().as_ref());
        assert_eq!(again.tunnel, first.tunnel, "{:?}", case.rule);
        assert_eq!(again.since, first.since, "{:?}", case.rule);
    }
}

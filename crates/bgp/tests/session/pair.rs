//! Stories of two speakers.

use std::time::Duration;

use bgp::{Command, Config, Family, Input, Notice, Rejection, Speaker, State};
use ipnet::IpNet;

use crate::sim::{Listen, Sim, aws, config, net, ours};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_session_comes_up_within_a_second_with_routes_both_ways() {
    for seed in 0..50 {
        let mut sim = Sim::up(seed, [ours(), aws()]);
        sim.run(secs(5));
        assert!(sim.established(), "seed {seed}");
        assert_eq!(sim.prefixes(0), ["10.20.0.0/16", "172.31.0.0/16"]);
        assert_eq!(sim.prefixes(1), ["10.10.0.0/16"]);
        let path = &sim.nodes[0].routes[&net("172.31.0.0/16")];
        assert_eq!(path.attributes.as_path_text(), "64512");
        assert_eq!(path.attributes.med, Some(100));
        assert_eq!(path.attributes.next_hop.to_string(), "169.254.10.1");
        let status = sim.nodes[0].speaker.status();
        assert!(status.synchronised && status.waiting_for.is_none());
        assert_eq!((status.received, status.accepted, status.advertised), (2, 2, 1));
        assert_eq!(status.hold, Some(secs(30)));
        let rib = sim.find(0, |it| match it {
            Notice::EndOfRib { family, prefixes } => Some((*family, *prefixes)),
            _ => None,
        });
        assert_eq!(rib.unwrap().1, (Family::Ipv4, 2));
    }
}

#[test]
fn without_a_collision_it_takes_milliseconds() {
    let mut sim = Sim::up(1, [ours(), Config { passive: true, ..aws() }]);
    sim.run(secs(2));
    let took = sim.find(0, |it| match it {
        Notice::Established { took, .. } => Some(*took),
        _ => None,
    });
    assert!(took.unwrap().1 < Duration::from_millis(200), "{took:?}");
}

#[test]
fn both_sides_connecting_at_once_end_with_one_connection_whoever_has_the_higher_id() {
    for seed in 0..300 {
        let (mut low, mut high) = (ours(), aws());
        if seed % 2 == 0 {
            std::mem::swap(&mut low.router_id, &mut high.router_id);
        }
        let mut sim = Sim::up(seed, [low, high]);
        sim.run(secs(10));
        assert!(sim.established(), "seed {seed}: {:?} {:?}", sim.state(0), sim.state(1));
        assert_eq!((sim.sockets(0), sim.sockets(1)), (1, 1), "seed {seed}: sockets left behind");
        assert_eq!(sim.prefixes(0).len(), 2, "seed {seed}");
    }
}

#[test]
fn equal_router_ids_are_told_apart_by_the_as_number() {
    for seed in 0..50 {
        let router_id = ours().router_id;
        let mut sim = Sim::up(seed, [ours(), Config { router_id, ..aws() }]);
        sim.run(secs(10));
        assert!(sim.established(), "seed {seed}");
    }
}

#[test]
fn refused_connections_are_tried_again_with_a_growing_pause() {
    let mut sim = Sim::new(3, [ours(), Config { passive: true, ..aws() }]);
    sim.nodes[1].listen = Listen::Refuse;
    sim.input(0, Input::TunnelUp);
    sim.run(secs(300));
    let connects = sim.nodes[0].connects;
    assert!((15..=35).contains(&connects), "{connects} attempts in five minutes");
    let status = sim.nodes[0].speaker.status();
    assert_eq!(status.state, State::Active);
    assert_eq!(
        status.waiting_for.as_deref(),
        Some("waiting for the next attempt; the last one: connection refused")
    );
    sim.nodes[1].listen = Listen::Accept;
    sim.input(1, Input::TunnelUp);
    sim.run(secs(35));
    assert!(sim.established());
}

#[test]
fn a_neighbour_that_never_answers_is_given_up_after_ten_seconds_and_tried_again() {
    let mut sim = Sim::new(4, [ours(), aws()]);
    sim.nodes[1].listen = Listen::Silent;
    sim.input(0, Input::TunnelUp);
    sim.run(secs(5));
    assert_eq!(sim.state(0), State::Connect);
    assert_eq!(
        sim.nodes[0].speaker.status().waiting_for.as_deref(),
        Some("connecting to 169.254.10.1 by TCP, port 179")
    );
    sim.run(secs(25));
    assert!(sim.nodes[0].connects >= 2);
    assert_eq!(sim.sockets(0), usize::from(sim.state(0) == State::Connect));
}

#[test]
fn a_silent_path_ends_the_session_when_the_smaller_hold_time_is_over() {
    for (hold, expected) in [(30, 30), (9, 9)] {
        let mut sim = Sim::up(5, [Config { hold: secs(hold), ..ours() }, aws()]);
        sim.run(secs(60));
        assert!(sim.established());
        assert_eq!(sim.nodes[1].speaker.status().hold, Some(secs(expected)), "the smaller offer counts");
        sim.blackhole = true;
        let start = sim.now;
        sim.run(secs(expected + 1));
        for node in 0..2 {
            assert_ne!(sim.state(node), State::Established);
            assert_eq!(sim.notification(node), Some((false, 4, 0)));
            assert_eq!(sim.prefixes(node), [""; 0]);
            let (at, why) = sim
                .find(node, |it| match it {
                    Notice::Down { why, .. } => Some(why.clone()),
                    _ => None,
                })
                .unwrap();
            assert!(at - start <= secs(expected), "{:?}", at - start);
            assert!(why.starts_with("we sent Hold Timer Expired"), "{why}");
        }
        sim.blackhole = false;
        sim.run(secs(45));
        assert!(sim.established(), "recovers with no command");
    }
}

#[test]
fn a_quiet_hour_stays_established_and_changes_nothing() {
    let mut sim = Sim::up(6, [ours(), aws()]);
    sim.run(secs(10));
    let before = sim.nodes[0].notices.len();
    sim.run(secs(3600));
    assert!(sim.established());
    assert_eq!(sim.nodes[0].notices.len(), before);
    let counters = sim.nodes[0].speaker.status().counters;
    assert!((355..=370).contains(&counters.keepalives_out), "{counters:?}");
    assert_eq!(counters.established, 1);
}

#[test]
fn hold_time_zero_needs_no_keepalives() {
    let mut sim = Sim::up(7, [Config { hold: secs(0), ..ours() }, aws()]);
    sim.run(secs(5));
    let keepalives = sim.nodes[0].speaker.status().counters.keepalives_out;
    sim.run(secs(3600));
    assert!(sim.established());
    assert_eq!(sim.nodes[0].speaker.status().counters.keepalives_out, keepalives);
}

#[test]
fn a_wrong_as_number_is_named_and_tried_for_ever_without_hammering() {
    let mut sim = Sim::up(8, [Config { remote_as: 64999, ..ours() }, aws()]);
    sim.run(secs(600));
    assert!(!sim.established());
    let (_, seen) = sim.nodes[0].speaker.status().last_notification.unwrap();
    assert_eq!((seen.code, seen.subcode), (2, 2));
    assert!(seen.explanation.remedy.contains("AS"), "{seen:?}");
    let connects = sim.nodes[0].connects + sim.nodes[1].connects;
    assert!((20..=150).contains(&connects), "{connects} attempts in ten minutes");
    assert!(sim.sockets(0) <= 2 && sim.sockets(1) <= 2);
}

#[test]
fn tunnel_down_takes_every_route_away_at_once_and_tunnel_up_brings_them_back() {
    let mut sim = Sim::up(9, [ours(), aws()]);
    sim.run(secs(70));
    sim.input(0, Input::TunnelDown);
    assert_eq!(sim.prefixes(0), [""; 0], "without waiting for anything");
    assert_eq!(sim.state(0), State::Idle);
    assert_eq!(sim.sockets(0), 0);
    assert_eq!(sim.nodes[0].speaker.status().waiting_for.as_deref(), Some("the tunnel is down"));
    sim.run(secs(5));
    assert_eq!(sim.state(0), State::Idle);
    sim.input(0, Input::TunnelUp);
    sim.run(secs(30));
    assert!(sim.established());
    assert_eq!(sim.prefixes(0).len(), 2);
}

#[test]
fn a_shutdown_says_why_in_the_other_sides_log_and_stays_down_until_resumed() {
    let mut sim = Sim::up(10, [ours(), aws()]);
    sim.run(secs(5));
    sim.command(0, Command::Shutdown("moving to new hardware\u{7} \u{1f69a}".into()));
    assert_eq!(sim.state(0), State::Idle);
    assert_eq!(sim.prefixes(0), [""; 0]);
    sim.run(secs(120));
    assert_eq!(sim.state(0), State::Idle);
    let (_, seen) = sim.nodes[1].speaker.status().last_notification.unwrap();
    assert_eq!((seen.by_peer, seen.code, seen.subcode), (true, 6, 2));
    assert_eq!(seen.communication.as_deref(), Some("moving to new hardware \u{1f69a}"));
    let why = sim.find(1, |it| match it {
        Notice::Down { why, .. } => Some(why.clone()),
        _ => None,
    });
    assert!(why.unwrap().1.contains("(\"moving to new hardware"), "the words are in the reason");
    sim.command(0, Command::Resume);
    sim.run(secs(60));
    assert!(sim.established());
}

#[test]
fn a_reset_starts_again_by_itself() {
    let mut sim = Sim::up(11, [ours(), aws()]);
    sim.run(secs(5));
    sim.command(0, Command::Reset("x".repeat(500)));
    sim.run(secs(5));
    assert!(sim.established());
    let (_, seen) = sim.nodes[1].speaker.status().last_notification.unwrap();
    assert_eq!((seen.code, seen.subcode), (6, 4));
    assert_eq!(seen.communication.unwrap().len(), 128, "cut to what every neighbour takes");
}

#[test]
fn a_neighbour_that_dies_and_returns_has_its_routes_again() {
    for seed in 0..50 {
        let mut sim = Sim::up(seed, [ours(), aws()]);
        sim.run(secs(5));
        sim.restart(1, aws());
        sim.run(secs(10));
        assert!(sim.established(), "seed {seed}");
        assert_eq!(sim.prefixes(0).len(), 2);
    }
}

fn many(count: u32) -> Vec<IpNet> {
    (0..count).map(|n| net(&format!("10.{}.{}.0/24", 64 + n / 250, n % 250))).collect()
}

#[test]
fn too_many_received_prefixes_end_the_session_with_cease_6_1_and_a_pause() {
    let aws = Config { advertise: many(51), ..aws() };
    let mut sim = Sim::up(12, [Config { max_prefix_in: 50, ..ours() }, aws]);
    sim.run(secs(20));
    assert_eq!(sim.notification(0), Some((false, 6, 1)));
    assert_eq!(sim.notification(1), Some((true, 6, 1)));
    assert_eq!(sim.state(0), State::Idle);
    assert_eq!(sim.prefixes(0), [""; 0]);
    assert!(sim.nodes[0].speaker.status().waiting_for.unwrap().contains("max_accepted"));
    assert_eq!(sim.nodes[0].speaker.status().counters.established, 1);
    sim.run(secs(270));
    assert_eq!(sim.nodes[0].speaker.status().counters.established, 1, "no second try within five minutes");
    let refused = sim.nodes[0].speaker.status().counters.refused;
    assert!(refused <= 20, "the other side waits a minute, then backs off: {refused}");
    sim.command(1, Command::Advertise(many(50)));
    sim.run(secs(60));
    assert!(sim.established());
    let warned = sim.find(0, |it| match it {
        Notice::ManyPrefixesIn { received, limit } => Some((*received, *limit)),
        _ => None,
    });
    assert_eq!(warned.unwrap().1, (50, 50));
}

#[test]
fn the_hundred_and_first_prefix_is_withheld_before_aws_ends_the_session() {
    let advertise = many(101);
    let ours = Config { advertise: advertise.clone(), max_prefix_out: 100, ..ours() };
    let mut sim = Sim::up(13, [ours, Config { max_prefix_in: 100, ..aws() }]);
    sim.run(secs(10));
    assert!(sim.established());
    assert_eq!(sim.prefixes(1).len(), 100);
    let withheld = sim.find(0, |it| match it {
        Notice::PrefixesWithheld { withheld, limit } => Some((withheld.clone(), *limit)),
        _ => None,
    });
    assert_eq!(withheld.unwrap().1, (vec![advertise[100]], 100));
    // Exchanging all hundred for others stays within the limit at every moment.
    let others: Vec<IpNet> = (0..100).map(|n| net(&format!("192.168.{n}.0/24"))).collect();
    sim.command(0, Command::Advertise(others));
    sim.run(secs(10));
    assert!(sim.established());
    assert_eq!(sim.nodes[1].speaker.status().counters.established, 1);
    assert!(sim.prefixes(1).iter().all(|prefix| prefix.starts_with("192.168.")));
}

#[test]
fn five_thousand_prefixes_arrive_whole_and_leave_whole() {
    let mut sim = Sim::up(14, [ours(), Config { advertise: many(5_000), ..aws() }]);
    sim.run(secs(10));
    assert_eq!(sim.prefixes(0).len(), 5_000);
    assert!(sim.nodes[0].speaker.status().counters.updates_in < 12, "packed into few messages");
    sim.command(1, Command::Advertise(vec![]));
    sim.run(secs(10));
    assert!(sim.established());
    assert_eq!(sim.prefixes(0), [""; 0]);
}

#[test]
fn a_changed_med_is_seen_without_losing_a_route() {
    let mut sim = Sim::up(15, [ours(), aws()]);
    sim.run(secs(5));
    let med = |sim: &Sim| sim.nodes[0].routes[&net("172.31.0.0/16")].attributes.med;
    assert_eq!(med(&sim), Some(100));
    sim.command(1, Command::AdvertiseMed(Some(50)));
    sim.run(secs(1));
    assert_eq!(med(&sim), Some(50));
    sim.command(1, Command::AdvertiseMed(None));
    sim.command(1, Command::Prepend(2));
    sim.run(secs(1));
    assert_eq!(med(&sim), None);
    assert_eq!(sim.nodes[0].routes[&net("172.31.0.0/16")].attributes.as_path_text(), "64512 64512 64512");
    assert_eq!(sim.nodes[0].speaker.status().counters.established, 1);
}

#[test]
fn a_refresh_brings_every_route_again_and_changes_nothing() {
    let mut sim = Sim::up(16, [ours(), aws()]);
    sim.run(secs(5));
    let updates = sim.nodes[0].speaker.status().counters.updates_in;
    sim.command(0, Command::RouteRefresh);
    sim.run(secs(2));
    assert_eq!(sim.nodes[0].speaker.status().counters.updates_in, updates + 1);
    assert_eq!(sim.nodes[1].speaker.status().counters.refreshes_in, 1);
    assert_eq!(sim.prefixes(0).len(), 2);
    sim.input(0, Input::TunnelDown);
    sim.command(0, Command::RouteRefresh);
    let refused = sim.find(0, |it| match it {
        Notice::CommandRefused { why } => Some(why.clone()),
        _ => None,
    });
    assert!(refused.unwrap().1.contains("not Established"));
}

#[test]
fn accept_lists_hold_back_what_is_outside_and_can_change_at_any_time() {
    let accept = Some(vec![net("10.0.0.0/8")]);
    let advertise =
        ["172.31.0.0/16", "10.20.0.0/16", "0.0.0.0/0", "127.0.0.0/8", "10.10.0.0/16"].map(net).to_vec();
    let mut sim = Sim::up(17, [Config { accept, ..ours() }, Config { advertise, ..aws() }]);
    sim.run(secs(5));
    assert_eq!(sim.prefixes(0), ["10.20.0.0/16"]);
    let rejected: Vec<_> =
        sim.nodes[0].speaker.received().map(|path| (path.prefix.to_string(), path.rejected)).collect();
    assert_eq!(
        rejected,
        [
            ("0.0.0.0/0".to_owned(), Some(Rejection::Default)),
            ("10.10.0.0/16".to_owned(), Some(Rejection::Own)),
            ("10.20.0.0/16".to_owned(), None),
            ("127.0.0.0/8".to_owned(), Some(Rejection::Martian)),
            ("172.31.0.0/16".to_owned(), Some(Rejection::NotAccepted)),
        ]
    );
    sim.command(0, Command::Accept { accept: None, accept_default: true });
    assert_eq!(sim.prefixes(0), ["0.0.0.0/0", "10.20.0.0/16", "172.31.0.0/16"], "with no refresh");
    sim.command(0, Command::Accept { accept: Some(vec![]), accept_default: false });
    assert_eq!(sim.prefixes(0), [""; 0]);
}

#[test]
fn four_octet_as_numbers_pass_unchanged() {
    let mut sim = Sim::up(
        18,
        [
            Config { advertise: vec![net("10.10.0.0/16")], ..config(4_200_000_010, 4_294_967_294, 2, 1) },
            Config { advertise: vec![net("172.31.0.0/16")], ..config(4_294_967_294, 4_200_000_010, 1, 2) },
        ],
    );
    sim.run(secs(10));
    assert!(sim.established());
    assert_eq!(sim.nodes[0].routes[&net("172.31.0.0/16")].attributes.as_path_text(), "4294967294");
    assert_eq!(sim.nodes[1].routes[&net("10.10.0.0/16")].attributes.neighbour_as(), Some(4_200_000_010));
}

#[test]
fn ipv6_routes_pass_over_an_ipv6_session() {
    let v6 = |base: Config, local: &str, peer: &str, advertise: &[&str]| {
        let advertise = advertise.iter().map(|text| net(text)).collect();
        Config {
            local_addr: local.parse().unwrap(),
            peer_addr: peer.parse().unwrap(),
            families: vec![Family::Ipv6],
            advertise,
            ..base
        }
    };
    let (local, peer) = ("fd00:a::2", "fd00:a::1");
    let many: Vec<String> = (0..500).map(|n| format!("2001:db8:{n:x}::/48")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut sim = Sim::up(19, [v6(ours(), local, peer, &["fd01::/32"]), v6(aws(), peer, local, &many)]);
    sim.run(secs(10));
    assert!(sim.established());
    assert_eq!(sim.prefixes(1), ["fd01::/32"]);
    assert_eq!(sim.prefixes(0).len(), 500);
    assert_eq!(sim.nodes[0].routes[&net("2001:db8:7::/48")].attributes.next_hop.to_string(), peer);
    assert!(sim.nodes[0].speaker.status().synchronised);
    sim.command(1, Command::Advertise(vec![net("2001:db8:7::/48")]));
    sim.run(secs(1));
    assert_eq!(sim.prefixes(0), ["2001:db8:7::/48"]);
}

#[test]
fn sides_without_a_common_family_say_so() {
    let ipv6_only = Config {
        families: vec![Family::Ipv6],
        next_hop_v6: Some("fd00:a::2".parse().unwrap()),
        advertise: vec![],
        ..ours()
    };
    let mut sim = Sim::up(20, [ipv6_only, aws()]);
    sim.run(secs(5));
    assert!(!sim.established());
    let (_, code, subcode) = sim.notification(0).unwrap();
    assert_eq!((code, subcode), (2, 7));
}

#[test]
fn a_thousand_flaps_leave_nothing_behind_and_cause_no_storm() {
    let mut sim = Sim::up(21, [ours(), aws()]);
    sim.run(secs(5));
    let before = sim.nodes[0].speaker.status().counters;
    for _ in 0..1_000 {
        sim.input(0, Input::TunnelDown);
        sim.input(1, Input::TunnelDown);
        assert_eq!((sim.sockets(0), sim.sockets(1)), (0, 0));
        assert_eq!((sim.prefixes(0).len(), sim.prefixes(1).len()), (0, 0));
        sim.input(0, Input::TunnelUp);
        sim.input(1, Input::TunnelUp);
        sim.run(secs(5));
        assert!(sim.established());
        sim.nodes[0].notices.clear();
        sim.nodes[1].notices.clear();
        sim.nodes[0].bytes_sent.clear();
    }
    let after = sim.nodes[0].speaker.status().counters;
    // RFC 4271 §6.8 leaves a race: one side may call Established what the other just chose to close. The two
    // meet again a second later.
    let sessions = after.established - before.established;
    assert!((1_000..=1_050).contains(&sessions), "{sessions}");
    let updates = after.updates_in - before.updates_in;
    assert!(updates <= 2 * sessions, "routes and End-of-RIB once per session: {updates}");
    assert_eq!((sim.sockets(0), sim.sockets(1)), (1, 1));
}

#[test]
fn settings_that_defeat_awss_steering_are_warned_about() {
    assert_eq!(ours().warnings(), [""; 0]);
    let all = Config { prepend: 2, med_out: Some(50), hold: secs(90), ..ours() }.warnings();
    assert_eq!(all.len(), 3);
    assert!(all[0].contains("prepended 2 times") && all[1].contains("MED 50"), "{all:?}");
}

#[test]
fn configurations_that_cannot_work_are_refused_with_words() {
    let refused = |config: Config| Speaker::new(config, model::Instant::ZERO).err().map(|it| it.to_string());
    assert_eq!(refused(ours()), None);
    let same = refused(Config { remote_as: 65000, ..ours() }).unwrap();
    assert!(same.contains("two different AS numbers"), "{same}");
    let hold = refused(Config { hold: secs(2), ..ours() }).unwrap();
    assert!(hold.contains("3 to 65535"), "{hold}");
    assert!(refused(Config { router_id: [0, 0, 0, 0].into(), ..ours() }).is_some());
    assert!(refused(Config { advertise: vec![net("fd00::/8")], ..ours() }).unwrap().contains("IPv6"));
    assert!(refused(Config { max_prefix_in: 1_000_000, ..ours() }).is_some());
    assert!(refused(Config { prepend: 200, ..ours() }).is_some());
    assert!(refused(Config { families: vec![], ..ours() }).is_some());
    assert!(refused(Config { peer_addr: "fd00::1".parse().unwrap(), ..ours() }).is_some());
}

use std::net::SocketAddr;

use ike::{Failure, Notice};

use super::*;

/// A tunnel in a world that is described by three switches, run in virtual milliseconds.
struct World {
    health: Health,
    now: u64,
    /// Probes come back.
    esp_passes: bool,
    /// The peer answers liveness checks.
    ike_answers: bool,
    ike_up: bool,
    heard: Option<Instant>,
    seen: Vec<(u64, Reaction)>,
}

impl World {
    fn new() -> Self {
        Self {
            health: Health::new(Some(Settings::default()), Instant::ZERO),
            now: 0,
            esp_passes: true,
            ike_answers: true,
            ike_up: false,
            heard: None,
            seen: Vec::new(),
        }
    }

    fn establish(&mut self) {
        self.ike_up = true;
        let now = Instant::from_millis(self.now);
        self.heard = Some(now);
        self.health.carrying(now);
    }

    fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while self.now < end {
            self.now += 1;
            let now = Instant::from_millis(self.now);
            let outside = Outside { ike: self.ike_up, ike_heard: self.heard, bgp_established: None };
            for reaction in self.health.poll(outside, now) {
                match &reaction {
                    Reaction::Probe(sequence) if self.esp_passes => {
                        let answers = self.health.probe_answered(*sequence, now);
                        self.heard = Some(now);
                        self.seen.extend(answers.into_iter().map(|reaction| (self.now, reaction)));
                    }
                    Reaction::CheckLiveness if self.ike_answers => self.heard = Some(now),
                    Reaction::Reset => {
                        self.ike_up = false;
                        self.health.idle(now);
                    }
                    _ => {}
                }
                self.seen.push((self.now, reaction));
            }
        }
    }

    fn codes(&self) -> Vec<&'static str> {
        self.seen
            .iter()
            .filter_map(|(_, reaction)| match reaction {
                Reaction::Event(finding, _) => Some(finding.code.name()),
                _ => None,
            })
            .collect()
    }

    fn last_error(&self) -> &'static str {
        self.health.last_error().map_or("", |problem| problem.finding.code.name())
    }
}

#[test]
fn a_healthy_tunnel_comes_up_at_once_and_says_so_once() {
    let mut world = World::new();
    world.establish();
    world.run(30_000);
    assert_eq!(world.codes(), ["TUN-ANSWERS", "TUNNEL-UP"]);
    assert_eq!(world.health.stage(), Stage::Up);
    assert_eq!(world.last_error(), "");
    assert!(world.seen.iter().all(|(_, reaction)| *reaction != Reaction::CheckLiveness));
}

#[test]
fn blocked_esp_is_told_apart_from_a_dead_peer() {
    let mut world = World::new();
    world.esp_passes = false;
    world.establish();
    world.run(20_000);
    assert_eq!(world.last_error(), "IPSEC-ESP-BLOCKED");
    assert_eq!(world.health.stage(), Stage::Ipsec);
    let text = &world.health.last_error().unwrap().finding.text;
    assert!(text.contains("received 0"), "{text}");
    assert_eq!(world.codes(), ["IPSEC-ESP-BLOCKED"], "said once, not once a second");
    assert!(world.seen.iter().all(|(_, reaction)| *reaction != Reaction::Reset));
}

#[test]
fn a_peer_that_lost_the_sa_but_answers_ike_is_negotiated_with_anew_ever_more_seldom() {
    let mut world = World::new();
    world.establish();
    world.run(20_000);
    world.esp_passes = false;
    for _ in 0..600 {
        world.run(1_000);
        if !world.ike_up {
            world.establish();
        }
    }
    let resets: Vec<u64> = world
        .seen
        .iter()
        .filter(|(_, reaction)| *reaction == Reaction::Reset)
        .map(|(at, _)| (at - 20_000) / 1000)
        .collect();
    assert_eq!(resets.len(), 4, "{resets:?}");
    assert!(resets[0] <= 27, "soon at first: {resets:?}");
    let waits: Vec<u64> = resets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.windows(2).all(|pair| pair[1] + 1 >= pair[0] * 2), "{waits:?}");
}

#[test]
fn esp_that_is_blocked_later_moves_traffic_first_and_is_explained_then() {
    let mut world = World::new();
    world.establish();
    world.run(20_000);
    world.seen.clear();
    world.esp_passes = false;
    world.run(20_000);
    assert_eq!(world.codes(), ["TUN-PROBE-LOST", "TUNNEL-DOWN", "IPSEC-ESP-BLOCKED"]);
    let down =
        world.seen.iter().find(|(_, reaction)| matches!(reaction, Reaction::StageChanged { .. })).unwrap();
    assert!(down.0 <= 23_300, "noticed after {} ms", down.0 - 20_000);
    world.seen.clear();
    world.esp_passes = true;
    world.run(3_000);
    assert_eq!(world.codes(), ["TUN-ANSWERS", "TUNNEL-UP"]);
}

#[test]
fn a_dead_peer_is_negotiated_with_anew_long_before_ikes_patience_ends() {
    let mut world = World::new();
    world.establish();
    world.run(20_000);
    world.seen.clear();
    (world.esp_passes, world.ike_answers) = (false, false);
    world.run(15_000);
    let reset = world.seen.iter().find(|(_, reaction)| *reaction == Reaction::Reset).expect("a reset");
    assert!(reset.0 <= 29_500, "after {} ms", reset.0 - 20_000);
    assert_eq!(world.codes(), ["TUN-PROBE-LOST", "TUNNEL-DOWN", "IKE-LIVENESS-LOST"]);
    assert_eq!(world.health.stage(), Stage::Down);
}

#[test]
fn packets_that_arrive_while_the_inside_address_is_silent_are_no_blocked_esp() {
    let mut world = World::new();
    world.esp_passes = false;
    world.establish();
    for _ in 0..15 {
        world.run(1_000);
        world.health.esp_received(Instant::from_millis(world.now));
    }
    assert_eq!(world.last_error(), "TUN-PROBE-LOST");
    assert_eq!(world.health.stage(), Stage::Tunnel);
}

#[test]
fn a_goodbye_ends_the_tunnel_at_once_and_is_no_flap() {
    let mut world = World::new();
    world.establish();
    world.run(5_000);
    world.seen.clear();
    let now = Instant::from_millis(world.now);
    world.health.idle(now);
    world.ike_up = false;
    let said = world.health.noticed(&Notice::PeerDeletedIke, now);
    world.seen.extend(said.into_iter().map(|reaction| (world.now, reaction)));
    world.run(1);
    assert_eq!(world.codes(), ["PEER-DELETED", "TUNNEL-DOWN"]);
    assert!(world.health.said_goodbye());
    world.establish();
    assert!(!world.health.said_goodbye());
}

#[test]
fn the_last_error_stays_after_recovery_and_good_news_does_not_replace_it() {
    let mut world = World::new();
    let failure = Notice::Failed(Failure::AuthenticationFailed { by_peer: true });
    world.health.noticed(&failure, Instant::ZERO);
    world.establish();
    world.run(5_000);
    assert_eq!(world.health.stage(), Stage::Up);
    assert_eq!(world.last_error(), "IKE-AUTH-FAILED");
}

#[test]
fn the_same_complaint_of_this_host_is_said_once() {
    let mut health = Health::new(Some(Settings::default()), Instant::ZERO);
    let complaint = || Finding { code: Code::IkeSendFailed, text: "no route".to_owned() };
    assert_eq!(health.problem(complaint(), Instant::ZERO).len(), 1);
    assert_eq!(health.problem(complaint(), Instant::from_secs(1)).len(), 0);
    assert_eq!(health.last_error().map(|problem| problem.at), Some(Instant::from_secs(1)));
}

#[test]
fn notices_that_are_no_news_make_no_event() {
    let mut health = Health::new(Some(Settings::default()), Instant::ZERO);
    let remote: SocketAddr = "198.51.100.1:500".parse().unwrap();
    assert!(health.noticed(&Notice::HandshakeStarted { attempt: 1, remote }, Instant::ZERO).is_empty());
}

#[test]
fn without_an_inside_address_a_child_is_all_that_can_be_known() {
    let mut world = World::new();
    world.health = Health::new(None, Instant::ZERO);
    world.establish();
    world.run(20_000);
    assert_eq!(world.codes(), ["TUNNEL-UP"]);
    world.health.idle(Instant::from_millis(world.now));
    world.run(1);
    assert_eq!(world.health.stage(), Stage::Ike);
}

#[test]
fn the_same_failure_is_said_once_until_the_tunnel_was_up_in_between() {
    let failed = Notice::Failed(Failure::AuthenticationFailed { by_peer: true });
    let mut health = Health::new(None, Instant::ZERO);
    assert_eq!(health.noticed(&failed, Instant::ZERO).len(), 1);
    assert_eq!(health.noticed(&failed, Instant::from_secs(5)).len(), 0);
    assert_eq!(health.last_error().map(|problem| problem.at), Some(Instant::from_secs(5)));
    assert_eq!(health.noticed(&failed, Instant::from_secs(700)).len(), 1, "said again after a while");
    health.carrying(Instant::from_secs(701));
    assert_eq!(health.noticed(&failed, Instant::from_secs(702)).len(), 1);
}

#[test]
fn a_diagnosis_replaces_the_failures_that_it_explains_and_no_others() {
    let failed = Notice::Failed(Failure::AuthenticationFailed { by_peer: true });
    let silent = Notice::Failed(Failure::NoAnswer { stage: ike::Stage::SaInit });
    let swapped = || Finding { code: Code::IkeAuthPskSwapped, text: "swapped".to_owned() };
    let mut health = Health::new(None, Instant::ZERO);
    health.noticed(&failed, Instant::ZERO);
    assert_eq!(health.diagnosed(Code::IkeAuthFailed, swapped(), Instant::from_secs(1)).len(), 1);
    assert!(health.noticed(&failed, Instant::from_secs(5)).is_empty());
    let last = |health: &Health| health.last_error().map(|problem| problem.finding.code);
    assert_eq!(last(&health), Some(Code::IkeAuthPskSwapped));
    health.noticed(&silent, Instant::from_secs(9));
    assert_eq!(last(&health), Some(Code::IkeNoAnswer));
}

#[test]
fn a_weak_choice_of_aws_is_warned_about_once_and_is_no_error() {
    let established = Notice::IkeEstablished {
        spi_i: model::IkeSpi(1),
        spi_r: model::IkeSpi(2),
        role: ike::Role::Initiator,
        proposal: "AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024".to_owned(),
        ppk: false,
        took: Duration::from_millis(30),
    };
    let mut health = Health::new(None, Instant::ZERO);
    let codes = |reactions: Vec<Reaction>| -> Vec<&'static str> {
        let code = |reaction: &Reaction| match reaction {
            Reaction::Event(finding, _) => finding.code.name(),
            _ => "",
        };
        reactions.iter().map(code).collect()
    };
    assert_eq!(codes(health.noticed(&established, Instant::ZERO)), ["IKE-UP", "IKE-WEAK-ALGORITHM"]);
    assert_eq!(codes(health.noticed(&established, Instant::from_secs(9))), ["IKE-UP"]);
    assert_eq!(health.last_error(), None);
}

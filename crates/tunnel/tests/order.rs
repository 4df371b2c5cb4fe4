//! Two negotiators against each other, each with a data plane that remembers what it was told and when.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use ike::{Command, Config, Endpoint, Input, Notice, Startup, Transmit};
use model::{Instant, Secret, SecureRng};
use tunnel::{Call, Effect, PlaneError, Recording, Tunnel};

/// Deterministic, and different for each seed.
struct Counter(u64);

impl SecureRng for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for octet in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *octet = (self.0 >> 33) as u8;
        }
    }
}

/// What a side did, in the order in which it did it.
#[derive(Debug, PartialEq)]
enum Did {
    Plane(Call),
    Sent,
    Carrying,
    Idle,
    Failed,
}

struct Side {
    tunnel: Tunnel<Recording>,
    plane: Recording,
    address: IpAddr,
    did: Vec<Did>,
    notices: Vec<Notice>,
}

impl Side {
    fn new(local: &str, remote: &str, startup: Startup) -> Self {
        let (local, remote): (IpAddr, IpAddr) = (local.parse().unwrap(), remote.parse().unwrap());
        let mut config = Config::new(local, remote, Secret::from(&b"lab_key_0"[..]));
        config.startup = startup;
        let plane = Recording::default();
        let seed =
            u64::from(local.to_string().len() as u32) + if startup == Startup::Initiate { 1 } else { 1000 };
        let endpoint = Endpoint::new(config, Box::new(Counter(seed)), Instant::ZERO);
        Self {
            tunnel: Tunnel::new(endpoint, plane.clone()),
            plane,
            address: local,
            did: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Executes everything; the datagrams to deliver.
    fn drain(&mut self) -> Vec<Transmit> {
        let mut sent = Vec::new();
        loop {
            let effect = self.tunnel.poll();
            self.did.extend(self.plane.take().into_iter().map(Did::Plane));
            match effect {
                Some(Effect::Send(transmit)) => {
                    self.did.push(Did::Sent);
                    sent.push(transmit);
                }
                Some(Effect::Notice(notice)) => self.notices.push(notice),
                Some(Effect::Carrying(_)) => self.did.push(Did::Carrying),
                Some(Effect::Idle) => self.did.push(Did::Idle),
                Some(Effect::Keys(_)) => panic!("nobody asked for keys"),
                Some(Effect::PlaneFailed { .. }) => self.did.push(Did::Failed),
                None => return sent,
            }
        }
    }
}

struct Pair {
    sides: [Side; 2],
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        Self {
            sides: [
                Side::new("192.0.2.1", "198.51.100.1", Startup::Initiate),
                Side::new("198.51.100.1", "192.0.2.1", Startup::Respond),
            ],
            now: Instant::ZERO,
        }
    }

    /// Delivers everything that is on its way, instantly, until both sides are quiet.
    fn settle(&mut self) {
        let mut wire = VecDeque::new();
        for side in &mut self.sides {
            wire.extend(side.drain());
        }
        while let Some(transmit) = wire.pop_front() {
            let to = self.sides.iter_mut().find(|side| side.address == transmit.remote.ip()).unwrap();
            let input = Input::Datagram {
                local: transmit.remote,
                remote: transmit.local,
                payload: &transmit.payload,
            };
            to.tunnel.handle_input(self.now, input);
            wire.extend(to.drain());
        }
    }

    fn begin(&mut self) {
        for side in &mut self.sides {
            side.tunnel.handle_timeout(self.now);
        }
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.sides.iter().filter_map(|side| side.tunnel.poll_timeout()).map(|(at, _)| at).min();
            match due {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            for side in &mut self.sides {
                side.tunnel.handle_timeout(self.now);
            }
            self.settle();
        }
        self.now = end;
    }
}

fn position(did: &[Did], what: impl Fn(&Did) -> bool) -> usize {
    did.iter().position(what).unwrap_or_else(|| panic!("missing in {did:?}"))
}

#[test]
fn a_responder_can_decrypt_before_its_answer_leaves() {
    let mut pair = Pair::new();
    pair.begin();
    let [initiator, responder] = &pair.sides;
    assert!(initiator.tunnel.carrying().is_some() && responder.tunnel.carrying().is_some());
    let installed = position(&responder.did, |did| matches!(did, Did::Plane(Call::Install { .. })));
    let answers: Vec<usize> =
        responder.did.iter().enumerate().filter(|(_, did)| **did == Did::Sent).map(|(at, _)| at).collect();
    assert_eq!(answers.len(), 2, "IKE_SA_INIT and IKE_AUTH");
    assert!(answers[0] < installed && installed < answers[1], "{:?}", responder.did);
    assert!(responder.did.contains(&Did::Carrying));
}

#[test]
fn a_rekey_installs_the_new_child_before_it_retires_the_old_one_on_both_sides() {
    let mut pair = Pair::new();
    pair.begin();
    let before = pair.sides[0].tunnel.carrying().unwrap();
    for side in &mut pair.sides {
        side.did.clear();
    }
    pair.sides[0].tunnel.handle_input(pair.now, Input::Command(Command::RekeyChild));
    pair.settle();
    pair.pass(Duration::from_secs(8));
    for side in &pair.sides {
        let installed = position(&side.did, |did| matches!(did, Did::Plane(Call::Install { .. })));
        let retired = position(&side.did, |did| matches!(did, Did::Plane(Call::Retire(_))));
        assert!(installed < retired, "{:?}", side.did);
        assert!(!side.did.contains(&Did::Idle), "traffic never stands still: {:?}", side.did);
        let carrying = side.tunnel.carrying().unwrap();
        assert_ne!(carrying.child, before.child);
    }
}

#[test]
fn an_orderly_end_leaves_nothing_installed_and_says_so() {
    let mut pair = Pair::new();
    pair.begin();
    pair.sides[0].tunnel.handle_input(pair.now, Input::Command(Command::Close));
    pair.settle();
    for side in &mut pair.sides {
        assert!(side.tunnel.carrying().is_none());
        assert_eq!(side.did.iter().filter(|did| **did == Did::Idle).count(), 1, "{:?}", side.did);
    }
    assert!(pair.sides[0].notices.contains(&Notice::Closed));
    assert!(pair.sides[1].notices.contains(&Notice::PeerDeletedIke));
}

#[test]
fn a_data_plane_that_refuses_is_reported_and_never_told_to_use_the_child() {
    let mut pair = Pair::new();
    pair.sides[0].plane.refuse(Some(PlaneError("no memory".to_owned())));
    pair.begin();
    let refused = &pair.sides[0];
    assert!(refused.did.contains(&Did::Failed), "{:?}", refused.did);
    assert!(refused.tunnel.carrying().is_none());
    assert!(!refused.did.iter().any(|did| matches!(did, Did::Plane(_))), "{:?}", refused.did);
}

#[test]
fn the_plane_comes_back_empty() {
    let mut pair = Pair::new();
    pair.begin();
    let [side, _] = pair.sides;
    let child = side.tunnel.carrying().unwrap().child;
    let plane = side.tunnel.into_plane();
    assert_eq!(plane.take(), [Call::Retire(child)]);
}

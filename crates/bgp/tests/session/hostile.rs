//! Bytes nobody should send: mutated, cut, random. The speaker must neither panic nor grow nor hang.

use bgp::{Config, Input, Output, Speaker};
use model::Instant;

use crate::raw::{
    AS_PATH, CAPABILITIES, NEXT_HOP, NOW, ORIGIN, PEER, connected, established, keepalive, message, open,
    update,
};
use crate::sim::{Random, Sim, aws, ours};

/// More with `BGP_HOSTILE_FACTOR=100` in the environment.
fn rounds(base: usize) -> usize {
    base * std::env::var("BGP_HOSTILE_FACTOR").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Streams a neighbour might send after connecting.
fn seeds() -> Vec<Vec<u8>> {
    let mut sim = Sim::up(1, [ours(), aws()]);
    sim.run(std::time::Duration::from_secs(25));
    let recorded = sim.nodes[1].bytes_sent.clone();
    let opened = [open(CAPABILITIES), keepalive()].concat();
    let with = |message: Vec<u8>| [opened.clone(), message].concat();
    let extended: &[u8] = &[0x50, 2, 0, 6, 2, 1, 0, 0, 0xfc, 0x00];
    vec![
        recorded,
        with(update(&[16, 10, 20], &[ORIGIN, AS_PATH, NEXT_HOP], &[16, 172, 31, 24, 10, 1, 2])),
        with(update(&[], &[ORIGIN, extended, NEXT_HOP, &[0xc0, 8, 4, 0xfc, 0, 0, 1]], &[16, 172, 31])),
        with(update(&[], &[&[0x80, 15, 3, 0, 2, 1]], &[])),
        with(message(5, &[0, 1, 0, 1])),
        with(message(3, &[6, 2, 4, b'g', b'o', b'n', b'e'])),
        with(update(&[], &[ORIGIN, &[0x40, 2, 7, 2, 1, 0, 0, 0xfc, 0x00, 0x80], NEXT_HOP], &[16, 172, 31])),
    ]
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let length = bytes.len() as u64;
        let place = usize::try_from(random.below(length)).unwrap();
        match random.below(6) {
            0 => bytes[place] = u8::try_from(random.below(256)).unwrap(),
            1 => bytes[place] ^= 1 << random.below(8),
            2 => bytes.truncate(place),
            3 => bytes.insert(place, u8::try_from(random.below(256)).unwrap()),
            4 => _ = bytes.remove(place),
            _ => {
                let end = place + usize::try_from(random.below(length - place as u64 + 1)).unwrap();
                let copy = bytes[place..end].to_vec();
                bytes.splice(place..place, copy);
            }
        }
    }
}

/// Feeds a stream in random cuts, with timers in between, and checks what must always hold.
fn survive(mut speaker: Speaker, bytes: &[u8], random: &mut Random) {
    let mut now = NOW;
    let mut rest = bytes;
    while !rest.is_empty() {
        let cut = 1 + usize::try_from(random.below(rest.len() as u64)).unwrap();
        let (segment, tail) = rest.split_at(cut);
        speaker.handle_input(now, Input::Received { connection: PEER, bytes: segment });
        rest = tail;
        if random.below(8) == 0 {
            now += std::time::Duration::from_millis(random.below(20_000));
            speaker.handle_timeout(now);
        }
    }
    let mut outputs = 0;
    while let Some(output) = speaker.poll_output() {
        outputs += 1;
        if let Output::Send { bytes, .. } = output {
            assert!(bytes.len() <= 4096 && bytes.starts_with(&[0xff; 16]));
        }
    }
    assert!(outputs < 200 + bytes.len(), "{outputs} outputs for {} bytes", bytes.len());
    assert!(speaker.status().received <= speaker.config().max_prefix_in);
    // Whatever happened, the tunnel's end clears it all.
    speaker.handle_input(now, Input::TunnelDown);
    assert_eq!(speaker.received().count(), 0);
    assert_eq!(speaker.poll_timeout(), None);
}

#[test]
fn mutated_streams_never_panic_hang_or_grow() {
    let seeds = seeds();
    let mut random = Random(42);
    for round in 0..rounds(6_000) {
        let mut bytes = seeds[round % seeds.len()].clone();
        mutate(&mut bytes, &mut random);
        let config = Config { max_prefix_in: 50, ..ours() };
        survive(connected(config), &bytes, &mut random);
    }
}

#[test]
fn mutated_updates_in_an_established_session_never_panic_hang_or_grow() {
    let attributes: [&[u8]; 8] = [
        ORIGIN,
        AS_PATH,
        NEXT_HOP,
        &[0x80, 4, 4, 0, 0, 0, 100],
        &[0xc0, 7, 8, 0, 0, 0xfc, 0, 1, 2, 3, 4],
        &[0xc0, 8, 8, 0xfc, 0, 0, 1, 0xff, 0xff, 0xff, 1],
        &[0x80, 14, 13, 0, 1, 1, 4, 169, 254, 10, 1, 0, 16, 10, 30],
        &[0xe0, 32, 12, 0, 0, 0xfc, 0, 0, 0, 0, 1, 0, 0, 0, 2],
    ];
    let mut random = Random(7);
    for _ in 0..rounds(6_000) {
        let chosen: Vec<&[u8]> = attributes.iter().filter(|_| random.below(3) > 0).copied().collect();
        let mut bytes = update(&[16, 10, 20], &chosen, &[16, 172, 31, 24, 10, 1, 2, 0]);
        // Keep the header whole, so that the mutation reaches the attributes.
        let mut body = bytes.split_off(19);
        mutate(&mut body, &mut random);
        survive(established(ours(), CAPABILITIES), &message(2, &body), &mut random);
    }
}

#[test]
fn noise_never_panics() {
    let mut random = Random(1);
    for _ in 0..rounds(2_000) {
        let length = random.below(300);
        let bytes: Vec<u8> = (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        survive(connected(ours()), &bytes, &mut random);
        survive(established(ours(), CAPABILITIES), &bytes, &mut random);
    }
}

#[test]
fn reports_about_unknown_connections_and_odd_times_change_nothing() {
    let mut speaker = established(ours(), CAPABILITIES);
    let before = speaker.status();
    let unknown = bgp::Connection::Outbound(99);
    speaker.handle_input(NOW, Input::Connected(unknown));
    speaker.handle_input(NOW, Input::Received { connection: unknown, bytes: &[1, 2, 3] });
    speaker.handle_input(NOW, Input::Closed { connection: unknown, why: "reset" });
    speaker.handle_timeout(Instant::ZERO);
    assert_eq!(speaker.status(), before);
}

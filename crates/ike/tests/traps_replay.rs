//! What the fuzzers have found worth keeping, played again: the seeds of `fuzz/seeds`, and random inputs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/certificate_input.rs"]
mod certificate_input;
#[path = "support/hostile_peer.rs"]
mod hostile_peer;
#[path = "support/reassembly.rs"]
mod reassembly;
#[path = "support/scenario.rs"]
mod scenario;
#[path = "support/script.rs"]
mod script;
#[path = "support/sk_plaintext.rs"]
mod sk_plaintext;
mod support;
#[path = "support/wire_message.rs"]
mod wire_message;

use std::path::Path;

use script::Dice;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Random inputs; `IKE_HOSTILE_FACTOR` makes them more.
fn random(seed: u64) -> impl Iterator<Item = Vec<u8>> {
    let factor = std::env::var("IKE_HOSTILE_FACTOR").ok().and_then(|text| text.parse().ok());
    let mut dice = Dice(seed);
    (0..300 * factor.unwrap_or(1)).map(move |_| (0..dice.below(160)).map(|_| dice.octet()).collect())
}

#[test]
fn datagrams_and_plaintexts_that_can_be_read_say_the_same_each_time() {
    for input in seeds("wire_message").into_iter().chain(random(6)) {
        wire_message::run(&input);
    }
    for input in seeds("sk_plaintext").into_iter().chain(random(7)) {
        sk_plaintext::run(&input);
    }
}

#[test]
fn scenarios_end_with_one_tunnel() {
    for input in seeds("scenario").into_iter().chain(random(1)) {
        scenario::run(&input);
    }
}

/// Each seed, and the same with an octet changed, at up to a hundred places.
#[test]
fn certificates_of_strangers_are_never_trusted_and_never_panic() {
    for input in seeds("certificates").into_iter().chain(random(5)) {
        certificate_input::run(&input);
        for at in (0..input.len()).step_by(1 + input.len() / 100) {
            let mut other = input.clone();
            other[at] ^= 1 << (at % 8);
            certificate_input::run(&other);
        }
    }
}

#[test]
fn hostile_peers_neither_crash_nor_grow_an_endpoint() {
    for input in seeds("hostile_peer").into_iter().chain(random(2)) {
        hostile_peer::run(&input);
    }
}

#[test]
fn fragments_in_any_order_numbering_and_repetition_complete_exactly_what_they_should() {
    for input in seeds("reassembly").into_iter().chain(random(3)) {
        reassembly::run(&input);
    }
    // Few pieces, so that many sets become complete.
    let mut dice = Dice(4);
    for _ in 0..300 {
        let input: Vec<u8> = (0..40)
            .flat_map(|_| {
                let total = 1 + dice.octet() % 4;
                [dice.octet(), 1 + dice.octet() % total, total, dice.octet()]
            })
            .collect();
        reassembly::run(&input);
    }
}

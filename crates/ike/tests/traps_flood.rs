//! A hundred thousand first requests from forged SPIs and ports.
//!
//! The bounds that `docs/ike-states.md` promises (invariant 10), measured from outside: what is held, what
//! is sent, what time passes, and that an established tunnel does not notice.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests fail by panicking")]

#[path = "support/script.rs"]
mod script;
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ike::wire::{ExchangeType, NotifyType, parse};
use ike::{Limits, Phase};
use script::{Dice, Script, address, notified, served};
use support::Side;

const FLOOD: u32 = 100_000;
/// How much a flood of ordinary requests may add to the process. What is kept is 4 half-open IKE SAs, each
/// with both first messages and its keys; the rest is for the allocator and for tests running alongside.
const MEMORY_BOUND_KIB: u64 = 4 * 1024;

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_flood_of_100_000_first_requests_leaves_the_tunnel_alone_and_memory_bounded() {
    let (mut target, mut script) = served(1);
    let before = target.endpoint.status();
    let limits = Limits::default();
    let mut dice = Dice(2);
    let mut template = Script::initiator(3);
    let request = template.first(&template.first_payloads());
    let (mut cookies, mut answers, mut most) = (0_u32, 0_u32, 0);
    let (begun, held) = (Instant::now(), resident());
    let mut notices = 0;
    for n in 0..FLOOD {
        let mut forged = request.clone();
        forged[..8].copy_from_slice(&dice.word().to_be_bytes());
        let remote = SocketAddr::new(address(Side::A).ip(), 1_024 + u16::try_from(n % 60_000).unwrap());
        // A flood of 100,000 a second.
        target.now += Duration::from_micros(10);
        for answer in target.hear_from(remote, &forged) {
            answers += 1;
            cookies += u32::from(notified(&parse(&answer).unwrap().payloads) == [NotifyType::COOKIE]);
        }
        most = most.max(target.endpoint.status().ike_sas);
        notices += target.notices.len();
        target.notices.clear();
        target.sent.clear();
        if n % 10_000 == 5_000 {
            // The tunnel's own messages get through in the middle of it.
            assert!(script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[]).is_empty());
            target.sent.clear();
        }
    }
    let each = begun.elapsed().as_nanos() / u128::from(FLOOD);
    println!("{FLOOD} first requests: {each} ns each here, {cookies} cookies, at most {most} IKE SAs held");
    let grown = resident().saturating_sub(held);
    println!("resident memory grew by {grown} KiB");
    assert!(grown <= MEMORY_BOUND_KIB, "{grown} KiB");
    assert_eq!(answers, FLOOD, "each is answered once: a cookie, or the few half-open ones");
    assert!(cookies >= FLOOD - u32::try_from(limits.half_open).unwrap());
    assert!(
        most <= 1 + limits.cookie_threshold,
        "{most} IKE SAs: beyond the threshold a cookie is asked for"
    );
    assert!(notices < 100, "{notices} notices");
    let after = target.endpoint.status();
    let still = |status: &ike::Status| (status.ike.clone().unwrap().spi_r, status.child.clone().unwrap().id);
    assert_eq!(still(&after), still(&before));
    assert_eq!(after.phase, Phase::Established);
    // After the half-open ones have timed out nothing is left of it.
    target.run(limits.half_open_timeout + Duration::from_secs(1));
    assert_eq!(target.endpoint.status().ike_sas, 1);
    assert!(script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[]).is_empty());
}

#[test]
fn a_flood_that_returns_its_cookies_is_bounded_too() {
    // Somebody who reads the peer's mail: cookies do not stop it, the limit does.
    let (mut target, mut script) = served(4);
    let limits = Limits::default();
    let (mut most, mut limited) = (0, 0);
    for seed in 0..400 {
        let mut stranger = Script::initiator(10_000 + seed);
        let mut payloads = stranger.first_payloads();
        let answer = target.hear(&stranger.first(&payloads)).remove(0);
        let cookie = parse(&answer).unwrap().payloads;
        if notified(&cookie) == [NotifyType::COOKIE] {
            payloads.insert(0, cookie[0].clone());
            limited += u32::from(target.hear(&stranger.first(&payloads)).is_empty());
        }
        most = most.max(target.endpoint.status().ike_sas);
    }
    assert_eq!(most, 1 + limits.half_open);
    assert!(limited > 300, "{limited}");
    assert!(script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[]).is_empty());
    target.run(limits.half_open_timeout + Duration::from_secs(1));
    assert_eq!(target.endpoint.status().ike_sas, 1);
}

//! A stretch of the Internet in user space: everything that is routed into its interface comes out again after a
//! while, in order, but for what is lost. No kernel module is needed, and every contender loses by the same law.

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use net::tun::Tun;

use super::answer;

/// Octets of the largest packet.
const MAX_PACKET: usize = 65_536;
/// Packets on the way at most: 20 ms of a million a second.
const MAX_ON_THE_WAY: usize = 20_000;

/// What it does to packets.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::bench) struct Options {
    /// The interface to make.
    #[arg(long)]
    interface: String,
    /// How long every packet takes, in milliseconds.
    #[arg(long)]
    delay_ms: u64,
    /// One of so many packets is lost.
    #[arg(long)]
    lose_one_in: u64,
    /// Which ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Relays until standard input ends.
pub(super) fn run(options: &Options) -> Result<()> {
    let tun = Tun::create(&options.interface, false)?;
    let delay = Duration::from_millis(options.delay_ms);
    let mut dice = Dice(options.seed | 1);
    let mut on_the_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = vec![0; MAX_PACKET];
    answer(&"ready")?;
    let stdin = std::io::stdin();
    loop {
        let now = Instant::now();
        while on_the_way.front().is_some_and(|(due, _)| *due <= now) {
            // One that the kernel does not take is lost, as on any router.
            let _ = on_the_way.pop_front().map(|(_, packet)| tun.write(&packet));
        }
        let wait = on_the_way.front().map(|(due, _)| *due - now);
        let ready = net::poll::wait(&[tun.as_fd(), stdin.as_fd()], wait)?;
        if ready.is(1) {
            return Ok(());
        }
        while let Ok(len) = tun.read(&mut buffer) {
            let lost = dice.roll(options.lose_one_in) || on_the_way.len() >= MAX_ON_THE_WAY;
            if let Some(packet) = buffer.get(..len).filter(|_| !lost) {
                on_the_way.push_back((Instant::now() + delay, packet.to_vec()));
            }
        }
    }
}

/// Marsaglia's xorshift: the same losses for every contender.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        sides > 0 && (self.0 >> 11).is_multiple_of(sides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_in_a_hundred_is_lost() {
        let mut dice = Dice(1);
        let lost = (0..100_000).filter(|_| dice.roll(100)).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert!((0..1000).all(|_| !dice.roll(0)));
    }
}

//! The other end of the generator: counts each datagram once, and keeps what was late or out of order.
//!
//! It is told `begin TRIAL` and `end` on standard input; the latter waits until nothing comes any more and prints a
//! [`Report`]. One sink serves all trials of a contender, so that no trial pays for its start.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Result, bail};
use net::udp::{ReceiveBatch, UdpOptions, UdpSocket};
use serde::{Deserialize, Serialize};

use super::stamp::{self, Stamp};
use super::{answer, next_line};

/// Messages of one receive, each with room for a train.
const BATCH: usize = 16;
const SLOT: usize = 65_536;
/// More datagrams than any trial has; what is beyond counts, but its duplicates are not found.
const MAX_TRACKED: u64 = 64 << 20;
/// What is on its way has arrived when nothing came for so long.
const QUIET: Duration = Duration::from_millis(150);

/// Where to listen.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::bench) struct Options {
    /// Our address.
    pub(super) local: SocketAddr,
}

/// What arrived. One-way times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct Report {
    /// Different datagrams.
    pub(in crate::bench) received: u64,
    /// Those that came again.
    pub(in crate::bench) duplicates: u64,
    /// Those that came behind a later one.
    pub(in crate::bench) reordered: u64,
    /// From the first to the last arrival, in seconds.
    pub(in crate::bench) seconds: f64,
    /// Median time on the way.
    pub(in crate::bench) p50_us: f64,
    /// 99th percentile.
    pub(in crate::bench) p99_us: f64,
    /// The slowest.
    pub(in crate::bench) max_us: f64,
    /// Datagrams for each message that the kernel handed over.
    pub(in crate::bench) per_message: f64,
}

/// One trial so far.
#[derive(Debug, Default)]
struct Trial {
    id: u64,
    seen: Vec<u64>,
    received: u64,
    duplicates: u64,
    reordered: u64,
    highest: Option<u64>,
    first_nanos: u64,
    last_nanos: u64,
    messages: u64,
    delays: Histogram,
}

impl Trial {
    fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    fn take(&mut self, datagram: &[u8], now: u64) {
        let Some(stamp) = Stamp::read(datagram).filter(|stamp| stamp.trial == self.id) else { return };
        if self.is_repeated(stamp.number) {
            self.duplicates += 1;
            return;
        }
        if self.received == 0 {
            self.first_nanos = now;
        }
        self.received += 1;
        self.last_nanos = now;
        match self.highest {
            Some(highest) if stamp.number < highest => self.reordered += 1,
            _ => self.highest = Some(stamp.number),
        }
        self.delays.add(now.saturating_sub(stamp.sent_nanos) / 1000);
    }

    fn is_repeated(&mut self, number: u64) -> bool {
        if number >= MAX_TRACKED {
            return false;
        }
        let (word, bit) = ((number / 64) as usize, 1_u64 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize((word + 1).next_power_of_two(), 0);
        }
        let Some(word) = self.seen.get_mut(word) else { return false };
        let repeated = *word & bit != 0;
        *word |= bit;
        repeated
    }

    fn report(&self) -> Report {
        let quantile = |share| self.delays.quantile(share);
        Report {
            received: self.received,
            duplicates: self.duplicates,
            reordered: self.reordered,
            seconds: self.last_nanos.saturating_sub(self.first_nanos) as f64 / 1e9,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            max_us: quantile(1.0),
            per_message: self.received as f64 / self.messages.max(1) as f64,
        }
    }
}

/// Counts per bucket; buckets are 1/32 of their octave wide, so a quantile is right to three per cent.
#[derive(Debug)]
struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

const STEPS: u64 = 32;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 64 * STEPS as usize], total: 0 }
    }
}

impl Histogram {
    fn add(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(Self::bucket(value)) {
            *count += 1;
            self.total += 1;
        }
    }

    fn bucket(value: u64) -> usize {
        if value < STEPS {
            return value as usize;
        }
        let octave = u64::from(value.ilog2()) - u64::from(STEPS.ilog2());
        (octave * STEPS + (value >> octave)) as usize
    }

    /// The smallest value of a bucket.
    fn value(bucket: usize) -> f64 {
        let bucket = bucket as u64;
        if bucket < 2 * STEPS {
            return bucket as f64;
        }
        let octave = bucket / STEPS - 1;
        ((bucket - octave * STEPS) << octave) as f64
    }

    fn quantile(&self, share: f64) -> f64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut sum = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= rank {
                return Self::value(bucket);
            }
        }
        0.0
    }
}

/// Serves trials until standard input ends.
pub(super) fn run(options: &Options) -> Result<()> {
    let udp = UdpOptions { receive_buffer: Some(32 << 20), ..UdpOptions::default() };
    let socket = UdpSocket::bind(options.local, &udp)?;
    socket.set_gro(true)?;
    let mut batch = ReceiveBatch::new(BATCH, SLOT);
    let mut trial = Trial::default();
    answer(&"ready")?;
    let stdin = std::io::stdin();
    loop {
        let ready = net::poll::wait(&[socket.as_fd(), stdin.as_fd()], None)?;
        if ready.is(0) {
            receive(&socket, &mut batch, &mut trial);
        }
        if !ready.is(1) {
            continue;
        }
        let Some(line) = next_line() else { return Ok(()) };
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["begin", id] => {
                trial = Trial::new(id.parse()?);
                answer(&"begun")?;
            }
            ["end"] => {
                while net::poll::wait(&[socket.as_fd()], Some(QUIET))?.is(0) {
                    receive(&socket, &mut batch, &mut trial);
                }
                answer(&trial.report())?;
            }
            _ => bail!("begin TRIAL, or end; not {line:?}"),
        }
    }
}

fn receive(socket: &UdpSocket, batch: &mut ReceiveBatch, trial: &mut Trial) {
    let Ok(count) = socket.receive_batch(batch) else { return };
    let now = stamp::now();
    for index in 0..count {
        let Some(message) = batch.message(index) else { return };
        trial.messages += 1;
        for datagram in message.bytes.chunks(message.segment) {
            trial.take(datagram, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(trial: u64, number: u64) -> Vec<u8> {
        let mut octets = vec![0; 36];
        Stamp { trial, number, sent_nanos: 1_000_000 }.write(&mut octets);
        octets
    }

    #[test]
    fn each_datagram_counts_once_and_strangers_not_at_all() {
        let mut trial = Trial::new(3);
        for number in [0, 1, 3, 2, 2, 4] {
            trial.take(&datagram(3, number), 1_250_000);
        }
        trial.take(&datagram(2, 5), 1_250_000);
        trial.take(b"short", 1_250_000);
        let report = trial.report();
        assert_eq!((report.received, report.duplicates, report.reordered), (5, 1, 1));
        assert!((report.p50_us - 248.0).abs() < 1e-9, "{}", report.p50_us);
    }

    #[test]
    fn quantiles_are_right_to_three_per_cent() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|value| histogram.add(value));
        for share in [0.001, 0.5, 0.99, 1.0] {
            let (found, wanted) = (histogram.quantile(share), share * 100_000.0);
            assert!((found / wanted - 1.0).abs() < 0.032, "{share}: {found}");
        }
    }

    #[test]
    fn buckets_and_their_values_agree() {
        for value in (0..200).chain([1_000, 65_535, 1 << 20, 1 << 40]) {
            let low = Histogram::value(Histogram::bucket(value));
            assert!(low <= value as f64 && value as f64 <= low * 1.032 + 1.0, "{value} {low}");
        }
    }
}

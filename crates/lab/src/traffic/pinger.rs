//! A stream of numbered datagrams to an echo server: what was lost, when, and for how long.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Longest stream: a day at two hundred a second.
const MAX_DATAGRAMS: u64 = 20_000_000;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The echo server.
    pub target: SocketAddr,
    /// From one datagram to the next.
    pub interval: Duration,
    /// How many; without it, until standard input ends.
    pub count: Option<u64>,
    /// How long to wait for the last answers.
    pub grace: Duration,
}

/// What came of it. Times in milliseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Datagrams sent.
    pub sent: u64,
    /// Different datagrams that came back.
    pub received: u64,
    /// Those that came back more than once.
    pub duplicates: u64,
    /// Those that came back after a later one.
    pub reordered: u64,
    /// Wall clock when the stream began, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Runs of lost datagrams.
    pub outages: Vec<Outage>,
    /// Median round trip.
    pub rtt_p50_ms: f64,
    /// 99th percentile.
    pub rtt_p99_ms: f64,
    /// The slowest.
    pub rtt_max_ms: f64,
}

/// Datagrams in a row that never came back.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Outage {
    /// When the first of them was sent, since the stream began.
    pub from_ms: f64,
    /// How long until the first datagram after them that came back was sent.
    pub lasted_ms: f64,
    /// How many.
    pub lost: u64,
}

impl Report {
    /// Datagrams that never came back.
    pub fn lost(&self) -> u64 {
        self.sent - self.received
    }

    /// The longest outage in milliseconds, 0 when nothing was lost.
    pub fn longest_outage_ms(&self) -> f64 {
        self.outages.iter().map(|outage| outage.lasted_ms).fold(0.0, f64::max)
    }
}

#[derive(Clone, Copy, Default)]
struct Sample {
    sent_us: u64,
    /// Zero while there is no answer.
    rtt_us: u64,
}

#[derive(Default)]
struct Log {
    samples: Vec<Sample>,
    highest: u64,
    duplicates: u64,
    reordered: u64,
}

/// Runs the stream to its end.
///
/// # Errors
/// When there is no socket to be had. A datagram that cannot be sent counts as lost.
pub fn run(options: Options) -> Result<Report> {
    let local = if options.target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (log, sending, receiving) =
        (Mutex::new(Log::default()), AtomicBool::new(true), AtomicBool::new(true));
    let started_unix_ms =
        SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    let start = Instant::now();
    let begin = start;
    std::thread::scope(|scope| {
        scope.spawn(|| receive(&socket, &log, &receiving, start));
        if options.count.is_none() {
            // Detached on purpose: it blocks on standard input, and the process ends with the report.
            scope.spawn(|| {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                sending.store(false, Ordering::Relaxed);
            });
        }
        send(&socket, &options, &log, &sending, start);
        std::thread::sleep(options.grace);
        receiving.store(false, Ordering::Relaxed);
    });
    let log = log.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(report(&log, started_unix_ms, begin))
}

fn lock(log: &Mutex<Log>) -> std::sync::MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn send(socket: &UdpSocket, options: &Options, log: &Mutex<Log>, sending: &AtomicBool, start: Instant) {
    let mut due = Duration::ZERO;
    for sequence in 0..options.count.unwrap_or(MAX_DATAGRAMS) {
        if let Some(rest) = due.checked_sub(start.elapsed()) {
            std::thread::sleep(rest);
        }
        due += options.interval;
        if !sending.load(Ordering::Relaxed) {
            return;
        }
        lock(log).samples.push(Sample { sent_us: micros(start), rtt_us: 0 });
        // No route and ICMP errors are losses like any other.
        let _ = socket.send_to(&sequence.to_be_bytes(), options.target);
    }
}

fn receive(socket: &UdpSocket, log: &Mutex<Log>, receiving: &AtomicBool, start: Instant) {
    let mut buffer = [0; 64];
    while receiving.load(Ordering::Relaxed) {
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
        let now = micros(start);
        let Some(sequence) =
            buffer.get(..length).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
        else {
            continue;
        };
        let mut log = lock(log);
        let (highest, position) = (log.highest, usize::try_from(sequence).unwrap_or(usize::MAX));
        let Some(sample) = log.samples.get_mut(position) else { continue };
        if sample.rtt_us != 0 {
            log.duplicates += 1;
            continue;
        }
        sample.rtt_us = now.saturating_sub(sample.sent_us).max(1);
        if sequence < highest {
            log.reordered += 1;
        }
        log.highest = highest.max(sequence);
    }
}

fn report(log: &Log, started_unix_ms: u64, start: Instant) -> Report {
    let mut outages: Vec<Outage> = Vec::new();
    let mut open: Option<Outage> = None;
    let millis = |us: u64| Duration::from_micros(us).as_secs_f64() * 1000.0;
    for sample in &log.samples {
        let sent = millis(sample.sent_us);
        match (&mut open, sample.rtt_us) {
            (Some(outage), 0) => outage.lost += 1,
            (None, 0) => open = Some(Outage { from_ms: sent, lasted_ms: 0.0, lost: 1 }),
            (slot, _) => outages.extend(slot.take().map(|o| Outage { lasted_ms: sent - o.from_ms, ..o })),
        }
    }
    let end = millis(micros(start));
    outages.extend(open.map(|outage| Outage { lasted_ms: end - outage.from_ms, ..outage }));
    let mut rtts: Vec<u64> = log.samples.iter().map(|sample| sample.rtt_us).filter(|&rtt| rtt > 0).collect();
    rtts.sort_unstable();
    let quantile = |per_cent: usize| {
        let position = (rtts.len().saturating_sub(1)) * per_cent / 100;
        rtts.get(position).copied().map_or(0.0, millis)
    };
    Report {
        sent: log.samples.len() as u64,
        received: rtts.len() as u64,
        duplicates: log.duplicates,
        reordered: log.reordered,
        started_unix_ms,
        outages,
        rtt_p50_ms: quantile(50),
        rtt_p99_ms: quantile(99),
        rtt_max_ms: quantile(100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_losses_is_one_outage_from_its_first_loss_to_the_next_answer() {
        let sample = |sent_ms: u64, rtt_us: u64| Sample { sent_us: sent_ms * 1000, rtt_us };
        let log = Log {
            samples: vec![sample(0, 400), sample(50, 0), sample(100, 0), sample(150, 800), sample(200, 500)],
            ..Log::default()
        };
        let report = report(&log, 0, Instant::now());
        assert_eq!((report.sent, report.received, report.lost()), (5, 3, 2));
        assert_eq!(report.outages.len(), 1);
        assert_eq!(report.outages[0].lost, 2);
        assert!((report.longest_outage_ms() - 100.0).abs() < 1e-9);
        assert!((report.rtt_p50_ms - 0.5).abs() < 1e-9);
    }
}

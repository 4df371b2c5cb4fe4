//! The load generator: one UDP flow of numbered, time-stamped datagrams at a steady rate.
//!
//! An ordinary sender gives the kernel datagram by datagram (`sendmmsg`), a segmenting one gives it trains of equal
//! size (`UDP_SEGMENT`), as QUIC servers do. Sizes are those of the whole inner IP packet. It sleeps between bursts,
//! because it shares two CPUs with what it measures.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use net::udp::{MAX_PAYLOAD, MAX_SEGMENTS, UdpOptions, UdpSocket};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use serde::{Deserialize, Serialize};

use super::{answer, stamp};

/// IPv4 and UDP headers of an inner packet.
const HEADERS: usize = 28;
/// Datagrams that an ordinary sender hands over with one call.
const BURST: usize = 32;
/// How long it rests when nothing is due: at 300,000 a second some 30 datagrams come due meanwhile.
const REST: Duration = Duration::from_micros(50);
/// A sender that was off its CPU catches up on at most this much; the rest is not sent, and not counted as offered.
const MAX_BACKLOG: Duration = Duration::from_millis(5);

/// Which packets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(in crate::bench) enum Size {
    /// 64 octets of IP packet.
    #[value(name = "64")]
    Small,
    /// Seven of 64, four of 570, one of 1418.
    Imix,
    /// 1400 octets of IP packet.
    #[value(name = "1400")]
    Large,
}

impl Size {
    /// Its name in tables and as an argument.
    pub(in crate::bench) const fn name(self) -> &'static str {
        match self {
            Self::Small => "64",
            Self::Imix => "imix",
            Self::Large => "1400",
        }
    }

    /// Lengths of the IP packets, repeated for ever. The mix is spread, so that no two neighbours can share a train
    /// for long.
    const fn pattern(self) -> &'static [usize] {
        match self {
            Self::Small => &[64],
            Self::Imix => &[64, 570, 64, 64, 570, 64, 1418, 64, 570, 64, 570, 64],
            Self::Large => &[1400],
        }
    }

    /// Mean octets of an IP packet.
    pub(in crate::bench) fn mean(self) -> f64 {
        let pattern = self.pattern();
        pattern.iter().sum::<usize>() as f64 / pattern.len() as f64
    }
}

/// What to send.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::bench) struct Options {
    /// Where to.
    pub(super) target: SocketAddr,
    /// Number of this trial.
    #[arg(long)]
    pub(super) trial: u64,
    /// Packets a second; 0 for as many as possible.
    #[arg(long)]
    pub(super) rate: u64,
    /// For how long.
    #[arg(long)]
    pub(super) millis: u64,
    /// Which packets.
    #[arg(long, value_enum)]
    pub(super) size: Size,
    /// Hand trains to the kernel.
    #[arg(long)]
    pub(super) segment: bool,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(in crate::bench) struct Report {
    /// Datagrams that the kernel took.
    pub(in crate::bench) sent: u64,
    /// From the first to the last.
    pub(in crate::bench) seconds: f64,
}

impl Report {
    /// Packets a second that were really offered.
    pub(in crate::bench) fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.sent as f64 / self.seconds } else { 0.0 }
    }
}

struct Blaster {
    socket: UdpSocket,
    pattern: &'static [usize],
    trial: u64,
    sent: u64,
    buffer: Vec<u8>,
}

/// Sends, and prints a [`Report`].
pub(super) fn run(options: &Options) -> Result<()> {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let udp = UdpOptions { send_buffer: Some(8 << 20), ..UdpOptions::default() };
    let socket = UdpSocket::bind(any, &udp)?;
    socket.connect(options.target)?;
    if options.segment && options.size == Size::Imix {
        bail!("a train holds packets of one size: a segmenting sender has no mix");
    }
    let mut blaster = Blaster {
        socket,
        pattern: options.size.pattern(),
        trial: options.trial,
        sent: 0,
        buffer: vec![0; MAX_PAYLOAD],
    };
    let length = Duration::from_millis(options.millis).as_nanos() as u64;
    let rate = if options.rate == 0 { f64::INFINITY } else { options.rate as f64 };
    let backlog = (rate * MAX_BACKLOG.as_secs_f64()).max(1.0);
    let start = stamp::now();
    let mut skipped = 0.0;
    loop {
        let elapsed = stamp::now() - start;
        if elapsed >= length {
            break;
        }
        let mut due = rate * elapsed as f64 / 1e9 - skipped - blaster.sent as f64;
        if due > backlog {
            skipped += if due.is_finite() { due - backlog } else { 0.0 };
            due = backlog;
        }
        if due < 1.0 {
            std::thread::sleep(REST);
        } else if options.segment {
            blaster.train(due as usize)?;
        } else {
            blaster.burst(due as usize)?;
        }
    }
    let seconds = (stamp::now() - start) as f64 / 1e9;
    answer(&Report { sent: blaster.sent, seconds })
}

impl Blaster {
    /// The payload of the datagram with this number, in octets.
    fn payload(&self, number: u64) -> usize {
        let index = (number % self.pattern.len() as u64) as usize;
        self.pattern.get(index).copied().unwrap_or(64) - HEADERS
    }

    /// Writes stamps for up to `count` datagrams, one behind the other; where each of them lies.
    fn prepare(&mut self, count: usize) -> Vec<std::ops::Range<usize>> {
        let sent_nanos = stamp::now();
        let (mut at, mut ranges) = (0, Vec::with_capacity(count));
        for number in (self.sent..).take(count) {
            let end = at + self.payload(number);
            let Some(datagram) = self.buffer.get_mut(at..end) else { break };
            stamp::Stamp { trial: self.trial, number, sent_nanos }.write(datagram);
            ranges.push(at..end);
            at = end;
        }
        ranges
    }

    /// Sends some datagrams, each by itself.
    fn burst(&mut self, count: usize) -> Result<()> {
        let ranges = self.prepare(count.min(BURST));
        let parts: Vec<[IoSlice<'_>; 1]> = ranges
            .iter()
            .map(|range| [IoSlice::new(self.buffer.get(range.clone()).unwrap_or_default())])
            .collect();
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
            parts.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<MMsgHdr<'_>> =
            parts.iter().zip(&mut controls).map(|(part, control)| MMsgHdr::new(part, control)).collect();
        match sendmmsg(&self.socket, &mut messages, SendFlags::DONTWAIT) {
            Ok(taken) => self.sent += taken as u64,
            Err(error) => wait_for_room(&self.socket, error.into())?,
        }
        Ok(())
    }

    /// Sends one train.
    fn train(&mut self, count: usize) -> Result<()> {
        let len = self.payload(0);
        let ranges = self.prepare(count.min(MAX_SEGMENTS).min(MAX_PAYLOAD / len));
        let octets = self.buffer.get(..ranges.len() * len).unwrap_or_default();
        match self.socket.send_segments(octets, u16::try_from(len).unwrap_or(u16::MAX), 0) {
            Ok(()) => self.sent += ranges.len() as u64,
            Err(error) => wait_for_room(&self.socket, error)?,
        }
        Ok(())
    }
}

/// What a full buffer did not take was never sent; anything but a full buffer or a passing ICMP error ends the trial.
fn wait_for_room(socket: &UdpSocket, error: std::io::Error) -> Result<()> {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, WouldBlock};
    use std::os::fd::AsFd as _;
    match error.kind() {
        WouldBlock => {
            net::poll::wait_writable(socket.as_fd(), Duration::from_millis(10))?;
            Ok(())
        }
        ConnectionRefused | HostUnreachable => Ok(()),
        _ if error.raw_os_error() == Some(net::errno::ENOBUFS) => {
            std::thread::sleep(REST);
            Ok(())
        }
        _ => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_seven_four_one() {
        let count = |len| Size::Imix.pattern().iter().filter(|&&each| each == len).count();
        assert_eq!((count(64), count(570), count(1418)), (7, 4, 1));
        assert!((Size::Imix.mean() - (7.0 * 64.0 + 4.0 * 570.0 + 1418.0) / 12.0).abs() < 1e-9);
    }

    #[test]
    fn every_packet_has_room_for_its_stamp() {
        for size in [Size::Small, Size::Imix, Size::Large] {
            assert!(size.pattern().iter().all(|len| len - HEADERS >= stamp::LEN));
        }
    }
}

//! Bare packets of protocol 50 through raw sockets: nothing is encrypted, nothing is read from or written to a TUN. What
//! these two manage is what no user-space ESP over such sockets can exceed.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use net::raw::EspSocket;
use net::udp::{ReceiveBatch, Train};
use serde::{Deserialize, Serialize};

use super::answer;
use crate::bench::machine;

/// Octets of an ESP packet with one full segment of a TCP stream in it: 1386 of payload, 52 of inner headers, 36 of ESP.
const PACKET: usize = 1474;
/// Packets that one call sends, as many as a super-packet of that stream has.
const TOGETHER: usize = 44;
/// Octets of the sockets' buffers, those of our data plane.
const BUFFERS: (usize, usize) = (16 << 20, 2 << 20);
/// How long the receiver leaves its queue alone when it found little there, as our data plane does.
const PAUSE: Duration = Duration::from_micros(100);
/// Packets that are not little.
const ENOUGH: usize = 32;

/// Which end, and for how long.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::bench) struct Options {
    /// Our address.
    #[arg(long)]
    local: IpAddr,
    /// The other end's.
    #[arg(long)]
    remote: IpAddr,
    /// Receive, rather than send.
    #[arg(long)]
    receive: bool,
    /// For how many milliseconds; the receiver's begin with the first packet.
    #[arg(long)]
    millis: u64,
}

/// What one end did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(in crate::bench) struct Report {
    pub(in crate::bench) packets: u64,
    pub(in crate::bench) seconds: f64,
    /// CPU time, soft interrupts that ran on top of it included.
    pub(in crate::bench) cpu: f64,
}

/// Says that it is ready, pumps when it is told to, and reports.
pub(super) fn run(options: &Options) -> Result<()> {
    let socket = EspSocket::open(options.local, options.remote, BUFFERS.0, BUFFERS.1)?;
    let length = Duration::from_millis(options.millis);
    answer(&"ready")?;
    if super::next_line().is_none() {
        bail!("never told to begin");
    }
    let report = if options.receive { receive(&socket, length)? } else { send(&socket, length)? };
    answer(&report)
}

fn send(socket: &EspSocket, length: Duration) -> Result<Report> {
    let packet = [0x5a; PACKET];
    let trains = [Train::single(&packet, 0); TOGETHER];
    let (start, before) = (Instant::now(), machine::process(std::process::id()));
    let mut packets = 0;
    while start.elapsed() < length {
        match socket.send_trains(&trains) {
            Ok(sent) => packets += sent as u64,
            Err(error) if error.raw_os_error() == Some(net::errno::ENOBUFS) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                net::poll::wait_writable(socket.as_fd(), Duration::from_millis(100))?;
            }
            Err(error) => return Err(error).context("cannot send protocol 50"),
        }
    }
    Ok(Report {
        packets,
        seconds: start.elapsed().as_secs_f64(),
        cpu: machine::process(std::process::id()) - before,
    })
}

fn receive(socket: &EspSocket, length: Duration) -> Result<Report> {
    let mut batch = ReceiveBatch::new(ENOUGH, 2048);
    let mut packets = 0;
    net::process::set_timer_slack(Duration::from_micros(1));
    net::poll::wait(&[socket.as_fd()], Some(Duration::from_secs(5)))?;
    let (start, before) = (Instant::now(), machine::process(std::process::id()));
    while start.elapsed() < length {
        match socket.receive_batch(&mut batch) {
            Ok(count) => {
                packets += count as u64;
                if count < ENOUGH {
                    std::thread::sleep(PAUSE);
                }
            }
            Err(_) => {
                net::poll::wait(&[socket.as_fd()], Some(Duration::from_millis(10)))?;
            }
        }
    }
    Ok(Report {
        packets,
        seconds: start.elapsed().as_secs_f64(),
        cpu: machine::process(std::process::id()) - before,
    })
}

//! A longer way: packets that are routed into a TUN come out of it again some time later, in their order.
//!
//! Not every kernel has `netem`. Two gateways on one machine answer each other within a millisecond, so what they begin at
//! the same time hardly ever crosses on the way; over a way of a tenth of a second it does.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use net::tun::Tun;

use crate::process::{Process, Spawn};
use crate::topology::{GW_OUTSIDE, Side, Topology};
use crate::traffic::binary;
use crate::wait;

/// Packets under way at most; further ones are dropped, as a router's queue would.
const MAX_UNDER_WAY: usize = 100_000;
const INTERFACE: &str = "delay0";
const TABLE: &str = "77";

/// Carries packets through `interface` for ever, each `delay` late.
///
/// # Errors
/// When the TUN cannot be made, or was removed.
pub fn run(interface: &str, delay: Duration) -> Result<()> {
    let tun = Tun::create(interface, false).context("the delay line")?;
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let next = under_way.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        net::poll::wait(&[tun.as_fd()], next)?;
        while let Some(packet) = read(&tun, &mut buffer)? {
            if under_way.len() < MAX_UNDER_WAY {
                under_way.push_back((Instant::now() + delay, packet));
            }
        }
        while under_way.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, packet)) = under_way.pop_front() {
                // Refused while the interface is still down: lost, like anything sent to a router that boots.
                let _ = tun.write(&packet);
            }
        }
    }
}

fn read(tun: &Tun, buffer: &mut [u8]) -> Result<Option<Vec<u8>>> {
    match tun.read(buffer) {
        Ok(length) => Ok(Some(buffer.get(..length).unwrap_or_default().to_vec())),
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The internet of a lab with a longer way; dropping it makes the way short again.
#[derive(Debug)]
pub struct DelayLine {
    _process: Process,
}

impl DelayLine {
    /// Every packet between the gateway and an endpoint takes `delay` more, in either direction.
    ///
    /// # Errors
    /// When the tool does not start, or `ip` refuses.
    pub fn lay(topology: &Topology, delay: Duration) -> Result<Self> {
        let program = binary("cgwd-lab")?.display().to_string();
        let millis = delay.as_millis().to_string();
        let process = Process::spawn(&Spawn {
            namespace: &topology.net,
            command: [&program, "delay", INTERFACE, &millis].map(ToString::to_string).to_vec(),
            env: Vec::new(),
            log: topology.scratch().join("delay.log"),
            pipes: false,
        })?;
        let made = || topology.net.ip(&format!("link set {INTERFACE} txqueuelen 10000 up")).is_ok();
        wait::until(Duration::from_secs(5), "the delay line", made)?;
        let mut lines = vec![
            format!("route replace default dev {INTERFACE} table {TABLE}"),
            // Down with the line's TUN, and what is looked up then goes on to the main table.
            format!("rule add iif gw0 lookup {TABLE} pref 77"),
        ];
        lines.extend(Side::BOTH.map(|side| {
            format!("rule add iif {} to {GW_OUTSIDE} lookup {TABLE} pref 7{}", side.role(), 8 + side.index())
        }));
        topology.net.ip_batch(&lines)?;
        Ok(Self { _process: process })
    }
}

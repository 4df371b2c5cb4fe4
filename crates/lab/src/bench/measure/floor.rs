//! How much protocol 50 two raw sockets can carry at all: the ceiling above ours, without cryptography and without TUN.

use anyhow::Result;

use super::{Talk, Values};
use crate::bench::contender;
use crate::bench::rig::{AWS, GW, Rig, Role};
use crate::bench::tool::pump::Report;
use crate::traffic::binary;

/// Octets of a TCP stream in each packet.
const PAYLOAD: f64 = 1386.0;

/// Pumps for so many seconds.
pub(in crate::bench) fn run(rig: &Rig, seconds: u32) -> Result<Values> {
    let lab = binary("cgwd-lab")?.display().to_string();
    let pump = |role, more: String| -> Result<Talk> {
        let command = format!("bench pump {more}");
        let words = std::iter::once(lab.clone()).chain(command.split_whitespace().map(str::to_owned));
        Talk::new(contender::spawn(rig, role, &words.collect::<Vec<_>>(), &[], true)?)
    };
    let millis = 1000 * u64::from(seconds);
    let mut sink = pump(Role::Aws, format!("--local {AWS} --remote {GW} --receive --millis {millis}"))?;
    // It outlasts the receiver, which therefore never waits.
    let mut source = pump(Role::Gw, format!("--local {GW} --remote {AWS} --millis {}", millis + 500))?;
    sink.say("go")?;
    let sent: Report = source.ask("go")?;
    let received: Report = sink.hear()?;
    let nanos = |report: Report| report.cpu * 1e9 / report.packets.max(1) as f64;
    let rate = received.packets as f64 / received.seconds;
    Ok(Values::from(
        [
            ("pps", rate),
            ("gbit", rate * PAYLOAD * 8.0 / 1e9),
            ("send_ns_per_packet", nanos(sent)),
            ("receive_ns_per_packet", nanos(received)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    ))
}

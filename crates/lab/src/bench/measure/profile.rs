//! Where each nanosecond goes: a profile of the whole machine while one TCP stream runs through our data plane, folded
//! into what the two busy workers do for one segment.
//!
//! It needs `perf`, with its software clock: virtual machines often have no hardware counters. The clock interrupts
//! 4000 times a second, so a share is right to a few per cent, and time with interrupts off is charged to the
//! instruction that switches them on again.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::tcp::{Tcp, Way};
use super::{Effort, Values};
use crate::bench::contender::Running;
use crate::bench::rig::Rig;

/// Samples a second on each CPU.
const FREQUENCY: u32 = 4000;
/// Octets of payload of one segment: the tunnel's MTU without IP and TCP headers and TCP's timestamps.
const SEGMENT: f64 = 1386.0;
/// Threads of the data plane; what the others do for a segment is one figure each.
const WORKERS: [&str; 2] = ["plane-out", "plane-in"];
/// Other work of the rig.
const LOAD: &str = "iperf3";

/// Profiles one stream from the LAN to the VPC; nanoseconds for each segment, by `thread: part`.
pub(in crate::bench) fn run(rig: &Rig, running: &Running<'_>, effort: Effort) -> Result<Values> {
    let data = rig.scratch().join("perf.data");
    let seconds = effort.tcp_seconds.saturating_sub(1).max(1);
    // It begins with the second that does not count.
    let script = format!(
        "sleep 1.2 && exec perf record -q -e cpu-clock -F {FREQUENCY} -a -g -o {} -- sleep {seconds}",
        data.display()
    );
    let mut perf = Command::new("sh");
    perf.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut recorder = perf.spawn().context("cannot start perf")?;
    let values = Tcp { streams: 1, way: Way::Up, ping: false }.run(rig, running, effort);
    let recorded = recorder.wait()?;
    let gbit = values?.get("gbit").copied().unwrap_or(0.0);
    if !recorded.success() || gbit <= 0.0 {
        bail!("perf recorded nothing: is it installed (linux-perf)?");
    }
    let mut script = Command::new("perf");
    script.args(["script", "-F", "comm,period,ip,sym", "-i"]).arg(&data).stderr(Stdio::null());
    let text = script.output().context("cannot run perf script")?.stdout;
    let segments = gbit * 1e9 / 8.0 / SEGMENT * f64::from(seconds);
    let mut values = Values::from([("gbit".to_owned(), gbit)]);
    for (part, nanos) in fold(&String::from_utf8_lossy(&text)) {
        values.insert(part, nanos / segments);
    }
    Ok(values)
}

/// Nanoseconds by `thread: part`.
fn fold(script: &str) -> BTreeMap<String, f64> {
    let mut parts = BTreeMap::new();
    for sample in script.split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
        let Some((thread, period)) =
            lines.next().and_then(|line| line.trim().rsplit_once(char::is_whitespace))
        else {
            continue;
        };
        let Ok(nanos) = period.trim_end_matches(':').parse::<f64>() else { continue };
        let frames: Vec<&str> = lines.filter_map(frame).collect();
        let thread = thread.trim();
        let name = if WORKERS.contains(&thread) {
            format!("{thread}: {}", part(&frames))
        } else if thread == LOAD {
            "iperf3, both ends".to_owned()
        } else if thread.starts_with("swapper") {
            continue;
        } else {
            "everything else".to_owned()
        };
        *parts.entry(name).or_insert(0.0) += nanos;
    }
    parts
}

/// The function of one line of a stack: address, then name.
fn frame(line: &str) -> Option<&str> {
    let (_, name) = line.trim().split_once(char::is_whitespace)?;
    Some(name.split("+0x").next().unwrap_or(name).trim())
}

/// What a worker was doing, from its stack, innermost function first.
fn part(frames: &[&str]) -> &'static str {
    const COPIES: [&str; 3] = ["_copy_to_iter", "_copy_from_iter", "rep_movs_alternative"];
    let within = |names: &[&str]| frames.iter().any(|frame| names.iter().any(|name| frame.contains(name)));
    let leaf = frames.first().copied().unwrap_or("");
    let softirq = within(&["softirq", "net_rx_action"]);
    let copy = COPIES.contains(&leaf) && !softirq;
    let pick = |copied, behind, rest| {
        if copy {
            copied
        } else if softirq {
            behind
        } else {
            rest
        }
    };
    if within(&["tun_chr_read_iter", "sys_read"]) {
        pick("TUN read: copy", "TUN read: softirq", "TUN read: rest")
    } else if within(&["tun_chr_write_iter", "sys_writev"]) {
        pick("TUN write: copy", "TUN write: forwarding and the receiver's TCP", "TUN write: rest")
    } else if within(&["sys_sendmsg", "sys_sendmmsg"]) {
        pick("send: copy", "send: the other side's receive", "send: rest")
    } else if within(&["sys_recvmmsg", "sys_recvmsg"]) {
        pick("receive: copy", "receive: softirq", "receive: rest")
    } else if within(&["sys_poll", "sys_ppoll"]) {
        "poll, with going to sleep and waking up"
    } else if leaf.starts_with("ring_core") || leaf.starts_with("aws_lc") {
        "AES-GCM: the kernels"
    } else if leaf.contains("ring::") || leaf.contains("aws_lc_rs::") {
        "AES-GCM: each call's share"
    } else if leaf.contains("checksum") {
        "inner checksums"
    } else if leaf.contains("esp::") || leaf.contains("dataplane::") || leaf.contains("net::") {
        "our own code"
    } else if softirq || within(&["sysvec_", "asm_"]) {
        "interrupts"
    } else {
        "rest"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "plane-out     250000 \n\tffffffff81 _copy_from_iter+0x10\n\tffffffff82 __x64_sys_sendmsg\n\n\
                          plane-in     250000 \n\t55 ring_core_0_17_14__aes_gcm_dec_update_vaes_avx2\n\n\
                          plane-in     250000 \n\tff tcp_v4_rcv\n\tff handle_softirqs\n\tff tun_chr_write_iter\n\n\
                          swapper     250000 \n\tff default_idle\n\niperf3     500000 \n\tff copy\n";

    #[test]
    fn a_sample_belongs_to_the_system_call_it_was_taken_in() {
        let parts = fold(SCRIPT);
        assert_eq!(parts["plane-out: send: copy"], 250_000.0);
        assert_eq!(parts["plane-in: AES-GCM: the kernels"], 250_000.0);
        assert_eq!(parts["plane-in: TUN write: forwarding and the receiver's TCP"], 250_000.0);
        assert_eq!(parts["iperf3, both ends"], 500_000.0);
        assert_eq!(parts.len(), 4);
    }
}

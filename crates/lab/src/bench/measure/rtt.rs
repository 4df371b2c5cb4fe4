//! Round trips from the LAN host to the VPC host by the kernel's own echo, time-stamped by the kernel.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Values;
use crate::bench::rig::{Rig, VPC_HOST};

/// From one request to the next, in seconds.
const INTERVAL: &str = "0.005";

/// A run of echo requests in the background.
#[derive(Debug)]
pub(in crate::bench) struct Pings {
    child: std::process::Child,
}

impl Pings {
    /// Starts sending `count` requests.
    pub(in crate::bench) fn start(rig: &Rig, count: u32) -> Result<Self> {
        let mut command = rig.lan.command("ping");
        command.args(["-n", "-i", INTERVAL, "-W", "1", "-c", &count.to_string(), &VPC_HOST.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(Self { child: command.spawn().context("cannot start ping")? })
    }

    /// Waits for the last answer; times in milliseconds.
    pub(in crate::bench) fn finish(self, values: &mut Values) -> Result<()> {
        let output = self.child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut times: Vec<f64> = text.lines().filter_map(round_trip).collect();
        if times.is_empty() {
            bail!("no echo came back");
        }
        times.sort_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        for (name, value) in [
            ("rtt_p50_ms", quantile(&times, 0.5)),
            ("rtt_p99_ms", quantile(&times, 0.99)),
            ("rtt_max_ms", quantile(&times, 1.0)),
            ("rtt_mean_ms", mean),
            ("rtt_lost", lost(&text, times.len()) as f64),
        ] {
            values.insert(name.to_owned(), value);
        }
        Ok(())
    }
}

/// `count` round trips with nothing else going on.
pub(in crate::bench) fn idle(rig: &Rig, count: u32) -> Result<Values> {
    let mut values = Values::new();
    Pings::start(rig, count)?.finish(&mut values)?;
    Ok(values)
}

/// `64 bytes from 172.31.0.10: icmp_seq=1 ttl=62 time=0.231 ms`
fn round_trip(line: &str) -> Option<f64> {
    let (_, time) = line.split_once("time=")?;
    time.split_whitespace().next()?.parse().ok()
}

/// `100 packets transmitted, 99 received, 1% packet loss, time 507ms`
fn lost(text: &str, received: usize) -> usize {
    let summary = text.lines().find(|line| line.contains("packets transmitted")).unwrap_or("");
    let sent = summary.split_whitespace().next().and_then(|word| word.parse::<usize>().ok());
    sent.unwrap_or(received).saturating_sub(received)
}

/// The value that `share` of the sorted values do not exceed.
pub(in crate::bench) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_losses_are_read_from_what_ping_prints() {
        let text = "64 bytes from 172.31.0.10: icmp_seq=1 ttl=62 time=0.231 ms\n\n3 packets transmitted, 1 \
                    received, 66% packet loss, time 4ms\n";
        let times: Vec<f64> = text.lines().filter_map(round_trip).collect();
        assert_eq!(times, [0.231]);
        assert_eq!(lost(text, times.len()), 2);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile(&sorted, share)), [100.0, 198.0, 200.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}

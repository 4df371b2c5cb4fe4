//! What one core can do: our data plane with only one of its two directions at work, and nothing behind it.
//!
//! Encrypt: a generator on the gateway itself fills the TUN, the sealed packets are dropped as soon as they reach the
//! other host. Decrypt: sealed packets are replayed, the opened ones are dropped as soon as they leave the TUN. The
//! figure is inner bits for each second that the worker's thread was on a CPU, soft interrupts in it included; the
//! generator has the other CPU.

use std::time::Duration;

use anyhow::{Result, bail};

use super::udp::target;
use super::{Talk, Values};
use crate::bench::contender;
use crate::bench::machine::{self, CpuTime};
use crate::bench::rig::{AWS, GW, Rig, Role, VPC};
use crate::bench::tool::{blast, plane, replay};
use crate::traffic::binary;

/// The generator's rate while encryption is measured: more than any core seals.
const OFFERED: u64 = 3_000_000;
/// Packets that may wait in the TUN: enough that the worker never sleeps, not so many that they leave the cache.
const QUEUE: u32 = 64;
/// Passes over the sealed packets.
const PASSES: u32 = 5;
/// Octets of sealed packets that one pass sends.
const PASS_OCTETS: usize = 400 << 20;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Core {
    /// Seal, or open.
    pub(in crate::bench) encrypt: bool,
    /// Octets of the inner packet: 64 or 1400.
    pub(in crate::bench) size: blast::Size,
    /// The generator hands trains over (encryption only).
    pub(in crate::bench) segment: bool,
    /// Protocol 50 instead of UDP (encryption only).
    pub(in crate::bench) raw: bool,
}

impl Core {
    /// What the table shows.
    pub(in crate::bench) const ALL: [Self; 7] = [
        Self { encrypt: true, size: blast::Size::Large, segment: true, raw: false },
        Self { encrypt: true, size: blast::Size::Small, segment: true, raw: false },
        Self { encrypt: true, size: blast::Size::Small, segment: false, raw: false },
        Self { encrypt: true, size: blast::Size::Imix, segment: false, raw: false },
        Self { encrypt: true, size: blast::Size::Large, segment: true, raw: true },
        Self { encrypt: false, size: blast::Size::Large, segment: false, raw: false },
        Self { encrypt: false, size: blast::Size::Small, segment: false, raw: false },
    ];

    /// Its name in results.
    pub(in crate::bench) fn name(self) -> String {
        format!(
            "core_{}_{}{}{}",
            if self.encrypt { "encrypt" } else { "decrypt" },
            self.size.name(),
            if self.segment { "_segmenting" } else { "" },
            if self.raw { "_raw" } else { "" }
        )
    }

    /// Its row in the table.
    pub(in crate::bench) fn title(self) -> String {
        let octets = match self.size {
            blast::Size::Small => "64",
            blast::Size::Imix => "IMIX",
            blast::Size::Large => "1400",
        };
        match (self.encrypt, self.raw) {
            (true, true) => format!("encrypt {octets}, protocol 50"),
            (true, false) => {
                format!("encrypt {octets}, {} sender", if self.segment { "segmenting" } else { "ordinary" })
            }
            (false, _) => format!("decrypt {octets}"),
        }
    }

    /// Runs it on a rig that carries nothing else.
    pub(in crate::bench) fn run(self, rig: &Rig, seconds: u32) -> Result<Values> {
        let mut plane = start_plane(rig, self.raw)?;
        let cost = if self.encrypt {
            self.encrypt(rig, &mut plane, seconds)?
        } else {
            self.decrypt(rig, &mut plane)?
        };
        cost.values()
    }

    fn encrypt(self, rig: &Rig, plane: &mut Talk, seconds: u32) -> Result<Cost> {
        rig.gw.ip(&format!("link set cgw0 txqueuelen {QUEUE}"))?;
        // Coalescing at the receiver would be charged to the sender, on whose CPU it runs here.
        rig.aws.run(&["ethtool", "-K", "wan0", "gro", "off"])?;
        drop_at(rig, Role::Aws, "wan0")?;
        let mut command = vec![binary("cgwd-lab")?.display().to_string()];
        let millis = (u64::from(seconds) + 1) * 1000;
        command.extend(
            format!(
                "bench blast {} --trial 1 --size {} --millis {millis} --rate {OFFERED}",
                target(),
                self.size.name()
            )
            .split_whitespace()
            .map(str::to_owned),
        );
        command.extend(self.segment.then(|| "--segment".to_owned()));
        let generator = contender::spawn(rig, Role::Gw, &command, &[], false)?;
        std::thread::sleep(Duration::from_millis(400));
        let before = Snapshot::take(plane, generator.pid())?;
        std::thread::sleep(Duration::from_secs(u64::from(seconds)));
        let after = Snapshot::take(plane, generator.pid())?;
        Ok(after.since(&before, "plane-out", |stats| (stats.tx_packets, stats.tx_bytes)))
    }

    fn decrypt(self, rig: &Rig, plane: &mut Talk) -> Result<Cost> {
        drop_at(rig, Role::Gw, "cgw0")?;
        let size: usize = if self.size == blast::Size::Small { 64 } else { 1400 };
        let mut command = vec![binary("cgwd-lab")?.display().to_string()];
        command.extend(
            format!(
                "bench replay --local {AWS}:4500 --remote {GW}:4500 --size {size} --packets {}",
                PASS_OCTETS / (size + 100)
            )
            .split_whitespace()
            .map(str::to_owned),
        );
        let mut source = Talk::new(contender::spawn(rig, Role::Aws, &command, &[], true)?)?;
        let mut cost = Cost::default();
        for _ in 0..PASSES {
            let _renewed: String = plane.ask("renew")?;
            let before = Snapshot::take(plane, source.pid())?;
            let _sent: replay::Report = source.ask("go")?;
            std::thread::sleep(Duration::from_millis(30));
            let after = Snapshot::take(plane, source.pid())?;
            cost.add(&after.since(&before, "plane-in", |stats| (stats.rx_packets, stats.rx_bytes)));
        }
        Ok(cost)
    }
}

fn start_plane(rig: &Rig, raw: bool) -> Result<Talk> {
    let mut command = vec![binary("cgwd-lab")?.display().to_string()];
    command.extend(
        format!("bench plane --local {GW}:4500 --remote {AWS}:4500 --end gw --inside 169.254.10.2/30")
            .split_whitespace()
            .map(str::to_owned),
    );
    command.extend(raw.then(|| "--raw".to_owned()));
    let plane = Talk::new(contender::spawn(rig, Role::Gw, &command, &[], true)?)?;
    rig.gw.ip(&format!("route add {VPC} dev cgw0"))?;
    Ok(plane)
}

/// Drops everything that reaches an interface, before the host's own protocols see it; ARP passes.
fn drop_at(rig: &Rig, role: Role, interface: &str) -> Result<()> {
    rig.host(role).run(&[
        "ping",
        "-n",
        "-c",
        "1",
        "-W",
        "1",
        if role == Role::Aws { "192.0.2.1" } else { "192.0.2.2" },
    ])?;
    rig.host(role).nft(&format!(
        "table netdev bench {{\n chain in {{\n type filter hook ingress device {interface} priority 0;\n meta protocol \
         ip counter drop\n }}\n}}\n"
    ))
}

/// Counters at one moment.
struct Snapshot {
    stats: plane::Stats,
    threads: std::collections::BTreeMap<String, f64>,
    machine: CpuTime,
    generator: f64,
    at: std::time::Instant,
}

impl Snapshot {
    fn take(plane: &mut Talk, generator: u32) -> Result<Self> {
        Ok(Self {
            stats: plane.ask("stats")?,
            threads: machine::threads(plane.pid()),
            machine: CpuTime::now()?,
            generator: machine::process(generator),
            at: std::time::Instant::now(),
        })
    }

    fn since(&self, earlier: &Self, thread: &str, count: impl Fn(&plane::Stats) -> (u64, u64)) -> Cost {
        let (now, then) = (count(&self.stats), count(&earlier.stats));
        let on_cpu = |snapshot: &Self| snapshot.threads.get(thread).copied().unwrap_or(0.0);
        Cost {
            packets: now.0 - then.0,
            bytes: now.1 - then.1,
            thread: on_cpu(self) - on_cpu(earlier),
            wall: (self.at - earlier.at).as_secs_f64(),
            busy: self.machine.since(earlier.machine).busy,
            generator: self.generator - earlier.generator,
            calls: self.stats.calls_since(&earlier.stats),
        }
    }
}

/// What was moved and what it took, in seconds.
#[derive(Default)]
struct Cost {
    packets: u64,
    bytes: u64,
    thread: f64,
    wall: f64,
    busy: f64,
    generator: f64,
    calls: plane::Stats,
}

impl Cost {
    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.thread += other.thread;
        self.wall += other.wall;
        self.busy += other.busy;
        self.generator += other.generator;
        self.calls = self.calls.plus(&other.calls);
    }

    fn values(&self) -> Result<Values> {
        if self.packets == 0 || self.thread <= 0.0 {
            bail!("nothing went through the data plane");
        }
        let bits = self.bytes as f64 * 8.0;
        let packets = self.packets as f64;
        let per_call = |calls: u64| if calls == 0 { 0.0 } else { packets / calls as f64 };
        let calls = &self.calls;
        Ok(Values::from(
            [
                ("gbit_per_core", bits / 1e9 / self.thread),
                ("ns_per_packet", self.thread * 1e9 / packets),
                ("gbit", bits / 1e9 / self.wall),
                ("pps", packets / self.wall),
                ("thread_share", self.thread / self.wall),
                ("busy_without_generator_s_per_gbit", (self.busy - self.generator) / (bits / 1e9)),
                ("packets_per_tun_read", per_call(calls.tun_reads)),
                ("packets_per_send", per_call(calls.sends)),
                ("packets_per_receive", per_call(calls.receives)),
                ("packets_per_tun_write", per_call(calls.tun_writes)),
                ("drops", calls.drops as f64),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        ))
    }
}

//! Two whole endpoints against each other in virtual time: chaos, then heal, then exactly one tunnel.
//!
//! Each seed is a scenario of its own: how bad the network is, whether a NAT stands in it, how short
//! lifetimes are (or eight hours, and the story a day), whether nodes reboot or sleep and operators interfere. Safety is checked at every step, liveness at
//! the end: a deadline after the network has healed both sides agree on one IKE SA and one child.
//!
//! `CGWD_SIM_SEEDS=N` runs N seeds (from `CGWD_SIM_FIRST=F` on), `CGWD_SIM_SEED=S` one seed with its trace. Seeds
//! that ever failed are in `tests/seeds.txt` and run first.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod sim;

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use ike::crypto::{IkeCipher, Prf};
use ike::wire::DhGroup;
use ike::{
    Command, Config, EspCipher, EspProposal, IkeProposal, Input, Lifetime, Phase, Ppk, Selection, Startup,
};
use model::{Instant, KeyBits, Secret, SecureRng};
use sim::SimNode;
use simnet::{Link, SimRng, World, pcap};

/// Of a run without optimisation; `scripts/test` runs 10,000 with it.
const DEFAULT_SEEDS: u64 = 300;
const START: Instant = Instant::from_secs(100);
/// What every IPv4 network carries, less the headers of IP and UDP.
const NARROW: usize = 576 - 28;
/// What a seed may have for additional key exchanges: none, mostly.
const ADDITIONAL: [&[DhGroup]; 5] =
    [&[], &[], &[], &[DhGroup::ML_KEM_768], &[DhGroup::ML_KEM_512, DhGroup::CURVE25519]];
/// Which node may have a PPK, and whether it is required: none, mostly.
const PPKS: [[Option<bool>; 2]; 8] = [
    [None, None],
    [None, None],
    [None, None],
    [None, None],
    [Some(true), Some(true)],
    [Some(false), Some(true)],
    [Some(false), Some(false)],
    [Some(false), None],
];
/// After the network has healed, one tunnel must stand within this time: a dead peer is noticed in 25.5 s,
/// a superfluous SA is given up within 31 s + 15.5 s, a half-open one within 30 s.
const DEADLINE: Duration = Duration::from_secs(100);
/// Before this time stragglers are still under way, and a NAT that just forgot its mapping was not yet noticed.
const SETTLING: Duration = Duration::from_secs(25);
/// More steps at one instant than this is an endless loop.
const STEPS_AT_ONCE: u32 = 5_000;

/// How long SAs live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lives {
    /// Longer than the story.
    Endless,
    /// Seconds: rekeys by lifetime all the time.
    Short,
    /// As with AWS: eight hours for the IKE SA, one for the child, and a story of a day.
    EightHours,
}

/// What a seed stands for.
#[derive(Clone, Debug)]
struct Scenario {
    link: Link,
    nat: bool,
    both_initiate: bool,
    lives: Lives,
    rekeys: bool,
    resets: bool,
    reboots: bool,
    partitions: bool,
    /// Both prefer another group than the other guesses: INVALID_KE_PAYLOAD in every exchange.
    groups: bool,
    /// Half-open IKE SAs need a cookie from the first one on.
    cookies: bool,
    /// Everything but the smallest message goes in fragments of this size (RFC 7383).
    fragments: Option<u16>,
    /// Additional key exchanges (RFC 9370), in IKE and child SAs: messages longer than a narrow way takes.
    additional: &'static [DhGroup],
    /// Machines are suspended, clocks jump.
    sleeps: bool,
    /// Both prove themselves by certificates instead of a key.
    certificates: bool,
    /// A PPK beside that (RFC 8784): whether it is required, of each node that has one.
    ppk: [Option<bool>; 2],
    chaos: Duration,
}

impl Scenario {
    /// Each property has a stream of its own, so that a new one does not change what old seeds stand for.
    fn draw(master: &SimRng) -> Self {
        let of = |property: u64| master.fork(1_000 + property);
        let bad = |property: u64, most: u64| {
            let mut rng = of(property);
            let rate = u32::try_from(rng.up_to(most)).unwrap_or(0);
            if rng.chance(333) { 0 } else { rate }
        };
        let lives = match (of(19).chance(30), of(8).chance(500)) {
            (true, _) => Lives::EightHours,
            (false, true) => Lives::Short,
            (false, false) => Lives::Endless,
        };
        let chaos = match lives {
            Lives::EightHours => Duration::from_secs(3_600 * of(15).between(8, 30)),
            _ => Duration::from_secs(of(15).between(40, 120)),
        };
        Self {
            link: Link {
                delay_min: Duration::from_millis(1),
                delay_max: Duration::from_millis(of(0).pick(&[1, 20, 200, 800])),
                loss: bad(1, 300),
                duplicate: bad(2, 200),
                corrupt: bad(3, 50),
                truncate: bad(4, 20),
                straggle: bad(5, 30),
                longest: if of(20).chance(250) { NARROW } else { usize::MAX },
                cut: false,
            },
            nat: of(6).chance(250),
            both_initiate: of(7).chance(500),
            lives,
            rekeys: of(9).chance(800),
            resets: of(10).chance(300),
            reboots: of(11).chance(300),
            partitions: of(12).chance(250),
            groups: of(13).chance(150),
            cookies: of(14).chance(150),
            fragments: of(16).chance(300).then(|| of(17).pick(&[130, 160, 220, 300])),
            additional: of(19).pick(&ADDITIONAL),
            sleeps: of(18).chance(200),
            certificates: of(20).chance(100),
            ppk: of(21).pick(&PPKS),
            chaos,
        }
    }

    /// A day has fewer packets a second than a minute.
    fn traffic_interval(&self) -> Duration {
        if self.lives == Lives::EightHours { Duration::from_secs(20) } else { Duration::from_millis(500) }
    }

    /// Nothing but rekeys happens, so no packet of the tunnel may get lost to them.
    fn is_gentle(&self) -> bool {
        !(self.resets || self.reboots || self.partitions || self.nat || self.sleeps)
            && (self.link.straggle, self.link.corrupt, self.link.truncate) == (0, 0, 0)
    }
}

fn config(scenario: &Scenario, rng: &mut SimRng, first: bool) -> Config {
    let inside = if scenario.nat { "10.9.8.7" } else { "192.0.2.1" };
    let outside = "192.0.2.1";
    let peer = "198.51.100.1";
    let (local, remote) = if first { (inside, peer) } else { (peer, outside) };
    let mut config = Config::new(
        local.parse().unwrap(),
        remote.parse().unwrap(),
        Secret::from(&b"simulated key of good length"[..]),
    );
    if first {
        config.local_identity = outside.parse::<std::net::IpAddr>().unwrap().into();
    }
    if scenario.certificates {
        sim::certificates::prove(&mut config, first);
    }
    config.ppk = scenario.ppk[usize::from(!first)].map(|required| Ppk {
        id: b"simulated".to_vec(),
        key: Secret::from(&b"a simulated key of 32 octets and more"[..]),
        required,
    });
    let mut groups = vec![DhGroup::CURVE25519];
    if scenario.groups {
        groups.push(DhGroup::ECP_256);
        if !first {
            groups.reverse();
        }
    }
    config.ike_proposals = vec![IkeProposal {
        encryption: vec![IkeCipher::AesGcm16(KeyBits::B128)],
        prf: vec![Prf::HmacSha2_256],
        integrity: Vec::new(),
        groups: groups.clone(),
        additional: scenario.additional.to_vec(),
    }];
    config.esp_proposals = vec![EspProposal {
        encryption: vec![EspCipher::AesGcm16(KeyBits::B128)],
        integrity: Vec::new(),
        groups,
        additional: scenario.additional.to_vec(),
        esn: vec![false],
    }];
    config.force_udp_encapsulation = rng.chance(500);
    config.startup = if first || scenario.both_initiate { Startup::Initiate } else { Startup::Respond };
    config.selection = match scenario.groups {
        true => Selection::LowestValue,
        false => rng.pick(&[Selection::OurOrder, Selection::LowestValue]),
    };
    if scenario.cookies {
        config.limits.cookie_threshold = 0;
    }
    config.fragment_size = Some(scenario.fragments.unwrap_or(1280));
    config.retire_delay = Duration::from_secs(2);
    let seconds = Duration::from_secs;
    let life = |rekey: u64, hard: u64| Lifetime {
        rekey_after: seconds(rekey),
        jitter: seconds(rekey / 3),
        hard: seconds(hard),
    };
    (config.child_lifetime, config.ike_lifetime) = match scenario.lives {
        Lives::Short => (life(rng.between(6, 20), 60), life(rng.between(10, 40), 120)),
        Lives::EightHours => (life(3_000, 3_600), life(27_000, 28_800)),
        Lives::Endless => (life(1_000_000, 2_000_000), life(1_000_000, 2_000_000)),
    };
    config
}

/// One run.
struct Run {
    seed: u64,
    scenario: Scenario,
    world: World<SimNode>,
    rng: SimRng,
    log: Vec<String>,
    verbose: bool,
}

impl Run {
    fn new(seed: u64, verbose: bool) -> Self {
        let master = SimRng::new(seed);
        let mut rng = master.fork(1);
        let scenario = Scenario::draw(&master);
        let nodes = [true, false]
            .into_iter()
            .zip(2..)
            .map(|(first, user)| {
                let config = config(&scenario, &mut rng, first);
                SimNode::new(config, master.fork(user), START, scenario.traffic_interval())
            })
            .collect();
        let mut world = World::new(START, nodes, scenario.link, master.fork(9));
        if scenario.nat {
            world.hide(0, "192.0.2.1".parse().unwrap());
        }
        Self { seed, scenario, world, rng, log: Vec::new(), verbose }
    }

    /// Steps until `end`, checking safety after each step.
    fn until(&mut self, end: Instant) -> Result<(), String> {
        let (mut last, mut at_once) = (self.world.now, 0);
        while self.world.next().is_some_and(|at| at <= end) {
            self.world.step();
            at_once = if self.world.now == last { at_once + 1 } else { 0 };
            last = self.world.now;
            if at_once > STEPS_AT_ONCE {
                return Err("an endless loop at one instant".to_owned());
            }
            self.check_safety()?;
        }
        self.world.now = end;
        Ok(())
    }

    fn check_safety(&self) -> Result<(), String> {
        for (index, node) in self.world.nodes.iter().enumerate() {
            if let Some(violation) = node.books.violations.first() {
                return Err(format!("node {index}: {violation}"));
            }
            let status = node.endpoint.status();
            if status.ike_sas > 8 + 16 + 1 {
                return Err(format!("node {index}: {} IKE SAs", status.ike_sas));
            }
            if let Some(child) = &status.child
                && node.active != Some(child.id)
            {
                let (shell, core) = (node.active, child.id);
                return Err(format!(
                    "node {index}: the shell sends on {shell:?}, the negotiator on {core:?}"
                ));
            }
        }
        Ok(())
    }

    fn chaos(&mut self) -> Result<(), String> {
        let end = START + self.scenario.chaos;
        while self.world.now < end {
            let longest = if self.scenario.lives == Lives::EightHours { 5_400_000 } else { 6_000 };
            let pause = self.rng.between(50, longest);
            let next = (self.world.now + Duration::from_millis(pause)).min(end);
            self.until(next)?;
            self.interfere();
        }
        Ok(())
    }

    /// An operator, a power failure, or the network does something.
    fn interfere(&mut self) {
        let now = self.world.now;
        let victim = usize::try_from(self.rng.up_to(1)).unwrap_or(0);
        let mut commands = Vec::new();
        let s = &self.scenario;
        match self.rng.up_to(9) {
            0..=2 if s.rekeys => commands.push((victim, Command::RekeyChild)),
            3..=4 if s.rekeys => commands.push((victim, Command::RekeyIke)),
            // Both at once: the collisions.
            5 if s.rekeys => commands.extend([(0, Command::RekeyChild), (1, Command::RekeyChild)]),
            6 if s.rekeys => commands.extend([(0, Command::RekeyIke), (1, Command::RekeyIke)]),
            7 if s.rekeys => {
                commands.extend([(victim, Command::RekeyIke), (1 - victim, Command::RekeyChild)])
            }
            8 if s.resets && self.rng.chance(300) => {
                let local = self.world.nodes[victim].endpoint.config().local;
                self.log.push(format!("{now:?} node {victim} is told of its address anew"));
                self.world.nodes[victim].input(now, Input::LocalChanged { local });
                self.world.collect(victim);
            }
            8 if s.resets && self.rng.chance(300) => {
                commands.extend([(victim, Command::Close), (victim, Command::Initiate)]);
            }
            8 if s.resets => commands.push((victim, Command::Reset)),
            8 if s.nat => {
                self.log.push(format!("{now:?} NAT rebinds"));
                self.world.rebind(0);
            }
            9 if s.sleeps && self.rng.chance(300) => {
                let seconds = self.rng.pick(&[1, 10, 100, 10_000]);
                let end = (now + Duration::from_secs(seconds)).min(START + s.chaos);
                // One machine is suspended, or the clocks of both jump.
                for node in if self.rng.chance(500) { 0..2 } else { victim..victim + 1 } {
                    self.log.push(format!("{now:?} node {node} sleeps until {end:?}"));
                    self.world.nodes[node].sleep(end);
                }
            }
            9 if s.reboots && self.rng.chance(400) => {
                self.log.push(format!("{now:?} node {victim} reboots"));
                self.world.nodes[victim].reboot(now);
            }
            9 if s.partitions => {
                self.world.link.cut = !self.world.link.cut;
                self.log.push(format!("{now:?} cut: {}", self.world.link.cut));
            }
            _ => commands.push((victim, Command::CheckLiveness)),
        }
        for (node, command) in commands {
            self.log.push(format!("{now:?} node {node}: {command:?}"));
            self.world.nodes[node].input(now, Input::Command(command));
            self.world.collect(node);
        }
    }

    /// Both hold one IKE SA and one child, the same ones, and use them.
    fn agree(&self) -> Result<(), String> {
        let [a, b] = &self.world.nodes[..] else { return Err("two nodes".to_owned()) };
        let (sa, sb) = (a.endpoint.status(), b.endpoint.status());
        if (sa.phase, sb.phase) != (Phase::Established, Phase::Established) {
            return Err(format!("phases {:?} and {:?}", sa.phase, sb.phase));
        }
        if (sa.ike_sas, sb.ike_sas) != (1, 1) {
            return Err(format!("{} and {} IKE SAs", sa.ike_sas, sb.ike_sas));
        }
        if (a.children.len(), b.children.len()) != (1, 1) {
            return Err(format!("{} and {} children", a.children.len(), b.children.len()));
        }
        let (ia, ib) = (sa.ike.ok_or("no IKE SA")?, sb.ike.ok_or("no IKE SA")?);
        if (ia.spi_i, ia.spi_r) != (ib.spi_i, ib.spi_r) {
            return Err("different IKE SAs".to_owned());
        }
        let both = self.scenario.ppk.iter().all(Option::is_some);
        if (ia.ppk, ib.ppk) != (both, both) {
            return Err(format!("PPK used: {} and {}", ia.ppk, ib.ppk));
        }
        let (ca, cb) = (sa.child.ok_or("no active child")?, sb.child.ok_or("no active child")?);
        if (ca.spi_in, ca.spi_out) != (cb.spi_out, cb.spi_in) {
            return Err("different children".to_owned());
        }
        Ok(())
    }

    fn heal(&mut self) -> Result<(), String> {
        self.log.push(format!("{:?} the network heals", self.world.now));
        self.world.link =
            Link { longest: self.world.link.longest, ..Link::perfect(Duration::from_millis(10)) };
        let deadline = self.world.now + DEADLINE;
        self.until(self.world.now + SETTLING)?;
        let mut agreement = self.agree();
        while agreement.is_err() && self.world.now < deadline {
            self.until(self.world.now + Duration::from_millis(250))?;
            agreement = self.agree();
        }
        agreement.map_err(|what| format!("no agreement {DEADLINE:?} after the network healed: {what}"))?;
        if self.scenario.lives == Lives::Endless {
            // What is agreed stays agreed, and traffic passes.
            let received =
                |run: &Self| run.world.nodes.iter().map(|n| n.books.esp_received).collect::<Vec<_>>();
            let before = received(self);
            self.until(self.world.now + Duration::from_secs(40))?;
            self.agree().map_err(|what| format!("the agreement did not last: {what}"))?;
            for (before, after) in before.iter().zip(received(self)) {
                if after - before < 70 {
                    return Err(format!("only {} packets in 40 s", after - before));
                }
            }
        }
        Ok(())
    }

    fn judge(&self) -> Result<(), String> {
        let gentle = self.scenario.is_gentle();
        for (index, node) in self.world.nodes.iter().enumerate() {
            let books = &node.books;
            let calm = gentle && self.world.nodes.iter().all(|n| n.books.unreachable + n.books.closes == 0);
            if calm && self.scenario.link.loss <= 100 && books.child_losses > 0 {
                return Err(format!("node {index} was without a child {} times", books.child_losses));
            }
            // Two IKE SAs initiated at once cost the loser its child, so this holds with one initiator.
            if calm && !self.scenario.both_initiate && books.esp_lost > 0 {
                return Err(format!("node {index}: {} packets lost to rekeys", books.esp_lost));
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), String> {
        self.chaos()?;
        self.heal()?;
        self.judge()
    }

    fn report(&self, what: &str) -> String {
        let mut text = String::new();
        let seed = self.seed;
        let _ = writeln!(text, "seed {seed}: {what}");
        let _ = writeln!(text, "  CGWD_SIM_SEED={seed} cargo test -p ike --test simulation -- --nocapture");
        let _ = writeln!(text, "  {:?}", self.scenario);
        if self.verbose {
            let mut lines: Vec<_> = self
                .world
                .trace()
                .filter_map(|(at, packet)| {
                    let ike = packet.payload.strip_prefix(&[0; 4]).unwrap_or(&packet.payload);
                    let header = ike::wire::parse_header(ike).ok()?;
                    let kind = if header.flags.response() { "response" } else { "request" };
                    Some(format!(
                        "{at:?} {} -> {} {:?} {kind} {} sa {}/{} ({} octets)",
                        packet.from,
                        packet.to,
                        header.exchange,
                        header.message_id,
                        header.spi_i,
                        header.spi_r,
                        ike.len()
                    ))
                })
                .chain(self.log.iter().cloned())
                .collect();
            lines.sort();
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
            let file = std::env::temp_dir().join(format!("cgwd-sim-{seed}.pcap"));
            if std::fs::write(&file, pcap(self.world.trace())).is_ok() {
                let _ = writeln!(text, "  packets: {}", file.display());
            }
            for node in &self.world.nodes {
                let _ = writeln!(text, "  {:#?}", node.endpoint.status());
                let _ = writeln!(text, "  {:?}", node.books);
            }
        }
        text
    }
}

#[derive(Default, Debug)]
struct Totals {
    seeds: u64,
    virtual_seconds: u64,
    ike_rekeys: u64,
    child_rekeys: u64,
    collisions: u64,
    unreachable: u64,
    esp_sent: u64,
    failed: Vec<u64>,
}

fn run_seed(seed: u64, verbose: bool, totals: &mut Totals) -> Option<String> {
    let mut run = Run::new(seed, verbose);
    let failure = run.run().err().map(|what| run.report(&what));
    totals.seeds += 1;
    totals.virtual_seconds += (run.world.now - START).as_secs();
    for node in &run.world.nodes {
        totals.ike_rekeys += node.books.ike_rekeys;
        totals.child_rekeys += node.books.child_rekeys;
        totals.collisions += node.books.collisions;
        totals.unreachable += node.books.unreachable;
        totals.esp_sent += node.books.esp_sent;
    }
    if failure.is_some() {
        totals.failed.push(seed);
    } else if verbose {
        print!("{}", run.report("passed"));
    }
    failure
}

/// Runs seeds on two threads.
fn run_seeds(seeds: &[u64]) -> (Totals, Vec<String>) {
    let half = |range: Range<usize>| {
        let mut totals = Totals::default();
        let reports: Vec<_> =
            seeds[range].iter().filter_map(|seed| run_seed(*seed, false, &mut totals)).collect();
        (totals, reports)
    };
    let middle = seeds.len() / 2;
    let ((mut one, mut reports), (two, more)) = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(middle..seeds.len()));
        (half(0..middle), other.join().expect("a simulation thread"))
    });
    one.seeds += two.seeds;
    one.virtual_seconds += two.virtual_seconds;
    one.ike_rekeys += two.ike_rekeys;
    one.child_rekeys += two.child_rekeys;
    one.collisions += two.collisions;
    one.unreachable += two.unreachable;
    one.esp_sent += two.esp_sent;
    one.failed.extend(two.failed);
    reports.extend(more);
    (one, reports)
}

/// Seeds that failed once.
fn known_seeds() -> Vec<u64> {
    let text = include_str!("../../../tests/seeds.txt");
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| line.parse().expect("a seed in tests/seeds.txt"))
        .collect()
}

#[test]
fn after_chaos_both_sides_agree_on_one_tunnel() {
    if let Ok(seed) = std::env::var("CGWD_SIM_SEED") {
        let seed = seed.parse().expect("CGWD_SIM_SEED is a number");
        if let Some(report) = run_seed(seed, true, &mut Totals::default()) {
            panic!("{report}");
        }
        return;
    }
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let first = number("CGWD_SIM_FIRST").unwrap_or(0);
    let mut seeds = known_seeds();
    seeds.extend(first..first + number("CGWD_SIM_SEEDS").unwrap_or(DEFAULT_SEEDS));
    let (totals, reports) = run_seeds(&seeds);
    println!("{totals:?}");
    assert!(
        reports.is_empty(),
        "{} of {} seeds failed; add them to tests/seeds.txt\n{}",
        reports.len(),
        totals.seeds,
        reports.iter().take(10).cloned().collect::<String>()
    );
}

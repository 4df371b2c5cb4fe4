//! A BGP connection with a real BGP daemon behind each strongSwan endpoint.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use lab::aws_file::Connection;
use lab::gateway::Gateway;
use lab::router::{Program, Router, Settings};
use lab::strongswan;
use lab::topology::{Families, LAN, Side, Topology};
use lab::wait;

use crate::world::World;

/// Tunnel, session and routes must stand this soon after the daemon's start.
pub const BGP_UP: Duration = Duration::from_secs(10);

pub struct BgpWorld<'t> {
    pub world: World<'t>,
    pub routers: [Router<'t>; 2],
}

impl<'t> BgpWorld<'t> {
    /// Everything stands but the daemon, which has its file.
    pub fn prepare(
        lab: &'t Topology,
        program: Program,
        change: impl Fn(Side, Settings) -> Settings,
    ) -> Result<Self> {
        Self::prepare_in(lab, program, Families::V4, change)
    }

    pub fn prepare_in(
        lab: &'t Topology,
        program: Program,
        families: Families,
        change: impl Fn(Side, Settings) -> Settings,
    ) -> Result<Self> {
        let settings = Side::BOTH.map(|side| {
            let mut settings = strongswan::Settings::aws_in(side, families);
            if program.fills_kernel() {
                settings.routes.clear();
            }
            settings
        });
        let told = Side::BOTH.map(|side| change(side, Settings::aws_in(side, families)));
        let asns = told.each_ref().map(|told| (told.peer_as, told.local_as));
        let connection = Connection { bgp: Some(asns[0]), ..Connection::lab_in(families) };
        let world = World::prepare_in(lab, &connection, settings, families)?;
        if program == Program::Frr {
            // zebra would prefer the lab's route of last resort, a kernel route, to what BGP learns.
            for side in Side::BOTH {
                lab.aws(side).ip("route del blackhole 10.10.0.0/16 metric 4000")?;
                lab.aws(side).ip("-6 route del blackhole fd10:10::/64 metric 4000")?;
            }
        }
        let [one, two] = told;
        let routers =
            [Router::start(lab, Side::One, program, one)?, Router::start(lab, Side::Two, program, two)?];
        Ok(Self { world, routers })
    }

    /// With AWS's settings, both tunnels up and routes exchanged.
    pub fn up(lab: &'t Topology, program: Program) -> Result<Self> {
        let mut this = Self::prepare(lab, program, |_, settings| settings)?;
        this.start()?;
        Ok(this)
    }

    /// Starts the daemon, waits for `up` on both and for our routes at AWS; how long `up` took.
    pub fn start(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.world.gateway.start()?;
        self.gateway().wait_all_up(BGP_UP)?;
        let took = began.elapsed();
        let lan = LAN.parse()?;
        for router in &self.routers {
            if router.settings.local.is_ipv4() {
                wait::until(BGP_UP, "our prefix at AWS", || router.learned() == [lan])
                    .with_context(|| format!("learned {:?}\n{}", router.learned(), router.log()))?;
            }
        }
        Ok(took)
    }

    pub fn gateway(&self) -> &Gateway<'t> {
        &self.world.gateway
    }

    pub fn router(&self, side: Side) -> &Router<'t> {
        &self.routers[side.index()]
    }

    /// The `bgp` object of one tunnel.
    pub fn session(&self, side: Side) -> Result<serde_json::Value> {
        Ok(self.gateway().tunnel(side)?["bgp"].clone())
    }

    /// Both ends of a session, for the message of a failure.
    pub fn picture(&self, side: Side) -> String {
        let router = self.router(side);
        let aws = self.world.lab.aws(side);
        let routes = aws.ip("route show").unwrap_or_default();
        let forward = aws.run(&["sysctl", "net.ipv4.ip_forward"]).unwrap_or_default();
        format!(
            "{routes}{forward}{:?}\nlearned {:?}\n{}\n{}",
            self.session(side),
            router.learned(),
            router.table(),
            router.log()
        )
    }

    /// One tunnel's session as `cgwd bgp --json` has it.
    pub fn full(&self, side: Side) -> Result<serde_json::Value> {
        let output = self.gateway().cli(&["bgp", "--json"])?;
        let all: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let sessions = all["sessions"].as_array().cloned().unwrap_or_default();
        sessions.into_iter().find(|it| it["tunnel"] == side.tunnel()).context("no such session")
    }

    /// Announces other prefixes than `lan`, by the file.
    pub fn advertise(&self, prefixes: &[IpNet]) -> Result<()> {
        let path = self.gateway().config();
        let text = std::fs::read_to_string(&path)?;
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("advertise")).collect();
        let list: Vec<String> = prefixes.iter().map(|prefix| format!("\"{prefix}\"")).collect();
        let line = format!("[connection.bgp]\nadvertise = [{}]", list.join(", "));
        Ok(std::fs::write(path, kept.join("\n").replace("[connection.bgp]", &line) + "\n")?)
    }

    /// Takes every prefix but the default route, by the file.
    pub fn accept_any(&self) -> Result<()> {
        let path = self.gateway().config();
        let text = std::fs::read_to_string(&path)?;
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("vpc = ")).collect();
        Ok(std::fs::write(path, kept.join("\n") + "\n")?)
    }

    /// Waits until one of our routes leads to `prefix`, or none does.
    pub fn wait_route(&self, prefix: &str, there: bool) -> Result<()> {
        let line = format!("{prefix} ");
        let seen = || self.gateway().owned_routes().is_ok_and(|all| all.contains(&line) == there);
        wait::until(BGP_UP, &format!("the route to {prefix} to {}", if there { "come" } else { "go" }), seen)
            .with_context(|| self.picture(Side::One))?;
        Ok(())
    }

    /// Starts the daemon and waits until `count` of its routes stand in the kernel: how long that took since the
    /// start, since the first End-of-RIB (where there is none, since Established), and since a session had as many.
    pub fn fill(&mut self, count: usize) -> Result<(Duration, Duration, Duration)> {
        let began = Instant::now();
        self.world.gateway.start()?;
        let mut received = None;
        let has = |side| self.session(side).is_ok_and(|it| it["received"] == count);
        let full = || {
            if received.is_none() && Side::BOTH.into_iter().any(has) {
                received = Some(Instant::now());
            }
            self.kernel_routes().is_ok_and(|routes| routes == count)
        };
        wait::until(BGP_UP * 3, "the kernel's table to be full", full)
            .with_context(|| format!("{:?}\n{:?}", self.kernel_routes(), self.session(Side::One)))?;
        let took = began.elapsed();
        let filled = std::time::SystemTime::now();
        let events = self.gateway().events()?;
        let named = |code: &str| events.iter().find(|event| event["code"] == code);
        let event = named("BGP-SYNCHRONISED").or_else(|| named("BGP-UP")).context("no session")?;
        let behind = received.map_or(Duration::ZERO, |at| at.elapsed());
        Ok((took, since(event["time"].as_str().unwrap_or_default(), filled)?, behind))
    }

    /// Waits for an event whose text holds `words`.
    pub fn wait_event(&self, code: &str, words: &str, timeout: Duration) -> Result<String> {
        let find = || {
            let events = self.gateway().events().ok()?;
            let text = |event: &serde_json::Value| event["text"].as_str().unwrap_or_default().to_owned();
            events.iter().rev().find(|e| e["code"] == code && text(e).contains(words)).map(text)
        };
        let mut found = None;
        wait::until(timeout, &format!("the event {code} with {words:?}"), || {
            found = find();
            found.is_some()
        })
        .with_context(|| format!("{:#?}", self.gateway().events()))?;
        found.context("no event")
    }

    /// How many of our routes stand in the kernel.
    pub fn kernel_routes(&self) -> Result<usize> {
        Ok(self.gateway().owned_routes()?.lines().count())
    }

    /// Everything is gone after the daemon's end.
    pub fn stop(&mut self) -> Result<()> {
        ensure!(self.world.gateway.stop(), "the daemon ends on SIGTERM");
        ensure!(self.kernel_routes()? == 0, "no route is left");
        Ok(())
    }
}

/// From an event's time of day (UTC) to `until`, both within one day of each other; zero when the event is the later
/// one.
fn since(time: &str, until: std::time::SystemTime) -> Result<Duration> {
    let clock = time.split_once('T').map(|(_, clock)| clock.trim_end_matches('Z')).context("no time")?;
    let parts: Vec<f64> = clock.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let [hours, minutes, seconds] = parts[..] else { anyhow::bail!("no time of day: {time}") };
    let then = hours * 3600.0 + minutes * 60.0 + seconds;
    let day = until.duration_since(std::time::UNIX_EPOCH)?.as_secs_f64() % 86_400.0;
    let difference = (day - then).rem_euclid(86_400.0);
    Ok(Duration::from_secs_f64(if difference > 43_200.0 { 0.0 } else { difference }))
}

/// So many /24 prefixes beyond the lab's own.
pub fn prefixes(count: u32) -> Vec<IpNet> {
    (0..count).filter_map(|n| format!("172.{}.{}.0/24", 32 + n / 256, n % 256).parse().ok()).collect()
}

//! A BGP connection with a real BGP daemon behind each strongSwan endpoint.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
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

    /// Waits for a session's state.
    pub fn wait_state(&self, side: Side, state: &str, timeout: Duration) -> Result<Duration> {
        wait::until(timeout, &format!("BGP of {} to be {state}", side.tunnel()), || {
            self.session(side).is_ok_and(|session| session["state"] == state)
        })
        .with_context(|| format!("{:?}\n{}", self.session(side), self.router(side).log()))
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

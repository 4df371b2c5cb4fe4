//! A whole connection: strongSwan on both AWS endpoints, servers in the VPC, `cgwd` from an imported file.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::aws_file::Connection;
use lab::gateway::Gateway;
use lab::process::{Process, Spawn};
use lab::strongswan::{Settings, StrongSwan};
use lab::topology::{Families, Side, Topology};
use lab::traffic::{self, Server, binary};
use lab::wait;

/// Both tunnels must be up this soon after the daemon's start.
pub const UP: Duration = Duration::from_secs(5);
/// A tunnel whose peer returns must be up again this soon.
pub const BACK: Duration = Duration::from_secs(10);
/// An error must be named this soon.
pub const NAMED: Duration = Duration::from_secs(30);

/// What stands around the gateway.
pub struct World<'t> {
    pub lab: &'t Topology,
    pub aws: [StrongSwan<'t>; 2],
    pub gateway: Gateway<'t>,
    families: Families,
    _server: Server,
}

impl<'t> World<'t> {
    /// AWS stands, the file is imported, the daemon does not run yet.
    pub fn prepare(lab: &'t Topology, connection: &Connection, settings: [Settings; 2]) -> Result<Self> {
        Self::prepare_in(lab, connection, settings, Families::V4)
    }

    /// The same in other address families.
    pub fn prepare_in(
        lab: &'t Topology,
        connection: &Connection,
        settings: [Settings; 2],
        families: Families,
    ) -> Result<Self> {
        let [one, two] = settings;
        let aws = [StrongSwan::start(lab, Side::One, one)?, StrongSwan::start(lab, Side::Two, two)?];
        let world = Self { lab, aws, gateway: Gateway::new(lab)?, families, _server: Server::vpc(lab)? };
        world.import(connection)?;
        Ok(world)
    }

    /// The lab's static connection with AWS's defaults, both tunnels up.
    pub fn up(lab: &'t Topology) -> Result<Self> {
        let mut world = Self::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
        world.start()?;
        Ok(world)
    }

    /// Imports `describe-vpn-connections` output with nothing but the networks given.
    pub fn import(&self, connection: &Connection) -> Result<()> {
        let file = self.lab.scratch().join("describe-vpn-connections.json");
        std::fs::write(&file, serde_json::to_string_pretty(&connection.describe_json())?)?;
        self.gateway.import(&file, &["--lan", self.families.lan(), "--vpc", self.families.vpc()]).map(drop)
    }

    /// Starts the daemon and waits for both tunnels; how long that took.
    pub fn start(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.gateway.start()?;
        self.gateway.wait_all_up(UP)?;
        let took = began.elapsed();
        traffic::wait_for_echo(&self.lab.lan, self.families.vpc_host(), Duration::from_secs(2))?;
        Ok(took)
    }

    /// A peer that speaks IKEv1 only takes the place of strongSwan behind tunnel 1, for as long as the result lives.
    pub fn ikev1_only_peer(&mut self) -> Result<Process> {
        self.aws[0].kill();
        Process::spawn(&Spawn {
            namespace: self.lab.aws(Side::One),
            command: vec![binary("cgwd-lab")?.display().to_string(), "ikev1-only".to_owned()],
            env: Vec::new(),
            log: self.lab.scratch().join("ikev1-only.log"),
            pipes: false,
        })
    }

    /// The tunnel that carries the traffic.
    pub fn egress(&self) -> Result<Side> {
        Side::BOTH.into_iter().find(|&side| self.gateway.is_egress(side)).context("no tunnel is the egress")
    }

    /// A counter of a tunnel's status, such as `/child/rekeys`.
    pub fn counter(&self, side: Side, pointer: &str) -> Result<u64> {
        let tunnel = self.gateway.tunnel(side)?;
        tunnel
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("{pointer} in {tunnel}"))
    }

    /// Waits until the peer holds exactly one IKE SA with exactly one child.
    pub fn wait_for_one_pair(&self, side: Side) -> Result<()> {
        let aws = &self.aws[side.index()];
        let what = format!("exactly one SA pair at {}", side.role());
        wait::until(BACK, &what, || aws.sas().is_ok_and(|sas| sas.len() == 1 && sas[0].children.len() == 1))
            .with_context(|| format!("{:?}", aws.sas()))?;
        Ok(())
    }
}

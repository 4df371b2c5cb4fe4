//! Real BGP daemons as AWS's router behind a tunnel: BIRD 2, FRR and GoBGP, each in its smallest configuration.
//!
//! They run in the namespace of one AWS endpoint and speak over the tunnel interface that strongSwan made there.
//! What they learn goes into that namespace's kernel (BIRD and FRR; GoBGP keeps it to itself), as at AWS.

mod bird;
mod frr;
mod gobgp;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;

use crate::cleanup::Scratch;
use crate::netns::{self, Namespace};
use crate::process::{Process, Spawn};
use crate::topology::{Families, Side, Topology, VPC};
use crate::wait;

/// How long a daemon may take to answer its control program.
const START: Duration = Duration::from_secs(10);

/// Which daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// BIRD 2.
    Bird,
    /// FRR's zebra and bgpd.
    Frr,
    /// GoBGP.
    GoBgp,
}

impl Program {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Bird, Self::Frr, Self::GoBgp];

    /// Whether what it learns reaches its namespace's kernel.
    pub const fn fills_kernel(self) -> bool {
        !matches!(self, Self::GoBgp)
    }

    fn binary(self) -> &'static str {
        match self {
            Self::Bird => "/usr/sbin/bird",
            Self::Frr => "/usr/lib/frr/bgpd",
            Self::GoBgp => "/usr/bin/gobgpd",
        }
    }
}

/// What AWS's router is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its AS number.
    pub local_as: u32,
    /// The AS number it expects of the gateway.
    pub peer_as: u32,
    /// Its inside address.
    pub local: IpAddr,
    /// The gateway's inside address.
    pub peer: IpAddr,
    /// BGP Identifier.
    pub router_id: Ipv4Addr,
    /// What it announces.
    pub announce: Vec<IpNet>,
    /// With which MED.
    pub med: Option<u32>,
    /// Hold time in seconds; keepalives go at a third of it.
    pub hold: u16,
    /// Prefixes it takes; more end the session with Cease 6/1.
    pub max_prefix: u32,
    /// Waits to be connected to.
    pub passive: bool,
    /// Further lines of FRR's address family.
    pub extra: String,
}

impl Settings {
    /// A virtual private gateway's side of one tunnel, announcing the lab's VPC with AWS's timers and limit.
    pub fn aws(side: Side) -> Self {
        Self::aws_in(side, Families::V4)
    }

    /// The same in other address families.
    pub fn aws_in(side: Side, families: Families) -> Self {
        let inside = families.inside(side);
        let peer = inside.hosts().find(|host| *host > inside.addr()).unwrap_or(inside.addr());
        Self {
            local_as: 64_512,
            peer_as: 65_000,
            local: inside.addr(),
            peer,
            router_id: Ipv4Addr::new(10, 255, 0, side.index() as u8 + 1),
            announce: families.vpc().parse().or_else(|_| VPC.parse()).into_iter().collect(),
            med: Some(100),
            hold: 30,
            max_prefix: 100,
            passive: false,
            extra: String::new(),
        }
    }

    fn ipv6(&self) -> bool {
        self.local.is_ipv6()
    }
}

/// A running BGP daemon.
#[derive(Debug)]
pub struct Router<'t> {
    namespace: &'t Namespace,
    /// Its own, because FRR's daemons give up root and must reach it.
    scratch: Scratch,
    program: Program,
    /// What it was told last.
    pub settings: Settings,
    processes: Vec<Process>,
}

impl<'t> Router<'t> {
    /// Starts one in the namespace of `side`.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub fn start(topology: &'t Topology, side: Side, program: Program, settings: Settings) -> Result<Self> {
        let name = format!("router-{}", side.role());
        Self::start_in(topology.aws(side), Scratch::new(topology.rig(), &name)?, program, settings)
    }

    /// Starts one in any namespace, with its files in `scratch`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(
        namespace: &'t Namespace,
        scratch: Scratch,
        program: Program,
        settings: Settings,
    ) -> Result<Self> {
        if !Path::new(program.binary()).exists() {
            bail!("{} is not installed (scripts/test packages)", program.binary());
        }
        if program == Program::Frr {
            netns::run(Command::new("chown").arg("frr:frr").arg(scratch.path()))?;
        }
        let mut this = Self { namespace, scratch, program, settings, processes: Vec::new() };
        this.restart()?;
        Ok(this)
    }

    /// Starts it again after [`Self::kill`] or [`Self::stop`], or for the first time.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.processes.clear();
        for command in self.commands()? {
            self.processes.push(Process::spawn(&Spawn {
                namespace: self.namespace,
                command,
                env: Vec::new(),
                log: self.directory().join("stderr.log"),
                pipes: false,
            })?);
            if self.program == Program::Frr {
                // A bgpd that is there before zebra tries again after ten seconds.
                let zebra = self.directory().join(frr::ZEBRA);
                wait::until(START, "zebra's socket", || {
                    std::os::unix::net::UnixStream::connect(&zebra).is_ok()
                })
                .with_context(|| self.log())?;
            }
        }
        wait::until(START, "the BGP daemon's control socket", || self.control("").is_ok())
            .with_context(|| format!("{:?} did not start:\n{}", self.program, self.log()))?;
        if self.program == Program::GoBgp {
            gobgp::announce(self, &[], &self.settings)?;
        }
        Ok(())
    }

    fn directory(&self) -> &Path {
        self.scratch.path()
    }

    fn commands(&self) -> Result<Vec<Vec<String>>> {
        match self.program {
            Program::Bird => bird::commands(self.directory(), &self.settings),
            Program::Frr => frr::commands(self.directory(), &self.settings),
            Program::GoBgp => gobgp::commands(self.directory(), &self.settings),
        }
    }

    /// Asks its control program; an empty question asks whether it is there.
    ///
    /// # Errors
    /// When it says no.
    pub fn control(&self, question: &str) -> Result<String> {
        let command = match self.program {
            Program::Bird => bird::control(self.directory(), question),
            Program::Frr => frr::control(self.directory(), question),
            Program::GoBgp => gobgp::control(question),
        };
        let mut inside = self.namespace.command(command.get_program());
        inside.args(command.get_args());
        netns::run(&mut inside)
    }

    /// Takes other settings while it runs.
    ///
    /// # Errors
    /// When it refuses them.
    pub fn reconfigure(&mut self, settings: Settings) -> Result<()> {
        let old = std::mem::replace(&mut self.settings, settings);
        match self.program {
            Program::Bird => {
                bird::commands(self.directory(), &self.settings)?;
                self.control("configure").map(drop)
            }
            Program::Frr => frr::reconfigure(self, &old),
            Program::GoBgp => gobgp::announce(self, &old.announce, &self.settings),
        }
    }

    /// Announces these prefixes from now on.
    ///
    /// # Errors
    /// As [`Self::reconfigure`].
    pub fn announce(&mut self, announce: Vec<IpNet>) -> Result<()> {
        self.reconfigure(Settings { announce, ..self.settings.clone() })
    }

    /// Announces with this MED from now on.
    ///
    /// # Errors
    /// As [`Self::reconfigure`].
    pub fn med(&mut self, med: u32) -> Result<()> {
        self.reconfigure(Settings { med: Some(med), ..self.settings.clone() })
    }

    /// Whether the session is Established.
    pub fn established(&self) -> bool {
        match self.program {
            Program::Bird => bird::established(self),
            Program::Frr => frr::neighbour(self).is_ok_and(|peer| peer["bgpState"] == "Established"),
            Program::GoBgp => gobgp::established(self),
        }
    }

    /// The prefixes it learned from the gateway.
    pub fn learned(&self) -> Vec<IpNet> {
        let mut learned = match self.program {
            Program::Bird => bird::learned(self),
            Program::Frr => frr::learned(self),
            Program::GoBgp => gobgp::learned(self),
        }
        .unwrap_or_default();
        learned.sort();
        learned.dedup();
        learned
    }

    /// Its table and its view of the neighbour, for the message of a failure.
    pub fn table(&self) -> String {
        let questions = match self.program {
            Program::Bird => ["show protocols all cgw", "show interfaces"],
            Program::Frr => ["show bgp neighbors", "show bgp ipv4 unicast"],
            Program::GoBgp => ["neighbor", "global rib"],
        };
        questions.map(|it| self.control(it).unwrap_or_else(|error| error.to_string())).join("\n")
    }

    /// Asks the gateway for its routes again (RFC 2918).
    ///
    /// # Errors
    /// When there is no session.
    pub fn refresh(&self) -> Result<()> {
        let peer = self.settings.peer;
        let family = if self.settings.ipv6() { "ipv6" } else { "ipv4" };
        match self.program {
            Program::Bird => self.control("reload in cgw"),
            Program::Frr => self.control(&format!("clear bgp {family} unicast {peer} soft in")),
            Program::GoBgp => self.control(&format!("neighbor {peer} softresetin")),
        }
        .map(drop)
    }

    /// Ends the session in order, with Cease, and leaves the daemon running.
    ///
    /// # Errors
    /// When it refuses.
    pub fn cease(&self) -> Result<()> {
        let peer = self.settings.peer;
        match self.program {
            Program::Bird => self.control("disable cgw"),
            Program::Frr => self.configure(&[format!("neighbor {peer} shutdown message maintenance")]),
            Program::GoBgp => self.control(&format!("neighbor {peer} disable")),
        }
        .map(drop)
    }

    /// Undoes [`Self::cease`].
    ///
    /// # Errors
    /// When it refuses.
    pub fn resume(&self) -> Result<()> {
        let peer = self.settings.peer;
        match self.program {
            Program::Bird => self.control("enable cgw"),
            Program::Frr => self.configure(&[format!("no neighbor {peer} shutdown")]),
            Program::GoBgp => self.control(&format!("neighbor {peer} enable")),
        }
        .map(drop)
    }

    /// Whether the gateway ended the last session by Cease, as the daemon saw it.
    pub fn was_told_goodbye(&self) -> bool {
        let seen = match self.program {
            Program::Bird => self.log().contains("Received: Administrative shutdown"),
            Program::Frr => self.table().contains("Cease/Administrative Shutdown"),
            Program::GoBgp => self.log().contains("code 6(cease) subcode 2(administrative shutdown)"),
        };
        if !seen {
            tracing::warn!(log = self.log(), "no Cease");
        }
        seen
    }

    fn configure(&self, lines: &[String]) -> Result<String> {
        let router = format!("router bgp {}", self.settings.local_as);
        let all = ["configure terminal".to_owned(), router].into_iter().chain(lines.iter().cloned());
        self.control(&all.collect::<Vec<_>>().join("\n"))
    }

    /// Freezes the daemon, or lets it go on: the neighbour hears nothing while the tunnel works.
    pub fn freeze(&self, frozen: bool) {
        for process in &self.processes {
            process.signal(if frozen { "STOP" } else { "CONT" });
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.processes.clear();
    }

    /// What it logged.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.directory().join(name)).unwrap_or_default();
        format!("{}{}", read("stderr.log"), read("router.log"))
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The words of a text that are prefixes.
fn prefixes(text: &str) -> Vec<IpNet> {
    text.split_whitespace().filter(|word| word.contains('/')).filter_map(|word| word.parse().ok()).collect()
}

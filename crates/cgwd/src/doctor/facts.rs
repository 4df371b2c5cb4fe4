//! Everything that the doctor looked at, as values.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use model::Secret;

use super::aws_json;
use super::measure::Measured;
use crate::api;

/// Bits of `CapEff` in `/proc/PID/status` (capabilities(7)).
pub mod capability {
    /// To bind ports below 1024.
    pub const NET_BIND_SERVICE: u32 = 10;
    /// To make interfaces and routes.
    pub const NET_ADMIN: u32 = 12;
    /// To send protocol 50.
    pub const NET_RAW: u32 = 13;
}

/// Everything that was looked at. What could not be looked at is `None`, and nothing is concluded from it.
#[derive(Debug)]
pub struct Facts {
    /// Milliseconds since 1970, when it was looked at.
    pub now_ms: u64,
    /// The machine; `None` when the daemon lives in another network namespace.
    pub host: Option<Host>,
    /// The configuration file.
    pub configuration: Configuration,
    /// The daemon.
    pub daemon: Daemon,
    /// The pre-shared keys of the configuration that could be read, by outside address.
    pub keys: BTreeMap<IpAddr, Secret>,
    /// Keys of the configuration that could not be read, and why.
    pub keys_missing: Vec<(IpAddr, String)>,
    /// `--aws-json`.
    pub aws: Option<aws_json::Description>,
    /// What the doctor measured with packets of its own.
    pub measured: Measured,
}

/// The configuration file.
#[derive(Debug)]
pub enum Configuration {
    /// It is valid.
    Loaded {
        /// Its path.
        path: PathBuf,
        /// The values.
        config: Box<config::Config>,
        /// What somebody should look at.
        warnings: Vec<Problem>,
    },
    /// It cannot be run.
    Broken {
        /// Its path.
        path: PathBuf,
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
    /// There is none.
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `CFG-…`.
    pub code: String,
    /// Line and column, from 1.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// The daemon.
#[derive(Debug)]
pub enum Daemon {
    /// It answers.
    Running(Box<Running>),
    /// It does not.
    Silent {
        /// What was tried, and what the kernel said.
        why: String,
    },
}

/// What a running daemon says.
#[derive(Debug)]
pub struct Running {
    /// `GET /v1/status`.
    pub status: api::Status,
    /// `GET /v1/events`, oldest first.
    pub events: Vec<api::Event>,
    /// `GET /v1/routes`.
    pub routes: api::Routes,
    /// `GET /v1/bgp`.
    pub bgp: api::BgpReport,
    /// Its effective capabilities.
    pub capabilities: Option<u64>,
    /// Its process, when it lives in another network namespace than we do.
    pub elsewhere: Option<i32>,
}

/// The machine, as seen from the network namespace of the doctor.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Whether `/dev/net/tun` can be opened; `Err` has what the kernel said.
    pub tun: Option<Result<(), String>>,
    /// UDP sockets on ports 500 and 4500.
    pub listeners: Vec<Listener>,
    /// `net.ipv4.ip_forward`.
    pub forwarding_v4: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwarding_v6: Option<bool>,
    /// `net.ipv4.conf.all.rp_filter`.
    pub reverse_path_all: Option<u8>,
    /// `net.ipv4.conf.IFACE.rp_filter` of our interfaces that exist.
    pub reverse_path: BTreeMap<String, u8>,
    /// All addresses, with their interfaces.
    pub addresses: Vec<(String, IpNet)>,
    /// Unicast routes of all tables.
    pub routes: Vec<KernelRoute>,
    /// Tables that a rule leads to.
    pub tables: Vec<u32>,
    /// How the kernel reaches each outside address.
    pub underlay: BTreeMap<IpAddr, Result<Underlay, String>>,
    /// Where a packet to a prefix behind AWS goes: the prefix, an address in it, the interface.
    pub lookups: Vec<Lookup>,
    /// Whether systemd-networkd runs and removes routes that it does not know.
    pub networkd_removes_routes: bool,
}

/// A UDP socket on one of IKE's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it is bound to.
    pub local: SocketAddr,
    /// The program that has it, when that can be seen.
    pub program: Option<String>,
    /// It is the daemon's.
    pub ours: bool,
}

/// A route of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    /// What it matches.
    pub destination: IpNet,
    /// Its table.
    pub table: u32,
    /// Who made it.
    pub protocol: u8,
    /// The lower the better.
    pub metric: u32,
    /// Where it leads; empty for one that drops.
    pub interfaces: Vec<String>,
}

/// How an outside address is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The interface.
    pub interface: String,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// The source address that the kernel would take.
    pub source: Option<IpAddr>,
    /// The largest packet.
    pub mtu: u32,
    /// The address is one of this machine's own.
    pub local: bool,
}

/// Where the kernel sends a packet for a prefix behind AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The prefix that we route.
    pub prefix: IpNet,
    /// The address that was asked for.
    pub target: IpAddr,
    /// The interface, or what the kernel said.
    pub interface: Result<String, String>,
}

/// One tunnel from all sides.
#[derive(Clone, Debug)]
pub struct Line<'f> {
    /// What findings call it.
    pub label: String,
    /// The connection.
    pub connection: String,
    /// AWS's outside address.
    pub outside: IpAddr,
    /// In the configuration.
    pub config: Option<(&'f config::Connection, &'f config::Tunnel)>,
    /// In the daemon's status.
    pub status: Option<(&'f api::Connection, &'f api::Tunnel)>,
    /// At AWS.
    pub aws: Option<(&'f aws_json::Connection, &'f aws_json::TunnelOptions)>,
    /// Its key.
    pub key: Option<&'f Secret>,
}

impl Line<'_> {
    /// Traffic can pass.
    pub fn up(&self) -> bool {
        self.stage() == Some(api::Stage::Up)
    }

    /// How far it has come.
    pub fn stage(&self) -> Option<api::Stage> {
        self.status.map(|(_, tunnel)| tunnel.stage)
    }

    /// The last error's code and text, while it can be why the tunnel is not up.
    pub fn failing(&self) -> Option<(&str, &str)> {
        let (_, tunnel) = self.status?;
        if tunnel.stage == api::Stage::Up {
            return None;
        }
        tunnel.last_error.as_ref().map(|error| (error.code.as_str(), error.text.as_str()))
    }

    /// Whether it is not up, and this was its last error.
    pub fn fails_with(&self, known: &super::Known) -> bool {
        self.failing().is_some_and(|(code, _)| code == known.code)
    }
}

impl Facts {
    /// The daemon's answers.
    pub fn running(&self) -> Option<&Running> {
        match &self.daemon {
            Daemon::Running(running) => Some(running),
            Daemon::Silent { .. } => None,
        }
    }

    /// The configuration, when it is valid.
    pub fn config(&self) -> Option<&config::Config> {
        match &self.configuration {
            Configuration::Loaded { config, .. } => Some(config),
            Configuration::Broken { .. } | Configuration::Absent { .. } => None,
        }
    }

    /// The timeline, oldest first.
    pub fn events(&self) -> &[api::Event] {
        self.running().map_or(&[], |running| &running.events)
    }

    /// Every tunnel that the daemon runs or the configuration names, from all sides.
    pub fn lines(&self) -> Vec<Line<'_>> {
        let mut lines: Vec<Line<'_>> = Vec::new();
        for connection in
            self.running().map(|running| running.status.connections.as_slice()).unwrap_or_default()
        {
            for tunnel in &connection.tunnels {
                let mut line = self.line(&connection.id, &tunnel.name, tunnel.outside_ip);
                line.status = Some((connection, tunnel));
                lines.push(line);
            }
        }
        for (connection, tunnel) in self.config().into_iter().flat_map(config::Config::tunnels) {
            let known = |line: &&mut Line<'_>| {
                line.outside == tunnel.outside && (line.connection == connection.id || line.config.is_none())
            };
            if let Some(line) = lines.iter_mut().find(known) {
                line.config = Some((connection, tunnel));
            } else {
                let mut line = self.line(&connection.id, &tunnel.name, tunnel.outside);
                line.config = Some((connection, tunnel));
                lines.push(line);
            }
        }
        let several =
            lines.iter().any(|line| lines.first().is_some_and(|first| first.connection != line.connection));
        if several {
            for line in &mut lines {
                line.label = format!("{}/{}", line.connection, line.label);
            }
        }
        lines
    }

    fn line(&self, connection: &str, name: &str, outside: IpAddr) -> Line<'_> {
        Line {
            label: name.to_owned(),
            connection: connection.to_owned(),
            outside,
            config: None,
            status: None,
            aws: self.aws.as_ref().and_then(|aws| aws.tunnel(connection, outside)),
            key: self.keys.get(&outside),
        }
    }
}

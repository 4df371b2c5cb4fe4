//! `cgwd-lab`: the tools of the lab that run inside a namespace, the stand-in for AWS, the demo.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the report on standard output is what these tools are for")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use lab::demo;
use lab::endpoint::{self, Allowed, BgpOptions, Encryption, Hash, Options};
use lab::traffic::{Direction, flood, pinger, serve, transfer};
use model::Secret;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(name = "cgwd-lab", about = "Lab of cgwd: the AWS stand-in, traffic tools, the demo", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers UDP echoes and TCP transfers on the given addresses.
    Serve {
        /// Addresses of this host.
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
    },
    /// Sends numbered datagrams to an echo server until standard input ends, then reports every loss as JSON.
    Pinger {
        /// The echo server.
        target: SocketAddr,
        /// Microseconds from one datagram to the next.
        #[arg(long, default_value_t = 50_000)]
        interval_us: u64,
        /// Send this many and stop.
        #[arg(long)]
        count: Option<u64>,
        /// How long to wait for the last answers.
        #[arg(long, default_value_t = 1000)]
        grace_ms: u64,
    },
    /// Sends first IKE requests with forged addresses and ports, then reports what left as JSON.
    Flood {
        /// The gateway.
        target: Ipv4Addr,
        /// Addresses of its peers.
        peers: Vec<Ipv4Addr>,
        /// How many.
        #[arg(long, default_value_t = 100_000)]
        count: u64,
        /// How many a second.
        #[arg(long, default_value_t = 10_000)]
        rate: u64,
    },
    /// Moves octets over TCP and compares each of them.
    Transfer {
        /// Which way.
        direction: Way,
        /// The transfer server.
        target: SocketAddr,
        /// How many octets.
        bytes: u64,
    },
    /// Carries what is routed into a TUN, late.
    Delay {
        /// The TUN interface to make.
        interface: String,
        /// By how many milliseconds.
        millis: u64,
    },
    /// Runs one AWS-like tunnel endpoint of our own in the foreground, in the current namespace.
    Endpoint(Box<EndpointArgs>),
    /// Answers every IKEv2 message on UDP 500 the way an IKEv1-only peer does: INVALID_MAJOR_VERSION.
    #[command(name = "ikev1-only")]
    Ikev1Only,
    /// Brings up a whole AWS-like connection in network namespaces and shows it working.
    Demo {
        /// Leave everything up until Return is pressed.
        #[arg(long)]
        hold: bool,
    },
    /// Measures us and our peers in one rig, and prints the tables.
    Bench(Box<lab::bench::Arguments>),
    /// Boots a Debian with systemd and runs a command beside it: every gateway of the interoperability suite then runs
    /// under the sandbox of the shipped unit.
    Sandbox {
        /// The command, after `--`.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Removes what killed labs left behind.
    Sweep,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    Download,
    Upload,
}

/// The options of AWS's tunnel, by AWS's names and with AWS's defaults.
#[derive(Args)]
struct EndpointArgs {
    /// The endpoint's outside address.
    #[arg(long)]
    local: IpAddr,
    /// The customer gateway's outside address.
    #[arg(long)]
    peer: IpAddr,
    /// A file with the pre-shared key; a line end after it is ignored.
    #[arg(long)]
    psk_file: PathBuf,
    /// AWS's inside address with its prefix (169.254.10.1/30); of a network (169.254.10.0/30), its first host.
    #[arg(long)]
    inside: IpNet,
    /// The TUN interface to make.
    #[arg(long)]
    interface: String,
    /// A network behind the customer.
    #[arg(long = "route", value_name = "CIDR")]
    routes: Vec<IpNet>,
    /// Who begins: the customer (add) or AWS (start).
    #[arg(long, value_enum, default_value = "add")]
    startup: StartupAction,
    /// Phase 1 encryption algorithms.
    #[arg(long, value_enum, value_delimiter = ',')]
    phase1_encryption: Vec<Encryption>,
    /// Phase 1 integrity algorithms, which name the PRF too.
    #[arg(long, value_enum, value_delimiter = ',')]
    phase1_integrity: Vec<Hash>,
    /// Phase 1 Diffie-Hellman groups.
    #[arg(long, value_delimiter = ',')]
    phase1_dh: Vec<u16>,
    /// Phase 2 encryption algorithms.
    #[arg(long, value_enum, value_delimiter = ',')]
    phase2_encryption: Vec<Encryption>,
    /// Phase 2 integrity algorithms.
    #[arg(long, value_enum, value_delimiter = ',')]
    phase2_integrity: Vec<Hash>,
    /// Phase 2 Diffie-Hellman groups (perfect forward secrecy).
    #[arg(long, value_delimiter = ',')]
    phase2_dh: Vec<u16>,
    /// Phase 1 lifetime in seconds.
    #[arg(long, default_value_t = 28_800)]
    phase1_lifetime: u64,
    /// Phase 2 lifetime in seconds.
    #[arg(long, default_value_t = 3_600)]
    phase2_lifetime: u64,
    /// Rekey margin in seconds.
    #[arg(long, default_value_t = 270)]
    rekey_margin: u64,
    /// Rekey fuzz in per cent.
    #[arg(long, default_value_t = 100)]
    rekey_fuzz: u32,
    /// Replay window in packets.
    #[arg(long, default_value_t = 1024)]
    replay_window: u32,
    /// Key exchanges after the first in both phases, such as ML-KEM-768: what AWS does not have.
    #[arg(long, value_name = "KEM", num_args = 1.., value_parser = kem)]
    kem: Vec<u16>,
    /// A post-quantum pre-shared key, required: its name, `=`, and the text of the key. For the laboratory alone.
    #[arg(long, value_name = "ID=KEY", value_parser = ppk)]
    ppk: Option<ike::Ppk>,
    /// AWS's AS number: a dynamic connection, with BGP over the inside addresses.
    #[arg(long, value_name = "ASN")]
    bgp: Option<u32>,
    /// Networks of the VPC to announce.
    #[arg(long, value_name = "CIDR", num_args = 1.., requires = "bgp")]
    announce: Vec<IpNet>,
    /// The customer gateway's AS number.
    #[arg(long, value_name = "ASN", default_value_t = 65_000)]
    customer_asn: u32,
    /// Prefixes taken from the customer before the session ends with Cease 6/1.
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_prefixes: u32,
    /// MULTI_EXIT_DISC to announce; AWS prefers the tunnel with the lower one.
    #[arg(long, value_name = "N")]
    med: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StartupAction {
    Add,
    Start,
}

/// The number of a key encapsulation by its name.
fn kem(name: &str) -> Result<u16, String> {
    let named = |kem: &ike::wire::DhGroup| kem.to_string().replace('_', "-").eq_ignore_ascii_case(name);
    let kem = ike::crypto::KEMS.into_iter().find(named);
    kem.map(|kem| kem.0).ok_or_else(|| format!("there is no {name}"))
}

/// A required PPK.
fn ppk(text: &str) -> Result<ike::Ppk, String> {
    let (id, key) = text.split_once('=').ok_or("write ID=KEY")?;
    Ok(ike::Ppk { id: id.as_bytes().to_vec(), key: Secret::from(key.as_bytes()), required: true })
}

impl EndpointArgs {
    fn options(self) -> Result<Options> {
        let key = std::fs::read(&self.psk_file)
            .with_context(|| format!("cannot read the key from {}", self.psk_file.display()))?;
        let allowed = |mut all: Allowed, encryption: Vec<_>, integrity: Vec<_>, groups: Vec<_>| {
            // An empty list is AWS's "all of them".
            if !encryption.is_empty() {
                all.encryption = encryption;
            }
            if !integrity.is_empty() {
                all.integrity = integrity;
            }
            if !groups.is_empty() {
                all.groups = groups;
            }
            all
        };
        Ok(Options {
            local: self.local,
            peer: self.peer,
            psk: Secret::from(key.trim_ascii_end()),
            inside: self.inside,
            interface: self.interface,
            routes: self.routes,
            start: self.startup == StartupAction::Start,
            phase1: allowed(Allowed::phase1(), self.phase1_encryption, self.phase1_integrity, self.phase1_dh),
            phase2: allowed(Allowed::phase2(), self.phase2_encryption, self.phase2_integrity, self.phase2_dh),
            lifetimes: [self.phase1_lifetime, self.phase2_lifetime].map(Duration::from_secs),
            rekey_margin: Duration::from_secs(self.rekey_margin),
            rekey_fuzz: self.rekey_fuzz,
            replay_window: self.replay_window,
            additional: self.kem,
            ppk: self.ppk,
            bgp: self.bgp.map(|asn| BgpOptions {
                asn,
                customer_asn: self.customer_asn,
                announce: self.announce,
                max_prefixes: self.max_prefixes,
                med: self.med,
            }),
        })
    }
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Serve { addresses } => serve::run(&addresses, || println!("ready")),
        Command::Pinger { target, interval_us, count, grace_ms } => {
            let options = pinger::Options {
                target,
                interval: Duration::from_micros(interval_us),
                count,
                grace: Duration::from_millis(grace_ms),
            };
            println!("{}", serde_json::to_string(&pinger::run(options)?)?);
            Ok(())
        }
        Command::Flood { target, peers, count, rate } => {
            let report = flood::run(&flood::Options { target, peers, count, rate })?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(())
        }
        Command::Transfer { direction, target, bytes } => {
            let direction = match direction {
                Way::Download => Direction::Download,
                Way::Upload => Direction::Upload,
            };
            println!("{}", serde_json::to_string(&transfer::run(target, direction, bytes)?)?);
            Ok(())
        }
        Command::Endpoint(arguments) => {
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
            endpoint::run(&arguments.options()?)
        }
        Command::Delay { interface, millis } => lab::delay::run(&interface, Duration::from_millis(millis)),
        Command::Ikev1Only => lab::ikev1::run(),
        Command::Demo { hold } => demo::run(demo::Options { hold }),
        Command::Bench(arguments) => lab::bench::run(&arguments),
        Command::Sandbox { command } => std::process::exit(lab::sandbox::run(&command)?),
        Command::Sweep => {
            for name in lab::cleanup::sweep_stale() {
                println!("removed {name}");
            }
            Ok(())
        }
    }
}

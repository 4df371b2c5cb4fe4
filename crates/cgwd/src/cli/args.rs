//! The command line's shape, and the help people read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::control::SOCKET_DEFAULT;

/// Where the configuration is unless somebody says otherwise.
pub(super) const CONFIG_DEFAULT: &str = "/etc/cgwd/cgwd.toml";

/// Customer gateway daemon for AWS Site-to-Site VPN.
#[derive(Debug, Parser)]
#[command(name = "cgwd", version, about, max_term_width = 100, propagate_version = true)]
pub(super) struct Cli {
    /// The daemon's control socket.
    #[arg(long, global = true, env = "CGWD_SOCKET", value_name = "PATH", help_heading = "Global options")]
    pub(super) socket: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// The socket that was asked for, or the usual one.
    pub(super) fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| PathBuf::from(SOCKET_DEFAULT))
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Turn what AWS hands out into a configuration file
    ///
    /// Reads the Generic text download, the CustomerGatewayConfiguration XML, the JSON of
    /// `aws ec2 describe-vpn-connections`, a Terraform customer_gateway_configuration output, or AWS's strongSwan and
    /// Openswan downloads. The result holds the keys of both tunnels: it is written with mode 0600.
    Import(Import),
    /// Validate the configuration without starting anything
    Check(Check),
    /// Run the daemon in the foreground
    Run(Run),
    /// Show each tunnel on one screen; exit status 0 all up, 1 degraded, 2 down, 3 no daemon
    Status(Status),
    /// Block until tunnels are up; exit status 1 when the time is over
    Wait(Wait),
    /// Find out what is wrong, why, and what to do; exit status 0 healthy, 1 findings, 2 could not look
    ///
    /// Goes through host, underlay, IKE, IPsec, tunnel, routing and redundancy, and names the first cause with its
    /// remedy and the line to look for in the AWS tunnel log. Works with the daemon down, and before it was ever
    /// started.
    Doctor(Doctor),
    /// Show what happened to which tunnel, why, and how long it took
    ///
    /// When the daemon is down, what it left in its state directory (/var/lib/cgwd) is shown.
    Events(Events),
    /// Show the routes we own, and why each egress was chosen
    Routes(Routes),
    /// Show the BGP sessions, the prefixes in and out, and what is used and why
    Bgp(Bgp),
    /// Delete a tunnel's SAs and negotiate anew
    Reset(OneTunnel),
    /// Replace a tunnel's keys now, without interrupting traffic
    Rekey(Rekey),
    /// Move traffic away from a tunnel before maintenance
    Drain(OneTunnel),
    /// Put a drained tunnel back into service
    Undrain(OneTunnel),
    /// Apply the changed configuration file; untouched tunnels keep their SAs
    ///
    /// Prints what becomes of each tunnel, and why. When the file has an error, nothing changes. `--dry-run` only
    /// prints.
    Reload(Reload),
    /// Put what AWS Support asks for into one archive
    ///
    /// The machine and its versions, identifiers and addresses, the configuration without its keys, status, doctor,
    /// connection history, routes, BGP, metrics, and how the host is set up; CONTENTS.txt in it says what each file
    /// is. Secrets are never in it. Works with the daemon down, too. The file is private (mode 0600), and nothing is
    /// overwritten.
    Bundle(Bundle),
    /// Write the decrypted packets of the tunnels to standard output, for tcpdump or Wireshark
    ///
    /// The format is pcapng, with one interface a tunnel and the direction of each packet;
    /// what is captured is the inner traffic as it enters or leaves the tunnel, the daemon's
    /// own probes included.
    ///
    ///   cgwd capture | tcpdump -nr -
    ///   cgwd capture --tunnel tunnel1 --count 100 > inner.pcapng
    #[command(verbatim_doc_comment)]
    Capture(Capture),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Write the manual pages
    Man(Man),
}

/// `cgwd import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// A network on our side; may be given several times
    #[arg(long, value_name = "CIDR")]
    pub(super) lan: Vec<IpNet>,
    /// A network behind AWS: needed for static routing, the accept list for BGP; may be given several times
    #[arg(long, value_name = "CIDR")]
    pub(super) vpc: Vec<IpNet>,
    /// Take protocol 50 where no NAT is found, instead of UDP encapsulation always
    #[arg(long)]
    pub(super) raw_esp: bool,
    /// Where to write the configuration; standard output when missing
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// What AWS hands out; `-` reads standard input
    #[arg(value_name = "INPUT")]
    pub(super) input: PathBuf,
}

/// `--config`.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = CONFIG_DEFAULT)]
    pub(super) config: PathBuf,
}

/// `cgwd run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration file.
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Write the keys of every SA to this directory, for Wireshark; whoever reads them reads all traffic
    ///
    /// The directory becomes a Wireshark profile (files with mode 0600):
    ///
    ///   WIRESHARK_CONFIG_DIR=DIR tshark -r capture-of-the-outside.pcap
    ///
    /// For analysis only. There is no key for it in the configuration and no command that
    /// asks a running daemon for it, so that it cannot stay on by mistake; a warning stands
    /// in the log and in the events while it is on.
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    pub(super) export_keys_to: Option<PathBuf>,
}

/// `cgwd check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file.
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Print what will be done: algorithms, addresses, MTU and MSS, routes
    #[arg(long)]
    pub(super) explain: bool,
}

/// `cgwd status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Print JSON, schema 1
    #[arg(long, conflicts_with = "watch")]
    pub(super) json: bool,
    /// A live view with the last minutes' RTT, loss and throughput; `?` shows its keys
    #[arg(long)]
    pub(super) watch: bool,
    /// With --watch: print the status every second instead of taking the whole screen, as without a terminal
    #[arg(long, requires = "watch")]
    pub(super) plain: bool,
}

/// `cgwd doctor`.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The configuration file; the running daemon's, else /etc/cgwd/cgwd.toml
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print JSON, schema 1
    #[arg(long)]
    pub(super) json: bool,
    /// AWS's own description, the output of `aws ec2 describe-vpn-connections`; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(super) aws_json: Option<PathBuf>,
    /// Follow the way to this host behind AWS, and say where it ends; with a TCP port, whether that answers
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) to: Option<String>,
}

/// What `cgwd wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WaitFor {
    /// One tunnel of each connection
    Any,
    /// Every tunnel
    All,
}

/// `cgwd wait`.
#[derive(Debug, Args)]
pub(super) struct Wait {
    /// Which tunnels
    #[arg(long = "for", value_enum, default_value = "all")]
    pub(super) for_: WaitFor,
    /// How long, such as 500ms, 30s or 2m
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub(super) timeout: Duration,
}

/// `cgwd events`.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Go on printing new ones until interrupted
    #[arg(long, short)]
    pub(super) follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

/// `cgwd routes`.
#[derive(Debug, Args)]
pub(super) struct Routes {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `cgwd bgp`.
#[derive(Debug, Args)]
pub(super) struct Bgp {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Ask the neighbour of this tunnel for all its routes again (RFC 2918); the session stays
    #[arg(long, value_name = "TUNNEL", conflicts_with = "json")]
    pub(super) refresh: Option<String>,
}

/// A command that concerns one tunnel.
#[derive(Debug, Args)]
pub(super) struct OneTunnel {
    /// Its name, CONNECTION/NAME, its interface, or its outside address
    #[arg(value_name = "TUNNEL")]
    pub(super) tunnel: String,
}

/// Which SA to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum RekeyWhat {
    /// The IKE SA
    Ike,
    /// The child SA, with fresh keys for traffic
    Child,
}

/// `cgwd rekey`.
#[derive(Debug, Args)]
pub(super) struct Rekey {
    /// Which SA
    #[arg(value_enum)]
    pub(super) what: RekeyWhat,
    /// The tunnel.
    #[command(flatten)]
    pub(super) tunnel: OneTunnel,
}

/// `cgwd reload`.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Read this file here and hand it to the daemon, instead of letting it read its own again
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// `cgwd bundle`.
#[derive(Debug, Args)]
pub(super) struct Bundle {
    /// Where to write it; cgwd-bundle-TIME.tar.gz in the current directory when missing
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Replace addresses, identities, identifiers and host names, the same by the same throughout
    #[arg(long)]
    pub(super) anonymise: bool,
    /// The configuration file; the running daemon's, else /etc/cgwd/cgwd.toml
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// `cgwd capture`.
#[derive(Debug, Args)]
pub(super) struct Capture {
    /// Only this tunnel: its name, CONNECTION/NAME, its interface, or its outside address
    #[arg(long, value_name = "TUNNEL")]
    pub(super) tunnel: Option<String>,
    /// End after this many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
}

/// `cgwd completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

/// `cgwd man`.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory to write them to
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
}

/// `500ms`, `30s`, `2m`, `1h`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is no unit; write 500ms, 30s, 2m or 1h")),
    };
    let number: f64 = number.parse().map_err(|_| "write a number and a unit, such as 30s".to_owned())?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(duration("soon").is_err());
        assert!(duration("3 weeks").is_err());
    }
}

//! `cgwd-lab`: the tools of the lab that run inside a namespace, the stand-in for AWS, the demo.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the report on standard output is what these tools are for")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use lab::traffic::{Direction, pinger, serve, transfer};

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
    /// Moves octets over TCP and compares each of them.
    Transfer {
        /// Which way.
        direction: Way,
        /// The transfer server.
        target: SocketAddr,
        /// How many octets.
        bytes: u64,
    },
    /// Removes what killed labs left behind.
    Sweep,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    Download,
    Upload,
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
        Command::Transfer { direction, target, bytes } => {
            let direction = match direction {
                Way::Download => Direction::Download,
                Way::Upload => Direction::Upload,
            };
            println!("{}", serde_json::to_string(&transfer::run(target, direction, bytes)?)?);
            Ok(())
        }
        Command::Sweep => {
            for name in lab::cleanup::sweep_stale() {
                println!("removed {name}");
            }
            Ok(())
        }
    }
}

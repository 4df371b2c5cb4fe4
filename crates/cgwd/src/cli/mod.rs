//! The commands. Everything that people and scripts see of them is fixed by the contract: texts go to standard
//! output, complaints to standard error, and the exit statuses are part of the interface.

mod args;
mod bgp;
mod bundle;
mod capture;
mod doctor;
pub(crate) mod explain;
mod local;
mod manual;
mod output;
mod remote;
mod render;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::control::Action;
use args::{Bgp, Cli, Command, RekeyWhat};

/// A request that failed: wrong input, or the daemon said no.
pub(crate) const EXIT_FAILED: u8 = 2;
/// No daemon answers.
pub(crate) const EXIT_UNREACHABLE: u8 = 3;

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let socket = cli.socket();
    match dispatch(cli, &socket) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            output::complain(&failure.message);
            ExitCode::from(failure.status)
        }
    }
}

/// A complaint and the exit status that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    pub(crate) fn new(status: u8, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

fn dispatch(cli: Cli, socket: &Path) -> Result<u8, Failure> {
    match cli.command {
        Command::Import(import) => local::import(&import),
        Command::Check(check) => local::check(&check),
        Command::Completions(completions) => local::completions(completions.shell),
        Command::Man(man) => manual::write(&man.directory),
        Command::Run(run) => local::run(&run, cli.socket.as_deref()),
        Command::Status(status) if status.watch => remote::block_on(watch::run(socket, status.plain)),
        Command::Status(status) => remote::block_on(remote::status(socket, status.json)),
        Command::Wait(wait) => remote::block_on(remote::wait(socket, wait.for_, wait.timeout)),
        Command::Doctor(doctor) => remote::block_on(doctor::run(socket, &doctor)),
        Command::Events(events) => remote::block_on(remote::events(socket, events.follow, events.json)),
        Command::Bgp(Bgp { refresh: Some(tunnel), .. }) => {
            remote::block_on(remote::act(socket, &tunnel, Action::RefreshBgp))
        }
        Command::Bgp(bgp) => remote::block_on(remote::bgp(socket, bgp.json)),
        Command::Routes(routes) => remote::block_on(remote::routes(socket, routes.json)),
        Command::Reset(one) => remote::block_on(remote::act(socket, &one.tunnel, Action::Reset)),
        Command::Rekey(rekey) => {
            let action = match rekey.what {
                RekeyWhat::Ike => Action::RekeyIke,
                RekeyWhat::Child => Action::RekeyChild,
            };
            remote::block_on(remote::act(socket, &rekey.tunnel.tunnel, action))
        }
        Command::Drain(one) => remote::block_on(remote::act(socket, &one.tunnel, Action::Drain)),
        Command::Undrain(one) => remote::block_on(remote::act(socket, &one.tunnel, Action::Undrain)),
        Command::Bundle(bundle) => remote::block_on(bundle::run(socket, &bundle)),
        Command::Capture(capture) => remote::block_on(capture::run(socket, &capture)),
        Command::Reload(reload) => {
            let brought = local::brought(reload.config.as_deref())?;
            remote::block_on(remote::reload(socket, brought, reload.dry_run))
        }
    }
}

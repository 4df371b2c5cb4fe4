//! Programs that run inside the rig's namespaces: a load generator and its sink, a data plane without a negotiator,
//! and a source of packets that were sealed before.
//!
//! They are hidden subcommands of `cgwd-lab bench`, because each needs a process of its own in a namespace.

pub(super) mod blast;
pub(super) mod plane;
pub(super) mod pump;
pub(super) mod relay;
pub(super) mod replay;
pub(super) mod sink;
mod stamp;

use std::io::{BufRead as _, Write as _};

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;

/// A hidden subcommand of `cgwd-lab bench`.
#[derive(Subcommand, Debug)]
pub(super) enum Tool {
    /// Sends numbered datagrams at a rate.
    Blast(blast::Options),
    /// Receives them and says what was lost, late or out of order.
    Sink(sink::Options),
    /// A data plane with fixed keys.
    Plane(plane::Options),
    /// Bare packets of protocol 50, sent or received.
    Pump(pump::Options),
    /// A slow and lossy stretch of the way.
    Relay(relay::Options),
    /// Sends packets that it sealed before.
    Replay(replay::Options),
}

impl Tool {
    /// Runs it in the foreground.
    ///
    /// # Errors
    /// What the tool failed at.
    pub(super) fn run(&self) -> Result<()> {
        match self {
            Self::Blast(options) => blast::run(options),
            Self::Sink(options) => sink::run(options),
            Self::Plane(options) => plane::run(options),
            Self::Pump(options) => pump::run(options),
            Self::Relay(options) => relay::run(options),
            Self::Replay(options) => replay::run(options),
        }
    }
}

/// Prints one line of JSON and makes sure that it leaves.
fn answer(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// The next line of standard input; `None` at its end.
fn next_line() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim().to_owned())
}

//! The live view without a terminal's tricks: the status again and again, for pipes, logs and dumb terminals.

use std::time::Duration;

use crate::cli::output::say;
use crate::cli::{Failure, render};
use crate::control::client::Client;

/// Prints a frame every `step`, for ever; a reader that went away ends the program.
pub(super) async fn run(client: &Client, step: Duration) -> Result<u8, Failure> {
    let mut tick = tokio::time::interval(step);
    loop {
        tick.tick().await;
        say(&match client.status().await {
            Ok(status) => format!("{}\n", render::status(&status, false)),
            Err(error) => format!("not reachable: {error}\n\n"),
        });
    }
}

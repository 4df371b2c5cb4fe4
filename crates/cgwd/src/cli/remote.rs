//! The commands that ask a running daemon.

use std::path::Path;
use std::time::{Duration, Instant};

use super::args::WaitFor;
use super::output::{colour_out, complain, say};
use super::{EXIT_FAILED, EXIT_UNREACHABLE, Failure, render};
use crate::api::{Events, Redundancy, Stage, Status};
use crate::control::client::{Client, Error};
use crate::control::{Action, SOCKET_DEFAULT};
use crate::events::{self, Timeline};

/// How often `wait` looks.
const WAIT_STEP: Duration = Duration::from_millis(100);
/// How long one question of `events --follow` blocks.
const FOLLOW_STEP: Duration = Duration::from_secs(30);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Unreachable { .. } | Error::Broken { .. } => EXIT_UNREACHABLE,
            Error::Refused { .. } => EXIT_FAILED,
        };
        Self::new(status, format!("cgwd: {error}"))
    }
}

pub(super) fn block_on(future: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(EXIT_UNREACHABLE, format!("cgwd: cannot start: {error}")))?;
    runtime.block_on(future)
}

pub(super) async fn status(socket: &Path, json: bool) -> Result<u8, Failure> {
    let status = Client::new(socket).status().await?;
    if json {
        say(&(serde_json::to_string(&status).unwrap_or_default() + "\n"));
    } else {
        say(&render::status(&status, colour_out()));
    }
    Ok(status.redundancy.exit_status())
}

pub(super) async fn wait(socket: &Path, what: WaitFor, timeout: Duration) -> Result<u8, Failure> {
    let client = Client::new(socket);
    let end = Instant::now() + timeout;
    loop {
        // A daemon that is not there yet is one more reason to wait.
        let answer = client.status().await;
        if answer.as_ref().is_ok_and(|status| reached(status, what)) {
            return Ok(0);
        }
        if Instant::now() >= end {
            let seconds = timeout.as_secs_f64();
            let why = match answer {
                Ok(status) => waiting_for(&status),
                Err(error) => error.to_string(),
            };
            return Err(Failure::new(1, format!("cgwd: not up after {seconds} s: {why}")));
        }
        tokio::time::sleep(WAIT_STEP.min(end.saturating_duration_since(Instant::now()))).await;
    }
}

fn reached(status: &Status, what: WaitFor) -> bool {
    match what {
        WaitFor::Any => status.redundancy != Redundancy::None,
        WaitFor::All => status.redundancy == Redundancy::Full,
    }
}

fn waiting_for(status: &Status) -> String {
    let late: Vec<String> = status
        .connections
        .iter()
        .flat_map(|connection| connection.tunnels.iter().map(move |tunnel| (connection, tunnel)))
        .filter(|(_, tunnel)| tunnel.stage != Stage::Up)
        .map(|(connection, tunnel)| {
            let error = tunnel.last_error.as_ref().map_or_else(String::new, |e| format!(", {}", e.code));
            format!("{}/{} is at stage {}{error}", connection.id, tunnel.name, tunnel.stage.name())
        })
        .collect();
    late.join("; ")
}

pub(super) async fn events(socket: &Path, follow: bool, json: bool) -> Result<u8, Failure> {
    let client = Client::new(socket);
    let mut after = 0;
    let mut wait = None;
    loop {
        let answer = match client.events(after, wait).await {
            Ok(answer) => answer,
            Err(error) if !follow => left_behind(socket, error)?,
            Err(error) => return Err(error.into()),
        };
        let mut text = String::new();
        for event in &answer.events {
            if json {
                text.push_str(&serde_json::to_string(event).unwrap_or_default());
                text.push('\n');
            } else {
                render::event(&mut text, event);
            }
        }
        say(&text);
        if !follow {
            return Ok(0);
        }
        after = answer.last_id;
        wait = Some(FOLLOW_STEP);
    }
}

/// The events of a daemon that is down, from its state directory.
fn left_behind(socket: &Path, error: Error) -> Result<Events, Failure> {
    let down = matches!(error, Error::Unreachable { .. });
    // Of a daemon with a socket of its own nobody knows the directory, unless somebody says it.
    let known = socket == Path::new(SOCKET_DEFAULT) || events::given_state_directory().is_some();
    let directory = events::state_directory();
    let timeline = (down && known).then(|| Timeline::read(&directory).ok()).flatten().ok_or(error)?;
    complain(&format!("note: no daemon answers; this is what it left in {}", directory.display()));
    Ok(Events { events: timeline.after(0).cloned().collect(), last_id: timeline.last_id() })
}

pub(super) async fn routes(socket: &Path, json: bool) -> Result<u8, Failure> {
    let routes = Client::new(socket).routes().await?;
    if json {
        say(&(serde_json::to_string(&routes).unwrap_or_default() + "\n"));
    } else {
        say(&render::routes(&routes));
    }
    Ok(0)
}

pub(super) async fn bgp(socket: &Path, json: bool) -> Result<u8, Failure> {
    let report = Client::new(socket).bgp().await?;
    if json {
        say(&(serde_json::to_string(&report).unwrap_or_default() + "\n"));
    } else {
        say(&super::bgp::render(&report));
    }
    Ok(0)
}

pub(super) async fn act(socket: &Path, tunnel: &str, action: Action) -> Result<u8, Failure> {
    let answer = Client::new(socket).act(tunnel, action).await?;
    say(&format!("{}\n", answer.message));
    Ok(0)
}

pub(super) async fn reload(
    socket: &Path,
    brought: Option<(String, String)>,
    dry_run: bool,
) -> Result<u8, Failure> {
    let brought = brought.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let answer = Client::new(socket).reload(brought, dry_run).await?;
    say(&format!("{}\n", answer.message));
    Ok(0)
}

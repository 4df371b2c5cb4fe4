//! `cgwd status --watch`: the live view. A full screen on a terminal that can show one, else the plain status again and
//! again. It asks the daemon for one overview a second, survives its restart, and changes nothing but the screen.

mod detail;
mod draw;
mod glyphs;
mod plain;
mod view;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::{EXIT_UNREACHABLE, Failure};
use crate::api::Overview;
use crate::control::client::{Client, Error};
use glyphs::Look;
use view::{Stay, View};

/// How often the daemon is asked.
const STEP: Duration = Duration::from_secs(1);
/// Keys waiting for the screen.
const KEYS_MAX: usize = 64;

type Answer = Result<Overview, Error>;
type Asking = Pin<Box<dyn Future<Output = Answer>>>;

/// Watches until somebody quits; the exit status is that of `cgwd status` at the end.
pub(super) async fn run(socket: &Path, plain: bool) -> Result<u8, Failure> {
    let client = Client::new(socket);
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let terminal = variable("TERM");
    if plain || !io::stdout().is_terminal() || terminal.is_empty() || terminal == "dumb" {
        return plain::run(&client, STEP).await;
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable).into_iter().find(|value| !value.is_empty());
    let look = Look::of(&terminal, locale.as_deref().unwrap_or_default(), !variable("NO_COLOR").is_empty());
    let cannot = |error: io::Error| {
        let text = format!("cgwd: cannot use this terminal: {error}; try --plain");
        Failure::new(EXIT_UNREACHABLE, text)
    };
    let mut screen = ratatui::try_init().map_err(cannot)?;
    let ended = live(&mut screen, &client, View::new(look)).await;
    ratatui::restore();
    ended.map_err(cannot)
}

async fn live(screen: &mut DefaultTerminal, client: &Client, mut view: View) -> io::Result<u8> {
    let mut keys = keys();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut tick = tokio::time::interval(STEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking: Option<Asking> = None;
    let mut heard = Instant::now();
    loop {
        view.silent_for(heard.elapsed());
        screen.draw(|frame| draw::screen(frame, &view))?;
        tokio::select! {
            pressed = keys.recv() => match pressed {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    if view.key(key) == Stay::Quit {
                        break;
                    }
                }
                Some(_) => {}
                // The terminal is gone.
                None => break,
            },
            answer = answered(&mut asking) => {
                asking = None;
                if answer.is_ok() {
                    heard = Instant::now();
                }
                view.told(answer.map_err(|error| error.to_string()));
            }
            _ = tick.tick() => {
                if asking.is_none() && !view.paused() {
                    asking = Some(Box::pin(ask(client.clone(), view.newest_event())));
                }
            }
            _ = terminate.recv() => break,
            _ = hangup.recv() => break,
        }
    }
    Ok(view.exit_status())
}

async fn answered(asking: &mut Option<Asking>) -> Answer {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

/// The overview with the events after `after`; with all of them when the daemon counts from the beginning again.
async fn ask(client: Client, after: u64) -> Answer {
    let overview = client.overview(after).await?;
    if overview.events.last_id < after { client.overview(0).await } else { Ok(overview) }
}

/// Keys and changes of size, read by a thread of their own because reading blocks. It ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests;

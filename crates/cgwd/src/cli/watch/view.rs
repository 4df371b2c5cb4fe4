//! The state of the live view: what the daemon said last, what is selected, what a key does. No terminal in here.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::glyphs::Look;
use crate::api::{Connection, Event, Overview, Status, Tunnel, TunnelHistory};
use crate::cli::EXIT_UNREACHABLE;

/// Events kept for the screen.
pub(super) const EVENTS_MAX: usize = 300;
/// Lines that a page key scrolls.
const SCROLL: usize = 5;

/// Whether the view goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    Watching,
    Quit,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Every tunnel.
    All,
    /// The selected one.
    One,
    /// The keys; the page before is shown again afterwards.
    Help { over_one: bool },
}

/// The view.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) look: Look,
    pub(super) page: Page,
    pub(super) selected: usize,
    pub(super) scroll: usize,
    /// Newest last.
    pub(super) events: VecDeque<Event>,
    /// Why the daemon did not answer the last time.
    pub(super) trouble: Option<String>,
    /// Since the last answer.
    pub(super) silent: Duration,
    paused: bool,
    last: Option<Overview>,
    newest_event: u64,
}

/// A tunnel with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) connection: &'a Connection,
    pub(super) tunnel: &'a Tunnel,
    pub(super) history: Option<&'a TunnelHistory>,
}

impl View {
    pub(super) fn new(look: Look) -> Self {
        Self {
            look,
            page: Page::All,
            selected: 0,
            scroll: 0,
            events: VecDeque::new(),
            trouble: None,
            silent: Duration::ZERO,
            paused: false,
            last: None,
            newest_event: 0,
        }
    }

    pub(super) fn paused(&self) -> bool {
        self.paused
    }

    /// The last status, if there was any.
    pub(super) fn status(&self) -> Option<&Status> {
        self.last.as_ref().map(|last| &last.status)
    }

    /// Only events after this one are news.
    pub(super) fn newest_event(&self) -> u64 {
        self.newest_event
    }

    /// Every tunnel, in the order of the file.
    pub(super) fn tunnels(&self) -> Vec<Seen<'_>> {
        let Some(last) = &self.last else { return Vec::new() };
        let all = last.status.connections.iter().flat_map(|connection| {
            connection.tunnels.iter().map(move |tunnel| {
                let mine =
                    |past: &&TunnelHistory| past.connection == connection.id && past.tunnel == tunnel.name;
                Seen { connection, tunnel, history: last.history.tunnels.iter().find(mine) }
            })
        });
        all.collect()
    }

    /// The time since the daemon answered.
    pub(super) fn silent_for(&mut self, silent: Duration) {
        self.silent = silent;
    }

    /// The daemon answered, or did not.
    pub(super) fn told(&mut self, answer: Result<Overview, String>) {
        let mut overview = match answer {
            Ok(overview) => overview,
            Err(trouble) => {
                self.trouble = Some(trouble);
                return;
            }
        };
        self.trouble = None;
        // A daemon that counts from the beginning again tells the whole story again.
        if overview.events.last_id < self.newest_event {
            self.events.clear();
        }
        self.newest_event = overview.events.last_id;
        self.events.extend(overview.events.events.drain(..));
        self.events.drain(..self.events.len().saturating_sub(EVENTS_MAX));
        self.last = Some(overview);
        self.selected = self.selected.min(self.tunnels().len().saturating_sub(1));
    }

    /// As `cgwd status` would end now.
    pub(super) fn exit_status(&self) -> u8 {
        match (&self.trouble, self.status()) {
            (None, Some(status)) => status.redundancy.exit_status(),
            _ => EXIT_UNREACHABLE,
        }
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: KeyEvent) -> Stay {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Stay::Quit } else { Stay::Watching };
        }
        if let Page::Help { over_one } = self.page {
            self.page = if over_one { Page::One } else { Page::All };
            return if key.code == KeyCode::Char('q') { Stay::Quit } else { Stay::Watching };
        }
        match key.code {
            KeyCode::Char('q') => return Stay::Quit,
            KeyCode::Esc if self.page == Page::All => return Stay::Quit,
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('h') => self.turn_to(Page::All),
            KeyCode::Enter if self.page == Page::One => self.turn_to(Page::All),
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => self.turn_to(Page::One),
            KeyCode::Char('?') | KeyCode::F(1) => {
                self.page = Page::Help { over_one: self.page == Page::One };
            }
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('a') => self.look.ascii = !self.look.ascii,
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Down | KeyCode::Tab | KeyCode::Char('j') => self.select(self.selected + 1),
            KeyCode::Home => self.select(0),
            KeyCode::End => self.select(usize::MAX),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(SCROLL),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(SCROLL),
            _ => {}
        }
        Stay::Watching
    }

    fn turn_to(&mut self, page: Page) {
        if !(page == Page::One && self.tunnels().is_empty()) {
            self.page = page;
            self.scroll = 0;
        }
    }

    fn select(&mut self, index: usize) {
        self.selected = index.min(self.tunnels().len().saturating_sub(1));
        self.scroll = 0;
    }
}

//! What the live view draws with: signs in Unicode or ASCII, colours or none, and sparklines.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use crate::api::{Stage, Tunnel};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Nothing beyond ASCII.
    pub(super) ascii: bool,
    /// Colours.
    pub(super) colour: bool,
}

impl Look {
    /// From `TERM`, the locale and `NO_COLOR`. The Linux console has UTF-8 but not the signs.
    pub(super) fn of(terminal: &str, locale: &str, no_colour: bool) -> Self {
        let locale = locale.to_ascii_lowercase();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        Self { ascii: !unicode || terminal == "linux", colour: !no_colour }
    }

    fn sign(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { unicode }
    }

    pub(super) fn selected(self) -> &'static str {
        self.sign("▸", ">")
    }

    pub(super) fn egress(self) -> &'static str {
        self.sign("→", "->")
    }

    pub(super) fn dot(self) -> &'static str {
        self.sign("·", "-")
    }

    pub(super) fn ellipsis(self) -> &'static str {
        self.sign("…", "...")
    }

    /// The bars of a sparkline, lowest first.
    fn bars(self) -> [char; 8] {
        if self.ascii {
            ['_', '.', ':', '-', '=', '+', '*', '#']
        } else {
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        }
    }

    fn tinted(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn good(self) -> Style {
        self.tinted(Color::Green)
    }

    pub(super) fn fair(self) -> Style {
        self.tinted(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.tinted(Color::Red).add_modifier(if self.colour { Modifier::empty() } else { Modifier::BOLD })
    }

    pub(super) fn line(self) -> Style {
        self.tinted(Color::Cyan)
    }

    pub(super) fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn stage(self, stage: Stage) -> Style {
        match stage {
            Stage::Up => self.good(),
            Stage::Down => self.bad(),
            _ => self.fair(),
        }
    }
}

/// A stage light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Light {
    Lit,
    InProgress,
    Failing,
    Off,
}

/// A tunnel that has an error and is not up after this time is failing, not in progress.
const FAILING_AFTER_SECONDS: f64 = 5.0;

impl Light {
    /// The lights of a tunnel: IKE, IPsec, tunnel, and BGP where the connection speaks it.
    pub(super) fn of(tunnel: &Tunnel, bgp: bool) -> Vec<(&'static str, Self)> {
        // `tunnel`: packets arrive, but the inside address does not answer reliably. Its light is not lit yet.
        let lit = match tunnel.stage {
            Stage::Down => 0,
            Stage::Ike => 1,
            Stage::Ipsec | Stage::Tunnel => 2,
            Stage::Bgp => 3,
            Stage::Up => 4,
        };
        let failing = tunnel.last_error.is_some() && tunnel.since_seconds > FAILING_AFTER_SECONDS;
        let names = ["IKE", "IPsec", "tunnel", "BGP"];
        let light = |(index, name)| {
            let light = match lit {
                lit if index < lit => Self::Lit,
                lit if index > lit => Self::Off,
                _ if failing => Self::Failing,
                _ => Self::InProgress,
            };
            (name, light)
        };
        names.into_iter().take(if bgp { 4 } else { 3 }).enumerate().map(light).collect()
    }

    /// Its sign: the shape tells as much as the colour.
    pub(super) fn span(self, look: Look) -> Span<'static> {
        match self {
            Self::Lit => Span::styled(look.sign("●", "+"), look.good()),
            Self::InProgress => Span::styled(look.sign("◐", "~"), look.fair()),
            Self::Failing => Span::styled(look.sign("✗", "X"), look.bad()),
            Self::Off => Span::styled(look.sign("○", "."), look.quiet()),
        }
    }
}

/// Samples as bars.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spark<'a> {
    /// Oldest first; `None` where nothing was measured.
    pub(super) samples: &'a [Option<f64>],
    /// The highest bar stands for this at least, so that noise is not blown up.
    pub(super) least: f64,
}

impl Spark<'_> {
    /// `rows` lines of exactly `width` columns, the newest sample at the right, the top line first.
    pub(super) fn rows(self, width: usize, rows: usize, look: Look) -> Vec<Vec<Span<'static>>> {
        let shown = self.samples.get(self.samples.len().saturating_sub(width)..).unwrap_or_default();
        let most = shown.iter().flatten().copied().fold(self.least, f64::max);
        let bars = look.bars();
        let steps = bars.len() * rows;
        // At least the lowest bar, so that a measured zero differs from nothing.
        let height = |value: f64| ((value / most * steps as f64).round() as usize).clamp(1, steps);
        (0..rows)
            .rev()
            .map(|row| {
                let floor = row * bars.len();
                let mut spans = vec![Span::raw(" ".repeat(width.saturating_sub(shown.len())))];
                for sample in shown {
                    spans.push(match sample {
                        Some(value) => {
                            let filled = height(*value).saturating_sub(floor).min(bars.len());
                            let bar = filled.checked_sub(1).and_then(|at| bars.get(at)).copied();
                            Span::styled(bar.unwrap_or(' ').to_string(), look.line())
                        }
                        None if row == 0 => Span::styled(look.sign("×", "x"), look.bad()),
                        None => Span::raw(" "),
                    });
                }
                spans
            })
            .collect()
    }

    /// One line of it.
    pub(super) fn line(self, width: usize, look: Look) -> Vec<Span<'static>> {
        self.rows(width, 1, look).into_iter().next().unwrap_or_default()
    }
}

//! Bar charts as SVG, written by hand: panels of horizontal bars with the extremes of the rounds as whiskers.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 190.0;
const VALUES: f64 = 110.0;
const BAR: f64 = 18.0;
const GAP: f64 = 8.0;
const PANEL_TITLE: f64 = 30.0;
const TITLE: f64 = 58.0;
const FOOT: f64 = 14.0;

/// One bar.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// Extremes of the rounds.
    pub(super) range: (f64, f64),
    pub(super) paint: Paint,
}

/// Whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Paint {
    /// Ours.
    Ours,
    /// A peer's.
    Peer,
    /// What no tunnel can beat.
    Ceiling,
}

impl Paint {
    const fn colour(self) -> &'static str {
        match self {
            Self::Ours => "#d9480f",
            Self::Peer => "#4c6ef5",
            Self::Ceiling => "#adb5bd",
        }
    }
}

/// Bars on one scale.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

/// A picture.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) note: String,
    pub(super) unit: &'static str,
    pub(super) panels: Vec<Panel>,
}

impl Chart {
    /// The SVG document.
    pub(super) fn svg(&self) -> String {
        let panel_height = |panel: &Panel| PANEL_TITLE + panel.bars.len() as f64 * (BAR + GAP);
        let height = TITLE + self.panels.iter().map(panel_height).sum::<f64>() + FOOT;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} \
             {height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\">\n<title>{}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n",
            escape(&self.title)
        );
        text(&mut svg, (16.0, 26.0), "font-size=\"17\" font-weight=\"600\" fill=\"#212529\"", &self.title);
        text(&mut svg, (16.0, 46.0), "font-size=\"12\" fill=\"#868e96\"", &self.note);
        let mut y = TITLE;
        for panel in &self.panels {
            self.panel(&mut svg, panel, y);
            y += panel_height(panel);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn panel(&self, svg: &mut String, panel: &Panel, top: f64) {
        text(svg, (16.0, top + 18.0), "font-weight=\"600\" fill=\"#495057\"", &panel.title);
        let highest =
            panel.bars.iter().map(|bar| bar.range.1.max(bar.value)).fold(f64::MIN_POSITIVE, f64::max);
        let scale = (WIDTH - LABELS - VALUES) / highest;
        for (index, bar) in panel.bars.iter().enumerate() {
            let y = top + PANEL_TITLE + index as f64 * (BAR + GAP);
            let middle = y + BAR / 2.0;
            let weight = if bar.paint == Paint::Ours { " font-weight=\"600\"" } else { "" };
            let right = format!("text-anchor=\"end\" fill=\"#212529\"{weight}");
            text(svg, (LABELS - 10.0, middle + 4.5), &right, &bar.label);
            let _ = writeln!(
                svg,
                "<rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{}\"/>",
                (bar.value * scale).max(1.0),
                bar.paint.colour()
            );
            let (low, high) = (LABELS + bar.range.0 * scale, LABELS + bar.range.1 * scale);
            if high - low > 1.0 {
                let _ = writeln!(
                    svg,
                    "<path d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8\" \
                     stroke=\"#212529\" stroke-opacity=\"0.65\" fill=\"none\"/>",
                    middle - 4.0,
                    middle - 4.0
                );
            }
            let at = LABELS + bar.value.max(bar.range.1) * scale + 8.0;
            let number = format!("{} {}", super::report::number(bar.value), self.unit);
            text(svg, (at, middle + 4.5), &format!("fill=\"#495057\"{weight}"), &number);
        }
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), attributes: &str, content: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{}</text>", escape(content));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_one_closed_document_with_every_label() {
        let bar = |label: &str, value| Bar {
            label: label.to_owned(),
            value,
            range: (value * 0.9, value * 1.1),
            paint: Paint::Peer,
        };
        let chart = Chart {
            title: "A < B".to_owned(),
            note: String::new(),
            unit: "Gbit/s",
            panels: vec![Panel { title: "one".to_owned(), bars: vec![bar("x & y", 3.0), bar("none", 0.0)] }],
        };
        let svg = chart.svg();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("A &lt; B") && svg.contains("x &amp; y") && svg.contains("3.00 Gbit/s"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}

//! The text of an OpenMetrics page (OpenMetrics 1.0.0): families with their type, unit and help, then samples.

use std::fmt::Write as _;

/// Units that end a family's name and are declared for it.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// A page that is being written.
#[derive(Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Begins a family. Its samples follow at once; there may be none.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        let unit =
            UNITS.iter().find(|unit| name.strip_suffix(**unit).is_some_and(|rest| rest.ends_with('_')));
        if let Some(unit) = unit {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {help}");
    }

    /// One sample; none when there is no value.
    pub(super) fn sample(&mut self, name: &str, labels: &str, value: Option<f64>) {
        let Some(value) = value else { return };
        let _ = if labels.is_empty() {
            writeln!(self.text, "{name} {value}")
        } else {
            writeln!(self.text, "{name}{{{labels}}} {value}")
        };
    }

    /// The finished page.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

/// `key="value"`, escaped.
pub(super) fn label(key: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{key}=\"{value}\"")
}

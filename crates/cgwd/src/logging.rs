//! The log: plain lines on standard error, or the systemd journal with fields when that is where they would end up.
//!
//! In the journal each event has `CGWD_CODE`, `CGWD_CONNECTION`, `CGWD_TUNNEL` and a `MESSAGE_ID` of its code, so
//! `journalctl CGWD_TUNNEL=tunnel1` works; the catalog explains the codes (`journalctl -x`).

use std::env;

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging at `level`; `CGWD_LOG` overrules it, in the syntax of tracing's filters.
pub fn start(level: config::LogLevel) {
    let filter = || EnvFilter::try_from_env("CGWD_LOG").unwrap_or_else(|_| EnvFilter::new(level.name()));
    // systemd sets it when standard error goes to the journal.
    let journal = env::var_os("JOURNAL_STREAM").is_some();
    if journal && let Ok(layer) = tracing_journald::layer() {
        let layer = layer.with_field_prefix(None).with_syslog_identifier("cgwd".to_owned());
        tracing_subscriber::registry().with(filter()).with(layer).init();
        return;
    }
    let fields = format::debug_fn(|writer, field: &Field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        name if for_the_journal(name) => Ok(()),
        // The message comes first.
        name => write!(writer, " {name}={value:?}"),
    });
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(std::io::stderr)
        .with_target(false)
        .fmt_fields(fields);
    // The journal has its own clock and knows no colours.
    if journal {
        lines.with_ansi(false).without_time().init();
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        lines.with_ansi(terminal).init();
    }
}

/// Fields whose content stands in the message too.
fn for_the_journal(name: &str) -> bool {
    name == "message_id" || name.starts_with("cgwd_")
}

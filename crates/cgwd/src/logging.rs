//! The log: plain lines on standard error, which systemd carries into the journal.

use std::env;

use tracing_subscriber::EnvFilter;

/// Starts logging at `level`; `CGWD_LOG` overrules it, in the syntax of tracing's filters.
pub fn start(level: config::LogLevel) {
    let filter = EnvFilter::try_from_env("CGWD_LOG").unwrap_or_else(|_| EnvFilter::new(level.name()));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // The journal has its own clock and knows no colours.
    if env::var_os("JOURNAL_STREAM").is_some() {
        lines.with_ansi(false).without_time().init();
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        lines.with_ansi(terminal).init();
    }
}

//! Our TOML: text to a tree with places, tree to values, values against each other.
//!
//! Goes on after an error where it can, so that one run names everything there is to mend. Never reads a file.

mod certificate;
mod check;
mod connection;
mod hook;
pub(crate) mod inside;
mod ppk;
mod reader;
mod scalar;
#[cfg(test)]
mod tests;
mod tunnel;

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use crate::schema;
use crate::{
    Config, Control, Diagnostic, Hook, Host, IpForward, Loaded, Log, LogLevel, Metrics, Report, Routes,
    Severity, Web, WhenDown,
};
use check::Placed;
use reader::Reader;
pub(crate) use scalar::duration;

/// The kernel's main routing table.
const MAIN_TABLE: u32 = 254;
/// Metric of our routes unless the file says otherwise.
const DEFAULT_METRIC: u32 = 100;
/// Where the control socket is unless the file says otherwise.
const DEFAULT_SOCKET: &str = "/run/cgwd/control.sock";
/// Syntax errors shown: one slip of the pen makes many, all behind it.
const MAX_SYNTAX: usize = 3;
/// Connections in one file at most.
const MAX_CONNECTIONS: usize = 1000;

/// Validates `text`; `filename` is what messages call it.
///
/// # Errors
/// Everything that is wrong with it, all at once where possible.
pub fn parse(text: &str, filename: &str) -> Result<Loaded, Report> {
    let mut report = Report::new(filename, text);
    let (tree, errors) = DeTable::parse_recoverable(text);
    mask_keys(tree.get_ref(), &mut report);
    if !errors.is_empty() {
        for error in errors.into_iter().take(MAX_SYNTAX) {
            report.push(syntax(&error, text));
            // What follows an open header is read into the wrong table.
            if error.message().starts_with("unclosed table") {
                break;
            }
        }
        report.sort();
        return Err(report);
    }
    let config = document(&tree, &mut report);
    merge_weak(&mut report);
    report.sort();
    match config {
        Some(config) if !report.has_errors() => Ok(Loaded { config, warnings: report }),
        _ => {
            // A warning beside an error is often its shadow, and never what is mended first.
            report.keep(Severity::Error);
            Err(report)
        }
    }
}

/// Weak algorithms usually stand in every tunnel alike: one warning names them all and shows each place.
fn merge_weak(report: &mut Report) {
    let mut found = report.take("CFG-WEAK");
    if found.is_empty() {
        return;
    }
    found.sort_by_key(|d| d.place.as_ref().map_or(0, |place| place.span.start));
    let mut names: Vec<&str> = Vec::new();
    for diagnostic in &found {
        if !names.contains(&diagnostic.what.as_str()) {
            names.push(&diagnostic.what);
        }
    }
    let verb = if names.len() == 1 { "is" } else { "are" };
    let what = format!("{} {verb} weak", names.join(" and "));
    let mut merged = Diagnostic::warning(
        "CFG-WEAK",
        what,
        "allow AES256-GCM-16, SHA2-384 and group 20 in the tunnel options at AWS and name only those here",
    )
    .because("AWS takes the lowest value that both sides allow, so a weak one in a list is the one used");
    let mut places = found.into_iter().filter_map(|d| d.place);
    merged.place = places.next();
    merged.related = places.collect();
    report.push(merged);
}

/// A key may be written in ways that the text alone does not show (escapes, several lines).
fn mask_keys(table: &DeTable<'_>, report: &mut Report) {
    for (key, value) in table.iter() {
        match value.get_ref() {
            DeValue::Table(inner) => mask_keys(inner, report),
            DeValue::Array(items) => {
                for item in items.iter() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        mask_keys(inner, report);
                    }
                }
            }
            _ if key.get_ref() == "psk" => report.mask(value.span()),
            _ => {}
        }
    }
}

/// The TOML parser's complaint, with the remedy for the slips that people make.
fn syntax(error: &toml::de::Error, text: &str) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    let found = text.get(span.clone()).unwrap_or_default();
    let message = error.message();
    let (what, remedy) = if found.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        ("typographic quotes do not delimit a string".to_owned(), "use straight quotes: \"")
    } else if message.starts_with("string values must be quoted") || is_bare_address(text, span.start) {
        ("a string needs quotes".to_owned(), "put the value between double quotes")
    } else if message == "duplicate key" {
        ("this key or table is already set above".to_owned(), "keep one of the two")
    } else if message.starts_with("unclosed table") {
        ("the table header is not closed".to_owned(), "end it with ] for [table], with ]] for [[tables]]")
    } else {
        (format!("not valid TOML: {message}"), "mend the line; https://toml.io/en/v1.0.0 has the rules")
    };
    Diagnostic::error("CFG-SYNTAX", what, remedy).at(span, "")
}

/// Whether the value on this line is an address or prefix without quotes, which TOML takes for a bad number.
fn is_bare_address(text: &str, at: usize) -> bool {
    let line_start = text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |newline| newline + 1);
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let Some((_, value)) = line.split_once('=') else { return false };
    let word =
        value.trim_start_matches([' ', '\t', '[']).split([',', ' ', ']', '#']).next().unwrap_or_default();
    word.parse::<std::net::IpAddr>().is_ok() || word.parse::<ipnet::IpNet>().is_ok()
}

fn document(tree: &toml::Spanned<DeTable<'_>>, report: &mut Report) -> Option<Config> {
    let mut root = Reader::new(&schema::ROOT, tree.get_ref(), 0..0, report);
    let control = section(&mut root, &schema::CONTROL, "control", control).unwrap_or_else(default_control);
    let metrics = section(&mut root, &schema::METRICS, "metrics", metrics).unwrap_or_default();
    let web = section(&mut root, &schema::WEB, "web", web).unwrap_or_default();
    let routes = section(&mut root, &schema::ROUTES, "routes", routes).unwrap_or_else(default_routes);
    let host = section(&mut root, &schema::HOST, "host", host);
    let host = host.unwrap_or(Host { ip_forward: IpForward::Enable });
    let hooks = hooks(&mut root);
    let log = section(&mut root, &schema::LOG, "log", log).unwrap_or(Log { level: LogLevel::Info });

    let mut connections = Vec::new();
    let mut tunnels_before = 0;
    let tables = root.tables("connection", &schema::CONNECTION);
    if tables.is_empty() && !root.has("connection") {
        let remedy = "let `cgwd import` write the file from what AWS gives, or add a [[connection]] by hand";
        root.push(Diagnostic::error("CFG-MISSING", "no connection is configured", remedy));
    }
    if let Some((_, span)) = tables.get(MAX_CONNECTIONS) {
        let remedy = format!("split the file: one daemon takes {MAX_CONNECTIONS} connections");
        root.push(Diagnostic::error("CFG-LIMIT", "too many connections", remedy).at(span.clone(), ""));
    }
    for (table, span) in tables.into_iter().take(MAX_CONNECTIONS) {
        let mut reader = Reader::new(&schema::CONNECTION, table, span, root.report());
        if let Some(connection) = connection::connection(&mut reader, &mut tunnels_before) {
            connections.push(connection);
        }
    }
    check::whole(&connections, report);
    if report.has_errors() {
        return None;
    }
    let connections: Vec<_> = connections.into_iter().map(Placed::into_inner).collect();
    (!connections.is_empty()).then_some(Config {
        connections,
        control,
        metrics,
        web,
        routes,
        host,
        log,
        hooks,
    })
}

fn hooks(root: &mut Reader<'_, '_>) -> Vec<Hook> {
    let tables = root.tables("hook", &schema::HOOK);
    if let Some((_, span)) = tables.get(hook::MAX_HOOKS) {
        let remedy = format!("let one program do more: {} hooks are the most", hook::MAX_HOOKS);
        root.push(Diagnostic::error("CFG-LIMIT", "too many hooks", remedy).at(span.clone(), ""));
    }
    let mut hooks = Vec::new();
    for (table, span) in tables.into_iter().take(hook::MAX_HOOKS) {
        hooks.extend(hook::hook(&mut Reader::new(&schema::HOOK, table, span, root.report())));
    }
    hooks
}

/// Reads the optional table `name` with `read`.
fn section<'t, T>(
    parent: &mut Reader<'t, '_>,
    spec: &'static schema::Table,
    name: &'static str,
    read: impl FnOnce(&mut Reader<'t, '_>) -> T,
) -> Option<T> {
    let (table, span) = parent.table(name, spec)?;
    let mut reader = Reader::new(spec, table, span, parent.report());
    Some(read(&mut reader))
}

fn default_control() -> Control {
    Control { socket: PathBuf::from(DEFAULT_SOCKET) }
}

fn control(reader: &mut Reader<'_, '_>) -> Control {
    reader.path("socket").map_or_else(default_control, |socket| Control { socket: socket.value })
}

fn metrics(reader: &mut Reader<'_, '_>) -> Metrics {
    let listen = reader.parsed::<SocketAddr>(
        "listen",
        "an address with a port",
        "write it as \"127.0.0.1:9797\" or \"[::1]:9797\"",
    );
    Metrics { listen: listen.map(|l| l.value) }
}

fn web(reader: &mut Reader<'_, '_>) -> Web {
    let listen = reader.parsed::<SocketAddr>(
        "listen",
        "an address with a port",
        "write it as \"127.0.0.1:8470\" or \"[::1]:8470\"",
    );
    let remote = reader.boolean("allow_remote").unwrap_or(false);
    if let Some(listen) = listen.as_ref().filter(|listen| !listen.value.ip().is_loopback() && !remote) {
        let what = format!(
            "{} is no loopback address, and the status page asks nobody who they are",
            listen.value.ip()
        );
        let remedy = "write \"127.0.0.1:8470\" and use `ssh -L 8470:127.0.0.1:8470 GATEWAY`, or set allow_remote = true";
        reader.push(Diagnostic::error("CFG-VALUE", what, remedy).at(listen.span.clone(), ""));
    }
    Web { listen: listen.map(|listen| listen.value) }
}

const fn default_routes() -> Routes {
    Routes {
        table: MAIN_TABLE,
        metric: DEFAULT_METRIC,
        rule_priority: None,
        rule_from: Vec::new(),
        when_down: WhenDown::Withdraw,
    }
}

fn routes(reader: &mut Reader<'_, '_>) -> Routes {
    let table = if reader.is_string("table") {
        reader.choice("table", &[("main", MAIN_TABLE)])
    } else {
        // 255 is the kernel's table of local addresses; 0 means "unspecified" to it.
        reader.number("table", 1..=u64::from(u32::MAX)).and_then(|n| {
            let reserved = matches!(n.value, 253 | 255);
            if reserved {
                let what = format!("routing table {} belongs to the kernel", n.value);
                reader.push(
                    Diagnostic::error("CFG-VALUE", what, "use \"main\" or another number").at(n.span, ""),
                );
            }
            u32::try_from(n.value).ok()
        })
    };
    let metric = reader.number("metric", 0..=u64::from(u32::MAX)).and_then(|n| u32::try_from(n.value).ok());
    let table = table.unwrap_or(MAIN_TABLE);
    let (rule_priority, rule_from) = rules(reader, table);
    let when_down = [("withdraw", WhenDown::Withdraw), ("unreachable", WhenDown::Unreachable)];
    Routes {
        table,
        metric: metric.unwrap_or(DEFAULT_METRIC),
        rule_priority,
        rule_from,
        when_down: reader.choice("when_down", &when_down).unwrap_or(WhenDown::Withdraw),
    }
}

fn rules(reader: &mut Reader<'_, '_>, table: u32) -> (Option<u32>, Vec<IpNet>) {
    // The kernel asks the main table at 32766.
    let priority = reader.number("rule_priority", 1..=32_765);
    let from = reader.prefixes("rule_from").unwrap_or_default();
    if let (Some(priority), MAIN_TABLE) = (&priority, table) {
        let remedy = "set `table` to a number of its own, or remove `rule_priority`";
        reader.bad(priority.span.clone(), "a rule to the main table changes nothing", remedy);
    }
    if let (None, Some(first), false) = (&priority, from.first(), reader.has("rule_priority")) {
        let remedy = "add `rule_priority = 1000`, or remove `rule_from`";
        reader.bad(first.span.clone(), "`rule_from` without `rule_priority` makes no rule", remedy);
    }
    let priority = priority.and_then(|n| u32::try_from(n.value).ok());
    (priority, from.into_iter().map(|prefix| prefix.value).collect())
}

fn host(reader: &mut Reader<'_, '_>) -> Host {
    let choices = [("enable", IpForward::Enable), ("report", IpForward::Report)];
    Host { ip_forward: reader.choice("ip_forward", &choices).unwrap_or(IpForward::Enable) }
}

fn log(reader: &mut Reader<'_, '_>) -> Log {
    let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    let choices = levels.map(|level| (level.name(), level));
    Log { level: reader.choice("level", &choices).unwrap_or(LogLevel::Info) }
}

//! One table of the file: typed look-ups that report what is wrong and go on.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::{DeArray, DeTable, DeValue};

use super::scalar;
use crate::schema::{self, Table};
use crate::{Diagnostic, Report};

/// Entries in one list at most; AWS takes at most a thousand prefixes.
const MAX_LIST: usize = 5000;

/// Longest word that is compared with known ones; longer ones are no slips of the finger.
const MAX_WORD: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    /// The value.
    pub(super) value: T,
    /// Octet range in the file.
    pub(super) span: Range<usize>,
}

/// A table being read. Unknown keys are reported when it is opened.
pub(super) struct Reader<'t, 'r> {
    spec: &'static Table,
    table: &'t DeTable<'t>,
    span: Range<usize>,
    report: &'r mut Report,
}

impl<'t, 'r> Reader<'t, 'r> {
    /// Opens `table`, whose header stands at `span`.
    pub(super) fn new(
        spec: &'static Table,
        table: &'t DeTable<'t>,
        span: Range<usize>,
        report: &'r mut Report,
    ) -> Self {
        for key in table.keys() {
            if !spec.keys.iter().any(|known| known.name == key.get_ref()) {
                report.push(unknown_key(spec, key.get_ref()).at(key.span(), ""));
            }
        }
        Self { spec, table, span, report }
    }

    /// Where the table's header stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The findings so far.
    pub(super) fn report(&mut self) -> &mut Report {
        self.report
    }

    /// Adds a finding.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.report.push(diagnostic);
    }

    /// Whether the key is there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether an unknown key of the table is `key` with a slip: it was reported when the table was opened.
    pub(super) fn is_misspelt(&self, key: &str) -> bool {
        let names = || self.spec.keys.iter().map(|k| k.name);
        self.table
            .keys()
            .filter(|k| !names().any(|name| name == k.get_ref()))
            .any(|k| nearest(k.get_ref(), names()) == Some(key))
    }

    /// Whether the key is there with a string.
    pub(super) fn is_string(&self, key: &str) -> bool {
        matches!(self.entry(key), Some((DeValue::String(_), _)))
    }

    /// Whether the key is there with a list that has no items.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        matches!(self.entry(key), Some((DeValue::Array(items), _)) if items.is_empty())
    }

    /// Where the value of `key` stands.
    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.entry(key).map(|(_, span)| span)
    }

    fn entry(&self, key: &str) -> Option<(&'t DeValue<'t>, Range<usize>)> {
        debug_assert!(self.spec.keys.iter().any(|k| k.name == key), "{key} is not in the schema");
        self.table.iter().find(|(k, _)| k.get_ref() == key).map(|(_, v)| (v.get_ref(), v.span()))
    }

    fn wrong_type(&mut self, key: &str, wanted: &str, value: &DeValue<'_>, span: Range<usize>) {
        let what = format!("`{key}` must be {wanted}, not {}", kind(value));
        let example = self.spec.keys.iter().find(|k| k.name == key).map_or("", |k| k.example);
        let remedy = if example.is_empty() {
            format!("write it as a table: {}", self.spec.header.replace(']', &format!(".{key}]")))
        } else {
            format!("write it as in `{key} = {example}`")
        };
        self.push(Diagnostic::error("CFG-TYPE", what, remedy).at(span, ""));
    }

    /// A value is not among what is allowed.
    pub(super) fn bad(&mut self, span: Range<usize>, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(Diagnostic::error("CFG-VALUE", what, remedy).at(span, ""));
    }

    /// A required key is missing.
    pub(super) fn missing(&mut self, key: &str, remedy: impl Into<String>) {
        let header = self.spec.header;
        let what = format!("{header} has no `{key}`");
        self.push(Diagnostic::error("CFG-MISSING", what, remedy).at(self.span(), "in this table"));
    }

    /// Reports `key` as missing, with its example for a remedy, when it is not there at all.
    pub(super) fn require(&mut self, key: &'static str) {
        if !self.has(key) && !self.is_misspelt(key) {
            let spec = self.spec.keys.iter().find(|k| k.name == key);
            let (example, text) = spec.map_or(("", ""), |k| (k.example, k.text));
            self.missing(key, format!("add `{key} = {example}`: {}", lower_first(text)));
        }
    }

    /// A string.
    pub(super) fn string(&mut self, key: &'static str) -> Option<At<&'t str>> {
        match self.entry(key)? {
            (DeValue::String(text), span) => Some(At { value: text.as_ref(), span }),
            (other, span) => {
                self.wrong_type(key, "a string", other, span);
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.entry(key)? {
            (DeValue::Boolean(value), _) => Some(*value),
            (other, span) => {
                self.wrong_type(key, "true or false", other, span);
                None
            }
        }
    }

    /// An integer within `range`.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<At<u64>> {
        let (value, span) = match self.entry(key)? {
            (DeValue::Integer(number), span) => {
                (u64::from_str_radix(number.as_str(), number.radix()).ok(), span)
            }
            (other, span) => {
                self.wrong_type(key, "a number", other, span);
                return None;
            }
        };
        match value.filter(|v| range.contains(v)) {
            Some(value) => Some(At { value, span }),
            None => {
                self.out_of_range(key, span, &range);
                None
            }
        }
    }

    fn out_of_range(&mut self, key: &str, span: Range<usize>, range: &RangeInclusive<impl Display>) {
        let limits = format!("{} to {}", range.start(), range.end());
        let what = format!("`{key}` is out of range");
        let remedy = format!("choose a value in the range of {limits}");
        self.push(Diagnostic::error("CFG-RANGE", what, remedy).at(span, limits));
    }

    /// Seconds as a number, or a string with a unit, within `range`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<At<Duration>> {
        let (value, span) = match self.entry(key)? {
            (DeValue::Integer(number), span) => {
                let seconds = u64::from_str_radix(number.as_str(), number.radix()).ok();
                (seconds.map(Duration::from_secs), span)
            }
            (DeValue::String(text), span) => match scalar::duration(text) {
                Some(duration) => (Some(duration), span),
                None => {
                    let remedy =
                        "write seconds as a number, or a string such as \"500ms\", \"30s\", \"5m\" or \"8h\"";
                    self.bad(span, format!("`{key}` is no duration"), remedy);
                    return None;
                }
            },
            (other, span) => {
                self.wrong_type(key, "a duration", other, span);
                return None;
            }
        };
        match value.filter(|v| range.contains(v)) {
            Some(value) => Some(At { value, span }),
            None => {
                let shown = scalar::show_duration(*range.start())..=scalar::show_duration(*range.end());
                self.out_of_range(key, span, &shown);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(key)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let remedy = match nearest(text.value, words.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("choose {}", one_of(&words)),
        };
        let what = format!("`{key}` cannot be \"{}\"", shorten(text.value));
        self.push(Diagnostic::error("CFG-VALUE", what, remedy).at(text.span, one_of(&words)));
        None
    }

    /// A string that parses as `T`; `wanted` and `remedy` say what that is.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        key: &'static str,
        wanted: &str,
        remedy: &str,
    ) -> Option<At<T>> {
        let text = self.string(key)?;
        match text.value.parse() {
            Ok(value) => Some(At { value, span: text.span }),
            Err(_) => {
                self.bad(text.span, format!("`{key}` must be {wanted}"), remedy);
                None
            }
        }
    }

    /// An IP address.
    pub(super) fn address(&mut self, key: &'static str) -> Option<At<IpAddr>> {
        let text = self.string(key)?;
        match text.value.parse() {
            Ok(value) => Some(At { value, span: text.span }),
            Err(_) => {
                let remedy = if text.value.contains('/') {
                    "leave the prefix length away: an address, not a network"
                } else if text.value.parse::<std::net::SocketAddr>().is_ok() {
                    "leave the port away: IKE uses 500 and 4500"
                } else {
                    "write an IPv4 or IPv6 address; names are not looked up"
                };
                self.bad(text.span, format!("`{key}` is no IP address"), remedy);
                None
            }
        }
    }

    /// An absolute path.
    pub(super) fn path(&mut self, key: &'static str) -> Option<At<PathBuf>> {
        let text = self.string(key)?;
        if !text.value.starts_with('/') {
            self.bad(text.span, format!("`{key}` must be an absolute path"), "start it with /");
            return None;
        }
        Some(At { value: PathBuf::from(text.value), span: text.span })
    }

    /// A list of prefixes. An entry that is wrong is reported and left out.
    pub(super) fn prefixes(&mut self, key: &'static str) -> Option<Vec<At<IpNet>>> {
        let mut found: Vec<At<IpNet>> = Vec::new();
        for (item, span) in self.list(key)? {
            let DeValue::String(text) = item else {
                self.wrong_type(key, "a list of prefixes", item, span);
                continue;
            };
            match scalar::prefix(text) {
                Ok(net) => {
                    if let Some(first) = found.iter().find(|other| other.value == net) {
                        let warning = Diagnostic::warning(
                            "CFG-DUPLICATE",
                            format!("{net} stands twice in `{key}`"),
                            "remove one of the two",
                        );
                        let first = first.span.clone();
                        self.push(warning.at(span, "again").and_at(first, "first"));
                    } else {
                        found.push(At { value: net, span });
                    }
                }
                Err(scalar::BadPrefix { what, remedy }) => {
                    self.bad(span, format!("\"{}\" {what}", shorten(text)), remedy);
                }
            }
        }
        Some(found)
    }

    /// The items of a list.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Vec<(&'t DeValue<'t>, Range<usize>)>> {
        match self.entry(key)? {
            (DeValue::Array(items), span) if items.len() > MAX_LIST => {
                let what = format!("`{key}` has {} entries", items.len());
                let remedy = format!("aggregate them: {MAX_LIST} are the most");
                self.push(Diagnostic::error("CFG-LIMIT", what, remedy).at(span, ""));
                None
            }
            (DeValue::Array(items), _) => Some(spanned_items(items)),
            (other, span) => {
                self.wrong_type(key, "a list", other, span);
                None
            }
        }
    }

    /// A table inside this one.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        spec: &'static Table,
    ) -> Option<(&'t DeTable<'t>, Range<usize>)> {
        match self.entry(key)? {
            (DeValue::Table(table), span) => Some((table, span)),
            (other, span) => {
                let what = format!("`{key}` must be a table, not {}", kind(other));
                let remedy = format!("write a header {} and its keys below it", spec.header);
                self.push(Diagnostic::error("CFG-TYPE", what, remedy).at(span, ""));
                None
            }
        }
    }

    /// An array of tables inside this one; empty when it is missing.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        spec: &'static Table,
    ) -> Vec<(&'t DeTable<'t>, Range<usize>)> {
        let Some((value, span)) = self.entry(key) else { return Vec::new() };
        let remedy = format!("write {} with double brackets, once for each", spec.header);
        let DeValue::Array(items) = value else {
            let what = format!("there may be several of `{key}`, so it is written as {}", spec.header);
            self.push(Diagnostic::error("CFG-TYPE", what, remedy).at(span, ""));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (item, span) in spanned_items(items) {
            if let DeValue::Table(table) = item {
                tables.push((table, span));
            } else {
                let what = format!("`{key}` must hold tables, not {}", kind(item));
                self.push(Diagnostic::error("CFG-TYPE", what, remedy.clone()).at(span, ""));
            }
        }
        tables
    }
}

fn spanned_items<'t>(items: &'t DeArray<'t>) -> Vec<(&'t DeValue<'t>, Range<usize>)> {
    items.iter().map(|item| (item.get_ref(), item.span())).collect()
}

fn unknown_key(spec: &'static Table, key: &str) -> Diagnostic {
    let place = if spec.header.is_empty() { "the file" } else { spec.header };
    let what = format!("{place} has no key `{}`", shorten(key));
    let here = nearest(key, spec.keys.iter().map(|k| k.name));
    let elsewhere = schema::TABLES.iter().find(|t| t.keys.iter().any(|k| k.name == key));
    let remedy = match (here, elsewhere) {
        (Some(near), None) => format!("did you mean `{near}`?"),
        (_, Some(table)) => format!("`{key}` belongs in {}", table.header),
        (None, None) => {
            let keys: Vec<String> = spec.keys.iter().map(|k| format!("`{}`", k.name)).collect();
            format!("remove it; the keys here are {}", keys.join(", "))
        }
    };
    Diagnostic::error("CFG-UNKNOWN-KEY", what, remedy)
}

/// The candidate most like `word`, if one is alike enough.
pub(super) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    if word.len() > MAX_WORD {
        return None;
    }
    // One slip (a letter more, less, wrong or swapped) for every three letters.
    let slips = |c: &str| strsim::osa_distance(&word, &c.to_ascii_lowercase().replace('-', "_"));
    candidates
        .map(|c| (slips(c), c))
        .filter(|(slips, c)| *slips <= (c.len() / 3).max(1))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A value short enough for a message.
pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { text.chars().take(39).chain(['…']).collect() }
}

fn lower_first(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        // "AWS's outside address" and "AS" keep their capitals.
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

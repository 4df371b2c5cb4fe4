//! What is wrong, where, why, and what to do: one shape for every message about a file.
//!
//! A message opens with `file:line:column:`, shows the line with carets, and closes with the cause and the
//! remedy. It never shows a key: the text is masked before it is kept.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use crate::mask::{mask_random, mask_secrets};

/// Messages printed of one file; a file that is broken throughout needs no more.
const MAX_SHOWN: usize = 20;

/// Messages kept of one file; of the others only whether one was an error.
const MAX_KEPT: usize = 500;

/// Octets shown on either side of a place in a long line (JSON keeps a whole XML document in one).
const LINE_WINDOW: usize = 400;

/// Whether something stops us.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Nothing starts before it is mended.
    Error,
    /// It runs, but somebody should look.
    Warning,
}

/// A place in the text and what to say about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// Octet range in the source.
    pub span: Range<usize>,
    /// A few words beside the carets; may be empty.
    pub text: String,
}

/// Places shown beside the first one.
const MAX_RELATED: usize = 7;

/// Octets of the file in one picture at most; unmarked lines in it are folded.
const MAX_PICTURE: usize = 64 << 10;

/// One finding about a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable code, such as `CFG-UNKNOWN-KEY`.
    pub code: &'static str,
    /// What is wrong, in one line.
    pub what: String,
    /// Where; `None` when it concerns the file as a whole.
    pub place: Option<Label>,
    /// Other places that belong to it.
    pub related: Vec<Label>,
    /// Why it is wrong.
    pub cause: Option<String>,
    /// What to do.
    pub remedy: String,
}

impl Diagnostic {
    /// An error without a place, cause or related places yet.
    pub fn error(code: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            what: what.into(),
            place: None,
            related: Vec::new(),
            cause: None,
            remedy: remedy.into(),
        }
    }

    /// A warning without a place, cause or related places yet.
    pub fn warning(code: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, what, remedy) }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.place = Some(Label { span, text: text.into() });
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn and_at(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.related.push(Label { span, text: text.into() });
        self
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

/// All findings about one file. Its text is kept with every key masked.
#[derive(Clone, Debug)]
pub struct Report {
    filename: String,
    source: String,
    diagnostics: Vec<Diagnostic>,
    /// An error came after [`MAX_KEPT`].
    more_errors: bool,
}

impl Report {
    /// An empty report about `source`, in which keys are masked at once.
    pub fn new(filename: &str, source: &str) -> Self {
        Self {
            filename: filename.to_owned(),
            source: mask_secrets(source),
            diagnostics: Vec::new(),
            more_errors: false,
        }
    }

    /// A report of one finding.
    pub fn of(filename: &str, source: &str, diagnostic: Diagnostic) -> Self {
        let mut report = Self::new(filename, source);
        report.push(diagnostic);
        report
    }

    /// Adds a finding; after some hundreds only whether it is an error.
    ///
    /// Texts may quote the file, so they are made one line without anything that looks like a key.
    pub fn push(&mut self, mut diagnostic: Diagnostic) {
        diagnostic.what = quotable(&diagnostic.what);
        diagnostic.remedy = quotable(&diagnostic.remedy);
        if self.diagnostics.len() < MAX_KEPT {
            self.diagnostics.push(diagnostic);
        } else {
            self.more_errors |= diagnostic.severity == Severity::Error;
        }
    }

    /// Blots out one more place of the text that is shown.
    pub(crate) fn mask(&mut self, span: Range<usize>) {
        let (start, end) = (floor_boundary(&self.source, span.start), floor_boundary(&self.source, span.end));
        if let Some(text) = self.source.get(start..end) {
            let blot: String = text
                .bytes()
                .map(|b| if b.is_ascii_whitespace() || b == b'"' { b } else { b'*' })
                .map(char::from)
                .collect();
            self.source.replace_range(start..end, &blot);
        }
    }

    /// Drops the findings of another severity.
    pub(crate) fn keep(&mut self, severity: Severity) {
        self.diagnostics.retain(|d| d.severity == severity);
    }

    /// Takes the findings with `code` out.
    pub(crate) fn take(&mut self, code: &str) -> Vec<Diagnostic> {
        let (taken, kept) = std::mem::take(&mut self.diagnostics).into_iter().partition(|d| d.code == code);
        self.diagnostics = kept;
        taken
    }

    /// What messages call the file.
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// Everything found, in the order of the file once [`Report::sort`] was called.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether anything found is an error.
    pub fn has_errors(&self) -> bool {
        self.more_errors || self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty() && !self.more_errors
    }

    /// Puts findings into the order of the file, those about the whole file first.
    pub fn sort(&mut self) {
        self.diagnostics.sort_by_key(|d| d.place.as_ref().map_or(0, |p| p.span.start + 1));
    }

    /// Line and column (in characters), both from 1, of the octet at `offset`.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.source.get(..floor_boundary(&self.source, offset)).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// The text for a terminal; `colour` adds ANSI sequences.
    ///
    /// ```text
    /// cgwd.toml:14:15: error: `dpd_timeout` is 10 seconds [CFG-DPD]
    ///    |
    /// 14 | dpd_timeout = 10
    ///    |               ^^ at least 30 seconds
    ///    |
    ///    = cause: …
    ///    = remedy: …
    /// ```
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for diagnostic in self.diagnostics.iter().take(MAX_SHOWN) {
            out.push_str(&self.render_one(diagnostic, colour));
        }
        if let Some(more) = self.diagnostics.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            out.push_str(&format!("{}: {more} more findings are not shown\n", self.filename));
        }
        out
    }

    /// One line per finding, `file:line:column: error: what; remedy`, for logs and the journal.
    pub fn short(&self) -> String {
        self.diagnostics
            .iter()
            .map(|d| format!("{}: {}: {}; {}\n", self.locate(d), word(d.severity), d.what, d.remedy))
            .collect()
    }

    fn locate(&self, diagnostic: &Diagnostic) -> String {
        match &diagnostic.place {
            Some(place) => {
                let (line, column) = self.position(place.span.start);
                format!("{}:{line}:{column}", self.filename)
            }
            None => self.filename.clone(),
        }
    }

    fn render_one(&self, diagnostic: &Diagnostic, colour: bool) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_level(level);
        for snippet in self.pictures(diagnostic) {
            group = group.element(snippet);
        }
        if let Some(cause) = &diagnostic.cause {
            group = group.element(Level::NOTE.with_name("cause").message(cause.as_str()));
        }
        group = group.element(Level::HELP.with_name("remedy").message(diagnostic.remedy.as_str()));
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let body = renderer.decor_style(DecorStyle::Ascii).render(&[group]);
        let (on, off) = if colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let head = format!("{}: {}: {}", self.locate(diagnostic), word(diagnostic.severity), diagnostic.what);
        format!("{on}{head}{off} [{}]\n{body}\n", diagnostic.code)
    }

    /// One picture of all places where their lines are short, otherwise one of each.
    fn pictures<'s>(&'s self, diagnostic: &'s Diagnostic) -> Vec<Snippet<'s, Annotation<'s>>> {
        let Some(place) = &diagnostic.place else { return Vec::new() };
        let related = || diagnostic.related.iter().take(MAX_RELATED);
        let labels: Vec<(&Label, AnnotationKind)> = std::iter::once((place, AnnotationKind::Primary))
            .chain(related().map(|label| (label, AnnotationKind::Context)))
            .collect();
        let text = &self.source;
        let lines: Vec<Range<usize>> = labels.iter().map(|(label, _)| self.first_line(label)).collect();
        let start = lines.iter().map(|line| line.start).min().unwrap_or(0);
        let end = lines.iter().map(|line| line.end).max().unwrap_or(0);
        let shown = text.get(start..end).unwrap_or_default();
        if shown.len() > MAX_PICTURE || shown.lines().any(|line| line.len() > LINE_WINDOW) {
            return labels.into_iter().map(|(label, kind)| self.snippet(label, kind)).collect();
        }
        let mut snippet = Snippet::source(shown).line_start(self.position(start).0);
        for ((label, kind), line) in labels.iter().zip(&lines) {
            let from = floor_boundary(text, label.span.start).clamp(line.start, line.end);
            let to = floor_boundary(text, label.span.end).clamp(from, line.end);
            snippet = snippet.annotation(annotation(*kind, from - start..to - start, &label.text));
        }
        vec![snippet]
    }

    /// The line on which `label` begins, without its end.
    fn first_line(&self, label: &Label) -> Range<usize> {
        let text = &self.source;
        let at = floor_boundary(text, label.span.start);
        let start = text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |newline| newline + 1);
        let end = text.get(at..).and_then(|t| t.find('\n')).map_or(text.len(), |n| at + n);
        let carriage = text.get(start..end).is_some_and(|line| line.ends_with('\r'));
        start..(end - usize::from(carriage)).max(start)
    }

    /// The line of `label`, cut to a window where they are long, with carets.
    fn snippet(&self, label: &Label, kind: AnnotationKind) -> Snippet<'_, Annotation<'_>> {
        let text = &self.source;
        let line = self.first_line(label);
        let start = floor_boundary(text, label.span.start).clamp(line.start, line.end);
        // A place that runs over several lines is shown by its first.
        let end = floor_boundary(text, label.span.end).clamp(start, line.end);
        let from = floor_boundary(text, line.start.max(start.saturating_sub(LINE_WINDOW)));
        let to = floor_boundary(text, line.end.min(end.saturating_add(LINE_WINDOW)));
        let shown = text.get(from..to).unwrap_or_default();
        let annotation = annotation(kind, start - from..end - from, &label.text);
        Snippet::source(shown).line_start(self.position(start).0).annotation(annotation)
    }
}

fn annotation<'a>(kind: AnnotationKind, span: Range<usize>, text: &str) -> Annotation<'a> {
    let annotation = kind.span(span);
    if text.is_empty() { annotation } else { annotation.label(text.to_owned()) }
}

/// The plain text.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn quotable(text: &str) -> String {
    mask_random(text).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The largest character boundary not above `index`.
fn floor_boundary(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(source: &str, span: Range<usize>) -> Report {
        let finding = Diagnostic::error("CFG-TEST", "something is off", "mend it").at(span, "here");
        Report::of("file.toml", source, finding.because("a rule"))
    }

    #[test]
    fn a_message_has_place_picture_cause_and_remedy() {
        let text = report("a = 1\n\tbé = 22\n", 13..15).render(false);
        assert_eq!(
            text,
            "file.toml:2:7: error: something is off [CFG-TEST]\n  |\n2 |     bé = 22\n  |          ^^ here\n  |\n  \
             = cause: a rule\n  = remedy: mend it\n"
        );
    }

    #[test]
    fn places_outside_the_text_do_no_harm() {
        for span in [0..0, Range { start: 3, end: 1 }, 99..200, 2..99, 6..6] {
            assert!(report("a\r\né\nb", span).render(true).contains("mend it"));
        }
        assert!(report("", 0..1).render(false).contains("file.toml:1:1"));
    }
}

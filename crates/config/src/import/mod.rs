//! `cgwd import`: what AWS hands out, turned into our file.

use ipnet::IpNet;

use crate::Report;

/// What no AWS file says, and what the user prefers.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// `--lan`: prefixes on our side, announced over BGP or protected by a static connection.
    pub lan: Vec<IpNet>,
    /// `--vpc`: prefixes behind AWS; needed for static routing, the accept list for BGP.
    pub vpc: Vec<IpNet>,
    /// `--raw-esp`: protocol 50 where no NAT is found.
    pub raw_esp: bool,
}

/// A successful import.
pub struct Imported {
    /// The commented TOML file; it holds the pre-shared keys, so write it with mode 0600.
    pub toml: String,
    /// What was decided on the user's behalf, one sentence or two each, for standard error.
    pub notes: Vec<String>,
}

/// Turns `input` into a configuration file; the format is recognised by its content.
///
/// # Errors
/// When the input is no AWS configuration, is incomplete, or describes a connection we cannot serve.
pub fn import(input: &str, filename: &str, options: &ImportOptions) -> Result<Imported, Report> {
    let _ = options;
    Err(Report::new(filename, input))
}

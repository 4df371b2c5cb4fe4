//! `cgwd import`: what AWS hands out, turned into our file.
//!
//! Detect the format, read what it says (a draft with places), decide what it leaves open (a plan, with notes
//! for the user), write TOML, and load that with the ordinary loader before it is handed out. It never talks to
//! AWS and never writes a file.

mod choose;
mod draft;
mod generic;
mod json;
mod notes;
mod plan;
mod source;
mod swan;
mod write;
mod xml;

use ipnet::IpNet;

use crate::{Diagnostic, Report, parse};
use draft::{Context, Draft};
use source::Source;

/// Longest input, octets. A thousand connections of `describe-vpn-connections` are half of it.
pub const MAX_INPUT: usize = 16 << 20;

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
    /// What was decided on the user's behalf, a sentence or two each, for standard error.
    pub notes: Vec<String>,
}

/// Turns `input` into a configuration file; the format is recognised by its content.
///
/// # Errors
/// When the input is no AWS configuration, is incomplete, or describes a connection we cannot serve.
pub fn import(input: &str, filename: &str, options: &ImportOptions) -> Result<Imported, Report> {
    let mut report = Report::new(filename, input);
    let mut notes = Vec::new();
    let mut cx = Context { report: &mut report, notes: &mut notes };
    let drafts = read(input, &mut cx);
    if cx.report.has_errors() {
        // What could not be read would only be missed again.
        report.sort();
        return Err(report);
    }
    notes::about_drafts(&drafts, cx.notes);
    if drafts.len() > 1 && !options.vpc.is_empty() {
        cx.notes.push(format!(
            "--lan and --vpc were used for all {} connections: edit the file where they differ.",
            drafts.len()
        ));
    }
    let plans: Vec<plan::Plan> = drafts
        .into_iter()
        .enumerate()
        .filter_map(|(index, draft)| plan::plan(draft, index + 1, options, &mut cx))
        .collect();
    if report.has_errors() {
        report.sort();
        return Err(report);
    }
    notes::about_plans(&plans, &mut notes);
    let toml = write::write(&plans, filename);
    match parse(&toml, filename) {
        Ok(_) => Ok(Imported { toml, notes }),
        Err(inner) => {
            // The loader's places are those of a file that nobody has; only its words help here.
            for diagnostic in inner.diagnostics() {
                report.push(Diagnostic { place: None, related: Vec::new(), ..diagnostic.clone() });
            }
            Err(report)
        }
    }
}

/// The text in `bytes`: UTF-8, or the UTF-16 that a Windows shell writes.
///
/// # Errors
/// When it is neither, or too long.
pub fn decode(bytes: &[u8], filename: &str) -> Result<String, Report> {
    let fail = |code, what, remedy| Err(Report::of(filename, "", Diagnostic::error(code, what, remedy)));
    if bytes.len() > MAX_INPUT {
        return fail(
            "IMP-SIZE",
            "the file is too long for anything that AWS hands out",
            "check the file's name",
        );
    }
    let units = |pairs: &[u8], order: fn([u8; 2]) -> u16| -> Vec<u16> {
        pairs.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(order).collect()
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => String::from_utf16(&units(rest, u16::from_le_bytes)).ok(),
        [0xfe, 0xff, rest @ ..] => String::from_utf16(&units(rest, u16::from_be_bytes)).ok(),
        _ => std::str::from_utf8(bytes).map(str::to_owned).ok(),
    };
    match text {
        Some(text) => Ok(text),
        None => {
            fail("IMP-ENCODING", "the file is no text", "import the file as AWS gave it, or save it as UTF-8")
        }
    }
}

fn read(input: &str, cx: &mut Context<'_>) -> Vec<Draft> {
    if input.len() > MAX_INPUT {
        let what = "the file is too long for anything that AWS hands out";
        cx.report.push(Diagnostic::error("IMP-SIZE", what, "check the file's name"));
        return Vec::new();
    }
    let trimmed = input.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let lower = input.to_ascii_lowercase();
    let whole = || Source::piece(input, 0..input.len());
    if trimmed.starts_with(['{', '[', '"']) && !trimmed.starts_with("[[") {
        return json::documents(input, cx);
    }
    if lower.contains(xml::OPEN) || lower.contains("\\u003cvpn_connection") {
        return xml::documents(&whole(), cx);
    }
    if swan::recognise(&lower) {
        return swan::documents(&whole(), cx);
    }
    if generic::recognise(&lower) {
        return generic::documents(&whole(), cx);
    }
    cx.report.push(unrecognised(trimmed, &lower));
    Vec::new()
}

/// What the input is instead, when that can be told.
fn unrecognised(trimmed: &str, lower: &str) -> Diagnostic {
    let generic = "at AWS choose \"Download configuration\" with vendor Generic, or save the output of \
                   `aws ec2 describe-vpn-connections --output json`";
    let (what, remedy) = if trimmed.is_empty() {
        ("the file is empty", generic)
    } else if trimmed.contains("[[connection]]") {
        ("this is a cgwd configuration already", "check it with `cgwd check --config FILE`")
    } else if lower.contains("describevpnconnections") || lower.contains("vpnconnections:") {
        ("this is the answer of AWS as a table or YAML", "add `--output json` to the aws command")
    } else if lower.contains("<sensitive>") {
        ("Terraform left the value out as sensitive", "use `terraform output -raw NAME`")
    } else if lower.contains("ipsec tunnel #") || lower.contains("amazon web services") {
        ("this is AWS's download for another vendor's device", generic)
    } else if lower.contains("<html") || lower.contains("<!doctype html") {
        ("this is a web page", generic)
    } else {
        ("this is no VPN configuration of AWS that cgwd knows", generic)
    };
    Diagnostic::error("IMP-FORMAT", what, remedy)
}

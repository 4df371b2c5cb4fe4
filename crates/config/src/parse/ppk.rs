//! `ppk_id` and its kin: a post-quantum pre-shared key beside the credentials.

use super::connection::identifier;
use super::reader::Reader;
use super::tunnel::MAX_IDENTITY;
use crate::ppk::{MAX_PPK_ID, STRONG_PPK_OCTETS};
use crate::{Diagnostic, KeySource, Peer, Ppk, parse_ppk};

/// Where the key may be.
const SOURCES: [&str; 3] = ["ppk", "ppk_file", "ppk_credential"];

/// Reads it; `None` when there is none, or when it cannot be used (and that is reported).
pub(super) fn ppk(reader: &mut Reader<'_, '_>, peer: Peer) -> Option<Ppk> {
    let all = ["ppk_id", "ppk_required"].into_iter().chain(SOURCES);
    let present: Vec<&str> = all.filter(|key| reader.has(key)).collect();
    if present.is_empty() {
        return None;
    }
    let id = id(reader);
    let source = source(reader);
    let required = reader.boolean("ppk_required").unwrap_or(true);
    if required && peer == Peer::Aws && id.is_some() {
        let warning = Diagnostic::warning(
            "CFG-PPK",
            "AWS has no PPKs today, and this tunnel may not come up without",
            "set `ppk_required = false`, or `peer = \"other\"` in the connection if it is not AWS's",
        );
        let place = reader.span_of("ppk_id").unwrap_or_else(|| reader.span());
        reader.push(warning.at(place, ""));
    }
    Some(Ppk { id: id?, source: source?, required })
}

fn id(reader: &mut Reader<'_, '_>) -> Option<String> {
    let Some(text) = reader.string("ppk_id") else {
        if !reader.has("ppk_id") {
            reader.missing("ppk_id", "add `ppk_id = \"…\"`: the name that both sides give the PPK");
        }
        return None;
    };
    let usable = (1..=MAX_PPK_ID).contains(&text.value.len())
        && text.value.bytes().all(|octet| octet.is_ascii_graphic());
    if !usable {
        let remedy = format!("use 1 to {MAX_PPK_ID} letters, digits, `+`, `/` and the like, without spaces");
        reader.bad(text.span, "`ppk_id` is no name for a PPK", remedy);
        return None;
    }
    Some(text.value.to_owned())
}

fn source(reader: &mut Reader<'_, '_>) -> Option<KeySource> {
    let present: Vec<&str> = SOURCES.into_iter().filter(|key| reader.has(key)).collect();
    match present.as_slice() {
        [] => {
            reader.missing("ppk", "add `ppk_file`, `ppk_credential` or `ppk`: where the PPK is");
            None
        }
        ["ppk"] => inline(reader),
        ["ppk_file"] => reader.path("ppk_file").map(|at| KeySource::File(at.value)),
        [_] => identifier(reader, "ppk_credential", MAX_IDENTITY).map(|at| KeySource::Credential(at.value)),
        [first, second, ..] => {
            let what = format!("both `{first}` and `{second}` are given");
            let finding = Diagnostic::error("CFG-PPK", what, "keep one of the two");
            let first = reader.span_of(first).unwrap_or(0..0);
            let second = reader.span_of(second).unwrap_or(0..0);
            reader.push(finding.at(second, "").and_at(first, ""));
            None
        }
    }
}

fn inline(reader: &mut Reader<'_, '_>) -> Option<KeySource> {
    let text = reader.string("ppk")?;
    let key = match parse_ppk(text.value) {
        Ok(key) => key,
        Err(error) => {
            let message = error.to_string();
            let (what, remedy) = message.split_once("; ").unwrap_or((&message, ""));
            reader.push(Diagnostic::error("CFG-PPK", what, remedy).at(text.span, ""));
            return None;
        }
    };
    if key.len() < STRONG_PPK_OCTETS {
        let finding = Diagnostic::warning(
            "CFG-WEAK-KEY",
            format!("the PPK has {} octets; a quantum computer halves its strength", key.len()),
            "make one of 32 random octets: `openssl rand -hex 32`, `0x` in front",
        );
        reader.push(finding.at(text.span, ""));
    }
    Some(KeySource::Inline(key))
}

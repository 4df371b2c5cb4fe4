//! A configuration that may be shown: every secret in it blotted out, also in a file that cannot be parsed.
//!
//! What is blotted out is handed over as well, so that the caller can look for it elsewhere.

use std::ops::Range;
use std::path::PathBuf;

use model::Secret;
use toml::de::{DeTable, DeValue};

use crate::mask::mask_secrets;

/// Words in the name of a key whose value nobody may see.
const SECRET_WORDS: [&str; 9] =
    ["psk", "ppk", "secret", "passw", "passphrase", "private", "shared_key", "shared-key", "token"];
/// Endings of keys that only say where a secret, or something public, is.
const PLACES: [&str; 6] = ["_file", "_credential", "_id", "_path", "_arn", "_required"];

/// A configuration without its secrets.
#[derive(Debug)]
pub struct Redacted {
    /// The text, of the same length; each octet of a secret is one `*`.
    pub text: String,
    /// What was blotted out.
    pub secrets: Vec<Secret>,
    /// Files that the configuration names as places of secrets.
    pub files: Vec<PathBuf>,
    /// Credentials of systemd that it names as places of secrets.
    pub credentials: Vec<String>,
}

/// Blots out every secret in the text of a configuration. It rather takes too much than too little.
pub fn redact(source: &str) -> Redacted {
    let mut found =
        Redacted { text: String::new(), secrets: Vec::new(), files: Vec::new(), credentials: Vec::new() };
    let mut spans = Vec::new();
    let (tree, _) = DeTable::parse_recoverable(source);
    table(tree.get_ref(), &mut spans, &mut found);
    spans.extend(lines(source));
    spans.extend(private_keys(source));
    // By its spelling alone, as AWS's downloads have it.
    let masked = mask_secrets(source);
    for span in differences(source, &masked) {
        keep(source.get(span).unwrap_or_default(), &mut found.secrets);
    }
    let mut bytes = masked.into_bytes();
    for span in spans {
        keep(
            source.get(span.clone()).unwrap_or_default().trim().trim_matches(['"', '\'']),
            &mut found.secrets,
        );
        blot(&mut bytes, span);
    }
    // Whole characters were replaced; if ever not, nothing is shown.
    found.text = String::from_utf8(bytes).unwrap_or_default();
    found
}

fn keep(raw: &str, secrets: &mut Vec<Secret>) {
    if !raw.is_empty() && !raw.bytes().all(|byte| byte == b'*') {
        secrets.push(Secret::from(raw.as_bytes()));
    }
}

fn blot(bytes: &mut [u8], span: Range<usize>) {
    for octet in bytes.get_mut(span).unwrap_or_default() {
        if !octet.is_ascii_whitespace() && *octet != b'"' && *octet != b'\'' {
            *octet = b'*';
        }
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word)) && !PLACES.iter().any(|place| key.ends_with(place))
}

/// Goes through the tree: values as the parser understands them, whatever their spelling.
fn table(table: &DeTable<'_>, spans: &mut Vec<Range<usize>>, found: &mut Redacted) {
    for (key, entry) in table.iter() {
        let name = key.get_ref();
        value(name, entry, spans, found);
    }
}

fn value(
    name: &str,
    entry: &toml::Spanned<DeValue<'_>>,
    spans: &mut Vec<Range<usize>>,
    found: &mut Redacted,
) {
    match entry.get_ref() {
        DeValue::Table(inner) => table(inner, spans, found),
        DeValue::Array(items) => items.iter().for_each(|item| value(name, item, spans, found)),
        other if is_secret(name) => {
            if let DeValue::String(text) = other {
                // The value itself may be spelled with escapes.
                keep(text, &mut found.secrets);
            }
            spans.push(entry.span());
        }
        DeValue::String(text) => {
            let place = SECRET_WORDS.iter().any(|word| name.contains(word)) || name.contains("key");
            if place && name.ends_with("_file") {
                found.files.push(PathBuf::from(text.as_ref()));
            } else if place && name.ends_with("_credential") {
                found.credentials.push(text.as_ref().to_owned());
            }
        }
        _ => {}
    }
}

/// The same for lines that the parser may not have understood, comments among them: everything after the `=`.
fn lines(source: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        if let Some((name, rest)) = line.split_once('=')
            && name
                .split(['{', ',', '['])
                .next_back()
                .is_some_and(|name| is_secret(name.trim_matches([' ', '#', '"', '\'', '\t'])))
        {
            let at = start + line.len() - rest.len();
            let end = comment(rest).unwrap_or(rest.trim_end().len());
            spans.push(at..at + end);
        }
        start += line.len();
    }
    spans
}

/// Where the comment behind a value begins, when the value is a whole string.
fn comment(rest: &str) -> Option<usize> {
    let value = rest.trim_start();
    let quote = value.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let close = value.get(1..)?.find(quote)? + 2;
    let behind = value.get(close..)?.trim_start();
    behind.starts_with('#').then(|| rest.len() - value.len() + close)
}

/// Private keys in PEM, wherever they stand.
fn private_keys(source: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut from = 0;
    while let Some(begin) = source.get(from..).and_then(|rest| rest.find("PRIVATE KEY-----")) {
        let begin = from + begin + "PRIVATE KEY-----".len();
        let end = source
            .get(begin..)
            .and_then(|rest| rest.find("-----END"))
            .map_or(source.len(), |end| begin + end);
        spans.push(begin..end);
        from = end.max(begin + 1);
    }
    spans
}

/// The runs of octets in which two texts of the same length differ.
fn differences(one: &str, other: &str) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, (a, b)) in one.bytes().zip(other.bytes()).enumerate() {
        if a != b {
            match runs.last_mut() {
                Some(run) if run.end == at => run.end += 1,
                _ => runs.push(at..at + 1),
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(redacted: &Redacted) -> Vec<String> {
        redacted.secrets.iter().map(|secret| String::from_utf8_lossy(secret.expose()).into_owned()).collect()
    }

    #[test]
    fn every_secret_is_blotted_out_and_everything_else_stays() {
        let source = "[[connection]]\nid = \"vpn-1\" # note\n[[connection.tunnel]]\npsk = \"lab_Key1\" # mine\n\
                      ppk = 'topsecretppk'\nppk_id = \"office\"\nppk_required = true\nprivate_key = \"\"\"\nMIIB\nAAAA\n\"\"\"\n\
                      psk_file = \"/etc/cgwd/a.psk\"\nprivate_key_credential = \"gw.key\"\n# psk = \"old_Key9\"\n";
        let redacted = redact(source);
        for gone in ["lab_Key1", "topsecretppk", "MIIB", "AAAA", "old_Key9"] {
            assert!(!redacted.text.contains(gone), "{gone} in\n{}", redacted.text);
        }
        for stays in [
            "id = \"vpn-1\" # note",
            "# mine",
            "ppk_id = \"office\"",
            "ppk_required = true",
            "/etc/cgwd/a.psk",
            "gw.key",
        ] {
            assert!(redacted.text.contains(stays), "{stays} not in\n{}", redacted.text);
        }
        assert_eq!(redacted.text.len(), source.len());
        for known in ["lab_Key1", "topsecretppk", "old_Key9"] {
            assert!(secrets(&redacted).iter().any(|secret| secret.contains(known)), "{known}");
        }
        assert_eq!(redacted.files, [PathBuf::from("/etc/cgwd/a.psk")]);
        assert_eq!(redacted.credentials, ["gw.key"]);
    }

    #[test]
    fn a_file_that_cannot_be_parsed_shows_no_secret_either() {
        for source in [
            "[[connection\npsk = \"lab_Key1\"\n",
            "psk = \"lab_Key1\n",
            "psk = lab_Key1\nname = \"x\"",
            "tunnel = { psk = \"lab_Key1\" ",
            "\"psk\" = \"lab_Key1\"\n= = =",
            "psk =\"\\u006cab_Key1\"",
            "-----BEGIN PRIVATE KEY-----\nlab_Key1\n-----END PRIVATE KEY-----\n]]]",
        ] {
            let redacted = redact(source);
            assert!(!redacted.text.contains("ab_Key1"), "{source}\n{}", redacted.text);
            assert!(secrets(&redacted).iter().any(|secret| secret.contains("ab_Key1")), "{source}");
        }
    }
}

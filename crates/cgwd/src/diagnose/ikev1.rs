//! Does the peer speak IKEv1? One Main Mode proposal (RFC 2409 §5.4), never followed by anything.
//!
//! IKEv1 itself is obsolete (RFC 9395) and not spoken here. But a tunnel that allows only IKEv1 answers an IKEv2
//! request with silence or NO_PROPOSAL_CHOSEN, as one with other algorithms does, and only this tells the two apart.

/// Payload types (RFC 2408 §3.1).
const PAYLOAD_SA: u8 = 1;
const PAYLOAD_TRANSFORM: u8 = 3;
/// Version 1.0 (RFC 2408 §3.1).
const VERSION: u8 = 0x10;
/// Identity Protection, which is Main Mode.
const EXCHANGE_MAIN: u8 = 2;
const HEADER_LEN: usize = 28;
/// Hash algorithms (RFC 2409 appendix A, RFC 4868 §4): SHA-1, SHA2-256, -384, -512.
const HASHES: [u16; 4] = [2, 4, 5, 6];
/// Diffie-Hellman groups that a tunnel at AWS is likely to allow beside each hash.
const GROUPS: [u16; 4] = [2, 14, 19, 20];
const KEY_BITS: [u16; 2] = [128, 256];

/// A Main Mode request that offers what a tunnel at AWS may allow; `cookie` recognises the answer.
pub fn request(cookie: [u8; 8]) -> Vec<u8> {
    let mut transforms = Vec::new();
    let suites = KEY_BITS.iter().flat_map(|bits| {
        HASHES.iter().flat_map(move |hash| GROUPS.iter().map(move |group| (*bits, *hash, *group)))
    });
    let count = KEY_BITS.len() * HASHES.len() * GROUPS.len();
    for (index, (bits, hash, group)) in suites.enumerate() {
        let next = if index + 1 < count { PAYLOAD_TRANSFORM } else { 0 };
        let number = (index + 1) as u8;
        // Transform identifier KEY_IKE; attributes in basic encoding: cipher AES-CBC, key length, hash,
        // pre-shared key, group, life in seconds.
        let mut body = vec![number, 1, 0, 0];
        for (kind, value) in [(1, 7), (14, bits), (2, hash), (3, 1), (4, group), (11, 1), (12, 28_800)] {
            body.extend((0x8000_u16 | kind).to_be_bytes());
            body.extend(value.to_be_bytes());
        }
        payload(&mut transforms, next, &body);
    }
    // Proposal 1, protocol ISAKMP, no SPI.
    let mut proposal = vec![1, 1, 0, count as u8];
    proposal.extend(transforms);
    // Domain of interpretation IPsec, situation "identity only" (RFC 2407 §4.2).
    let mut sa = vec![0, 0, 0, 1, 0, 0, 0, 1];
    payload(&mut sa, 0, &proposal);
    let mut message = cookie.to_vec();
    message.extend([0; 8]);
    message.extend([PAYLOAD_SA, VERSION, EXCHANGE_MAIN, 0, 0, 0, 0, 0]);
    let mut body = Vec::new();
    payload(&mut body, 0, &sa);
    message.extend(((HEADER_LEN + body.len()) as u32).to_be_bytes());
    message.extend(body);
    message
}

/// Generic payload header (RFC 2408 §3.2) and body.
fn payload(out: &mut Vec<u8>, next: u8, body: &[u8]) {
    out.extend([next, 0]);
    out.extend(((body.len() + 4) as u16).to_be_bytes());
    out.extend(body);
}

/// What a datagram says about the request with this cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The peer took one of the proposals: it speaks IKEv1.
    Accepted,
    /// The peer answered in IKEv1, but took none.
    Refused,
}

/// Reads an answer; `None` when the datagram is none.
pub fn answer(cookie: [u8; 8], datagram: &[u8]) -> Option<Answer> {
    let header = datagram.first_chunk::<HEADER_LEN>()?;
    let (to, rest) = header.split_first_chunk::<8>()?;
    let [next, version, exchange] = *rest.get(8..11)?.first_chunk::<3>()?;
    if *to != cookie || version != VERSION {
        return None;
    }
    let accepted = next == PAYLOAD_SA && exchange == EXCHANGE_MAIN;
    Some(if accepted { Answer::Accepted } else { Answer::Refused })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn the_request_is_consistent_in_all_its_lengths() {
        let request = request(COOKIE);
        assert!(request.len() < 1400, "{} octets would be fragmented", request.len());
        assert_eq!(request[24..28], (request.len() as u32).to_be_bytes());
        let sa = &request[28..];
        assert_eq!(usize::from(u16::from_be_bytes([sa[2], sa[3]])), sa.len());
        let proposal = &sa[12..];
        assert_eq!(usize::from(u16::from_be_bytes([proposal[2], proposal[3]])), proposal.len());
        let mut transforms = &proposal[8..];
        let mut seen = 0;
        while !transforms.is_empty() {
            let len = usize::from(u16::from_be_bytes([transforms[2], transforms[3]]));
            assert_eq!(transforms[0] == 0, len == transforms.len());
            transforms = &transforms[len..];
            seen += 1;
        }
        assert_eq!(seen, usize::from(proposal[7]));
        assert_eq!(proposal[0], 0, "one proposal only");
    }

    #[test]
    fn only_an_ikev1_answer_to_our_cookie_counts() {
        let mut datagram = request(COOKIE);
        assert_eq!(answer(COOKIE, &datagram), Some(Answer::Accepted));
        assert_eq!(answer([9; 8], &datagram), None);
        datagram[18] = 5;
        assert_eq!(answer(COOKIE, &datagram), Some(Answer::Refused));
        datagram[17] = 0x20;
        assert_eq!(answer(COOKIE, &datagram), None);
        assert_eq!(answer(COOKIE, &datagram[..27]), None);
    }
}

//! Stand-ins for what tells who and where: addresses, names, identifiers. The same thing has the same stand-in in
//! every file of a bundle, and nobody can compute it back: the key is drawn for each bundle and forgotten.
//!
//! Addresses keep their networks: two that share a prefix have stand-ins that share one of the same length, so
//! masks, "inside that network" and "next to each other" still mean what they meant. Private addresses stay
//! private, link-local ones link-local; loopback, multicast and masks stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How often a new key is drawn when a stand-in is somebody's real address.
const DRAWS_MAX: usize = 200;
/// The low bits that stay: which end of a /30 or /126 an address is.
const LOW_BITS: u32 = 2;
/// Hexadecimal digits of AWS's identifiers.
const AWS_DIGITS: std::ops::RangeInclusive<usize> = 8..=17;
/// Digits of an AWS account.
const ACCOUNT_DIGITS: usize = 12;

/// A part of the address space: its leading bits, how many, and whether what is inside stays as it is.
type Region = (u128, u32, bool);

/// IPv4: this network, loopback, multicast and masks stay; private and link-local networks keep their kind.
const REGIONS_V4: [Region; 8] = [
    (0, 8, true),
    (127, 8, true),
    (0b111, 3, true),
    (10, 8, false),
    (0xAC1, 12, false),
    (0xC0A8, 16, false),
    (0xA9FE, 16, false),
    (0x191, 10, false),
];
/// IPv6: unspecified, loopback and multicast stay; global, unique local and link-local ones keep their kind.
const REGIONS_V6: [Region; 5] =
    [(0, 127, true), (0xFF, 8, true), (0b001, 3, false), (0b111_1110, 7, false), (0b11_1111_1010, 10, false)];

/// The stand-ins of one bundle.
pub(super) struct Anonymiser {
    key: RandomState,
    addresses: BTreeMap<IpAddr, IpAddr>,
    names: BTreeMap<String, String>,
}

impl Anonymiser {
    /// Stand-ins for every address in `texts`, and for `names`: each with what its stand-in begins with.
    pub(super) fn new<'t>(texts: impl Iterator<Item = &'t str>, names: &[(String, &str)]) -> Self {
        let mut seen = BTreeSet::new();
        for text in texts {
            replace_addresses(text, &mut |address, length| {
                seen.insert((address, length));
                address
            });
        }
        let originals: BTreeSet<IpAddr> = seen.iter().map(|&(address, _)| address).collect();
        let mut this = Self { key: RandomState::new(), addresses: BTreeMap::new(), names: BTreeMap::new() };
        for _ in 0..DRAWS_MAX {
            this.addresses =
                originals.iter().map(|&address| (address, stand_in(&this.key, address))).collect();
            let clash = |&(from, length): &(IpAddr, Option<u8>)| {
                let to = this.addresses.get(&from).copied().unwrap_or(from);
                !is_fixed(from, length) && originals.contains(&masked(from, to, length))
            };
            if !seen.iter().any(clash) {
                break;
            }
            this.key = RandomState::new();
        }
        for (name, kind) in names {
            if !name.is_empty() && name != "localhost" && name.parse::<IpAddr>().is_err() {
                let number = this.names.len() + 1;
                this.names.entry(name.clone()).or_insert_with(|| format!("{kind}-{number}"));
            }
        }
        this
    }

    /// The text with everything replaced.
    pub(super) fn apply(&mut self, text: &str) -> String {
        let mut text = self.replace_words(text);
        let mut names: Vec<(&String, &String)> = self.names.iter().collect();
        // `gw1.example.com` before `gw1`.
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, stand_in) in names {
            text = replace_word(&text, name, stand_in);
        }
        replace_addresses(&text, &mut |address, _| {
            let key = &self.key;
            *self.addresses.entry(address).or_insert_with(|| self::stand_in(key, address))
        })
    }

    /// How many addresses and names have stand-ins.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.addresses.keys().filter(|address| !is_kept(**address)).count(), self.names.len())
    }

    /// Identifiers that AWS made are known by their looks, and so are accounts and hardware addresses.
    fn replace_words(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
            let start = rest.find(is_part).unwrap_or(rest.len());
            let (between, from) = rest.split_at(start);
            let (word, behind) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
            out.push_str(between);
            if is_hardware(word) {
                out.push_str(
                    &self.named(word, |n| format!("02:00:00:00:{:02x}:{:02x}", n >> 8 & 0xff, n & 0xff)),
                );
            } else {
                let arn = word.starts_with("arn:");
                let parts: Vec<String> = word.split(':').map(|part| self.word(part, arn)).collect();
                out.push_str(&parts.join(":"));
            }
            rest = behind;
        }
        out
    }

    fn word(&mut self, word: &str, arn: bool) -> String {
        if let Some((kind, id)) = word.rsplit_once('-')
            && AWS_DIGITS.contains(&id.len())
            && id.bytes().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
            && id.bytes().any(|c| c.is_ascii_digit())
            && kind.bytes().all(|c| c.is_ascii_lowercase() || c == b'-')
            && kind.starts_with(|c: char| c.is_ascii_lowercase())
        {
            let (kind, digits) = (kind.to_owned(), id.len());
            return self.named(word, |n| format!("{kind}-{n:0digits$x}"));
        }
        if arn && word.len() == ACCOUNT_DIGITS && word.bytes().all(|c| c.is_ascii_digit()) {
            return self.named(word, |n| format!("{n:0ACCOUNT_DIGITS$}"));
        }
        word.to_owned()
    }

    fn named(&mut self, name: &str, make: impl FnOnce(usize) -> String) -> String {
        let next = self.names.len() + 1;
        self.names.entry(name.to_owned()).or_insert_with(|| make(next)).clone()
    }
}

fn is_hardware(word: &str) -> bool {
    let groups = || word.split(':');
    let zero = groups().all(|group| group == "00") || groups().all(|group| group == "ff");
    groups().count() == 6
        && groups().all(|group| group.len() == 2 && group.bytes().all(|c| c.is_ascii_hexdigit()))
        && !zero
}

/// Replaces `word` where it stands by itself.
fn replace_word(text: &str, word: &str, stand_in: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(word) {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        out.push_str(text.get(from..at).unwrap_or_default());
        from = at;
        if !before.is_some_and(is_part) && !after.is_some_and(is_part) {
            out.push_str(stand_in);
            from = at + word.len();
        }
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// What stands for an address, which has a prefix length or none.
type StandIn<'a> = dyn FnMut(IpAddr, Option<u8>) -> IpAddr + 'a;

/// Gives every address in a text to `stand_in`, and puts what it says in its place: of a network, the network.
fn replace_addresses(text: &str, stand_in: &mut StandIn<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
        let start = rest.find(is_part).unwrap_or(rest.len());
        let (between, from) = rest.split_at(start);
        let (run, behind) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        out.push_str(between);
        let glued = out.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        replace_run(run, glued, behind, stand_in, &mut out);
        rest = behind;
    }
    out
}

/// One run of the characters that addresses are made of; `behind` may begin with a prefix length.
fn replace_run(run: &str, glued: bool, behind: &str, stand_in: &mut StandIn<'_>, out: &mut String) {
    let whole = run.trim_end_matches('.');
    let candidates = [whole, whole.strip_suffix(':').unwrap_or(whole)];
    let v6 = candidates.into_iter().find_map(|text| Some((text, text.parse::<Ipv6Addr>().ok()?)));
    if let Some((text, address)) = v6.filter(|_| !glued) {
        let length = if text.len() == run.len() { prefix_length(behind) } else { None };
        out.push_str(&match address.to_ipv4_mapped() {
            Some(mapped) => format!("::ffff:{}", stand_in(mapped.into(), None)),
            None => masked(address.into(), stand_in(address.into(), length), length).to_string(),
        });
        out.push_str(run.get(text.len()..).unwrap_or_default());
        return;
    }
    let last = run.split(':').count() - 1;
    for (number, piece) in run.split(':').enumerate() {
        if number > 0 {
            out.push(':');
        }
        let text = piece.trim_end_matches('.');
        match text.parse::<Ipv4Addr>() {
            Ok(address) if number > 0 || !glued => {
                let ends = number == last && text.len() == piece.len();
                let length = if ends { prefix_length(behind) } else { None };
                out.push_str(&masked(address.into(), stand_in(address.into(), length), length).to_string());
                out.push_str(piece.get(text.len()..).unwrap_or_default());
            }
            _ => out.push_str(piece),
        }
    }
}

fn prefix_length(behind: &str) -> Option<u8> {
    let digits = behind.strip_prefix('/')?;
    digits.get(..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()))?.parse().ok()
}

/// The address without what is behind the prefix; `None` without a length that the family has.
fn network(address: IpAddr, length: Option<u8>) -> Option<IpAddr> {
    Some(ipnet::IpNet::new(address, length?).ok()?.network())
}

/// A network's stand-in is a network again.
fn masked(from: IpAddr, to: IpAddr, length: Option<u8>) -> IpAddr {
    if network(from, length) == Some(from) { network(to, length).unwrap_or(to) } else { to }
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    }
}

fn regions(width: u32) -> &'static [Region] {
    if width == 32 { &REGIONS_V4 } else { &REGIONS_V6 }
}

/// The leading `count` bits.
fn leading(bits: u128, width: u32, count: u32) -> u128 {
    if count == 0 { 0 } else { bits >> (width - count) }
}

fn is_kept(address: IpAddr) -> bool {
    let (bits, width) = bits(address);
    regions(width).iter().any(|&(prefix, length, kept)| kept && leading(bits, width, length) == prefix)
}

/// Whether a bit that has these before it stays: a swap above a region would move it.
fn is_above_region(prefix: u128, position: u32, width: u32) -> bool {
    regions(width)
        .iter()
        .any(|&(region, length, _)| length > position && region >> (length - position).min(127) == prefix)
}

/// Whether the stand-in is the address itself, whatever the key: nothing of it may change, or only what a network of
/// this length has not got (`10.0.0.0/8` tells nobody anything).
fn is_fixed(address: IpAddr, length: Option<u8>) -> bool {
    let (bits, width) = bits(address);
    let stays = |position| is_above_region(leading(bits, width, position), position, width);
    let whole = network(address, length) == Some(address) && (0..length.map_or(0, u32::from)).all(stays);
    is_kept(address) || whole
}

/// Swaps, bit by bit from the top, the two halves of the network so far, or not, as the key says.
fn stand_in(key: &RandomState, address: IpAddr) -> IpAddr {
    let (bits, width) = bits(address);
    let mut out = bits;
    if !is_kept(address) {
        for position in 0..width - LOW_BITS {
            let prefix = leading(bits, width, position);
            if !is_above_region(prefix, position, width) {
                let swap = u128::from(key.hash_one((width, position, prefix)) & 1);
                out ^= swap << (width - 1 - position);
            }
        }
    }
    match address {
        IpAddr::V4(_) => Ipv4Addr::from(out as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from(out).into(),
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::*;

    fn once(text: &str) -> String {
        Anonymiser::new([text].into_iter(), &[]).apply(text)
    }

    #[test]
    fn addresses_are_found_in_every_surrounding_and_nothing_else_is_touched() {
        for (text, count) in [
            ("from 198.51.100.1:4500 to [2001:db8::1]:500.", 2),
            ("\"outside_ip\":\"203.0.113.9\",\"x\":\"fe80::1%eth0\"", 2),
            ("10.10.0.0/16 via 192.0.2.254.", 2),
            ("::ffff:192.0.2.7 and 2001:db8::1: gone", 2),
            ("at 12:34:56.789Z on 2026-11-24T12:34:56.123Z, version 0.1.0, kernel 6.1.0-13", 0),
            ("spi 0a1b2c3d, 127.0.0.1, 0.0.0.0/0, ::/0, 255.255.255.0, 224.0.0.5, ff02::1, ::1", 0),
        ] {
            let changed = once(text);
            let parts = |text: &str| -> Vec<String> {
                text.split([' ', ',', '"', '[', ']', '/']).map(str::to_owned).collect()
            };
            let different = parts(text).iter().zip(&parts(&changed)).filter(|(a, b)| a != b).count();
            assert_eq!(different, count, "{text}\n{changed}");
        }
    }

    #[test]
    fn the_same_address_has_the_same_stand_in_and_networks_keep_their_meaning() {
        let text = "198.51.100.1 198.51.100.1 169.254.10.1/30 169.254.10.2/30 10.10.0.0/16 10.10.3.4 10.11.0.1 \
                    fd00:10::1/126 fd00:10::2/126 fd10:10::/64 fd10:10::7";
        let changed = once(text);
        let words: Vec<&str> = changed.split_whitespace().collect();
        assert_eq!(words[0], words[1]);
        let net = |n: usize| words[n].parse::<IpNet>().unwrap();
        let address = |n: usize| words[n].parse::<IpAddr>().unwrap();
        assert_eq!(net(2).trunc(), net(3).trunc(), "one /30");
        assert!(
            words[2].starts_with("169.254.") && net(2).trunc().hosts().next() == Some(net(2).addr()),
            "{changed}"
        );
        assert_eq!(net(4), net(4).trunc(), "a network stays one");
        assert!(net(4).contains(&address(5)) && !net(4).contains(&address(6)), "{changed}");
        assert!(words[6].starts_with("10."), "private stays private");
        assert_eq!(net(7).trunc(), net(8).trunc());
        assert!(net(9).contains(&address(10)), "{changed}");
        for original in text.split([' ', '/']).filter(|word| word.contains(['.', ':'])) {
            assert!(!changed.split([' ', '/']).any(|word| word == original), "{original} in {changed}");
        }
    }

    #[test]
    fn a_networks_stand_in_is_never_one_of_the_networks_in_the_text() {
        // One in sixteen keys leaves 172.31 as it is; drawn anew.
        let text = "172.31.0.0/16 172.31.4.5 10.0.0.0/8 192.168.0.0/16";
        for _ in 0..200 {
            let changed = once(text);
            assert!(!changed.contains("172.31.0.0"), "{changed}");
            // Everybody's networks need no stand-in, and drawing for them would never end.
            assert!(changed.ends_with("10.0.0.0/8 192.168.0.0/16"), "{changed}");
        }
    }

    #[test]
    fn names_and_identifiers_have_stand_ins_everywhere() {
        let names = [
            ("gw1.example.com".to_owned(), "name"),
            ("gw1".to_owned(), "name"),
            ("office".to_owned(), "connection"),
        ];
        let text = "gw1 gw1.example.com office officer vpn-0a1b2c3d4e5f60718 arn:aws:ec2:eu:123456789012:x/vpn-0a1b2c3d4e5f60718 \
                    link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff aes-256 IKE-NO-ANSWER tgw-attach-0123456789abcdef0";
        let mut anonymiser = Anonymiser::new([text].into_iter(), &names);
        let changed = anonymiser.apply(text);
        for gone in [
            "gw1",
            "example.com",
            "office ",
            "0a1b2c3d4e5f60718",
            "123456789012",
            "52:54:00:12:34:56",
            "0123456789abcdef0",
        ] {
            assert!(!changed.contains(gone), "{gone} in {changed}");
        }
        for stays in [
            "officer",
            "aes-256",
            "ff:ff:ff:ff:ff:ff",
            "IKE-NO-ANSWER",
            "arn:aws:ec2:eu:",
            " vpn-",
            "tgw-attach-",
        ] {
            assert!(changed.contains(stays), "{stays} not in {changed}");
        }
        let vpn: Vec<&str> = changed.split([' ', '/']).filter(|word| word.starts_with("vpn-")).collect();
        assert_eq!(vpn[0], vpn[1]);
        assert_eq!(anonymiser.apply(text), changed);
    }
}

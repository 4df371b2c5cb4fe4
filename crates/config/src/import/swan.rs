//! AWS's strongSwan and Openswan/Libreswan downloads: prose with `ipsec.conf`, secrets and `ip` commands in it.
//!
//! Comments are read too: strongSwan's inside addresses stand in a commented `leftupdown` line. The Openswan
//! download has no inside addresses at all.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::draft::{At, Context, Draft, DraftBgp, DraftRouting, DraftTunnel};
use super::source::Source;
use crate::parse::duration;

/// Connections in one text at most.
const MAX_CONNS: usize = 64;

/// Whether the text looks like this format.
pub(super) fn recognise(lower: &str) -> bool {
    let conn = lower.lines().any(|line| line.trim_start().starts_with("conn "));
    let right = lower.lines().any(|line| line.trim_start().starts_with("right"));
    conn && right
}

/// Reads the text as one connection.
pub(super) fn documents(source: &Source, cx: &mut Context<'_>) -> Vec<Draft> {
    let mut draft = Draft::new(source.outer(0..0));
    draft.inside_optional = true;
    let mut reader = Reader { source, draft, conns: Vec::new(), keys: Vec::new(), bgp: None };
    let mut start = 0;
    for line in source.text().split_inclusive('\n') {
        let text = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let text = text.trim_start_matches(['#', '!', ' ', '\t']);
        let at = start + line.find(text).unwrap_or(0);
        start += line.len();
        if !text.is_empty() {
            reader.line(text, at, cx);
        }
    }
    vec![reader.finish()]
}

struct Conn {
    name: String,
    tunnel: DraftTunnel,
}

/// The addresses in front of `: PSK`, and the key.
struct Key {
    addresses: Vec<IpAddr>,
    key: At<Zeroizing<String>>,
}

struct Reader<'s> {
    source: &'s Source,
    draft: Draft,
    conns: Vec<Conn>,
    keys: Vec<Key>,
    bgp: Option<DraftBgp>,
}

impl Reader<'_> {
    fn line(&mut self, text: &str, at: usize, cx: &mut Context<'_>) {
        let lower = text.to_ascii_lowercase();
        if let Some(name) = text.strip_prefix("conn ") {
            self.conn(name.trim(), at..at + text.len(), cx);
        } else if let Some(index) = lower.find("psk") {
            self.secret(text, index, at);
        } else if let Some((label, value)) = text.split_once(" : ").or_else(|| text.split_once("\t: ")) {
            self.header(label.trim(), value.trim(), at + text.len() - value.trim_start().len());
        } else if lower.contains("ip addr add ") {
            self.ip_addr(text, at, cx);
        } else if let Some(number) = lower.strip_prefix("router bgp ") {
            let asn = number.trim().parse().ok();
            let span = self.source.outer(at..at + text.len());
            self.bgp.get_or_insert_default().local_asn = asn.map(|value| At { value, span });
        } else if let Some((_, number)) =
            lower.split_once(" remote-as ").filter(|_| lower.starts_with("neighbor "))
        {
            let asn = number.trim().parse().ok();
            let span = self.source.outer(at..at + text.len());
            self.bgp.get_or_insert_default().remote_asn = asn.map(|value| At { value, span });
        } else if let Some((key, value)) = text.split_once('=') {
            let offset = at + text.len() - value.trim_start().len();
            self.setting(key.trim(), value.trim_start(), offset, cx);
        }
    }

    fn conn(&mut self, name: &str, range: Range<usize>, cx: &mut Context<'_>) {
        let place = self.source.outer(range);
        if name.starts_with('%') {
            return;
        }
        if self.conns.len() >= MAX_CONNS {
            cx.error(place, "IMP-TUNNELS", "too many tunnels", "import one download at a time");
            return;
        }
        let tunnel = DraftTunnel { place, ..DraftTunnel::default() };
        self.conns.push(Conn { name: name.to_owned(), tunnel });
    }

    /// `192.0.2.1 198.51.100.1 : PSK "key"`; Openswan's has no space before the colon.
    fn secret(&mut self, text: &str, psk: usize, at: usize) {
        let Some((before, after)) = text.split_at_checked(psk) else { return };
        if !before.trim_end().ends_with(':') {
            return;
        }
        let addresses: Vec<IpAddr> = before
            .split_whitespace()
            .filter_map(|word| word.strip_suffix(':').unwrap_or(word).parse().ok())
            .collect();
        let value = after.get("psk".len()..).unwrap_or_default().trim();
        let bare = value.trim_matches(['"', '\'', '\u{201c}', '\u{201d}', '\u{2019}', '\u{2018}']);
        if addresses.is_empty() || bare.is_empty() || bare.starts_with('<') {
            return;
        }
        let start = at + psk + after.find(bare).unwrap_or(0);
        let key =
            At { value: Zeroizing::new(bare.to_owned()), span: self.source.outer(start..start + bare.len()) };
        self.keys.push(Key { addresses, key });
    }

    fn header(&mut self, label: &str, value: &str, offset: usize) {
        let span = self.source.outer(offset..offset + value.len());
        match label.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase().as_str() {
            "your vpn connection id" if !value.is_empty() => {
                self.draft.id = Some(At { value: value.to_owned(), span });
            }
            "customer gateway asn" => {
                let asn = value.parse().ok().map(|value| At { value, span });
                self.bgp.get_or_insert_default().local_asn = asn;
            }
            "virtual private gateway asn" => {
                let asn = value.parse().ok().map(|value| At { value, span });
                self.bgp.get_or_insert_default().remote_asn = asn;
            }
            _ => {}
        }
    }

    /// `sudo ip addr add 169.254.10.2/30 remote 169.254.10.1/30 dev Tunnel1`
    fn ip_addr(&mut self, text: &str, at: usize, cx: &mut Context<'_>) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let after =
            |word: &str| words.iter().position(|w| *w == word).and_then(|i| words.get(i + 1)).copied();
        let Some(device) = after("dev") else { return };
        let Some(index) = self.conns.iter().position(|c| c.name.eq_ignore_ascii_case(device)) else { return };
        let (local, remote) = (after("add"), after("remote").or_else(|| after("peer")));
        self.inside(index, (text, at), (local, remote), cx);
    }

    /// Sets the inside addresses of a connection, unless they are known.
    fn inside(
        &mut self,
        index: usize,
        (text, at): (&str, usize),
        (local, remote): (Option<&str>, Option<&str>),
        cx: &mut Context<'_>,
    ) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let place = |word: &str| {
            let start = at + text.find(word).unwrap_or(0);
            start..start + word.len()
        };
        // Placeholders such as `<INSIDE IP>` are left for the missing-address message.
        let meant = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        if let Some(local) = local.filter(meant).filter(|_| conn.tunnel.inside.is_empty()) {
            conn.tunnel.inside.extend(cx.parse::<IpNet>(self.source, place(local), "an inside address"));
        }
        if let Some(remote) = remote.filter(meant).filter(|_| conn.tunnel.aws_inside.is_empty()) {
            let bare = remote.split('/').next().unwrap_or(remote);
            conn.tunnel.aws_inside.extend(cx.parse::<IpAddr>(
                self.source,
                place(bare),
                "AWS's inside address",
            ));
        }
    }

    fn setting(&mut self, key: &str, value: &str, offset: usize, cx: &mut Context<'_>) {
        let key = key.to_ascii_lowercase();
        // People append remarks; a value is one word, but for the updown command.
        let word = value.split_whitespace().next().unwrap_or_default();
        let bare = word.trim_matches(['"', '\'']);
        let start = offset + value.find(bare).unwrap_or(0);
        let range = start..start + bare.len();
        if matches!(key.as_str(), "leftsubnet" | "rightsubnet" | "leftsubnets" | "rightsubnets") {
            let list = if key.starts_with("left") { &mut self.draft.lan } else { &mut self.draft.vpc };
            let nets = bare.split(',').filter_map(|net| net.parse::<IpNet>().ok()).map(|net| net.trunc());
            for net in nets.filter(|net| net.prefix_len() > 0) {
                if !list.contains(&net) && list.len() < 1000 {
                    list.push(net);
                }
            }
            return;
        }
        let Some(index) = self.conns.len().checked_sub(1) else { return };
        if key == "leftupdown" {
            self.updown(index, value, offset, cx);
            return;
        }
        if key == "leftvti" {
            self.inside(index, (bare, start), (Some(bare), None), cx);
            return;
        }
        let Some(conn) = self.conns.get_mut(index) else { return };
        let seconds = || duration(bare).map(|d| d.as_secs());
        let tunnel = &mut conn.tunnel;
        match key.as_str() {
            "leftid" if bare.parse::<IpAddr>().is_ok() || bare.starts_with(|c: char| c.is_ascii_digit()) => {
                tunnel.customer_gateway = cx.parse(self.source, range, "the customer gateway's address");
            }
            "right" if bare.starts_with(|c: char| c.is_ascii_hexdigit()) => {
                tunnel.outside = cx.parse(self.source, range, "AWS's outside address");
            }
            "keyexchange" => tunnel.says_ikev1 = bare == "ikev1" || bare == "ike",
            "ikev2" if matches!(bare, "insist" | "yes" | "propose") => tunnel.says_ikev1 = false,
            "ikelifetime" => tunnel.options.phase1.lifetime = seconds(),
            "lifetime" | "keylife" | "salifetime" => tunnel.options.phase2.lifetime = seconds(),
            _ => {}
        }
    }

    /// `"/etc/ipsec.d/aws-updown.sh -ln Tunnel1 -ll 169.254.10.2/30 -lr 169.254.10.1/30 -m 100 -r <VPC CIDR>"`
    fn updown(&mut self, index: usize, value: &str, offset: usize, cx: &mut Context<'_>) {
        let words: Vec<&str> = value.trim_matches('"').split_whitespace().collect();
        let after = |flags: [&str; 2]| {
            words.iter().position(|w| flags.contains(w)).and_then(|i| words.get(i + 1)).copied()
        };
        let pair = (after(["-ll", "--link-local"]), after(["-lr", "--link-remote"]));
        if let Some(net) = after(["-r", "--static-route"]).and_then(|word| word.parse::<IpNet>().ok())
            && !self.draft.vpc.contains(&net.trunc())
        {
            self.draft.vpc.push(net.trunc());
        }
        self.inside(index, (value, offset), pair, cx);
    }

    /// Gives each tunnel its key, by AWS's address.
    fn finish(mut self) -> Draft {
        for conn in &mut self.conns {
            let Some(outside) = conn.tunnel.outside.as_ref().map(|at| at.value) else { continue };
            let own = self.keys.iter().find(|k| k.addresses.contains(&outside));
            conn.tunnel.key = own.map(|k| k.key.clone());
        }
        if let Some(bgp) = self.bgp {
            self.draft.routing = DraftRouting::Bgp(bgp);
        }
        self.draft.tunnels = self.conns.into_iter().map(|conn| conn.tunnel).collect();
        self.draft
    }
}

//! `[[connection.tunnel]]` and the tables in it.

use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use ipnet::IpNet;
use model::{Secret, TrafficSelector};
use toml::de::DeValue;

use super::certificate::authentication;
use super::connection::identifier;
use super::ppk::ppk;
use super::reader::{At, Reader, nearest, one_of, shorten};
use super::{inside, scalar, section};
use crate::key::is_weak_key;
use crate::schema;
use crate::{
    Additional, DhGroup, Diagnostic, Encapsulation, EncryptionAlgorithm, Esn, Esp, Identity, Ike, Inside,
    IntegrityAlgorithm, InvalidKey, Kem, KeySource, Offload, Peer, Preference, Probe, Startup, Tunnel,
    check_key,
};

const DEFAULT_DPD: Duration = Duration::from_secs(40);
const DEFAULT_MARGIN: Duration = Duration::from_secs(270);
const DEFAULT_IKE_LIFETIME: Duration = Duration::from_secs(28_800);
/// RFC 7383 §2.5.1, as strongSwan has it.
const DEFAULT_FRAGMENT_SIZE: u16 = 1280;
const DEFAULT_ESP_LIFETIME: Duration = Duration::from_secs(3_600);
const DEFAULT_PATH_MTU: u16 = 1500;
const DEFAULT_REPLAY_WINDOW: u32 = 1024;
/// Linux: IFNAMSIZ without its final zero.
const MAX_INTERFACE: usize = 15;
/// Longest tunnel name.
const MAX_NAME: usize = 32;
/// Longest identity we send.
pub(super) const MAX_IDENTITY: usize = 255;

/// What a tunnel takes from its place in the file.
pub(super) struct Defaults<'d> {
    /// Whose limits hold.
    pub(super) peer: Peer,
    /// The connection's identifier.
    pub(super) id: &'d str,
    /// Position in the connection.
    pub(super) index: usize,
    /// Position in the file.
    pub(super) interface: usize,
}

/// A tunnel and where its parts stand.
pub(super) struct PlacedTunnel {
    pub(super) tunnel: Tunnel,
    pub(super) header: Range<usize>,
    pub(super) name: Range<usize>,
    pub(super) interface: Range<usize>,
    pub(super) outside: Range<usize>,
    /// As many as `tunnel.inside`.
    pub(super) inside: Vec<Range<usize>>,
}

/// Reads one tunnel; `None` when too much is missing to compare it with others.
pub(super) fn tunnel(reader: &mut Reader<'_, '_>, defaults: &Defaults<'_>) -> Option<PlacedTunnel> {
    let peer = defaults.peer;
    let name = identifier(reader, "name", MAX_NAME);
    let interface = interface(reader);
    let by_certificates = reader.has("certificate");
    let addresses = addresses(reader, by_certificates);
    let inside = inside::inside(reader, peer);
    let authentication = authentication(reader, peer);
    let ppk = ppk(reader, peer);
    let local_id = identity(reader, "local_id", by_certificates);
    let remote_id = identity(reader, "remote_id", by_certificates);
    let ike = section(reader, &schema::IKE, "ike", |r| ike(r, peer)).unwrap_or_else(default_ike);
    let esp = section(reader, &schema::ESP, "esp", |r| esp(r, peer)).unwrap_or_else(default_esp);
    lifetimes_fit(reader, &ike, &esp);
    let timing = timing(reader, peer, esp.lifetime);
    let carrying = carrying(reader, peer);
    let preference = preference(reader);
    let ts_local = reader.prefixes("local_cidr");
    let ts_remote = reader.prefixes("remote_cidr");
    let offload = section(reader, &schema::OFFLOAD, "offload", offload).unwrap_or(ALL_OFFLOADS);
    let probe = section(reader, &schema::PROBE, "probe", probe).unwrap_or(DEFAULT_PROBE);

    let (outside, customer_gateway, bind) = addresses?;
    let (inside, inside_spans) = inside?;
    let header = reader.span();
    let name = name.unwrap_or(At { value: format!("tunnel{}", defaults.index + 1), span: header.clone() });
    let by_position = At { value: format!("cgw{}", defaults.interface), span: header.clone() };
    let interface_given = interface.is_some();
    let interface = interface.unwrap_or(by_position);
    let tunnel = Tunnel {
        name: name.value,
        interface: interface.value,
        interface_given,
        outside: outside.value,
        customer_gateway,
        bind,
        authentication: authentication?,
        ppk,
        local_id: local_id.unwrap_or(match by_certificates {
            true => Identity::Subject,
            false => Identity::Address(customer_gateway),
        }),
        remote_id: remote_id.unwrap_or_else(|| match by_certificates && peer == Peer::Aws {
            true => aws_subject(defaults),
            false => Identity::Address(outside.value),
        }),
        ike,
        esp,
        rekey_margin: timing.rekey_margin,
        dpd_timeout: timing.dpd_timeout,
        startup: timing.startup,
        encapsulation: carrying.encapsulation,
        path_mtu: carrying.path_mtu,
        clear_df: carrying.clear_df,
        clamp_mss: carrying.clamp_mss,
        ts_local: selectors(ts_local, &inside),
        ts_remote: selectors(ts_remote, &inside),
        preference,
        offload,
        probe,
        inside,
    };
    let (name, interface, outside) = (name.span, interface.span, outside.span);
    Some(PlacedTunnel { tunnel, header, name, interface, outside, inside: inside_spans })
}

/// The subject of AWS's own certificate for this tunnel. AWS does not document it; it is what its endpoints show.
fn aws_subject(defaults: &Defaults<'_>) -> Identity {
    let (id, index) = (defaults.id, defaults.index);
    Identity::Name(format!("C=US, ST=WA, L=Seattle, O=Amazon.com, OU=AWS, CN={id}.endpoint-{index}"))
}

/// When IKE does what.
struct Timing {
    startup: Startup,
    dpd_timeout: Duration,
    rekey_margin: Duration,
}

fn timing(reader: &mut Reader<'_, '_>, peer: Peer, esp_lifetime: Duration) -> Timing {
    let dpd = limit(peer, 30, 1, 3_600);
    let dpd_timeout = reader.duration("dpd_timeout", dpd).map_or(DEFAULT_DPD, |at| at.value);
    let startups = [("initiate", Startup::Initiate), ("respond", Startup::Respond)];
    let startup = reader.choice("startup", &startups).unwrap_or(Startup::Initiate);
    Timing { startup, dpd_timeout, rekey_margin: rekey_margin(reader, peer, esp_lifetime) }
}

/// How packets travel.
struct Carrying {
    encapsulation: Encapsulation,
    path_mtu: u16,
    clear_df: bool,
    clamp_mss: bool,
}

fn carrying(reader: &mut Reader<'_, '_>, peer: Peer) -> Carrying {
    let choices = [("udp", Encapsulation::Udp), ("auto", Encapsulation::Auto)];
    let encapsulation = reader.choice("encapsulation", &choices).unwrap_or(Encapsulation::Udp);
    // AWS does not carry jumbo frames (vpn-limits); 576 is what every IPv4 host takes (RFC 791).
    let max_mtu = if peer == Peer::Aws { 1500 } else { 9216 };
    let path_mtu = reader.number("path_mtu", 576..=max_mtu).and_then(|at| u16::try_from(at.value).ok());
    Carrying {
        encapsulation,
        path_mtu: path_mtu.unwrap_or(DEFAULT_PATH_MTU),
        clear_df: reader.boolean("clear_df").unwrap_or(true),
        clamp_mss: reader.boolean("clamp_mss").unwrap_or(true),
    }
}

/// Longest useful prepending; the BGP speaker takes no more.
const MAX_PREPEND: u64 = 10;

fn preference(reader: &mut Reader<'_, '_>) -> Preference {
    let small = |at: At<u64>| u32::try_from(at.value).ok();
    let unset = Preference::default();
    let given = Preference {
        local: reader
            .number("local_preference", 0..=u64::from(u32::MAX))
            .and_then(small)
            .unwrap_or(unset.local),
        med: reader.number("bgp_med", 0..=u64::from(u32::MAX)).and_then(small),
        prepend: reader
            .number("bgp_prepend", 0..=MAX_PREPEND)
            .and_then(|at| u8::try_from(at.value).ok())
            .unwrap_or(0),
    };
    if given != unset {
        let warning = Diagnostic::warning(
            "CFG-STEERING",
            "this tunnel is preferred to the other one, or less, by hand",
            "leave `local_preference`, `bgp_med` and `bgp_prepend` out unless the network cannot take asymmetric traffic",
        );
        let cause = "AWS moves traffic before maintenance by the MED of the other tunnel; local preference and a \
                     longer AS path count before it";
        reader.push(warning.at(reader.span(), "").because(cause));
    }
    given
}

/// AWS's lower limit or the one for other peers, up to `max` seconds.
fn limit(peer: Peer, aws_min: u64, other_min: u64, max: u64) -> RangeInclusive<Duration> {
    let min = if peer == Peer::Aws { aws_min } else { other_min };
    Duration::from_secs(min)..=Duration::from_secs(max)
}

fn interface(reader: &mut Reader<'_, '_>) -> Option<At<String>> {
    let text = reader.string("interface")?;
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
    let usable = (1..=MAX_INTERFACE).contains(&text.value.len())
        && text.value.chars().all(good)
        && !matches!(text.value, "." | "..");
    if !usable {
        let remedy =
            format!("use 1 to {MAX_INTERFACE} characters without `/`, `:`, `%` and spaces, such as cgw0");
        reader.bad(text.span, "`interface` is no name for a network interface", remedy);
        return None;
    }
    Some(At { value: text.value.to_owned(), span: text.span })
}

/// AWS's outside address, ours as AWS knows it, and the local one.
fn addresses(
    reader: &mut Reader<'_, '_>,
    by_certificates: bool,
) -> Option<(At<IpAddr>, IpAddr, Option<IpAddr>)> {
    let outside = unicast(reader, "outside");
    reader.require("outside");
    let gateway = unicast(reader, "customer_gateway");
    // A customer gateway with a certificate needs no address at AWS.
    let unknown = by_certificates && !reader.has("customer_gateway");
    if !unknown {
        reader.require("customer_gateway");
    }
    let bind = unicast(reader, "bind");
    let outside = outside?;
    let gateway = if unknown {
        let unspecified = match outside.value {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        At { value: unspecified, span: reader.span() }
    } else {
        gateway?
    };
    for (key, other) in [("customer_gateway", Some(&gateway)), ("bind", bind.as_ref())] {
        let Some(other) = other else { continue };
        if other.value.is_ipv4() != outside.value.is_ipv4() {
            let finding = Diagnostic::error(
                "CFG-FAMILY",
                format!("`{key}` and `outside` are of different address families"),
                "use two IPv4 or two IPv6 addresses: IKE and ESP run between them",
            );
            reader.push(finding.at(other.span.clone(), "").and_at(outside.span.clone(), ""));
        }
    }
    if gateway.value == outside.value {
        let finding = Diagnostic::error(
            "CFG-OUTSIDE",
            "`outside` and `customer_gateway` are the same address",
            "`outside` is AWS's (\"Virtual Private Gateway\" in the download), `customer_gateway` is ours",
        );
        reader.push(finding.at(gateway.span, "").and_at(outside.span.clone(), ""));
    }
    Some((outside, gateway.value, bind.map(|at| at.value)))
}

fn unicast(reader: &mut Reader<'_, '_>, key: &'static str) -> Option<At<IpAddr>> {
    let at = reader.address(key)?;
    let broadcast = at.value == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    if at.value.is_unspecified() || at.value.is_loopback() || at.value.is_multicast() || broadcast {
        let remedy = "copy the outside address from the AWS download";
        reader.bad(at.span, format!("`{key}` is {}, which no host on the way can have", at.value), remedy);
        return None;
    }
    Some(at)
}

pub(super) fn key_source(reader: &mut Reader<'_, '_>, peer: Peer) -> Option<KeySource> {
    let keys = ["psk", "psk_file", "psk_credential"];
    let present: Vec<&str> = keys.into_iter().filter(|key| reader.has(key)).collect();
    match present.as_slice() {
        [] => {
            let remedy = "add `psk = \"…\"` from the AWS download, or `psk_file` or `psk_credential`";
            reader.missing("psk", remedy);
            None
        }
        ["psk"] => inline_key(reader, peer),
        ["psk_file"] => reader.path("psk_file").map(|at| KeySource::File(at.value)),
        [_] => identifier(reader, "psk_credential", MAX_IDENTITY).map(|at| KeySource::Credential(at.value)),
        [first, second, ..] => {
            let finding = Diagnostic::error(
                "CFG-PSK",
                format!("both `{first}` and `{second}` are given"),
                "keep one of the two",
            );
            let first = reader.span_of(first).unwrap_or(0..0);
            let second = reader.span_of(second).unwrap_or(0..0);
            reader.push(finding.at(second, "").and_at(first, ""));
            None
        }
    }
}

fn inline_key(reader: &mut Reader<'_, '_>, peer: Peer) -> Option<KeySource> {
    let text = reader.string("psk")?;
    if let Err(error) = check_key(text.value, peer) {
        let finding = Diagnostic::error("CFG-PSK", error.to_string(), error.remedy());
        let finding = finding.at(text.span, "");
        reader.push(if peer == Peer::Aws { finding.because(InvalidKey::RULE) } else { finding });
        return None;
    }
    if is_weak_key(text.value) {
        let finding = Diagnostic::warning(
            "CFG-WEAK-KEY",
            "the pre-shared key is short or uniform enough to be guessed",
            "let AWS make a new one (\"Modify VPN tunnel options\", leave the key empty): 32 random characters",
        );
        reader.push(finding.at(text.span, ""));
    }
    Some(KeySource::Inline(Secret::from(text.value.as_bytes())))
}

fn identity(reader: &mut Reader<'_, '_>, key: &'static str, by_certificates: bool) -> Option<Identity> {
    let text = reader.string(key)?;
    let is_name = text.value.contains('=') && !text.value.chars().any(char::is_control);
    if is_name && by_certificates && text.value.len() <= MAX_IDENTITY {
        return Some(Identity::Name(text.value.to_owned()));
    }
    if let Ok(address) = text.value.parse() {
        return Some(Identity::Address(address));
    }
    if text.value.is_empty()
        || text.value.len() > MAX_IDENTITY
        || !text.value.chars().all(|c| c.is_ascii_graphic())
    {
        let remedy = if by_certificates {
            "write a name such as \"C=US, O=Example, CN=gw\", an address, a host name or user@host"
        } else {
            "write an address, a host name or user@host; AWS expects the customer gateway's address"
        };
        reader.bad(text.span, format!("`{key}` is no IKE identity"), remedy);
        return None;
    }
    let owned = text.value.to_owned();
    Some(if owned.contains('@') { Identity::Email(owned) } else { Identity::Fqdn(owned) })
}

const STRONG_GROUPS: [u16; 3] = [20, 19, 14];

fn strong_groups() -> Vec<DhGroup> {
    STRONG_GROUPS.into_iter().filter_map(DhGroup::new).collect()
}

fn default_ike() -> Ike {
    Ike {
        encryption: vec![EncryptionAlgorithm::Aes256Gcm16],
        integrity: vec![IntegrityAlgorithm::Sha2_384],
        dh_groups: strong_groups(),
        lifetime: DEFAULT_IKE_LIFETIME,
        fragment_size: DEFAULT_FRAGMENT_SIZE,
        additional: Additional::default(),
    }
}

fn default_esp() -> Esp {
    Esp {
        encryption: vec![EncryptionAlgorithm::Aes256Gcm16],
        integrity: vec![IntegrityAlgorithm::Sha2_384],
        dh_groups: strong_groups(),
        additional: Additional::default(),
        lifetime: DEFAULT_ESP_LIFETIME,
        esn: Esn::No,
        replay_window: DEFAULT_REPLAY_WINDOW,
    }
}

fn ike(reader: &mut Reader<'_, '_>, peer: Peer) -> Ike {
    let default = default_ike();
    let encryption = encryption(reader).unwrap_or(default.encryption);
    // The hash is the PRF whatever the cipher, so a weak one always counts (RFC 5282 §8).
    let integrity = integrity(reader, true).unwrap_or(default.integrity);
    let dh_groups = groups(reader, peer, true).unwrap_or(default.dh_groups);
    let range = match peer {
        Peer::Aws => limit(peer, 900, 900, 28_800),
        Peer::Other => limit(peer, 10, 10, 86_400),
    };
    let lifetime = reader.duration("lifetime", range).map_or(default.lifetime, |at| at.value);
    let fragment_size =
        reader.number("fragment_size", 576..=1500).and_then(|at| u16::try_from(at.value).ok());
    let fragment_size = fragment_size.unwrap_or(default.fragment_size);
    let additional = additional(reader, peer);
    Ike { encryption, integrity, dh_groups, lifetime, fragment_size, additional }
}

fn esp(reader: &mut Reader<'_, '_>, peer: Peer) -> Esp {
    let default = default_esp();
    let encryption = encryption(reader).unwrap_or(default.encryption);
    let hash_used = encryption.iter().any(|cipher| !cipher.is_aead());
    let integrity = integrity(reader, hash_used).unwrap_or(default.integrity);
    let dh_groups = groups(reader, peer, false).unwrap_or(default.dh_groups);
    let range = match peer {
        Peer::Aws => limit(peer, 900, 900, 3_600),
        Peer::Other => limit(peer, 10, 10, 86_400),
    };
    let lifetime = reader.duration("lifetime", range).map_or(default.lifetime, |at| at.value);
    let esn = reader.choice("esn", &[("no", Esn::No), ("yes", Esn::Yes), ("both", Esn::Both)]);
    let window = reader.number("replay_window", 64..=2048).and_then(|at| u32::try_from(at.value).ok());
    let additional = additional(reader, peer);
    Esp {
        encryption,
        integrity,
        dh_groups,
        additional,
        lifetime,
        esn: esn.unwrap_or(default.esn),
        replay_window: window.unwrap_or(default.replay_window),
    }
}

/// Key exchanges after the first: names in their order, and `"none"` at the end where a peer without is taken too.
fn additional(reader: &mut Reader<'_, '_>, peer: Peer) -> Additional {
    const KEY: &str = "additional_key_exchanges";
    const NONE: &str = "none";
    let mut names: Vec<&str> = Kem::ALL.map(Kem::name).to_vec();
    names.push(NONE);
    let method = |name: &str| if name == NONE { Some(None) } else { Kem::from_name(name).map(Some) };
    let Some(found) = named(reader, KEY, &names, method, |_| None) else { return Additional::default() };
    let optional = found.iter().any(|at| at.value.is_none());
    let methods: Vec<Kem> = found.iter().filter_map(|at| at.value).collect();
    if peer == Peer::Aws && !optional && !methods.is_empty() {
        let finding = Diagnostic::warning(
            "CFG-QUANTUM",
            "AWS has no additional key exchange: it will refuse this offer",
            "add \"none\" to the list, so that a peer without is taken too, or remove the key",
        );
        let span = reader.span_of(KEY).unwrap_or(0..0);
        reader.push(finding.at(span, ""));
    }
    Additional { methods, optional }
}

/// AWS wants phase 2 below phase 1; a child SA that outlives its parent makes no sense elsewhere either.
fn lifetimes_fit(reader: &mut Reader<'_, '_>, ike: &Ike, esp: &Esp) {
    if esp.lifetime < ike.lifetime {
        return;
    }
    let finding = Diagnostic::error(
        "CFG-LIFETIME",
        format!(
            "the lifetime of phase 2 ({}) is not below that of phase 1 ({})",
            scalar::show_duration(esp.lifetime),
            scalar::show_duration(ike.lifetime)
        ),
        "copy both from the tunnel options at AWS (28800 and 3600 unless changed)",
    );
    let span = reader.span_of("esp").or_else(|| reader.span_of("ike")).unwrap_or(reader.span());
    reader.push(finding.at(span, ""));
}

fn rekey_margin(reader: &mut Reader<'_, '_>, peer: Peer, esp_lifetime: Duration) -> Duration {
    let min = if peer == Peer::Aws { 60 } else { 0 };
    // AWS: at most half of the phase 2 lifetime.
    let max = Duration::from_secs(esp_lifetime.as_secs() / 2);
    let range = Duration::from_secs(min)..=max.max(Duration::from_secs(min));
    reader.duration("rekey_margin", range).map_or(DEFAULT_MARGIN.min(max), |at| at.value)
}

fn encryption(reader: &mut Reader<'_, '_>) -> Option<Vec<EncryptionAlgorithm>> {
    let names = EncryptionAlgorithm::ALL.map(EncryptionAlgorithm::name);
    named(reader, "encryption", &names, EncryptionAlgorithm::from_name, |text| {
        scalar::meant_encryption(text).map(EncryptionAlgorithm::name)
    })
    .map(|found| found.into_iter().map(|at| at.value).collect())
}

fn integrity(reader: &mut Reader<'_, '_>, used: bool) -> Option<Vec<IntegrityAlgorithm>> {
    let names = IntegrityAlgorithm::ALL.map(IntegrityAlgorithm::name);
    let found = named(reader, "integrity", &names, IntegrityAlgorithm::from_name, |text| {
        scalar::meant_integrity(text).map(IntegrityAlgorithm::name)
    })?;
    for at in found.iter().filter(|at| used && at.value.is_weak()) {
        weak(reader, at.value.name(), at.span.clone());
    }
    Some(found.into_iter().map(|at| at.value).collect())
}

/// A list of algorithm names; `None` when it is missing or has no good entry.
fn named<T: Copy + PartialEq>(
    reader: &mut Reader<'_, '_>,
    key: &'static str,
    names: &[&str],
    from_name: impl Fn(&str) -> Option<T>,
    meant: impl Fn(&str) -> Option<&'static str>,
) -> Option<Vec<At<T>>> {
    let mut found: Vec<At<T>> = Vec::new();
    let items = non_empty(reader, key)?;
    for (item, span) in items {
        let DeValue::String(text) = item else {
            reader.bad(span, format!("`{key}` holds names"), format!("write {}", one_of(names)));
            continue;
        };
        match from_name(text) {
            Some(value) if found.iter().any(|at| at.value == value) => {}
            Some(value) => found.push(At { value, span }),
            None => {
                let near = meant(text).or_else(|| nearest(text, names.iter().copied()));
                let remedy = match near {
                    Some(near) => format!("write \"{near}\", as AWS spells it"),
                    None => format!("choose among {}", one_of(names)),
                };
                let what = format!("AWS has no {key} algorithm \"{}\"", shorten(text));
                reader.bad(span, what, remedy);
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

fn non_empty<'t>(
    reader: &mut Reader<'t, '_>,
    key: &'static str,
) -> Option<Vec<(&'t DeValue<'t>, Range<usize>)>> {
    let items = reader.list(key)?;
    if items.is_empty() {
        let span = reader.span_of(key).unwrap_or(0..0);
        reader.bad(span, format!("`{key}` is empty"), "name at least one, or remove the key for the default");
        return None;
    }
    Some(items)
}

fn groups(reader: &mut Reader<'_, '_>, peer: Peer, phase1: bool) -> Option<Vec<DhGroup>> {
    let mut found: Vec<DhGroup> = Vec::new();
    for (item, span) in non_empty(reader, "dh_groups")? {
        let number = match item {
            DeValue::Integer(number) => u16::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => {
                let remedy = match scalar::meant_group(text) {
                    Some(number) => format!("write the number: {number}"),
                    None => "write the group's number, such as 20 for ECP-384".to_owned(),
                };
                reader.bad(span, "a Diffie-Hellman group is a number", remedy);
                continue;
            }
            _ => None,
        };
        match number.and_then(|n| group(n, peer, phase1)) {
            Some(Ok(group)) if found.contains(&group) => {}
            Some(Ok(group)) => {
                if group.is_weak() {
                    weak(reader, &format!("group {group} ({})", group.name()), span);
                }
                found.push(group);
            }
            Some(Err((what, remedy))) => reader.bad(span, what, remedy),
            None => reader.bad(
                span,
                "there is no such Diffie-Hellman group",
                "choose among 20, 21, 19 and 14 to 18",
            ),
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The group, or why this one cannot be used; `None` for a number that means nothing.
fn group(number: u16, peer: Peer, phase1: bool) -> Option<Result<DhGroup, (String, &'static str)>> {
    let strong = "choose 20, 21, 19 or 14 to 18";
    match number {
        22..=24 => {
            Some(Err((format!("group {number} is not supported: RFC 8247 §2.4 advises against it"), strong)))
        }
        5 if phase1 && peer == Peer::Aws => Some(Err(("AWS has group 5 in phase 2 only".to_owned(), strong))),
        31 if peer == Peer::Aws => Some(Err(("AWS has no group 31 (x25519)".to_owned(), strong))),
        _ => DhGroup::new(number).map(Ok),
    }
}

/// One of many places; [`super::merge_weak`] makes one warning of them.
fn weak(reader: &mut Reader<'_, '_>, name: &str, span: Range<usize>) {
    reader.push(Diagnostic::warning("CFG-WEAK", name, "").at(span, "weak"));
}

fn selectors(nets: Option<Vec<At<IpNet>>>, inside: &[Inside]) -> Vec<TrafficSelector> {
    match nets {
        Some(nets) if !nets.is_empty() => nets.iter().map(|at| TrafficSelector::from_net(at.value)).collect(),
        // Without inside addresses the connection is static and IPv4, as AWS's Openswan download is.
        _ if inside.is_empty() => vec![TrafficSelector::any_v4()],
        _ => inside
            .iter()
            .map(|link| match link.aws {
                IpAddr::V4(_) => TrafficSelector::any_v4(),
                IpAddr::V6(_) => TrafficSelector::any_v6(),
            })
            .collect(),
    }
}

const ALL_OFFLOADS: Offload = Offload { tun: true, udp_send: true, udp_receive: true };

fn offload(reader: &mut Reader<'_, '_>) -> Offload {
    Offload {
        tun: reader.boolean("tun").unwrap_or(true),
        udp_send: reader.boolean("udp_send").unwrap_or(true),
        udp_receive: reader.boolean("udp_receive").unwrap_or(true),
    }
}

const DEFAULT_PROBE: Probe = Probe { interval: Duration::from_secs(1), loss: 3 };

fn probe(reader: &mut Reader<'_, '_>) -> Probe {
    let range = Duration::from_millis(100)..=Duration::from_secs(60);
    let interval = reader.duration("interval", range).map_or(DEFAULT_PROBE.interval, |at| at.value);
    let loss = reader.number("loss", 1..=100).and_then(|at| u32::try_from(at.value).ok());
    Probe { interval, loss: loss.unwrap_or(DEFAULT_PROBE.loss) }
}

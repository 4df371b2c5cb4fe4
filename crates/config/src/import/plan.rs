//! From what an input says to what the file will say: everything is checked here, where it can be pointed at.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::ImportOptions;
use super::choose::{Choice, choose};
use super::draft::{At, Context, DOWNLOAD_AGAIN, Draft, DraftRouting, DraftTunnel};
use crate::parse::inside;
use crate::{Diagnostic, InvalidKey, Peer, check_key};

/// Tunnels of an AWS connection.
const TUNNELS: usize = 2;
/// Hold time AWS proposes.
const HOLD_TIME: u64 = 30;

/// A connection as it will be written.
pub(super) struct Plan {
    pub(super) id: String,
    pub(super) routing: PlanRouting,
    pub(super) transit: bool,
    pub(super) lan: Vec<IpNet>,
    pub(super) vpc: Vec<IpNet>,
    pub(super) raw_esp: bool,
    pub(super) local_cidr: Vec<IpNet>,
    pub(super) remote_cidr: Vec<IpNet>,
    pub(super) tunnels: Vec<PlanTunnel>,
}

pub(super) enum PlanRouting {
    Static,
    Bgp { local_asn: u32, remote_asn: u32, hold_time: u64 },
}

/// A tunnel as it will be written.
pub(super) struct PlanTunnel {
    pub(super) name: String,
    pub(super) outside: IpAddr,
    /// Missing where AWS has none, which only certificates allow.
    pub(super) customer_gateway: Option<IpAddr>,
    /// Ours and AWS's.
    pub(super) inside: Vec<(IpNet, IpAddr)>,
    pub(super) key: PlanKey,
    pub(super) choice: Choice,
    pub(super) known: bool,
    pub(super) ike_lifetime: Option<u64>,
    pub(super) esp_lifetime: Option<u64>,
    pub(super) rekey_margin: Option<u64>,
    pub(super) replay_window: Option<u64>,
    pub(super) dpd_timeout: Option<u64>,
}

/// The key itself, or the credential that will hold it.
pub(super) enum PlanKey {
    Inline(Zeroizing<String>),
    Credential {
        name: String,
    },
    /// Files that the operator puts there, all with this beginning.
    Certificates {
        stem: String,
    },
}

/// Checks one connection and decides what the input leaves open; `None` after an error.
pub(super) fn plan(
    mut draft: Draft,
    number: usize,
    options: &ImportOptions,
    cx: &mut Context<'_>,
) -> Option<Plan> {
    let errors = cx.report.diagnostics().len();
    if draft.sort {
        draft.tunnels.sort_by_key(|t| t.outside.as_ref().map(|at| at.value));
    }
    let id = connection_id(&draft, number, cx);
    count_tunnels(&draft, cx);
    let routing = routing(&draft, cx);
    let families = families(&draft);
    let vpc = vpc(&draft, &id, &families, options, cx);
    let lan = lan(&mut draft, &id, &families, options, cx);
    let raw_esp = options.raw_esp && !draft.accelerated;
    if options.raw_esp && draft.accelerated {
        cx.notes.push(format!(
            "{id} is accelerated, which needs UDP encapsulation: --raw-esp has no effect on it."
        ));
    }
    let static_routing = matches!(draft.routing, DraftRouting::Static);
    let inside_optional = draft.inside_optional && static_routing;
    let tunnels: Vec<PlanTunnel> = draft
        .tunnels
        .into_iter()
        .enumerate()
        .filter_map(|(index, t)| tunnel(t, &format!("tunnel{}", index + 1), &id, inside_optional, cx))
        .collect();
    let good = cx.report.diagnostics().len() == errors;
    let plan = Plan {
        id,
        routing: routing?,
        transit: draft.transit,
        lan,
        vpc,
        raw_esp,
        local_cidr: draft.local_cidr,
        remote_cidr: draft.remote_cidr,
        tunnels,
    };
    good.then_some(plan)
}

fn connection_id(draft: &Draft, number: usize, cx: &mut Context<'_>) -> String {
    let fallback = format!("connection{number}");
    let Some(id) = &draft.id else { return fallback };
    let text = id.value.trim();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 64 || !text.chars().all(good) {
        let what = "the connection's identifier has characters that no AWS identifier has";
        cx.error(id.span.clone(), "IMP-VALUE", what, DOWNLOAD_AGAIN);
        return fallback;
    }
    text.to_owned()
}

fn count_tunnels(draft: &Draft, cx: &mut Context<'_>) {
    match draft.tunnels.len() {
        TUNNELS => {}
        0 => cx.error(draft.place.clone(), "IMP-TUNNELS", "the connection has no tunnels", DOWNLOAD_AGAIN),
        1 => {
            let finding = Diagnostic::error("IMP-TUNNELS", "only one tunnel is described", DOWNLOAD_AGAIN);
            let place = draft.tunnels.first().map_or(draft.place.clone(), |t| t.place.clone());
            let cause =
                "an AWS connection always has two, and both are needed for failover: the file is not whole";
            cx.report.push(finding.at(place, "the only one").because(cause));
        }
        many => {
            let place = draft.tunnels.get(TUNNELS).map_or(draft.place.clone(), |t| t.place.clone());
            let what = format!("{many} tunnels are described for one connection");
            cx.error(place, "IMP-TUNNELS", what, "import the downloads one at a time");
        }
    }
}

fn routing(draft: &Draft, cx: &mut Context<'_>) -> Option<PlanRouting> {
    let DraftRouting::Bgp(bgp) = &draft.routing else { return Some(PlanRouting::Static) };
    let missing = match (&bgp.local_asn, &bgp.remote_asn) {
        (Some(_), Some(_)) => "",
        (None, Some(_)) => "the customer gateway's AS number is missing",
        (Some(_), None) => "AWS's AS number is missing",
        (None, None) => "both AS numbers are missing",
    };
    if !missing.is_empty() {
        let what = format!("the connection uses BGP, but {missing}");
        cx.error(draft.place.clone(), "IMP-ASN", what, DOWNLOAD_AGAIN);
    }
    let (local_asn, remote_asn) = (bgp.local_asn.as_ref()?.value, bgp.remote_asn.as_ref()?.value);
    if local_asn == remote_asn {
        let span = bgp.local_asn.as_ref().map_or(draft.place.clone(), |at| at.span.clone());
        let what = format!("the customer gateway and AWS have the same AS number {local_asn}");
        let remedy = "at AWS, make a customer gateway with another AS number and change the connection to it";
        let finding = Diagnostic::error("IMP-ASN", what, remedy).at(span, "");
        cx.report.push(finding.because("AWS speaks external BGP only: the two must differ"));
    }
    Some(PlanRouting::Bgp { local_asn, remote_asn, hold_time: bgp.hold_time.unwrap_or(HOLD_TIME) })
}

/// The address families that the connection carries inside.
struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    fn carried(&self, nets: &[IpNet]) -> Vec<IpNet> {
        let fits = |net: &&IpNet| if net.addr().is_ipv4() { self.v4 } else { self.v6 };
        nets.iter().filter(fits).copied().collect()
    }
}

/// Without an inside address it is IPv4, as in the Openswan download.
fn families(draft: &Draft) -> Families {
    let inside = || draft.tunnels.iter().flat_map(|t| &t.inside);
    let v6 = inside().any(|at| at.value.addr().is_ipv6());
    Families { v4: !v6 || inside().any(|at| at.value.addr().is_ipv4()), v6 }
}

fn vpc(
    draft: &Draft,
    id: &str,
    families: &Families,
    options: &ImportOptions,
    cx: &mut Context<'_>,
) -> Vec<IpNet> {
    if !options.vpc.is_empty() {
        // With several connections in the input, each takes the prefixes of its own family.
        let carried = families.carried(&options.vpc);
        if carried.is_empty() {
            let (has, wants) = if families.v4 { ("IPv4", "10.0.0.0/16") } else { ("IPv6", "2001:db8::/32") };
            let what = format!("no --vpc prefix is {has}, which is what {id} carries");
            let remedy = format!("name the networks behind AWS in that family: --vpc {wants}");
            cx.error(draft.place.clone(), "IMP-FAMILY", what, remedy);
        }
        return carried;
    }
    let is_static = matches!(draft.routing, DraftRouting::Static);
    if is_static && !draft.remote_cidr.is_empty() {
        cx.notes.push(format!(
            "The prefixes behind AWS are the remote network CIDR of {id}, as no --vpc was given."
        ));
        return draft.remote_cidr.clone();
    }
    if is_static && !draft.vpc.is_empty() {
        let list = join(&draft.vpc);
        cx.notes.push(format!(
            "The prefixes behind AWS ({list}) are those that the file names; --vpc overrides them."
        ));
        return draft.vpc.clone();
    }
    if is_static {
        let finding = Diagnostic::error(
            "IMP-NO-VPC",
            format!("{id} is a static connection, and nothing says which networks lie behind AWS"),
            "say it with --vpc, once for each prefix: --vpc 10.0.0.0/16",
        );
        let cause = "no AWS file lists the prefixes of the VPC; a BGP connection would announce them";
        cx.report.push(finding.at(draft.place.clone(), "").because(cause));
    }
    Vec::new()
}

fn lan(
    draft: &mut Draft,
    id: &str,
    families: &Families,
    options: &ImportOptions,
    cx: &mut Context<'_>,
) -> Vec<IpNet> {
    let given = families.carried(&options.lan);
    if !given.is_empty() {
        return given;
    }
    let is_static = matches!(draft.routing, DraftRouting::Static);
    let mut found = std::mem::take(&mut draft.lan);
    found.sort_unstable();
    found.dedup();
    if !found.is_empty() && is_static {
        let list = join(&found);
        cx.notes
            .push(format!("`lan` of {id} is {list}, the static routes that AWS has; --lan overrides them."));
        return found;
    }
    cx.notes.push(if is_static {
        format!(
            "No --lan was given for {id}. The tunnels will run, but AWS sends back only what its static routes name: \
             add the prefixes of this side there (`aws ec2 create-vpn-connection-route`) and to `lan`."
        )
    } else {
        format!(
            "No --lan was given for {id}, so BGP will announce nothing and the VPC has no way back: set `lan` in the \
             file, or import again with --lan 10.10.0.0/16."
        )
    });
    Vec::new()
}

fn tunnel(
    draft: DraftTunnel,
    name: &str,
    id: &str,
    inside_optional: bool,
    cx: &mut Context<'_>,
) -> Option<PlanTunnel> {
    refuse_ikev1(&draft, name, id, cx);
    let outside =
        required(&draft.outside, &draft.place, &format!("{name} has no outside address of AWS"), cx);
    let gateway = draft.customer_gateway.as_ref().map(|at| at.value);
    let by_certificate = draft.by_certificate || (gateway.is_none() && draft.key.is_none());
    if gateway.is_none() && !by_certificate {
        let finding = Diagnostic::error(
            "IMP-MISSING",
            format!("{name} has no outside address of the customer gateway"),
            "authenticate with pre-shared keys and give the customer gateway its public address at AWS",
        );
        let cause = "only a customer gateway that authenticates by certificate has no address, and here is a pre-shared key";
        cx.report.push(finding.at(draft.place.clone(), "").because(cause));
    }
    let inside = inside_links(&draft, name, inside_optional, cx);
    let key = if by_certificate { Some(certificates(name, id, cx)) } else { key(&draft, name, id, cx) };
    let choice = choose(&draft.options, name, cx);
    let options = draft.options;
    Some(PlanTunnel {
        name: name.to_owned(),
        outside: outside?,
        customer_gateway: gateway,
        inside: inside?,
        key: key?,
        choice: choice?,
        known: options.known,
        ike_lifetime: options.phase1.lifetime,
        esp_lifetime: options.phase2.lifetime,
        rekey_margin: options.rekey_margin,
        replay_window: options.replay_window,
        dpd_timeout: options.dpd_timeout,
    })
}

fn required<T: Copy>(
    value: &Option<At<T>>,
    place: &Range<usize>,
    what: &str,
    cx: &mut Context<'_>,
) -> Option<T> {
    if value.is_none() {
        cx.error(place.clone(), "IMP-MISSING", what, DOWNLOAD_AGAIN);
    }
    value.as_ref().map(|at| at.value)
}

/// The real list of a connection is law; the wording of a download is only its default.
fn refuse_ikev1(draft: &DraftTunnel, name: &str, id: &str, cx: &mut Context<'_>) {
    let Some(versions) = &draft.options.ike_versions else { return };
    if versions.value.iter().any(|version| version.eq_ignore_ascii_case("ikev2")) {
        return;
    }
    let outside = draft.outside.as_ref().map(|at| at.value.to_string()).unwrap_or_default();
    let finding = Diagnostic::error(
        "IMP-IKEV1",
        format!("{name} allows IKEv1 only, and cgwd speaks IKEv2"),
        format!(
            "allow IKEv2 at AWS (this interrupts the tunnel for some minutes), then import again: \
             aws ec2 modify-vpn-tunnel-options --vpn-connection-id {id} --vpn-tunnel-outside-ip-address {outside} \
             --tunnel-options '{{\"IKEVersions\":[{{\"Value\":\"ikev2\"}}]}}'"
        ),
    );
    cx.report.push(finding.at(versions.span.clone(), ""));
}

fn inside_links(
    draft: &DraftTunnel,
    name: &str,
    optional: bool,
    cx: &mut Context<'_>,
) -> Option<Vec<(IpNet, IpAddr)>> {
    if draft.inside.is_empty() {
        if !optional {
            let what = format!("{name} has no inside address of the customer gateway");
            cx.error(draft.place.clone(), "IMP-MISSING", what, DOWNLOAD_AGAIN);
            return None;
        }
        return Some(Vec::new());
    }
    let mut links = Vec::new();
    for ours in &draft.inside {
        let link = match inside::link(ours.value, Peer::Aws) {
            Ok(link) => link,
            Err(bad) => {
                let finding = Diagnostic::error("IMP-INSIDE", bad.what, DOWNLOAD_AGAIN);
                cx.report.push(finding.at(ours.span.clone(), format!("of {name}")).because(bad.cause));
                continue;
            }
        };
        let family = |at: &&At<IpAddr>| at.value.is_ipv4() == link.aws.is_ipv4();
        if let Some(theirs) = draft.aws_inside.iter().find(family).filter(|at| at.value != link.aws) {
            let what = format!("the inside addresses of {name} do not belong together");
            let finding = Diagnostic::error("IMP-INSIDE", what, DOWNLOAD_AGAIN);
            let finding = finding.at(theirs.span.clone(), format!("AWS's should be {}", link.aws));
            cx.report.push(finding.and_at(ours.span.clone(), "ours"));
        }
        links.push((ours.value, link.aws));
    }
    (!links.is_empty()).then_some(links)
}

fn key(draft: &DraftTunnel, name: &str, id: &str, cx: &mut Context<'_>) -> Option<PlanKey> {
    let Some(key) = &draft.key else {
        let credential = format!("{id}-{name}.psk");
        let origin = match &draft.key_arn {
            Some(arn) if arn.bytes().all(|b| b.is_ascii_graphic()) => {
                format!(
                    "AWS keeps it in Secrets Manager: `aws secretsmanager get-secret-value --secret-id {arn}` shows it"
                )
            }
            _ => "AWS shows it under \"Tunnel options\", or in Secrets Manager".to_owned(),
        };
        cx.notes.push(format!(
            "The input has no pre-shared key for {name} of {id}. {origin}. Put it on one line into \
             /etc/cgwd/{credential} (mode 0600); the unit needs `LoadCredential={credential}:/etc/cgwd/{credential}`."
        ));
        return Some(PlanKey::Credential { name: credential });
    };
    match check_key(&key.value, Peer::Aws) {
        Ok(()) => Some(PlanKey::Inline(key.value.clone())),
        Err(error) => {
            let finding = Diagnostic::error("IMP-PSK", format!("{name}: {error}"), error.remedy());
            cx.report.push(finding.at(key.span.clone(), "").because(InvalidKey::RULE));
            None
        }
    }
}

fn certificates(name: &str, id: &str, cx: &mut Context<'_>) -> PlanKey {
    let stem = format!("/etc/cgwd/{id}");
    cx.notes.push(format!(
        "{name} of {id} authenticates by certificate (AWS Private CA). Export the customer gateway's certificate from ACM: put it and \
         the chain into {stem}.pem, its private key without passphrase into {stem}.key (mode 0600), the root CA into {stem}-ca.pem."
    ));
    PlanKey::Certificates { stem }
}

fn join(nets: &[IpNet]) -> String {
    nets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")
}

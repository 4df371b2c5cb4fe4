//! JSON: the answer of `describe-vpn-connections` in any of the shapes that people save, and Terraform's output.
//!
//! The addresses and AS numbers come from the XML inside; the algorithms, lifetimes and keys from
//! `TunnelOptions`, which are joined by the outside address (their order means nothing).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::draft::{At, Context, Draft, DraftTunnel, Options, Phase};
use super::source::Source;
use super::xml;
use crate::Diagnostic;

/// Values inside each other at most.
const MAX_DEPTH: usize = 24;
/// Values looked at in one input at most.
const MAX_VALUES: usize = 2_000_000;

/// Reads every JSON value in the text.
pub(super) fn documents(text: &str, cx: &mut Context<'_>) -> Vec<Draft> {
    let mut reader = Reader { text, drafts: Vec::new(), seen: 0, skipped: Vec::new(), connections: 0 };
    let offset = text.len() - text.trim_start_matches('\u{feff}').len();
    let body = text.get(offset..).unwrap_or_default();
    for value in serde_json::Deserializer::from_str(body).into_iter::<&RawValue>() {
        match value {
            Ok(raw) => reader.walk(raw, 0, cx),
            Err(error) => {
                reader.syntax(&error, offset, cx);
                break;
            }
        }
    }
    if !reader.skipped.is_empty() {
        let list = reader.skipped.join(", ");
        cx.notes.push(format!("Left out, because it no longer exists at AWS: {list}."));
    }
    if reader.drafts.is_empty() && !cx.report.has_errors() {
        reader.nothing(cx);
    }
    reader.drafts
}

struct Reader<'t> {
    text: &'t str,
    drafts: Vec<Draft>,
    /// Values looked at so far.
    seen: usize,
    /// Connections that are deleted at AWS.
    skipped: Vec<String>,
    /// Connections met, usable or not.
    connections: usize,
}

/// One object, keys in lower case: the API's answer has `VpnConnectionId`, other tools other capitals.
type Object<'t> = BTreeMap<String, &'t RawValue>;

impl<'t> Reader<'t> {
    fn span(&self, raw: &RawValue) -> Range<usize> {
        // `raw` borrows from `self.text`, so the distance is its offset.
        let start = (raw.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        start..start + raw.get().len()
    }

    fn syntax(&self, error: &serde_json::Error, offset: usize, cx: &mut Context<'_>) {
        let body = self.text.get(offset..).unwrap_or_default();
        let line_start: usize =
            body.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = (offset + line_start + error.column().saturating_sub(1)).min(self.text.len());
        if error.is_eof() {
            let end = self.text.trim_end().len();
            let remedy = "the file is cut off: save the output of the command again";
            cx.error(end.saturating_sub(1)..end, "IMP-CUT", "the JSON ends too early", remedy);
            return;
        }
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or_default();
        let remedy = "save the output of `aws ec2 describe-vpn-connections --output json` unchanged";
        cx.error(at..at + 1, "IMP-JSON", format!("not valid JSON: {what}"), remedy);
    }

    fn nothing(&self, cx: &mut Context<'_>) {
        let (what, remedy) = if self.connections > 0 {
            ("every VPN connection in the file is deleted", "name one that exists with --vpn-connection-ids")
        } else if self.text.contains("<sensitive>") {
            (
                "Terraform left the value out as sensitive",
                "use `terraform output -raw NAME` or `terraform output -json NAME`",
            )
        } else {
            (
                "there is no VPN connection in this JSON",
                "save the output of `aws ec2 describe-vpn-connections`, or a Terraform output of customer_gateway_configuration",
            )
        };
        cx.report.push(Diagnostic::error("IMP-EMPTY", what, remedy));
    }

    /// Looks for connections in any value.
    fn walk(&mut self, raw: &'t RawValue, depth: usize, cx: &mut Context<'_>) {
        self.seen += 1;
        if depth > MAX_DEPTH || self.seen > MAX_VALUES {
            return;
        }
        match raw.get().as_bytes().first() {
            Some(b'{') => {
                let Some(object) = object(raw) else { return };
                if is_connection(&object) {
                    self.connection(raw, &object, cx);
                } else {
                    for value in object.values() {
                        self.walk(value, depth + 1, cx);
                    }
                }
            }
            Some(b'[') => {
                for value in array(raw) {
                    self.walk(value, depth + 1, cx);
                }
            }
            Some(b'"') if raw.get().contains("vpn_connection") => {
                let found = xml::documents(&self.string_source(raw), cx);
                self.connections += found.len();
                self.drafts.extend(found);
            }
            _ => {}
        }
    }

    /// The inside of a string, unescaped, with its places.
    fn string_source(&self, raw: &RawValue) -> Source {
        let span = self.span(raw);
        Source::piece(self.text, span.start + 1..span.end.saturating_sub(1)).unescape()
    }

    fn connection(&mut self, raw: &'t RawValue, object: &Object<'t>, cx: &mut Context<'_>) {
        self.connections += 1;
        let id = string(object, "vpnconnectionid")
            .filter(|id| !id.is_empty() && id.len() <= 40 && id.bytes().all(|b| b.is_ascii_graphic()))
            .unwrap_or_else(|| "a connection".to_owned());
        match string(object, "state").as_deref() {
            Some(state @ ("deleted" | "deleting")) => {
                self.skipped.push(format!("{id} ({state})"));
                return;
            }
            Some("pending") => cx.notes.push(format!(
                "{id} is still pending at AWS; its tunnels answer when it is available, in a few minutes."
            )),
            _ => {}
        }
        let start = self.span(raw).start;
        let Some(xml) = object.get("customergatewayconfiguration").filter(|raw| raw.get().len() > 2) else {
            let what = format!("{id} has no CustomerGatewayConfiguration");
            let remedy = "import the whole answer of `aws ec2 describe-vpn-connections`, without --query; \
                          the addresses and AS numbers stand in it";
            cx.error(start..start + 1, "IMP-NO-XML", what, remedy);
            return;
        };
        let errors_before = cx.report.diagnostics().len();
        let mut found = xml::documents(&self.string_source(xml), cx);
        let Some(mut draft) = found.drain(..).next() else {
            if cx.report.diagnostics().len() == errors_before {
                let what = format!("the CustomerGatewayConfiguration of {id} is not AWS's XML");
                let remedy = "import the answer of `aws ec2 describe-vpn-connections` unchanged";
                cx.error(self.span(xml), "IMP-XML", what, remedy);
            }
            return;
        };
        if let Some(raw) = object.get("vpnconnectionid") {
            draft.id = text(raw).map(|value| At { value, span: self.span(raw) });
            draft.place = self.span(raw);
        }
        self.options(object, &mut draft, cx);
        self.drafts.push(draft);
    }

    /// Everything that the XML does not say.
    fn options(&self, connection: &Object<'t>, draft: &mut Draft, cx: &mut Context<'_>) {
        let has =
            |key: &str| connection.get(key).is_some_and(|raw| raw.get().len() > 2 && raw.get() != "null");
        draft.transit |= has("transitgatewayid") || has("corenetworkarn") || has("vpnconcentratorid");
        for route in connection.get("routes").map(|raw| array(raw)).unwrap_or_default() {
            let Some(route) = object(route) else { continue };
            if string(&route, "state").is_some_and(|state| state.starts_with("delet")) {
                continue;
            }
            let net = string(&route, "destinationcidrblock").and_then(|net| net.parse::<IpNet>().ok());
            draft.lan.extend(net.map(|net| net.trunc()));
        }
        let arn = string(connection, "presharedkeyarn");
        for tunnel in &mut draft.tunnels {
            tunnel.key_arn.clone_from(&arn);
        }
        for telemetry in connection.get("vgwtelemetry").map(|raw| array(raw)).unwrap_or_default() {
            let Some(telemetry) = object(telemetry) else { continue };
            let outside = string(&telemetry, "outsideipaddress").and_then(|text| text.parse::<IpAddr>().ok());
            if string(&telemetry, "certificatearn").is_some_and(|arn| !arn.is_empty()) {
                let same = |tunnel: &&mut DraftTunnel| tunnel.outside.as_ref().map(|at| at.value) == outside;
                draft.tunnels.iter_mut().filter(same).for_each(|tunnel| tunnel.by_certificate = true);
            }
        }
        let Some(options) = connection.get("options").and_then(|raw| object(raw)) else { return };
        draft.accelerated |= options.get("enableacceleration").is_some_and(|raw| raw.get() == "true");
        let ipv6 = string(&options, "tunnelinsideipversion").as_deref() == Some("ipv6");
        let family = if ipv6 { "ipv6" } else { "ipv4" };
        let narrowed = |side: &str| {
            string(&options, &format!("{side}{family}networkcidr"))
                .and_then(|net| net.parse::<IpNet>().ok())
                .filter(|net| net.prefix_len() > 0)
                .map(|net| net.trunc())
        };
        draft.local_cidr.extend(narrowed("local"));
        draft.remote_cidr.extend(narrowed("remote"));
        for raw in options.get("tunneloptions").map(|raw| array(raw)).unwrap_or_default() {
            self.tunnel_options(raw, draft, cx);
        }
        if ipv6 {
            for tunnel in &mut draft.tunnels {
                // The /30 that AWS still assigns lies outside the traffic selectors, which are ::/0.
                tunnel.inside.retain(|at| at.value.addr().is_ipv6());
                tunnel.aws_inside.retain(|at| at.value.is_ipv6());
            }
        }
    }

    fn tunnel_options(&self, raw: &'t RawValue, draft: &mut Draft, cx: &mut Context<'_>) {
        let Some(options) = object(raw) else { return };
        let Some(outside) = string(&options, "outsideipaddress").and_then(|a| a.parse::<IpAddr>().ok())
        else {
            return;
        };
        let same = |t: &&mut DraftTunnel| t.outside.as_ref().is_some_and(|at| at.value == outside);
        let Some(tunnel) = draft.tunnels.iter_mut().find(same) else {
            let what =
                format!("TunnelOptions name {outside}, which the CustomerGatewayConfiguration does not have");
            let remedy = "the two come from different times: run `aws ec2 describe-vpn-connections` again";
            cx.error(self.span(raw), "IMP-MISMATCH", what, remedy);
            return;
        };
        if let Some(raw) = options.get("presharedkey")
            && let Some(value) = text(raw).filter(|key| !key.is_empty())
        {
            let span = self.span(raw);
            tunnel.key = Some(At { value: Zeroizing::new(value), span });
        }
        self.inside_from_cidr(&options, "tunnelinsidecidr", tunnel);
        self.inside_from_cidr(&options, "tunnelinsideipv6cidr", tunnel);
        let number = |key: &str| options.get(key).and_then(|raw| raw.get().parse::<u64>().ok());
        let dpd_from_xml = tunnel.options.dpd_timeout;
        tunnel.options = Options {
            known: true,
            phase1: self.phase(&options, "phase1", tunnel.options.phase1.lifetime),
            phase2: self.phase(&options, "phase2", tunnel.options.phase2.lifetime),
            ike_versions: self.names(&options, "ikeversions"),
            rekey_margin: number("rekeymargintimeseconds"),
            replay_window: number("replaywindowsize"),
            dpd_timeout: number("dpdtimeoutseconds").or(dpd_from_xml),
        };
    }

    /// What the XML leaves out: AWS has the first usable address of the link, we have the second. The CIDR of an
    /// old answer may have host bits.
    fn inside_from_cidr(&self, options: &Object<'t>, key: &str, tunnel: &mut DraftTunnel) {
        let Some(raw) = options.get(key) else { return };
        let Some(net) = text(raw).and_then(|net| net.parse::<IpNet>().ok()) else { return };
        if tunnel.inside.iter().any(|at| at.value.addr().is_ipv4() == net.addr().is_ipv4()) {
            return;
        }
        let ours = match net.network() {
            IpAddr::V4(base) => IpAddr::V4((u32::from(base) | 2).into()),
            IpAddr::V6(base) => IpAddr::V6((u128::from(base) | 2).into()),
        };
        if let Ok(ours) = IpNet::new(ours, net.prefix_len()) {
            tunnel.inside.push(At { value: ours, span: self.span(raw) });
        }
    }

    fn phase(&self, options: &Object<'t>, name: &str, lifetime: Option<u64>) -> Phase {
        let groups = options.get(&format!("{name}dhgroupnumbers")).map(|raw| At {
            value: array(raw)
                .into_iter()
                .filter_map(value_of)
                .filter_map(|raw| raw.get().parse().ok())
                .collect(),
            span: self.span(raw),
        });
        let own = options.get(&format!("{name}lifetimeseconds")).and_then(|raw| raw.get().parse().ok());
        Phase {
            encryption: self.names(options, &format!("{name}encryptionalgorithms")),
            integrity: self.names(options, &format!("{name}integrityalgorithms")),
            groups: groups.filter(|at: &At<Vec<u16>>| !at.value.is_empty()),
            lifetime: own.or(lifetime),
        }
    }

    /// A list of `{"Value": "…"}`; an empty one says nothing.
    fn names(&self, options: &Object<'t>, key: &str) -> Option<At<Vec<String>>> {
        let raw = options.get(key)?;
        let value: Vec<String> = array(raw).into_iter().filter_map(value_of).filter_map(text).collect();
        (!value.is_empty()).then(|| At { value, span: self.span(raw) })
    }
}

/// The `Value` of `{"Value": …}`, or the bare value, as Terraform and other tools have it.
fn value_of(raw: &RawValue) -> Option<&RawValue> {
    match object(raw) {
        Some(object) => object.get("value").copied(),
        None => Some(raw),
    }
}

/// The API's `VpnConnection`, and not one of the many objects that only refer to it.
fn is_connection(object: &Object<'_>) -> bool {
    let has = |key: &str| object.contains_key(key);
    has("vpnconnectionid") && (has("state") || has("options") || has("customergatewayconfiguration"))
}

fn object(raw: &RawValue) -> Option<Object<'_>> {
    if !raw.get().starts_with('{') {
        return None;
    }
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    Some(members.into_iter().map(|(key, value)| (plain(&key), value)).collect())
}

/// Lower case without underscores, so that `tunnel_options` and `TunnelOptions` are one.
fn plain(key: &str) -> String {
    key.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

fn array(raw: &RawValue) -> Vec<&RawValue> {
    if raw.get().starts_with('[') { serde_json::from_str(raw.get()).unwrap_or_default() } else { Vec::new() }
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn string(object: &Object<'_>, key: &str) -> Option<String> {
    object.get(key).and_then(|raw| text(raw))
}

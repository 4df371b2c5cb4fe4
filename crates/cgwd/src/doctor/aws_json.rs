//! What AWS says of itself: the answers of `describe-vpn-connections` and `get-active-vpn-tunnel-status`.
//!
//! It reads the fields that the doctor compares and ignores the others. A list that is missing means that AWS's
//! default holds, which allows everything. The customer gateway's address and the AS numbers stand only in the XML
//! document inside. Keys are kept as [`Secret`]s and never shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use model::Secret;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroize;

/// Everything that was found in the file.
#[derive(Debug, Default)]
pub struct Description {
    /// The connections that exist.
    pub connections: Vec<Connection>,
    /// What AWS has negotiated, one for each tunnel that was asked about.
    pub active: Vec<ActiveStatus>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON.
    #[error(
        "not valid JSON: {0}; save the output of `aws ec2 describe-vpn-connections --output json` unchanged"
    )]
    Syntax(String),
    /// It has nothing to compare.
    #[error(
        "there is no VPN connection in it; save the output of `aws ec2 describe-vpn-connections --vpn-connection-ids vpn-...`"
    )]
    Empty,
}

/// One VPN connection.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Connection {
    /// `vpn-…`.
    pub vpn_connection_id: String,
    /// `available`, `pending`, `modifying`, …
    pub state: String,
    /// The XML document.
    #[serde(deserialize_with = "customer_gateway_configuration")]
    pub customer_gateway_configuration: BTreeMap<IpAddr, Ends>,
    /// Set when the keys are in Secrets Manager.
    pub pre_shared_key_arn: Option<String>,
    /// Set behind a transit gateway.
    pub transit_gateway_id: Option<String>,
    /// Set behind Cloud WAN.
    pub core_network_arn: Option<String>,
    /// `associated`, `not-associated`, `associating`, `disassociating`: with the gateway at AWS.
    pub gateway_association_state: Option<String>,
    /// Options of the connection.
    pub options: Options,
    /// Static routes.
    pub routes: Vec<StaticRoute>,
    /// How AWS sees each tunnel.
    pub vgw_telemetry: Vec<Telemetry>,
}

/// Options of a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Options {
    /// Global Accelerator in front of the endpoints.
    pub enable_acceleration: bool,
    /// Static routing.
    pub static_routes_only: Option<bool>,
    /// On the customer's side.
    pub local_ipv4_network_cidr: Option<String>,
    /// On AWS's side.
    pub remote_ipv4_network_cidr: Option<String>,
    /// On the customer's side.
    pub local_ipv6_network_cidr: Option<String>,
    /// On AWS's side.
    pub remote_ipv6_network_cidr: Option<String>,
    /// One for each tunnel; their order means nothing.
    pub tunnel_options: Vec<TunnelOptions>,
}

/// A value in a list, as AWS wraps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Item {
    /// A name or a number.
    pub value: Value,
}

/// Options of a tunnel.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TunnelOptions {
    /// AWS's address.
    pub outside_ip_address: Option<IpAddr>,
    /// A /30; not always aligned.
    #[serde(deserialize_with = "network")]
    pub tunnel_inside_cidr: Option<IpNet>,
    /// A /126.
    #[serde(deserialize_with = "network")]
    pub tunnel_inside_ipv6_cidr: Option<IpNet>,
    /// The key; missing with certificates and with Secrets Manager.
    #[serde(deserialize_with = "secret")]
    pub pre_shared_key: Option<Secret>,
    /// Seconds.
    pub phase1_lifetime_seconds: Option<u64>,
    /// Seconds.
    pub phase2_lifetime_seconds: Option<u64>,
    /// Allowed in phase 1.
    pub phase1_encryption_algorithms: Vec<Item>,
    /// Allowed in phase 2.
    pub phase2_encryption_algorithms: Vec<Item>,
    /// Allowed in phase 1.
    pub phase1_integrity_algorithms: Vec<Item>,
    /// Allowed in phase 2.
    pub phase2_integrity_algorithms: Vec<Item>,
    /// Allowed in phase 1.
    #[serde(rename = "Phase1DHGroupNumbers")]
    pub phase1_dh_group_numbers: Vec<Item>,
    /// Allowed in phase 2.
    #[serde(rename = "Phase2DHGroupNumbers")]
    pub phase2_dh_group_numbers: Vec<Item>,
    /// AWS rekeys by itself within this time of the end of a lifetime.
    pub rekey_margin_time_seconds: Option<u64>,
    /// Packets that AWS remembers to recognise replays of ours.
    pub replay_window_size: Option<u64>,
    /// Seconds of silence after which AWS takes us for dead.
    pub dpd_timeout_seconds: Option<u64>,
    /// `clear`, `restart` or `none`: what AWS does then.
    pub dpd_timeout_action: Option<String>,
    /// `ikev1`, `ikev2`.
    pub ike_versions: Vec<Item>,
    /// `add` or `start`.
    pub startup_action: Option<String>,
    /// The activity log.
    pub log_options: Option<LogOptions>,
}

/// Logs of a tunnel.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogOptions {
    /// To CloudWatch.
    pub cloud_watch_log_options: CloudWatch,
}

/// Logs to CloudWatch.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CloudWatch {
    /// Whether anything is logged.
    pub log_enabled: bool,
}

/// A static route of the connection.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StaticRoute {
    /// A network on the customer's side.
    #[serde(deserialize_with = "network")]
    pub destination_cidr_block: Option<IpNet>,
    /// `available`, `pending`, `deleting`, `deleted`.
    pub state: String,
}

/// How AWS sees a tunnel.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Telemetry {
    /// AWS's address.
    pub outside_ip_address: Option<IpAddr>,
    /// `UP` or `DOWN`.
    pub status: String,
    /// `IPSEC IS UP`, `IPSEC IS DOWN`, `1 BGP ROUTES`.
    pub status_message: String,
    /// Prefixes that AWS took.
    pub accepted_route_count: Option<u64>,
    /// RFC 3339, or Python's notation.
    pub last_status_change: String,
}

/// `get-active-vpn-tunnel-status`: what AWS has negotiated on one tunnel.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ActiveStatus {
    /// The tunnel. AWS's answer does not name it; who puts several answers into one file writes it beside.
    #[serde(skip)]
    pub outside_ip_address: Option<IpAddr>,
    /// Such as `AES256-GCM-16`.
    pub phase1_encryption_algorithm: Option<String>,
    /// Such as `AES256-GCM-16`.
    pub phase2_encryption_algorithm: Option<String>,
    /// Such as `SHA2-384`.
    pub phase1_integrity_algorithm: Option<String>,
    /// Such as `SHA2-384`.
    pub phase2_integrity_algorithm: Option<String>,
    /// A group number.
    #[serde(rename = "Phase1DHGroup")]
    pub phase1_dh_group: Option<u16>,
    /// A group number.
    #[serde(rename = "Phase2DHGroup")]
    pub phase2_dh_group: Option<u16>,
    /// `ikev1` or `ikev2`.
    pub ike_version: Option<String>,
    /// `available` or `pending`.
    pub provisioning_status: Option<String>,
    /// Why it is pending.
    pub provisioning_status_reason: Option<String>,
}

/// Both ends of a tunnel, from the XML document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The customer gateway's address.
    pub customer_gateway: Option<IpAddr>,
    /// Its AS number.
    pub customer_asn: Option<u32>,
    /// AWS's AS number.
    pub aws_asn: Option<u32>,
}

impl Description {
    /// Reads one or several JSON documents after each other.
    ///
    /// # Errors
    /// When the text is no JSON, or has nothing to compare.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut description = Self::default();
        for value in
            serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}')).into_iter::<Value>()
        {
            let mut value = value.map_err(|error| Error::Syntax(error.to_string()))?;
            let taken = description.take(&mut value);
            wipe(&mut value);
            taken?;
        }
        description
            .connections
            .retain(|connection| !matches!(connection.state.as_str(), "deleted" | "deleting"));
        if description.connections.is_empty() && description.active.is_empty() {
            return Err(Error::Empty);
        }
        Ok(description)
    }

    fn take(&mut self, value: &mut Value) -> Result<(), Error> {
        let syntax = |error: serde_json::Error| Error::Syntax(error.to_string());
        match value {
            Value::Array(all) => all.iter_mut().try_for_each(|one| self.take(one)),
            Value::Object(object) => {
                // People also merge the answers into one object.
                for key in ["VpnConnections", "VpnConnection"] {
                    if let Some(inner) = object.get_mut(key) {
                        self.take(inner)?;
                    }
                }
                if let Some(status) = object.get("ActiveVpnTunnelStatus") {
                    let mut active = ActiveStatus::deserialize(status).map_err(syntax)?;
                    let beside = ["VpnTunnelOutsideIpAddress", "OutsideIpAddress"];
                    let named = beside.into_iter().find_map(|key| object.get(key)?.as_str()?.parse().ok());
                    active.outside_ip_address = named;
                    self.active.push(active);
                }
                if object.contains_key("VpnConnectionId") {
                    self.connections.push(Connection::deserialize(&*value).map_err(syntax)?);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The tunnel with this outside address; of several connections the one called so.
    pub fn tunnel(&self, connection: &str, outside: IpAddr) -> Option<(&Connection, &TunnelOptions)> {
        let all = || {
            self.connections
                .iter()
                .flat_map(|c| c.options.tunnel_options.iter().map(move |t| (c, t)))
                .filter(move |(_, tunnel)| tunnel.outside_ip_address == Some(outside))
        };
        all().find(|(found, _)| found.vpn_connection_id == connection).or_else(|| all().next())
    }
}

impl Connection {
    /// How AWS sees the tunnel with this outside address.
    pub fn telemetry(&self, outside: IpAddr) -> Option<&Telemetry> {
        self.vgw_telemetry.iter().find(|telemetry| telemetry.outside_ip_address == Some(outside))
    }

    /// Whether its limits are those of a transit gateway.
    pub fn is_transit(&self) -> bool {
        self.transit_gateway_id.is_some() || self.core_network_arn.is_some()
    }
}

/// The values of a list as text.
pub fn names(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .map(|item| match &item.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}

/// A CIDR; one that cannot be read is not compared.
fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpNet>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(|text| Secret::new(text.into_bytes())))
}

fn customer_gateway_configuration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<IpAddr, Ends>, D::Error> {
    let mut text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    let ends = text.split("<ipsec_tunnel>").skip(1).filter_map(ends).collect();
    text.zeroize();
    Ok(ends)
}

/// One `<ipsec_tunnel>`; AWS's documents have no attributes there and no comments.
fn ends(tunnel: &str) -> Option<(IpAddr, Ends)> {
    let customer = between(tunnel, "<customer_gateway>", "</customer_gateway>")?;
    let aws = between(tunnel, "<vpn_gateway>", "</vpn_gateway>")?;
    let address = |end: &str| {
        let outside = between(end, "<tunnel_outside_address>", "</tunnel_outside_address>")?;
        between(outside, "<ip_address>", "</ip_address>")?.trim().parse().ok()
    };
    let asn = |end: &str| between(end, "<asn>", "</asn>")?.trim().parse().ok();
    let ends = Ends { customer_gateway: address(customer), customer_asn: asn(customer), aws_asn: asn(aws) };
    Some((address(aws)?, ends))
}

fn between<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    text.split_once(open)?.1.split_once(close).map(|(inside, _)| inside)
}

/// Keys stand in the values that were read on the way.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(all) => all.iter_mut().for_each(wipe),
        Value::Object(all) => all.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_tunnel_are_read_from_the_document_inside() {
        let xml = "<ipsec_tunnel><customer_gateway><tunnel_outside_address><ip_address>192.0.2.1</ip_address>\
                   </tunnel_outside_address><bgp><asn>65000</asn></bgp></customer_gateway><vpn_gateway>\
                   <tunnel_outside_address><ip_address>198.51.100.1</ip_address></tunnel_outside_address>\
                   <bgp><asn>64512</asn></bgp></vpn_gateway></ipsec_tunnel>";
        let (outside, ends) = ends(xml).unwrap();
        assert_eq!(outside.to_string(), "198.51.100.1");
        assert_eq!(ends.customer_gateway.map(|ip| ip.to_string()).as_deref(), Some("192.0.2.1"));
        assert_eq!((ends.customer_asn, ends.aws_asn), (Some(65_000), Some(64_512)));
    }

    #[test]
    fn every_shape_that_people_save_is_read() {
        let one = r#"{"VpnConnectionId":"vpn-1","State":"available"}"#;
        for text in [
            one.to_owned(),
            format!("[{one}]"),
            format!(r#"{{"VpnConnections":[{one}]}}"#),
            format!(
                r#"{{"VpnConnections":[{one}]}} {{"ActiveVpnTunnelStatus":{{"ProvisioningStatus":"pending"}}}}"#
            ),
        ] {
            assert_eq!(Description::parse(&text).unwrap().connections.len(), 1, "{text}");
        }
        assert!(matches!(Description::parse("{}"), Err(Error::Empty)));
        assert!(matches!(Description::parse("{"), Err(Error::Syntax(_))));
        let gone = r#"{"VpnConnectionId":"vpn-1","State":"deleted"}"#;
        assert!(matches!(Description::parse(gone), Err(Error::Empty)));
    }

    #[test]
    fn a_key_does_not_show() {
        let text =
            r#"{"VpnConnectionId":"vpn-1","Options":{"TunnelOptions":[{"PreSharedKey":"s3cret.Key"}]}}"#;
        assert!(!format!("{:?}", Description::parse(text).unwrap()).contains("s3cret"));
    }
}

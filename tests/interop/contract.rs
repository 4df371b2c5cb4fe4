//! `status --json` has every field that scripts rely on.

use anyhow::{Result, ensure};
use serde_json::Value;

/// Field, and the JSON types it may have (`n`umber, `s`tring, `b`oolean, `o`bject, `a`rray, `0` null).
type Fields = &'static [(&'static str, &'static str)];

const STATUS: Fields =
    &[("schema", "n"), ("version", "s"), ("uptime_seconds", "n"), ("redundancy", "s"), ("connections", "a")];
const CONNECTION: Fields = &[("id", "s"), ("routing", "s"), ("tunnels", "a")];
const TUNNEL: Fields = &[
    ("name", "s"),
    ("outside_ip", "s"),
    ("interface", "s"),
    ("inside_ip", "s"),
    ("mtu", "n"),
    ("stage", "s"),
    ("since_seconds", "n"),
    ("egress", "b"),
    ("drained", "b"),
    ("ike", "o0"),
    ("child", "o0"),
    ("probe", "o0"),
    ("bgp", "o0"),
    ("last_error", "o0"),
];
const IKE: Fields = &[
    ("state", "s"),
    ("spi_i", "s"),
    ("spi_r", "s"),
    ("role", "s"),
    ("proposal", "s"),
    ("established_seconds", "n"),
    ("rekey_in_seconds", "n"),
    ("rekeys", "n"),
];
const CHILD: Fields = &[
    ("state", "s"),
    ("spi_in", "s"),
    ("spi_out", "s"),
    ("proposal", "s"),
    ("encapsulation", "s"),
    ("rekey_in_seconds", "n"),
    ("rekeys", "n"),
    ("rx_packets", "n"),
    ("rx_bytes", "n"),
    ("tx_packets", "n"),
    ("tx_bytes", "n"),
    ("drops", "o"),
];
const DROPS: Fields =
    &[("auth", "n"), ("replay", "n"), ("no_sa", "n"), ("malformed", "n"), ("mtu", "n"), ("queue", "n")];
const PROBE: Fields = &[("rtt_ms", "n0"), ("loss_ratio", "n")];
const LAST_ERROR: Fields = &[("code", "s"), ("text", "s"), ("seconds_ago", "n")];

fn kind(value: &Value) -> char {
    match value {
        Value::Null => '0',
        Value::Bool(_) => 'b',
        Value::Number(_) => 'n',
        Value::String(_) => 's',
        Value::Array(_) => 'a',
        Value::Object(_) => 'o',
    }
}

fn check(value: &Value, fields: Fields, place: &str) -> Result<()> {
    for (name, kinds) in fields {
        let Some(field) = value.get(name) else { anyhow::bail!("{place}.{name} is missing in {value}") };
        ensure!(kinds.contains(kind(field)), "{place}.{name} must be one of {kinds:?}, got {field}");
    }
    Ok(())
}

/// Checks a whole status with both of a connection's tunnels established.
pub fn check_status(status: &Value) -> Result<()> {
    check(status, STATUS, "status")?;
    ensure!(status["schema"] == 1, "schema 1, got {}", status["schema"]);
    for connection in status["connections"].as_array().into_iter().flatten() {
        check(connection, CONNECTION, "connection")?;
        let tunnels = connection["tunnels"].as_array().map(Vec::as_slice).unwrap_or_default();
        ensure!(tunnels.len() == 2, "a configured tunnel is never left out: {connection}");
        for tunnel in tunnels {
            check_tunnel(tunnel)?;
        }
    }
    Ok(())
}

fn check_tunnel(tunnel: &Value) -> Result<()> {
    check(tunnel, TUNNEL, "tunnel")?;
    check(&tunnel["ike"], IKE, "ike")?;
    check(&tunnel["child"], CHILD, "child")?;
    check(&tunnel["child"]["drops"], DROPS, "drops")?;
    check(&tunnel["probe"], PROBE, "probe")?;
    if !tunnel["last_error"].is_null() {
        check(&tunnel["last_error"], LAST_ERROR, "last_error")?;
    }
    for (object, field, digits) in
        [("ike", "spi_i", 16), ("ike", "spi_r", 16), ("child", "spi_in", 8), ("child", "spi_out", 8)]
    {
        let spi = tunnel[object][field].as_str().unwrap_or_default();
        let hex =
            spi.len() == digits && spi.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase());
        ensure!(hex, "{object}.{field} must be {digits} hex digits, got {spi:?}");
    }
    Ok(())
}

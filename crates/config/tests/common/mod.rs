//! What the test files share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use config::import::{ImportOptions, Imported, decode, import};
use config::{KeySource, Report, Tunnel};
use ipnet::IpNet;

/// Where the fixtures are.
pub const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// The text of a fixture.
pub fn fixture(name: &str) -> String {
    let bytes = std::fs::read(format!("{FIXTURES}/{name}")).unwrap();
    decode(&bytes, name).unwrap()
}

/// Imports a fixture under its own name.
pub fn import_fixture(name: &str, options: &ImportOptions) -> Result<Imported, Report> {
    import(&fixture(name), name, options)
}

/// One prefix.
pub fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Prefixes, separated by spaces.
pub fn nets(text: &str) -> Vec<IpNet> {
    text.split(' ').map(net).collect()
}

/// The key of a tunnel that holds it.
pub fn key(tunnel: &Tunnel) -> String {
    match tunnel.psk() {
        Some(KeySource::Inline(secret)) => String::from_utf8(secret.expose().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

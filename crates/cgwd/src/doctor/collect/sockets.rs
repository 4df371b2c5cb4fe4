//! Who has UDP 500 and 4500, from `/proc/net/udp` and the descriptors of all processes (proc(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::doctor::facts::Listener;

/// The ports of IKE and of NAT traversal.
const PORTS: [u16; 2] = [500, 4500];
/// Programs whose sockets on these ports are ours.
const OWN: &str = "cgwd";

/// Every UDP socket on one of IKE's ports; `daemon` is the process that has them rightly.
pub(super) fn listeners(daemon: Option<i32>) -> Vec<Listener> {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let found: Vec<(SocketAddr, u64)> = tables
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(entry).collect::<Vec<_>>())
        .filter(|(local, _)| PORTS.contains(&local.port()))
        .collect();
    if found.is_empty() {
        return Vec::new();
    }
    let inodes: Vec<u64> = found.iter().map(|(_, inode)| *inode).collect();
    let owners = owners(&inodes);
    found
        .into_iter()
        .map(|(local, inode)| {
            let owner = owners.iter().find(|(known, ..)| *known == inode);
            let program = owner.map(|(_, pid, name)| format!("{name} (process {pid})"));
            let ours = match owner {
                Some((_, pid, name)) => Some(*pid) == daemon || name == OWN,
                // Without root other users' descriptors cannot be seen; a running daemon is the likely owner.
                None => daemon.is_some(),
            };
            Listener { local, program, ours }
        })
        .collect()
}

/// Local address and inode of a line of `/proc/net/udp`.
fn entry(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let inode = fields.nth(7)?.parse().ok()?;
    Some((SocketAddr::new(self::address(address)?, port), inode))
}

/// Words of 32 bits, each as the machine has it in memory.
fn address(hex: &str) -> Option<IpAddr> {
    let mut octets = Vec::with_capacity(16);
    for at in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        octets.extend(word.to_ne_bytes());
    }
    if let Ok(v4) = <[u8; 4]>::try_from(octets.as_slice()) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(octets.as_slice()).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// The processes that hold these sockets: inode, process, program.
fn owners(inodes: &[u64]) -> Vec<(u64, i32, String)> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(target) = std::fs::read_link(descriptor.path()) else { continue };
            let Some(inode) = target.to_str().and_then(socket_inode).filter(|inode| inodes.contains(inode))
            else {
                continue;
            };
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push((inode, pid, name.trim_end().to_owned()));
        }
    }
    found
}

fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "  12: 00000000:01F4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0 0";
        assert_eq!(entry(line), Some(("0.0.0.0:500".parse().unwrap(), 4242)));
        if cfg!(target_endian = "little") {
            let line =
                "  1: 010200C0:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 7 2 0 0";
            assert_eq!(entry(line), Some(("192.0.2.1:4500".parse().unwrap(), 7)));
        }
        assert_eq!(socket_inode("socket:[4242]"), Some(4242));
        assert_eq!(socket_inode("/dev/null"), None);
    }

    #[test]
    fn a_socket_of_this_process_is_found_with_its_program() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        let text = std::fs::read_to_string("/proc/self/net/udp").unwrap();
        let (_, inode) = text.lines().skip(1).filter_map(entry).find(|(found, _)| *found == local).unwrap();
        let owners = owners(&[inode]);
        assert!(owners.iter().any(|(_, pid, _)| *pid == std::process::id() as i32), "{owners:?}");
    }
}

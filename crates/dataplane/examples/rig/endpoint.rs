//! One tunnel, from `key=value` arguments; then commands, one a line, each answered by one line.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dataplane::{Child, Event, OffloadSwitches, ProbeAddresses, Tunnel, TunnelConfig};
use model::{
    Encapsulation, EspIntegrity, EspKeys, EspSuite, EspTransform, KeyBits, Secret, Spi, TrafficSelector,
};

type Failure = Box<dyn Error>;

struct Endpoint {
    tunnel: Tunnel,
    side: u8,
    suite: EspSuite,
    encapsulation: Encapsulation,
    local: SocketAddr,
    remote: SocketAddr,
    probe: Option<ProbeAddresses>,
}

pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let options: BTreeMap<&str, &str> = arguments.iter().filter_map(|word| word.split_once('=')).collect();
    let get = |key: &str, default: &'static str| options.get(key).copied().unwrap_or(default);
    let (local, remote): (SocketAddr, SocketAddr) = (get("local", "").parse()?, get("remote", "").parse()?);
    let encapsulation = if get("encap", "udp") == "esp" { Encapsulation::Esp } else { Encapsulation::Udp };
    let suite = suite(get("suite", "gcm256"), get("esn", "0") == "1")?;
    let path_mtu: u16 = get("path-mtu", "1500").parse()?;
    let mtu = match options.get("mtu") {
        Some(text) => text.parse()?,
        None => esp::inner_mtu(path_mtu, local.is_ipv6(), encapsulation, suite.transform),
    };
    let probe = probe(get("probe", ""))?;
    let off = get("off", "");
    let config = TunnelConfig {
        name: get("name", "rig").to_owned(),
        interface: get("interface", "cgw0").to_owned(),
        mtu,
        inside: get("inside", "")
            .split(',')
            .filter(|s| !s.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()?,
        probe,
        local,
        remote,
        clear_df: get("clear-df", "0") == "1",
        clamp_mss: get("clamp", "1") == "1",
        replay_window: 1024,
        path_mtu,
        offload: OffloadSwitches {
            tun: !off.contains("tun"),
            udp_gso: !off.contains("gso"),
            udp_gro: !off.contains("gro"),
        },
    };
    let hang = get("hang", "0") == "1";
    let events = move |event| {
        let probe = matches!(event, Event::ProbeReply { .. });
        print_event(event);
        // The fault of `hang=1`: the receive worker never comes back from its first probe.
        if hang && probe {
            loop {
                std::thread::park();
            }
        }
    };
    let tunnel = Tunnel::start(config, Arc::new(events))?;
    let side = u8::from(get("side", "a") == "b");
    let endpoint = Endpoint { tunnel, side, suite, encapsulation, local, remote, probe };
    say("ready");
    for line in std::io::stdin().lock().lines() {
        match endpoint.command(line?.trim()) {
            Ok(answer) => say(&answer),
            Err(error) => say(&format!("error {error}")),
        }
    }
    Ok(())
}

/// Events and answers come from several threads; a line is written in one piece.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn print_event(event: Event) {
    match event {
        Event::Ike { remote, datagram, .. } => say(&format!("event ike {remote} {}", datagram.len())),
        Event::EspReceived { spi_in } => say(&format!("event esp {spi_in}")),
        Event::ProbeReply { sequence, payload, .. } => {
            say(&format!("event probe {sequence} {}", payload.len()));
        }
        Event::SequenceNearlyExhausted { spi_in } => say(&format!("event exhausted {spi_in}")),
        Event::PathMtu { mtu } => say(&format!("event path-mtu {mtu}")),
        Event::Failed { text } => say(&format!("event failed {text}")),
    }
}

impl Endpoint {
    fn command(&self, line: &str) -> Result<String, Failure> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["install", number] => self.install(number.parse()?, false)?,
            ["install", number, "active"] => self.install(number.parse()?, true)?,
            ["activate", number] => self.tunnel.activate(number.parse()?),
            ["retire", number] => self.tunnel.retire(number.parse()?),
            ["path", number, remote] => {
                self.tunnel.set_path(number.parse()?, self.local, remote.parse()?, self.encapsulation)?;
            }
            ["mtu", mtu] => self.tunnel.set_mtu(mtu.parse()?)?,
            ["probe", sequence] => {
                let probe = self.probe.as_ref().ok_or("no probe addresses")?;
                self.tunnel.inject(&echo_request(probe, sequence.parse()?)?)?;
            }
            ["deliver", hex, from] => self.tunnel.deliver(&unhex(hex)?, from.parse()?),
            ["alive"] => return Ok(self.tunnel.workers_answered().to_string()),
            ["stats"] => return Ok(format!("{:?}", self.tunnel.stats())),
            _ => return Err(format!("no such command: {line}").into()),
        }
        Ok("ok".to_owned())
    }

    fn install(&self, number: u64, activate_outbound: bool) -> Result<(), Failure> {
        let keys = |side: u8| {
            let byte = (number as u8).wrapping_mul(2).wrapping_add(side);
            let transform = self.suite.transform;
            EspKeys {
                encryption: Secret::new(vec![byte; transform.encryption_key_len()]),
                integrity: Secret::new(vec![byte ^ 0x55; transform.integrity_key_len()]),
            }
        };
        let spi =
            |side: u8| Spi::new(0x1000 + number as u32 * 2 + u32::from(side)).ok_or("no SPI for that number");
        let peer = 1 - self.side;
        let any = vec![TrafficSelector::any_v4(), TrafficSelector::any_v6()];
        self.tunnel.install(Child {
            id: number,
            spi_in: spi(self.side)?,
            spi_out: spi(peer)?,
            suite: self.suite,
            keys_in: keys(self.side),
            keys_out: keys(peer),
            ts_local: any.clone(),
            ts_remote: any,
            local: self.local,
            remote: self.remote,
            encapsulation: self.encapsulation,
            activate_outbound,
        })?;
        Ok(())
    }
}

fn suite(name: &str, esn: bool) -> Result<EspSuite, Failure> {
    let transform = match name {
        "gcm128" => EspTransform::AesGcm16(KeyBits::B128),
        "gcm256" => EspTransform::AesGcm16(KeyBits::B256),
        "cbc128-sha1" => EspTransform::AesCbc(KeyBits::B128, EspIntegrity::HmacSha1_96),
        "cbc128-sha256" => EspTransform::AesCbc(KeyBits::B128, EspIntegrity::HmacSha2_256_128),
        "cbc256-sha512" => EspTransform::AesCbc(KeyBits::B256, EspIntegrity::HmacSha2_512_256),
        _ => return Err(format!("no such suite: {name}").into()),
    };
    Ok(EspSuite { transform, esn })
}

fn probe(text: &str) -> Result<Option<ProbeAddresses>, Failure> {
    let Some((local, remote)) = text.split_once(',') else { return Ok(None) };
    Ok(Some(ProbeAddresses { local: local.parse()?, remote: remote.parse()?, identifier: 0xc6d }))
}

/// An ICMP echo request with eight octets of payload, over IPv4 or IPv6.
fn echo_request(probe: &ProbeAddresses, sequence: u16) -> Result<Vec<u8>, Failure> {
    let (kind, protocol) = if probe.local.is_ipv4() { (8, 1) } else { (128, 58) };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(probe.identifier.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend([0xa5; 8]);
    let mut covered = Vec::new();
    if let (IpAddr::V6(local), IpAddr::V6(remote)) = (probe.local, probe.remote) {
        covered.extend(local.octets());
        covered.extend(remote.octets());
        covered.extend([0, 0, 0, message.len() as u8, 0, 0, 0, protocol]);
    }
    covered.extend(&message);
    message[2..4].copy_from_slice(&esp::checksum::Sum::of(&covered).checksum());
    let header = esp::outer::Header {
        source: probe.local,
        destination: probe.remote,
        protocol,
        traffic_class: 0,
        hop_limit: 64,
        identification: sequence,
        dont_fragment: true,
    };
    let mut packet = vec![0; header.len()];
    header.write(message.len(), &mut packet).ok_or("addresses of different families")?;
    packet.extend(message);
    Ok(packet)
}

fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    text.as_bytes().chunks(2).map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

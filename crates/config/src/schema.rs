//! Every table and key of the file: one list for the decoder, the nearest-key search and the manual.
//!
//! The decoder may only ask for keys that stand here, so the reference in `docs/configuration.md`, which is
//! written from this list, cannot miss one.

use std::fmt::Write as _;

/// One key.
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What may stand there.
    pub kind: &'static str,
    /// What holds when it is missing; `required` when it must not be.
    pub default: &'static str,
    /// One or two sentences.
    pub text: &'static str,
    /// A value as it may be written.
    pub example: &'static str,
}

/// One table.
pub struct Table {
    /// Its header, such as `[[connection.tunnel]]`; empty for the top of the file.
    pub header: &'static str,
    /// One or two sentences.
    pub text: &'static str,
    /// Its keys in the order of the manual.
    pub keys: &'static [Key],
}

/// What a required key has for a default.
pub const REQUIRED: &str = "required";

const fn key(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    example: &'static str,
    text: &'static str,
) -> Key {
    Key { name, kind, default, text, example }
}

/// The top of the file: tables only.
pub static ROOT: Table = Table {
    header: "",
    text: "",
    keys: &[
        key("connection", "tables", REQUIRED, "", "One per AWS Site-to-Site VPN connection."),
        key("control", "table", "", "", "The control socket."),
        key("hook", "tables", "", "", "Programs that run when something changes."),
        key("host", "table", "", "", "What may be changed on this machine."),
        key("log", "table", "", "", "How much is logged."),
        key("metrics", "table", "", "", "OpenMetrics over TCP."),
        key("routes", "table", "", "", "Where routes go."),
        key("web", "table", "", "", "The status page."),
    ],
};

/// `[[connection]]`
pub static CONNECTION: Table = Table {
    header: "[[connection]]",
    text: "One AWS Site-to-Site VPN connection. It usually has two tunnels, and both belong in the file.",
    keys: &[
        key(
            "id",
            "string",
            REQUIRED,
            "\"vpn-0a1b2c3d4e5f60718\"",
            "AWS's identifier of the connection, or any other name; letters, digits, `.`, `_` and `-`.",
        ),
        key(
            "routing",
            "`\"static\"` or `\"bgp\"`",
            REQUIRED,
            "\"bgp\"",
            "How prefixes behind AWS are known: written down in `vpc`, or learned from AWS. It must be what the connection is at AWS.",
        ),
        key(
            "lan",
            "list of prefixes",
            "`[]`",
            "[\"10.10.0.0/16\"]",
            "Networks on our side. BGP announces them. A static connection needs the same prefixes as static routes at AWS.",
        ),
        key(
            "vpc",
            "list of prefixes",
            "required for `static`",
            "[\"10.0.0.0/16\"]",
            "Networks behind AWS. A static connection routes them into the tunnels; BGP takes only announcements inside them, or every one when `vpc` is missing.",
        ),
        key(
            "allow_default_route",
            "boolean",
            "`false`",
            "false",
            "Whether `0.0.0.0/0` and `::/0` may be routed into the tunnels. Without it they are an error in `vpc`, and BGP never takes them.",
        ),
        key(
            "peer",
            "`\"aws\"` or `\"other\"`",
            "`\"aws\"`",
            "\"aws\"",
            "`\"other\"` lifts the limits that only AWS sets (key grammar, lifetimes, timeouts, inside addresses), for a laboratory or another IKEv2 gateway.",
        ),
        key("bgp", "table", "required for `bgp`", "", "eBGP over the inside addresses."),
        key("tunnel", "tables", REQUIRED, "", "The tunnels."),
    ],
};

/// `[connection.bgp]`
pub static BGP: Table = Table {
    header: "[connection.bgp]",
    text: "eBGP with AWS over the inside addresses of each tunnel; only with `routing = \"bgp\"`.",
    keys: &[
        key(
            "local_asn",
            "number",
            REQUIRED,
            "65000",
            "Our AS number, as the customer gateway has it at AWS.",
        ),
        key("remote_asn", "number", REQUIRED, "64512", "AWS's AS number; it must differ from ours."),
        key(
            "hold_time",
            "duration",
            "`30`",
            "30",
            "Hold time we propose, 3 seconds to 18 hours; keepalives are sent at a third of what both sides agree on.",
        ),
        key(
            "mode",
            "`\"internal\"` or `\"external\"`",
            "`\"internal\"`",
            "\"internal\"",
            "`\"external\"` leaves BGP to FRR, BIRD or another daemon on the tunnel interfaces; we set no routes then.",
        ),
        key(
            "advertise",
            "list of prefixes",
            "`lan`",
            "[\"10.10.0.0/16\"]",
            "What we announce, when it is not simply `lan`.",
        ),
        key(
            "multipath",
            "boolean",
            "`false`",
            "false",
            "Share the traffic among equal tunnels (ECMP). Only for a transit gateway with VPN ECMP support on; anything else sends back on one tunnel.",
        ),
        key(
            "max_advertised",
            "number",
            "`100`",
            "100",
            "Prefixes we announce at most. AWS closes the session above 100 on a virtual private gateway and above 1,000 on a transit gateway.",
        ),
        key(
            "max_accepted",
            "number",
            "`10000`",
            "10000",
            "Prefixes we take at most, used or not. AWS sends up to 1,000 from a virtual private gateway and 5,000 from a transit gateway, and may echo our own.",
        ),
    ],
};

/// `[[connection.tunnel]]`
pub static TUNNEL: Table = Table {
    header: "[[connection.tunnel]]",
    text: "One tunnel to one AWS endpoint. It authenticates by a pre-shared key (exactly one of `psk`, `psk_file` and `psk_credential`) or by certificates (`certificate`, `private_key` or `private_key_credential`, and `ca`).",
    keys: &[
        key(
            "name",
            "string",
            "`\"tunnel1\"`, `\"tunnel2\"`, … by position",
            "\"tunnel1\"",
            "What commands, status and logs call it; unique in its connection.",
        ),
        key("outside", "address", REQUIRED, "\"198.51.100.1\"", "AWS's outside address of this tunnel."),
        key(
            "customer_gateway",
            "address",
            REQUIRED,
            "\"192.0.2.1\"",
            "Our outside address as AWS knows it (the customer gateway's). Behind NAT this is the NAT's public address, not ours. With `certificate` it may be missing, as it may at AWS.",
        ),
        key(
            "inside",
            "host address with `/30`",
            "required for `bgp`, unless `inside_ipv6` is there",
            "\"169.254.10.2/30\"",
            "Our inside IPv4 address. AWS has the first usable address of the same /30, we have the second. A static connection runs without, but its tunnels cannot be probed.",
        ),
        key(
            "inside_ipv6",
            "host address with `/126`",
            "none",
            "\"fd00:10::2/126\"",
            "Our inside IPv6 address, for a connection that carries IPv6.",
        ),
        key(
            "psk",
            "string",
            "one of three",
            "\"lab_Psk.Tunnel1\"",
            "The pre-shared key itself. The file must then be readable by its owner only (mode 0600).",
        ),
        key(
            "psk_file",
            "path",
            "one of three",
            "\"/etc/cgwd/tunnel1.psk\"",
            "A file with the pre-shared key on one line.",
        ),
        key(
            "psk_credential",
            "string",
            "one of three",
            "\"tunnel1.psk\"",
            "A systemd credential with the pre-shared key (`LoadCredential=` or `LoadCredentialEncrypted=` in the unit).",
        ),
        key(
            "certificate",
            "path",
            "none",
            "\"/etc/cgwd/gateway.pem\"",
            "Our certificate (PEM or DER), for a connection with AWS Private CA: ours first, then the intermediates up to the root, which may be left out. RSA with 2048 to 4096 bits, P-256 or P-384.",
        ),
        key(
            "private_key",
            "path",
            "required with `certificate`",
            "\"/etc/cgwd/gateway.key\"",
            "The private key of `certificate` (PKCS #8, PKCS #1 or SEC 1, not encrypted), readable by its owner only (mode 0600).",
        ),
        key(
            "private_key_credential",
            "string",
            "instead of `private_key`",
            "\"gateway.key\"",
            "A systemd credential with the private key (`LoadCredential=` or `LoadCredentialEncrypted=` in the unit).",
        ),
        key(
            "ca",
            "path",
            "required with `certificate`",
            "\"/etc/cgwd/ca.pem\"",
            "The CAs that AWS's certificate may lead to (PEM or DER); normally the root above your private CA.",
        ),
        key(
            "crl",
            "list of paths",
            "`[]`",
            "[\"/etc/cgwd/ca.crl\"]",
            "Revocation lists (PEM or DER). With any of them, one must speak about the peer's certificate. They are read at the start and on reload, and never fetched.",
        ),
        key(
            "rsa_padding",
            "`\"pkcs1\"` or `\"pss\"`",
            "`\"pkcs1\"`",
            "\"pkcs1\"",
            "How an RSA key of ours signs; both are accepted from the peer. Every peer with RFC 7427 knows `\"pkcs1\"`.",
        ),
        key(
            "ppk_id",
            "string",
            "none",
            "\"office-2026\"",
            "Name of a post-quantum pre-shared key (RFC 8784) that is mixed into the keys, beside either way to authenticate; the same on both sides. AWS has none today.",
        ),
        key(
            "ppk_file",
            "path",
            "none",
            "\"/etc/cgwd/office.ppk\"",
            "File with the PPK on one line: `0x` and hexadecimal digits, or text that is taken as it stands. 16 octets at least; 32 random ones are asked for (`openssl rand -hex 32`).",
        ),
        key(
            "ppk_credential",
            "string",
            "none",
            "\"office.ppk\"",
            "systemd credential with the PPK, instead of `ppk_file`.",
        ),
        key("ppk", "string", "none", "", "The PPK itself, instead of `ppk_file`."),
        key(
            "ppk_required",
            "boolean",
            "`true`",
            "true",
            "Whether the tunnel may not come up without the PPK. `false` is for the time in which the peers get theirs one by one: who can break the key exchange while it runs can then talk both sides out of it.",
        ),
        key(
            "bind",
            "address",
            "`customer_gateway` when this machine has it, else by the route to `outside`",
            "\"10.0.0.5\"",
            "Local address to send from, on a machine that has several.",
        ),
        key(
            "interface",
            "string",
            "`\"cgw0\"`, `\"cgw1\"`, … by position in the file",
            "\"cgw0\"",
            "Name of the tunnel's network interface; at most 15 characters, unique.",
        ),
        key(
            "local_id",
            "address or name",
            "`customer_gateway`; with `certificate` its subject",
            "\"192.0.2.1\"",
            "How we call ourselves in IKE. AWS expects the customer gateway's address, or with `certificate` its subject.",
        ),
        key(
            "remote_id",
            "address or name",
            "`outside`; with `certificate` the subject that AWS gives its endpoint",
            "\"198.51.100.1\"",
            "What the peer calls itself in IKE: an address, a host name, user@host, or with `certificate` a distinguished name such as `\"C=US, O=Example, CN=gw\"`.",
        ),
        key(
            "startup",
            "`\"initiate\"` or `\"respond\"`",
            "`\"initiate\"`",
            "\"initiate\"",
            "Who starts. `\"respond\"` waits for AWS, which starts only with startup action *start* in its tunnel options.",
        ),
        key(
            "encapsulation",
            "`\"udp\"` or `\"auto\"`",
            "`\"udp\"`",
            "\"udp\"",
            "`\"udp\"` always carries ESP in UDP port 4500, which passes wherever IKE does. `\"auto\"` takes IP protocol 50 where no NAT is found; it must pass every firewall on the way.",
        ),
        key(
            "local_preference",
            "number",
            "`100`",
            "100",
            "The tunnel with the higher one carries what we send (rule 6 of the egress). Unequal values defeat AWS's steering during maintenance.",
        ),
        key(
            "bgp_med",
            "number",
            "none",
            "100",
            "MULTI_EXIT_DISC announced to AWS, which prefers the lower. Give both tunnels the same, or none.",
        ),
        key(
            "bgp_prepend",
            "number",
            "`0`",
            "0",
            "How often our AS number is repeated in what we announce, at most 10. AWS advises against it.",
        ),
        key(
            "path_mtu",
            "number",
            "`1500`",
            "1500",
            "Largest packet that the way to AWS takes, 576 to 1500 octets; 1492 on PPPoE. The tunnel's own MTU is computed from it.",
        ),
        key(
            "clear_df",
            "boolean",
            "`true`",
            "true",
            "Ignore Don't Fragment on inner IPv4 packets that are too big, and fragment them before encryption, as AWS recommends. `false` answers with ICMP *fragmentation needed*.",
        ),
        key(
            "clamp_mss",
            "boolean",
            "`true`",
            "true",
            "Lower the MSS of TCP handshakes to what fits the tunnel, in both directions.",
        ),
        key(
            "local_cidr",
            "list of prefixes",
            "any",
            "[\"10.10.0.0/16\"]",
            "Our traffic selectors, when *Local network CIDR* of the connection at AWS is not `0.0.0.0/0`.",
        ),
        key(
            "remote_cidr",
            "list of prefixes",
            "any",
            "[\"10.0.0.0/16\"]",
            "AWS's traffic selectors, when *Remote network CIDR* of the connection at AWS is not `0.0.0.0/0`.",
        ),
        key(
            "dpd_timeout",
            "duration",
            "`40`",
            "40",
            "Silence after which IKE takes the peer for dead; at least 30 seconds at AWS. Failover does not wait for it: see `probe`.",
        ),
        key(
            "rekey_margin",
            "duration",
            "`270`",
            "270",
            "AWS's *rekey margin time*: it rekeys that close to the end of a lifetime. We do it before.",
        ),
        key("ike", "table", "", "", "Phase 1."),
        key("esp", "table", "", "", "Phase 2."),
        key("probe", "table", "", "", "Probes through the tunnel."),
        key("offload", "table", "", "", "Kernel offloads."),
    ],
};

const ENCRYPTION_KIND: &str = "list of `\"AES256-GCM-16\"`, `\"AES128-GCM-16\"`, `\"AES256\"`, `\"AES128\"`";
const INTEGRITY_KIND: &str = "list of `\"SHA2-384\"`, `\"SHA2-512\"`, `\"SHA2-256\"`, `\"SHA1\"`";

/// `[connection.tunnel.ike]`
pub static IKE: Table = Table {
    header: "[connection.tunnel.ike]",
    text: "Phase 1: what is offered for the IKE SA. AWS takes the lowest value that it finds in our offer, whatever the order, so list only what you want to be used.",
    keys: &[
        key(
            "encryption",
            ENCRYPTION_KIND,
            "`[\"AES256-GCM-16\"]`",
            "[\"AES256-GCM-16\"]",
            "Ciphers, in AWS's spelling.",
        ),
        key(
            "integrity",
            INTEGRITY_KIND,
            "`[\"SHA2-384\"]`",
            "[\"SHA2-384\"]",
            "Hashes: the pseudo-random function, and the integrity check beside a CBC cipher.",
        ),
        key(
            "dh_groups",
            "list of 20, 21, 19, 18, 17, 16, 15, 14, 2",
            "`[20, 19, 14]`",
            "[20]",
            "Diffie-Hellman groups by number.",
        ),
        key(
            "lifetime",
            "duration",
            "`28800`",
            "28800",
            "AWS's *phase 1 lifetime*, 900 to 28,800 seconds. We rekey at 60 to 75 % of it.",
        ),
        key(
            "additional_key_exchanges",
            "list of `\"ML-KEM-768\"`, `\"ML-KEM-1024\"`, `\"ML-KEM-512\"`, `\"none\"`",
            "none",
            "[\"ML-KEM-768\", \"none\"]",
            "Key exchanges after the first, against quantum computers (RFC 9370); all of them are done, in this order. With `\"none\"` at the end a peer without is taken too. AWS has none today.",
        ),
        key(
            "fragment_size",
            "number",
            "`1280`",
            "1280",
            "Largest packet, 576 to 1500 octets, that carries a part of an IKE message, to a peer that takes fragments (RFC 7383). What goes unanswered is cut to 576 octets.",
        ),
    ],
};

/// `[connection.tunnel.esp]`
pub static ESP: Table = Table {
    header: "[connection.tunnel.esp]",
    text: "Phase 2: what is offered for the child SA that carries the packets.",
    keys: &[
        key(
            "encryption",
            ENCRYPTION_KIND,
            "`[\"AES256-GCM-16\"]`",
            "[\"AES256-GCM-16\"]",
            "Ciphers, in AWS's spelling.",
        ),
        key(
            "integrity",
            INTEGRITY_KIND,
            "`[\"SHA2-384\"]`",
            "[\"SHA2-384\"]",
            "Hashes; used beside a CBC cipher only.",
        ),
        key(
            "dh_groups",
            "list of 20, 21, 19, 18, 17, 16, 15, 14, 5, 2",
            "`[20, 19, 14]`",
            "[20]",
            "Groups for perfect forward secrecy, which AWS always wants.",
        ),
        key(
            "additional_key_exchanges",
            "list of `\"ML-KEM-768\"`, `\"ML-KEM-1024\"`, `\"ML-KEM-512\"`, `\"none\"`",
            "none",
            "[\"ML-KEM-768\", \"none\"]",
            "Key exchanges after the first when a child SA is created or rekeyed, as in phase 1. AWS has none today.",
        ),
        key(
            "lifetime",
            "duration",
            "`3600`",
            "3600",
            "AWS's *phase 2 lifetime*, 900 to 3,600 seconds and below phase 1's. We rekey at 60 to 75 % of it.",
        ),
        key(
            "esn",
            "`\"no\"`, `\"yes\"` or `\"both\"`",
            "`\"no\"`",
            "\"no\"",
            "Extended (64-bit) sequence numbers. AWS does not document them.",
        ),
        key("replay_window", "number", "`1024`", "1024", "Anti-replay window, 64 to 2,048 packets."),
    ],
};

/// `[connection.tunnel.probe]`
pub static PROBE: Table = Table {
    header: "[connection.tunnel.probe]",
    text: "Echo requests to AWS's inside address through the tunnel: they keep an idle tunnel up and find a dead one in seconds.",
    keys: &[
        key("interval", "duration", "`1`", "\"500ms\"", "Time between two probes, 100 ms to 60 seconds."),
        key("loss", "number", "`3`", "3", "Probes lost in a row before traffic leaves the tunnel, 1 to 100."),
    ],
};

/// `[connection.tunnel.offload]`
pub static OFFLOAD: Table = Table {
    header: "[connection.tunnel.offload]",
    text: "Kernel offloads. What the kernel lacks is found out at start; these switch off what it has.",
    keys: &[
        key("tun", "boolean", "`true`", "true", "Super-packets from and to the tunnel interface."),
        key("udp_send", "boolean", "`true`", "true", "Many datagrams per send (UDP_SEGMENT)."),
        key("udp_receive", "boolean", "`true`", "true", "Many datagrams per receive (UDP_GRO)."),
    ],
};

/// `[control]`
pub static CONTROL: Table = Table {
    header: "[control]",
    text: "The control socket, which every command of `cgwd` talks to.",
    keys: &[key(
        "socket",
        "path",
        "`\"/run/cgwd/control.sock\"`",
        "\"/run/cgwd/control.sock\"",
        "Path of the Unix socket.",
    )],
};

/// `[metrics]`
pub static METRICS: Table = Table {
    header: "[metrics]",
    text: "OpenMetrics. They are always on the control socket at `/metrics`; this adds a TCP port.",
    keys: &[key(
        "listen",
        "address and port",
        "none",
        "\"127.0.0.1:9797\"",
        "Where to listen. There is no authentication: keep it on loopback or a management network.",
    )],
};

/// `[web]`
pub static WEB: Table = Table {
    header: "[web]",
    text: "A read-only status page for a browser, with what `cgwd status --watch` shows. From elsewhere: `ssh -L 8470:127.0.0.1:8470 GATEWAY`, then http://localhost:8470/.",
    keys: &[
        key(
            "listen",
            "address and port",
            "none",
            "\"127.0.0.1:8470\"",
            "Where to listen. There is no authentication: everybody on this machine can read the page.",
        ),
        key(
            "allow_remote",
            "boolean",
            "`false`",
            "false",
            "Whether `listen` may be another address than loopback: then everybody who can reach it reads the page.",
        ),
    ],
};

/// `[routes]`
pub static ROUTES: Table = Table {
    header: "[routes]",
    text: "Where routes into the tunnels go. They carry protocol number 173, and no other route is ever touched.",
    keys: &[
        key(
            "table",
            "number or `\"main\"`",
            "`\"main\"`",
            "\"main\"",
            "Routing table; another than `\"main\"` when you route by policy.",
        ),
        key("metric", "number", "`100`", "100", "Metric of our routes; a lower one wins."),
        key(
            "rule_priority",
            "number, 1 to 32765",
            "none",
            "1000",
            "Makes policy rules of this priority that send packets to `table`, for the families that the tunnels carry. Needs a `table` other than `\"main\"`.",
        ),
        key(
            "rule_from",
            "list of prefixes",
            "every packet",
            "[\"10.10.0.0/16\"]",
            "Sources for which the rules hold.",
        ),
        key(
            "when_down",
            "`\"withdraw\"` or `\"unreachable\"`",
            "`\"withdraw\"`",
            "\"withdraw\"",
            "While no tunnel carries a prefix: our route goes, so that backup routes take over and LAN routers hear of it, or senders are told *unreachable*, so that nothing leaves by the default route in the clear. Holds for the prefixes in `vpc`.",
        ),
    ],
};

/// `[host]`
pub static HOST: Table = Table {
    header: "[host]",
    text: "What may be changed on this machine.",
    keys: &[key(
        "ip_forward",
        "`\"enable\"` or `\"report\"`",
        "`\"enable\"`",
        "\"enable\"",
        "Forwarding between interfaces: switched on at start and put back on exit, or only reported when it is off.",
    )],
};

/// `[[hook]]`
pub static HOOK: Table = Table {
    header: "[[hook]]",
    text: "A program of yours that runs when something changes: never a shell, one at a time, in order. It learns what happened from environment variables, its output goes to the log, and the daemon never waits for it.",
    keys: &[
        key(
            "on",
            "list of `\"tunnel-up\"`, `\"tunnel-down\"`, `\"egress\"`, `\"redundancy\"`, `\"route\"`",
            REQUIRED,
            "[\"tunnel-up\", \"tunnel-down\"]",
            "What it is told of.",
        ),
        key(
            "run",
            "list of strings",
            REQUIRED,
            "[\"/usr/local/sbin/tell-the-noc\", \"--quiet\"]",
            "The program, with its absolute path, and its arguments.",
        ),
        key("timeout", "duration", "`10`", "\"10s\"", "It is killed, with all it started, after this time."),
    ],
};

/// `[log]`
pub static LOG: Table = Table {
    header: "[log]",
    text: "How much is logged.",
    keys: &[key(
        "level",
        "`\"error\"`, `\"warn\"`, `\"info\"`, `\"debug\"` or `\"trace\"`",
        "`\"info\"`",
        "\"info\"",
        "Least severe message that is written.",
    )],
};

/// Every table in the order of the manual.
pub static TABLES: [&Table; 14] = [
    &CONNECTION,
    &TUNNEL,
    &IKE,
    &ESP,
    &PROBE,
    &OFFLOAD,
    &BGP,
    &ROUTES,
    &HOST,
    &HOOK,
    &CONTROL,
    &METRICS,
    &WEB,
    &LOG,
];

/// The reference part of `docs/configuration.md`, in Markdown.
pub fn reference() -> String {
    let mut out = String::new();
    for table in TABLES {
        let _ = writeln!(out, "## `{}`\n\n{}\n", table.header, table.text);
        out.push_str("| key | value | default | example | |\n|---|---|---|---|---|\n");
        for key in table.keys {
            let example = if key.example.is_empty() { String::new() } else { format!("`{}`", key.example) };
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {example} | {} |",
                key.name, key.kind, key.default, key.text
            );
        }
        out.push('\n');
    }
    out
}

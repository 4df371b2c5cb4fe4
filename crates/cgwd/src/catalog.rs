//! Every code that `last_error` and the events can carry, with its cause, its remedy and AWS's log line.
//!
//! It holds text; it never decides which code applies (`tunnel::failure` does). `docs/errors.md` is printed from
//! this table and a test keeps the two equal, so a code that a user meets can always be looked up. The causes
//! follow AWS's troubleshooting pages (IKE, IPsec, tunnel, BGP, in this order); notifies go by their names in
//! RFC 7296 §3.10.1.

use std::fmt::Write as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something works, but not as it should.
    Warning,
    /// Something happened.
    Info,
}

impl Severity {
    /// The word used in documents and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What is known about a code.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The stable name.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub title: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// What to do; empty when there is nothing to do.
    pub remedy: &'static str,
    /// The line to look for in the AWS tunnel activity log.
    pub aws_log: Option<&'static str>,
}

macro_rules! codes {
    ($( $(#[$doc:meta])* $variant:ident = $code:literal, $severity:ident, $title:literal, $cause:literal, $remedy:literal $(, aws $aws:literal)?; )*) => {
        /// A stable code; scripts and documents may rely on its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $( #[doc = $title] $variant, )*
        }

        impl Code {
            /// All codes, in the order of the documentation.
            pub const ALL: &[Self] = &[ $( Self::$variant, )* ];

            /// What is known about it.
            pub const fn entry(self) -> Entry {
                match self {
                    $( Self::$variant => Entry {
                        code: $code,
                        severity: Severity::$severity,
                        title: $title,
                        cause: $cause,
                        remedy: $remedy,
                        aws_log: codes!(@aws $($aws)?),
                    }, )*
                }
            }
        }
    };
    (@aws $aws:literal) => { Some($aws) };
    (@aws) => { None };
}

codes! {
    IkeNoAnswer = "IKE-NO-ANSWER", Error,
        "AWS does not answer on UDP 500",
        "Our IKE_SA_INIT was sent several times and nothing came back. A firewall or the provider drops UDP 500, the outside address is wrong, the tunnel's endpoint is being replaced, or the public address that AWS sees is not the one in the customer gateway resource.",
        "Allow UDP 500 and 4500 (and protocol 50 with --raw-esp) both ways between this host and the outside address. Compare this host's public address with the IP address of the customer gateway at AWS. The daemon keeps trying.";
    IkeAuthNoAnswer = "IKE-AUTH-NO-ANSWER", Error,
        "AWS answered on UDP 500, but not on UDP 4500",
        "IKE_SA_INIT was answered, IKE_AUTH was not. UDP 4500 is blocked on the way, or large IKE_AUTH messages are dropped as IP fragments.",
        "Allow UDP 4500 both ways between this host and the outside address. The daemon keeps trying.",
        aws "Timeout: deleting un-established Phase 1 IKE_SA";
    IkeAuthFailed = "IKE-AUTH-FAILED", Error,
        "AUTHENTICATION_FAILED: the pre-shared key or the identity is not the one AWS has",
        "The pre-shared key of this tunnel differs from AWS's (changed at AWS, cut short, a blank or a line end too many), or behind NAT our identity is not the customer gateway's public address.",
        "Download the configuration again and import it, or copy this tunnel's key without blanks around it. Behind NAT, set the local identity to the public address in the customer gateway resource.",
        aws "AWS tunnel detected a pre-shared key mismatch with cgw";
    IkeAuthPskSwapped = "IKE-AUTH-PSK-SWAPPED", Error,
        "AUTHENTICATION_FAILED: the keys of the connection's tunnels are swapped",
        "This tunnel's key is refused, and AWS accepts the key of the other tunnel here (which was tried after both tunnels failed). AWS numbers tunnels differently in different places; only the outside address tells them apart.",
        "Exchange the two keys in the configuration, or import AWS's file again: the import goes by outside address.",
        aws "AWS tunnel detected a pre-shared key mismatch with cgw";
    IkeNoProposal = "IKE-NO-PROPOSAL", Error,
        "NO_PROPOSAL_CHOSEN: no common algorithms for phase 1",
        "None of the encryption, integrity and Diffie-Hellman combinations that we offer is allowed in the phase 1 options of the tunnel at AWS.",
        "Allow one of the offered combinations in the tunnel options at AWS (phase 1 encryption algorithms, integrity algorithms, DH group numbers), or widen the algorithms of the tunnel in the configuration.",
        aws "AWS tunnel received: No Proposal Match Found by AWS";
    IkeVersion = "IKE-VERSION", Error,
        "The peer speaks IKEv1 only",
        "The tunnel options at AWS allow only ikev1. IKEv1 is obsolete (RFC 9395) and not spoken here.",
        "Allow ikev2 in the tunnel options: aws ec2 modify-vpn-tunnel-options --vpn-connection-id ID --vpn-tunnel-outside-ip-address ADDRESS --tunnel-options IKEVersions=[{Value=ikev2}].";
    IkeIdMismatch = "IKE-ID-MISMATCH", Error,
        "The peer identifies itself as somebody else",
        "The peer proved the key, but its identity is not the one configured. AWS identifies itself by the tunnel's outside address.",
        "Set the tunnel's remote identity to the identity shown, if that is the peer that you mean; or correct the outside address.";
    IkePpkMismatch = "IKE-PPK-MISMATCH", Error,
        "The two sides have no post-quantum pre-shared key (PPK) in common",
        "One side requires a PPK (RFC 8784) and the other one has none, calls it otherwise, or has another key under the same name. The text says what was seen. When AUTH itself does not verify with the PPK in it, the pre-shared key, the certificates or the identities may be at fault as well.",
        "Give both sides the same PPK, octet by octet, and the same `ppk_id`. Where the other side cannot have one (AWS today), remove the ppk keys of the tunnel, or set `ppk_required = false` until it can.";
    IkeCertRefused = "IKE-CERT-REFUSED", Error,
        "AUTHENTICATION_FAILED: the peer refuses our certificate",
        "The peer does not trust the CA of our certificate, did not get an intermediate, expects another identity, or the certificate is expired or revoked there. It does not say which.",
        "At AWS, the customer gateway must name this certificate (its ARN), and its issuer must be the private CA of the connection. Put the intermediates behind our certificate in the file that `certificate` names; leave local_id out, so that we call ourselves by the certificate's subject.";
    IkeCertExpired = "IKE-CERT-EXPIRED", Error,
        "The peer's certificate has expired",
        "The date of the peer's certificate, or of a CA above it, is over by this machine's clock. AWS renews its own by itself.",
        "Check this machine's clock (timedatectl). If it is right: at AWS, aws ec2 modify-vpn-tunnel-certificate renews the endpoint's certificate; an expired CA must be renewed and put into `ca`.";
    IkeCertNotYetValid = "IKE-CERT-NOT-YET-VALID", Error,
        "The peer's certificate is not valid yet",
        "The date from which the peer's certificate, or a CA above it, is valid lies ahead by this machine's clock; after a start without a battery-backed clock that is the usual reason.",
        "Check this machine's clock (timedatectl). The daemon keeps trying.";
    IkeCertRevoked = "IKE-CERT-REVOKED", Error,
        "The peer's certificate is revoked",
        "A revocation list in `crl` names the peer's certificate or an intermediate above it; or lists are given and none of them speaks about the peer's certificate, or the one that does is not signed as it must be.",
        "If it was revoked on purpose, give the peer a new certificate. Otherwise get the issuing CA's current list and name it in `crl`.";
    IkeCertUntrusted = "IKE-CERT-UNTRUSTED", Error,
        "The peer's certificate does not lead to a trusted CA",
        "Neither the CA that issued the peer's certificate nor one above it is in `ca`, an intermediate is missing, or a signature in the chain is wrong.",
        "Put the root CA of the connection into `ca` (aws acm-pca get-certificate-authority-certificate). An intermediate that the peer does not send may stand there too.";
    IkeCertName = "IKE-CERT-NAME", Error,
        "The peer's certificate does not say who the peer claims to be",
        "The identity in the peer's message is neither the subject of its certificate nor one of its alternative names (RFC 4945).",
        "Let the peer call itself by its certificate's subject, or issue a certificate with that name. AWS uses the subject.";
    IkeCertExtension = "IKE-CERT-EXTENSION", Error,
        "The peer's certificate has a critical extension that is not understood",
        "A certificate in the peer's chain demands by a critical extension that whoever does not know it refuses the certificate (RFC 5280 section 4.2).",
        "Issue the certificate without that extension, or with the extension not critical.";
    IkeCertWeak = "IKE-CERT-WEAK", Error,
        "The peer's certificate or signature is too weak",
        "A key in the peer's chain is smaller than RSA 2048, or of a kind that is not used for IKE; or something is signed with SHA-1 or MD5.",
        "Issue the certificate again with RSA 2048 or more, P-256 or P-384, signed with SHA-256 or better, and turn on signature authentication (RFC 7427) at the peer.";
    IkeCertInvalid = "IKE-CERT-INVALID", Error,
        "The peer's certificate proves nothing",
        "The peer sent no certificate, more than is looked at, a URL instead, one that cannot be read or is made for another use, or its signature was made by another key.",
        "Follow the text: it names what is wrong.";
    CertExpiresSoon = "CERT-EXPIRES-SOON", Warning,
        "A certificate or a revocation list ends soon",
        "Our certificate, a CA, the certificate that the peer showed, or a revocation list is near the end of its time, or past it. An established tunnel stays up; the next authentication fails when a certificate has expired.",
        "Renew what the text names, put it into place, and run cgwd reload. AWS renews its own endpoint certificates by itself.";
    IkePeerError = "IKE-PEER-ERROR", Error,
        "The peer refused with an error notify",
        "The peer answered an IKE request with an error that has no code of its own here.",
        "Look up the notify's name in RFC 7296 section 3.10.1 and look into the AWS tunnel log at the same time. The daemon keeps trying.";
    IkeProtocol = "IKE-PROTOCOL", Error,
        "The peer's message cannot be processed",
        "The peer sent an authenticated message that breaks the protocol, or one with a critical payload that is not understood (UNSUPPORTED_CRITICAL_PAYLOAD).",
        "Report it with a `cgwd bundle`; the daemon keeps trying.";
    IkeLivenessLost = "IKE-LIVENESS-LOST", Error,
        "The peer stopped answering",
        "IKE requests on an established SA were repeated and not answered: the path is cut, the endpoint is gone, or it lost its state.",
        "Nothing, when it passes: the daemon starts again with back-off for ever. When it stays, see IKE-NO-ANSWER.",
        aws "DPD timed out after 3 retransmits";
    IkeSendFailed = "IKE-SEND-FAILED", Error,
        "This host cannot send to the outside address",
        "The kernel refused to send: no route, the interface is down, or a local firewall rule rejects it.",
        "Check ip route get OUTSIDE_ADDRESS, the link, and the firewall's output rules.";
    PeerDeleted = "PEER-DELETED", Warning,
        "The peer deleted the tunnel",
        "An orderly DELETE came from AWS: maintenance, a replaced endpoint, changed tunnel options, or an idle tunnel.",
        "Nothing: traffic moves to the other tunnel and the daemon connects again. If it repeats, look into the AWS tunnel log and the connection's maintenance notices.",
        aws "AWS tunnel is sending DELETE";
    IpsecNoProposal = "IPSEC-NO-PROPOSAL", Error,
        "NO_PROPOSAL_CHOSEN: no common algorithms for phase 2",
        "None of the ESP combinations that we offer is allowed in the phase 2 options of the tunnel at AWS. A wrong PFS group often shows only at the first rekey.",
        "Allow one of the offered combinations in the tunnel options at AWS (phase 2 encryption algorithms, integrity algorithms, DH group numbers), or widen the ESP algorithms of the tunnel in the configuration.",
        aws "AWS tunnel Phase 2 was unable to establish while keeping Phase 1";
    IpsecTsUnacceptable = "IPSEC-TS-UNACCEPTABLE", Error,
        "TS_UNACCEPTABLE: no common traffic selectors",
        "The local and remote network CIDRs of the connection at AWS do not overlap with the traffic selectors of the tunnel here.",
        "Set the connection's local and remote IPv4 (IPv6) network CIDR at AWS to 0.0.0.0/0 (::/0), or the tunnel's traffic selectors to the same networks.",
        aws "AWS tunnel received: TS_UNACCEPTABLE";
    IpsecFailed = "IPSEC-FAILED", Error,
        "The child SA was refused",
        "The peer accepted the IKE SA, but refused the child SA with another error than a missing proposal or wrong traffic selectors.",
        "Look into the AWS tunnel log at the same time. The daemon keeps trying.",
        aws "AWS tunnel Phase 2 was unable to establish while keeping Phase 1";
    IpsecEspBlocked = "IPSEC-ESP-BLOCKED", Error,
        "IKE works, but no encrypted packet comes back",
        "Both SAs are up and IKE is answered, yet of the ESP packets sent none is answered: the encapsulation (protocol 50, or ESP in UDP 4500) is filtered on the way, or a NAT drops protocol 50.",
        "With protocol 50: allow it both ways, or take UDP encapsulation (without --raw-esp). With UDP: allow UDP 4500 of every size both ways; a firewall that inspects IKE may pass only IKE.";
    TunProbeLost = "TUN-PROBE-LOST", Error,
        "AWS's inside address does not answer through the tunnel",
        "Echo requests to AWS's inside address, sent once a second through the tunnel, are not answered. Either the path loses packets, or the inside addresses differ from AWS's.",
        "When it passes by itself, the path was cut: see the events. When it stays, compare the inside addresses with AWS's (inside CIDR of the tunnel: AWS takes the first host, we take the second).";
    TunDataPlane = "TUN-DATA-PLANE", Error,
        "The tunnel's data path failed on this host",
        "Reading or writing the TUN interface or the socket failed for good, or the keys could not be installed.",
        "See the text for the kernel's error; check that /dev/net/tun may be used. The daemon tries again.";
    HostNotReady = "HOST-NOT-READY", Error,
        "This host lacks something the tunnel needs",
        "The local address is not on any interface, a port is taken, or a capability is missing.",
        "Follow the text: it names what was tried and what the kernel said.";
    HostAddress = "HOST-ADDRESS", Warning,
        "The local address of a tunnel changed",
        "The address that packets to AWS leave from is another one: DHCP gave a new one, or the route changed.",
        "Nothing, when this host is behind a NAT whose public address is AWS's customer gateway address. Otherwise AWS knows another address: make a new customer gateway there, or see that this host keeps its address.";
    AddressRepaired = "HOST-INSIDE-ADDRESS", Warning,
        "An inside address was gone and was set again",
        "Somebody removed it from our interface; systemd-networkd does so when a .network file with a wide match claims the interface.",
        "Install the .network file that comes with the package and restart systemd-networkd, or find out who removes addresses.";
    RouteFailed = "ROUTE-FAILED", Error,
        "A route could not be set",
        "The kernel refused to add or to remove a route.",
        "See the text for the kernel's error. The daemon tries again.";
    RouteForeign = "ROUTE-FOREIGN", Warning,
        "Somebody else's route leads to the same prefix",
        "A route to a prefix behind AWS exists that is not ours, with a metric that is as good or better. Routes of others are never overwritten.",
        "Remove that route, or change routes.metric in the configuration, if traffic shall take the tunnel.";
    RouteRepaired = "ROUTE-REPAIRED", Warning,
        "A route of ours was gone and was set again",
        "Somebody deleted it; systemd-networkd does so with routes that it does not know (ManageForeignRoutes).",
        "Install the networkd drop-in that comes with the package, or find out who deletes routes.";
    ForwardingOff = "HOST-FORWARDING-OFF", Warning,
        "This host does not forward packets",
        "net.ipv4.ip_forward (or net.ipv6.conf.all.forwarding) is 0, and the configuration does not allow to change it: hosts on the LAN cannot reach AWS through this gateway.",
        "Set host.ip_forward = \"enable\" in the configuration, or install the sysctl.d file that comes with the package.";
    ConfigRejected = "CONFIG-REJECTED", Error,
        "A reload was refused",
        "The changed file has an error; nothing was changed.",
        "Run cgwd check and correct what it shows.";

    DaemonStarted = "DAEMON-STARTED", Info, "The daemon started", "", "";
    DaemonStopping = "DAEMON-STOPPING", Info, "The daemon stops", "", "";
    LeftoversRemoved = "HOST-LEFTOVERS", Info,
        "Routes of a daemon that was killed were removed", "The daemon before this one was not stopped in order.", "";
    ForwardingSet = "HOST-FORWARDING-SET", Info,
        "Packet forwarding was turned on; it is restored at the end", "", "";
    IkeStarted = "IKE-STARTED", Info, "A handshake began", "", "";
    IkeUp = "IKE-UP", Info, "The IKE SA is established", "", "", aws "AWS tunnel Phase 1 is established";
    IkeRekeyed = "IKE-REKEYED", Info, "The IKE SA was replaced by a fresh one", "", "";
    IkeClosed = "IKE-CLOSED", Info, "The IKE SA was closed by us", "", "";
    IpsecUp = "IPSEC-UP", Info, "The child SA is established", "", "", aws "AWS tunnel Phase 2 is established";
    IpsecRekeyed = "IPSEC-REKEYED", Info, "The child SA was replaced by a fresh one", "", "";
    TunAnswers = "TUN-ANSWERS", Info, "AWS's inside address answers through the tunnel", "", "";
    TunnelUp = "TUNNEL-UP", Info, "Traffic can pass", "", "";
    TunnelDown = "TUNNEL-DOWN", Warning, "Traffic cannot pass any more", "See the event before this one.", "";
    TunnelReset = "TUNNEL-RESET", Info, "The tunnel was reset by an operator", "", "";
    TunnelDrained = "TUNNEL-DRAINED", Info, "The tunnel was taken out of service by an operator", "", "";
    TunnelUndrained = "TUNNEL-UNDRAINED", Info, "The tunnel was put back into service by an operator", "", "";
    EgressMoved = "EGRESS-MOVED", Info, "Traffic to AWS takes another tunnel", "", "";
    EgressNone = "EGRESS-NONE", Error,
        "No tunnel can carry traffic to AWS",
        "All tunnels of the connection are down or drained.",
        "See each tunnel's last error.";
    WeakAlgorithm = "IKE-WEAK-ALGORITHM", Warning,
        "AWS chose a weak algorithm",
        "AWS takes the lowest value that both sides allow, whatever our order: SHA-1, a 1024-bit group or CBC was negotiated because our configuration allows it.",
        "Narrow the tunnel's algorithms in the configuration, or the tunnel options at AWS.";
    HookFailed = "HOOK-FAILED", Warning,
        "A hook failed",
        "A program of [[hook]] could not be started, failed, or took too long.",
        "See the text and what the program printed in the log; run it by hand with the variables of docs/configuration.md.";
    KeysExported = "KEYS-EXPORTED", Warning,
        "The keys of all tunnels are written to disk",
        "The daemon was started with --export-keys-to: whoever reads the directory can decrypt all traffic, also what was recorded before.",
        "Restart the daemon without --export-keys-to when the analysis is over, delete the directory, and rekey all tunnels (cgwd reset TUNNEL).";
    CaptureStarted = "CAPTURE-STARTED", Warning,
        "Decrypted packets are being captured",
        "Somebody with access to the control socket runs cgwd capture.",
        "Nothing, when it was you: it ends with the command.";
    CaptureEnded = "CAPTURE-ENDED", Info, "The capture of decrypted packets ended", "", "";
    ConfigReloaded = "CONFIG-RELOADED", Info, "A changed configuration was taken over", "", "";
    BgpUp = "BGP-UP", Info, "The BGP session is established", "", "";
    BgpSynchronised = "BGP-SYNCHRONISED", Info, "AWS has announced all its routes (End-of-RIB)", "", "";
    BgpNotification = "BGP-NOTIFICATION", Warning,
        "A BGP NOTIFICATION ended the session",
        "The text has its code and subcode (RFC 4271 section 4.5), what they mean, and what to do.",
        "Follow the text.";
    BgpPrefixes = "BGP-PREFIXES", Warning,
        "A limit on the number of prefixes is near, or was reached",
        "AWS ends the session with Cease 6/1 when a virtual private gateway is told more than 100 prefixes (a transit gateway more than 1,000); what is beyond our limit is therefore not announced. In the other direction our own limit counts.",
        "Aggregate the prefixes in lan or advertise, or change max_advertised or max_accepted in the configuration.";
    BgpMalformed = "BGP-MALFORMED", Warning,
        "A malformed BGP UPDATE was received",
        "Its prefixes count as withdrawn (RFC 7606); the session goes on.",
        "Report it to AWS with the text.";
    BgpDown = "BGP-DOWN", Warning,
        "The BGP session ended",
        "The text names the NOTIFICATION or the timer that ended it.",
        "Nothing, when the tunnel went down: the session returns with it. Otherwise follow the text.";
}

impl Code {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        self.entry().code
    }
}

impl Code {
    /// The journal's MESSAGE_ID: a UUID that is made from the name and stays the same for ever.
    pub fn message_id(self) -> String {
        let bytes = self.name().bytes();
        // FNV-1a of 128 bits over "cgwd:" and the name.
        let hash = b"cgwd:"
            .iter()
            .copied()
            .chain(bytes)
            .fold(FNV_OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME));
        //= RFC 9562 §5.8: version 8, and the variant.
        let hash = hash & !(0xF << 76) & !(0b11 << 62) | 8 << 76 | 0b10 << 62;
        format!("{hash:032x}")
    }
}

/// `cgwd.catalog`: what `journalctl -x` shows beside a message.
pub fn journal() -> String {
    let mut text = String::from(
        "# Printed from the table of codes in crates/cgwd/src/catalog.rs; a test keeps the two equal.\n",
    );
    for code in Code::ALL {
        let entry = code.entry();
        let _ = write!(
            text,
            "\n-- {}\nSubject: {}: {}\nDefined-By: cgwd\nDocumentation: man:cgwd(8)\n\nConnection @CGWD_CONNECTION@, tunnel @CGWD_TUNNEL@.\n",
            code.message_id(),
            entry.code,
            entry.title
        );
        for body in [entry.cause, entry.remedy].into_iter().filter(|body| !body.is_empty()) {
            let _ = write!(text, "\n{body}\n");
        }
        if let Some(line) = entry.aws_log {
            let _ = write!(text, "\nIn the AWS tunnel log: \"{line}\"\n");
        }
    }
    text
}

const FNV_OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The code with this name.
pub fn find(name: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| code.name() == name)
}

/// `docs/errors.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Codes\n\n\
         What `last_error` in `cgwd status` and the lines of `cgwd events` can carry. The names are stable.\n\
         This page is printed from `crates/cgwd/src/catalog.rs`; a test keeps the two equal.\n",
    );
    for (heading, severity) in [
        ("Errors", Severity::Error),
        ("Warnings", Severity::Warning),
        ("What happened, without anything being wrong", Severity::Info),
    ] {
        let _ = write!(text, "\n## {heading}\n");
        for entry in Code::ALL.iter().map(|code| code.entry()).filter(|entry| entry.severity == severity) {
            let _ = write!(text, "\n### {}\n\n{}.\n", entry.code, entry.title);
            for (label, body) in [("Cause", entry.cause), ("Remedy", entry.remedy)] {
                if !body.is_empty() {
                    let _ = write!(text, "\n* **{label}.** {body}\n");
                }
            }
            if let Some(line) = entry.aws_log {
                let _ = write!(text, "\n* **In the AWS tunnel log.** \"{line}\"\n");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_cause_and_a_remedy() {
        for entry in Code::ALL.iter().map(|code| code.entry()) {
            if entry.severity == Severity::Error {
                assert!(!entry.cause.is_empty(), "{} has no cause", entry.code);
                assert!(!entry.remedy.is_empty(), "{} has no remedy", entry.code);
            }
            assert!(!entry.title.ends_with('.'), "{}", entry.code);
        }
    }

    #[test]
    fn no_two_codes_share_a_name() {
        for code in Code::ALL {
            assert_eq!(find(code.name()), Some(*code));
        }
    }

    #[test]
    fn every_code_has_a_message_id_of_its_own_that_never_changes() {
        let ids: std::collections::BTreeSet<String> =
            Code::ALL.iter().map(|code| code.message_id()).collect();
        assert_eq!(ids.len(), Code::ALL.len());
        assert_eq!(Code::TunnelUp.message_id(), "453245ce489c87a3b0b741f7a737558e");
        assert!(ids.iter().all(|id| id.len() == 32 && id.as_bytes()[12] == b'8'));
    }

    #[test]
    fn the_journals_catalog_is_what_the_documentation_of_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd/catalog/cgwd.catalog");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, journal()).unwrap();
            return;
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, journal(), "run the test with UPDATE_DOCS=1 to print the catalog again");
    }

    #[test]
    fn the_documentation_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
            return;
        }
        assert_eq!(written, markdown(), "run the test with UPDATE_DOCS=1 to print docs/errors.md again");
    }
}

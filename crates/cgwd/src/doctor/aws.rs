//! Stage AWS: AWS's own description of the connection beside ours, with `--aws-json`.

use config::Startup;
use ipnet::IpNet;

use super::aws_json::{ActiveStatus, Connection, TunnelOptions, names};
use super::facts::Line;
use super::{Facts, Finding, Known, Severity, Stage, ike, ipsec};
use crate::api;

pub(super) const CODES: &[&Known] = &[
    &UNKNOWN_OUTSIDE,
    &CUSTOMER_GATEWAY,
    &IKEV1_ONLY,
    &IKE_ALGORITHMS,
    &PSK,
    &CERTIFICATE,
    &ESP_ALGORITHMS,
    &PFS,
    &SELECTORS,
    &INSIDE,
    &ROUTING_TYPE,
    &ASN,
    &ROUTE_MISSING,
    &QUOTA,
    &NOBODY_BEGINS,
    &ACCELERATED,
    &STATE,
    &TELEMETRY_DOWN,
    &TELEMETRY_UP,
    &NOTHING_ACCEPTED,
    &STARTUP_ADD,
    &LIFETIME,
    &DETACHED,
    &UNUSED,
    &ACTIVE,
    &ACTIVE_VERSION,
    &DPD,
    &REPLAY_WINDOW,
    &LOGS_OFF,
    &NOT_DESCRIBED,
];

/// Differences that explain what the daemon meets.
const EXPLAINING: [&Known; 10] = [
    &UNKNOWN_OUTSIDE,
    &CUSTOMER_GATEWAY,
    &IKEV1_ONLY,
    &IKE_ALGORITHMS,
    &PSK,
    &CERTIFICATE,
    &ESP_ALGORITHMS,
    &SELECTORS,
    &INSIDE,
    &ASN,
];

macro_rules! known {
    ($( $name:ident = $code:literal, $severity:ident, $symptoms:expr, $title:literal, $symptom:literal, $cause:literal, $remedy:literal $(, aws $aws:literal)?; )*) => {
        $( pub(super) const $name: Known = Known {
            code: $code,
            stage: Stage::Aws,
            severity: Severity::$severity,
            symptoms: &$symptoms,
            title: $title,
            symptom: $symptom,
            cause: $cause,
            remedy: $remedy,
            aws_log: known!(@aws $($aws)?),
        }; )*
    };
    (@aws $aws:literal) => { Some($aws) };
    (@aws) => { None };
}

known! {
    UNKNOWN_OUTSIDE = "AWS-OUTSIDE-DIFFERS", Error, [1],
        "AWS has no tunnel with this outside address",
        "AWS does not answer on UDP 500.",
        "The connection was made anew, or the address was mistyped.",
        "Import AWS's file again.";
    CUSTOMER_GATEWAY = "AWS-CUSTOMER-GATEWAY", Error, [1],
        "AWS expects another address of ours",
        "AWS does not answer on UDP 500, or refuses with AUTHENTICATION_FAILED.",
        "AWS answers only the IP address of the customer gateway resource, and takes it as our identity.",
        "Send from that address, or make a customer gateway with the right one: aws ec2 create-customer-gateway, then aws ec2 modify-vpn-connection --vpn-connection-id ID --customer-gateway-id cgw-…. Import again afterwards.";
    IKEV1_ONLY = "AWS-IKEV1-ONLY", Error, [8],
        "The tunnel options at AWS allow IKEv1 only",
        "The tunnel does not come up; NO_PROPOSAL_CHOSEN, INVALID_MAJOR_VERSION or silence.",
        "IKEVersions was narrowed to ikev1, which is obsolete (RFC 9395) and not spoken here.",
        "aws ec2 modify-vpn-tunnel-options --vpn-connection-id ID --vpn-tunnel-outside-ip-address ADDRESS --tunnel-options 'IKEVersions=[{Value=ikev2}]'.";
    IKE_ALGORITHMS = "AWS-IKE-ALGORITHMS", Error, [3, 4],
        "AWS allows none of our phase 1 algorithms",
        "The tunnel does not come up; NO_PROPOSAL_CHOSEN.",
        "The tunnel options at AWS and the configuration have nothing in common.",
        "Change one side: [connection.tunnel.ike] here, or AWS's, such as aws ec2 modify-vpn-tunnel-options --vpn-connection-id ID --vpn-tunnel-outside-ip-address ADDRESS --tunnel-options 'Phase1EncryptionAlgorithms=[{Value=AES256-GCM-16}],Phase1IntegrityAlgorithms=[{Value=SHA2-384}],Phase1DHGroupNumbers=[{Value=20}]'.",
        aws "AWS tunnel received: No Proposal Match Found by AWS";
    PSK = "AWS-PSK-DIFFERS", Error, [5],
        "AWS has another pre-shared key for this tunnel",
        "The tunnel does not come up; AUTHENTICATION_FAILED.",
        "The key was changed at AWS, cut short, or copied from another tunnel.",
        "Import AWS's file again, or copy this tunnel's key.",
        aws "AWS tunnel detected a pre-shared key mismatch with cgw";
    CERTIFICATE = "AWS-NO-KEY", Error, [6],
        "AWS describes no pre-shared key for this tunnel",
        "The tunnel does not come up; AUTHENTICATION_FAILED.",
        "The connection authenticates with certificates (the customer gateway has a CertificateArn), and the configuration has a pre-shared key; or the caller may not read the key.",
        "Give the tunnel `certificate`, `private_key` and `ca` instead of the key, or import again; or take a customer gateway without a certificate: aws ec2 modify-vpn-connection --vpn-connection-id ID --customer-gateway-id cgw-….";
    ESP_ALGORITHMS = "AWS-ESP-ALGORITHMS", Error, [9],
        "AWS allows none of our phase 2 algorithms",
        "IKE comes up, the tunnel does not; NO_PROPOSAL_CHOSEN.",
        "The tunnel options at AWS and the configuration have nothing in common.",
        "Change one side: [connection.tunnel.esp] here, or AWS's, such as aws ec2 modify-vpn-tunnel-options --vpn-connection-id ID --vpn-tunnel-outside-ip-address ADDRESS --tunnel-options 'Phase2EncryptionAlgorithms=[{Value=AES256-GCM-16}],Phase2IntegrityAlgorithms=[{Value=SHA2-384}],Phase2DHGroupNumbers=[{Value=20}]'.",
        aws "AWS tunnel Phase 2 was unable to establish while keeping Phase 1";
    PFS = "AWS-PFS-GROUPS", Warning, [11],
        "AWS allows none of our groups for perfect forward secrecy",
        "The tunnel comes up, and drops after about an hour, again and again.",
        "The group is used at the first rekey only; until then the tunnel works.",
        "Change one side before the hour is over: dh_groups of [connection.tunnel.esp] here, or Phase2DHGroupNumbers there.",
        aws "AWS tunnel Phase 2 was unable to establish while keeping Phase 1";
    SELECTORS = "AWS-NETWORK-CIDR", Warning, [10],
        "The network CIDRs of the connection at AWS are narrowed",
        "TS_UNACCEPTABLE, or some networks get no answer.",
        "LocalIpv4NetworkCidr (our side) or RemoteIpv4NetworkCidr (AWS's side) is not 0.0.0.0/0 and does not cover our networks.",
        "aws ec2 modify-vpn-connection-options --vpn-connection-id ID --local-ipv4-network-cidr 0.0.0.0/0 --remote-ipv4-network-cidr 0.0.0.0/0; routes decide then.",
        aws "AWS tunnel received: TS_UNACCEPTABLE";
    INSIDE = "AWS-INSIDE-CIDR", Error, [16],
        "The inside addresses differ from AWS's",
        "The SAs are up, and AWS's inside address does not answer.",
        "The inside CIDR of the tunnel was changed at AWS, or the two tunnels' addresses were exchanged.",
        "Import AWS's file again.";
    ROUTING_TYPE = "AWS-ROUTING-TYPE", Error, [20, 22],
        "The connection is static on one side and dynamic on the other",
        "Static here: no answer comes back. Dynamic here: BGP does not come up.",
        "StaticRoutesOnly at AWS and `routing` in the configuration say different things; it is fixed when a connection is made.",
        "Import AWS's file again, or make a new connection of the wanted kind.";
    ASN = "AWS-ASN-DIFFERS", Error, [23, 27],
        "The AS numbers differ from AWS's",
        "NOTIFICATION 2/2 right after OPEN, again and again; or AWS drops our prefixes because its own number is in the path.",
        "The customer gateway resource or the gateway at AWS was made with another number.",
        "Correct local_asn and remote_asn in the configuration, or import again.",
        aws "bad OPEN remote AS";
    ROUTE_MISSING = "AWS-STATIC-ROUTE-MISSING", Error, [17, 20],
        "AWS has no static route back to a network of ours",
        "Packets go to AWS, and no answer comes back.",
        "A static connection routes back only what is in its list of static routes.",
        "aws ec2 create-vpn-connection-route --vpn-connection-id ID --destination-cidr-block CIDR (a transit gateway needs the route in its route table instead: aws ec2 create-transit-gateway-route).";
    QUOTA = "AWS-PREFIX-QUOTA", Error, [24],
        "More prefixes are announced than AWS takes",
        "The BGP session ends with Cease 6/1, and stays down.",
        "A virtual private gateway takes 100 prefixes, a transit gateway 1,000.",
        "Aggregate the prefixes in `advertise` or `lan`.",
        aws "Maximum Number of Prefixes Reached";
    NOBODY_BEGINS = "AWS-NOBODY-BEGINS", Error, [31],
        "Both sides wait for the other one to begin",
        "The tunnel does not come up, at the start or after a maintenance.",
        "startup = \"respond\" here, and the startup action at AWS is `add`.",
        "Set startup = \"initiate\" here (the default), or StartupAction=start at AWS.";
    ACCELERATED = "AWS-ACCELERATED", Warning, [16],
        "An accelerated connection needs UDP encapsulation",
        "Both SAs are up, and nothing comes through.",
        "With acceleration ESP goes through Global Accelerator, which passes UDP only.",
        "Set encapsulation = \"udp\" (the default) for both tunnels.";
    STATE = "AWS-STATE", Warning, [32],
        "AWS is changing the connection",
        "Both tunnels go down together, and come back after some minutes.",
        "A connection that is being made or modified gets new endpoints.",
        "Wait some minutes, then import again if keys or addresses were changed.";
    TELEMETRY_DOWN = "AWS-TELEMETRY-DOWN", Warning, [29],
        "AWS says that the tunnel is down, and here it is up",
        "The console and CloudWatch (TunnelState) show DOWN.",
        "The telemetry lags by some minutes and the file may be old; when it stays, AWS counts another SA, or with dynamic routing sees no established session.",
        "Get the file again after five minutes. When it stays, `cgwd reset TUNNEL`.";
    TELEMETRY_UP = "AWS-TELEMETRY-UP", Info, [21],
        "AWS says that the tunnel is up, and here it is down",
        "Routes to the dead tunnel stay in the VPC's route table, and packets from AWS are lost.",
        "AWS notices a dead way by DPD, after 30 s and more, and keeps propagated routes while a tunnel of the connection is UP. The probes here notice within seconds.",
        "Mend the tunnel; the telemetry follows within minutes.";
    NOTHING_ACCEPTED = "AWS-NOTHING-ACCEPTED", Warning, [20, 28],
        "AWS took none of our prefixes",
        "BGP is established, and no answer comes back.",
        "AWS counts the routes that it accepted, and there are none: nothing is announced, or AWS's policy denies it (its own AS in the path, a foreign next hop).",
        "See `cgwd status` for the number of prefixes announced, and AWS's BGP log for DENIED.",
        aws "DENIED";
    STARTUP_ADD = "AWS-STARTUP-ADD", Info, [31],
        "AWS waits for us to begin",
        "Nothing, while this gateway runs: it begins again for ever.",
        "The startup action is `add`. With `start` AWS begins as well, so a tunnel comes back even when this gateway only answers.",
        "Optional: aws ec2 modify-vpn-tunnel-options --vpn-connection-id ID --vpn-tunnel-outside-ip-address ADDRESS --tunnel-options StartupAction=start.";
    LIFETIME = "AWS-LIFETIME", Info, [11],
        "AWS's lifetimes are shorter than the configuration says",
        "Nothing: AWS rekeys first.",
        "The tunnel options at AWS were changed after the import.",
        "Import again, so that we rekey first.";
    DETACHED = "AWS-GATEWAY-DETACHED", Error, [17, 26],
        "The connection is attached to no gateway at AWS",
        "The tunnels may be up, and nothing behind AWS can be reached.",
        "GatewayAssociationState says so: the target gateway was removed, or is being changed.",
        "Give the connection a target gateway: aws ec2 modify-vpn-connection --vpn-connection-id ID --vpn-gateway-id or --transit-gateway-id (both endpoints are replaced).";
    UNUSED = "AWS-TUNNEL-UNUSED", Warning, [35],
        "AWS has a tunnel that is not in the configuration",
        "The connection is down during AWS's maintenance, and AWS Health complains (\"single tunnel\").",
        "AWS gives every connection two endpoints and replaces one of them at a time.",
        "Import AWS's file again: it has both tunnels.";
    ACTIVE = "AWS-ACTIVE-DIFFERS", Warning, [29],
        "AWS has negotiated other algorithms than this tunnel",
        "The console shows the tunnel UP or DOWN against what is seen here.",
        "AWS counts another SA than ours: the answer is old, a second gateway with this identity connects, or the answer belongs to another tunnel.",
        "Ask AWS again: aws ec2 get-active-vpn-tunnel-status --vpn-connection-id ID --vpn-tunnel-outside-ip-address ADDRESS. When it stays, look for a second gateway with this configuration.";
    ACTIVE_VERSION = "AWS-ACTIVE-IKEV1", Error, [8],
        "AWS has this tunnel up with IKEv1",
        "The tunnel is down here and UP at AWS.",
        "Another gateway of yours, with IKEv1, holds the tunnel.",
        "Turn the old gateway off, and see that ikev2 is allowed in the tunnel options (IKEVersions).";
    DPD = "AWS-DPD", Info, [30, 31, 34],
        "What AWS does when it hears nothing of us",
        "Nothing, while the tunnel works.",
        "DpdTimeoutAction is `none` (AWS keeps a dead SA until its lifetime ends, and with `start` does not connect again), or AWS's DPD time-out differs from the one here.",
        "Set DpdTimeoutAction to `restart` (with StartupAction=start) or `clear`, and dpd_timeout here to AWS's value; importing again does the latter.";
    REPLAY_WINDOW = "AWS-REPLAY-WINDOW", Info, [15],
        "AWS's anti-replay window is smaller than ours",
        "Uploads are slower than downloads on a way that changes the order of packets.",
        "ReplayWindowSize was lowered in the tunnel options; packets of ours that arrive later than it is wide are dropped at AWS, which counts them nowhere.",
        "aws ec2 modify-vpn-tunnel-options --vpn-connection-id ID --vpn-tunnel-outside-ip-address ADDRESS --tunnel-options ReplayWindowSize=1024.";
    LOGS_OFF = "AWS-LOGS-OFF", Info, [],
        "The tunnel activity log is off at AWS",
        "The AWS log lines named by the doctor can be looked for nowhere.",
        "LogEnabled is false for this tunnel.",
        "Turn it on before the next incident: aws ec2 modify-vpn-tunnel-options --vpn-connection-id ID --vpn-tunnel-outside-ip-address ADDRESS --tunnel-options 'LogOptions={CloudWatchLogOptions={LogEnabled=true,LogGroupArn=ARN}}' (this replaces the tunnel's endpoint; do one tunnel at a time).";
    NOT_DESCRIBED = "AWS-NOT-DESCRIBED", Info, [],
        "The AWS file does not describe this connection",
        "Nothing; AWS's view could not be compared.",
        "The file was made for another connection, region or account.",
        "aws ec2 describe-vpn-connections --vpn-connection-ids ID.";
}

/// Whether the finding is a difference that explains others.
pub(super) fn explains(finding: &Finding) -> bool {
    finding.severity == Severity::Error && EXPLAINING.iter().any(|known| finding.is(known))
}

/// Whether the finding only mirrors the state of the tunnel.
pub(super) fn is_mirror(finding: &Finding) -> bool {
    finding.is(&TELEMETRY_UP) || finding.is(&TELEMETRY_DOWN)
}

pub(super) fn examine(facts: &Facts, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    let Some(description) = &facts.aws else { return };
    for line in lines {
        match line.aws {
            Some((connection, tunnel)) => {
                peer(line, connection, tunnel, findings);
                key(line, lines, connection, tunnel, findings);
                algorithms(line, tunnel, findings);
                inside(line, tunnel, findings);
                startup(line, connection, tunnel, findings);
                timers(line, tunnel, findings);
                telemetry(line, connection, findings);
            }
            None => not_there(facts, line, findings),
        }
    }
    for connection in &description.connections {
        let own: Vec<&Line<'_>> =
            lines.iter().filter(|line| line.aws.is_some_and(|(c, _)| std::ptr::eq(c, connection))).collect();
        if let Some(first) = own.first() {
            whole(connection, first, &own, findings);
        }
    }
    for active in &description.active {
        negotiated(active, lines, findings);
        if active.provisioning_status.as_deref() == Some("pending") {
            let why = active.provisioning_status_reason.clone().unwrap_or_default();
            findings.push(STATE.found().seen(format!("ProvisioningStatus is pending {why}")));
        }
    }
}

fn not_there(facts: &Facts, line: &Line<'_>, findings: &mut Vec<Finding>) {
    let described = facts.aws.iter().flat_map(|aws| &aws.connections);
    let same = described.into_iter().find(|connection| connection.vpn_connection_id == line.connection);
    findings.push(match same {
        Some(connection) if !line.up() => {
            let there =
                connection.options.tunnel_options.iter().filter_map(|tunnel| tunnel.outside_ip_address);
            let there: Vec<_> = there.collect();
            UNKNOWN_OUTSIDE.found().at(&line.label).seen(format!(
                "{} has {}, here stands {}",
                line.connection,
                ike::list(&there),
                line.outside
            ))
        }
        _ => NOT_DESCRIBED.found().at(&line.label).seen(&line.connection),
    });
}

fn peer(line: &Line<'_>, connection: &Connection, tunnel: &TunnelOptions, findings: &mut Vec<Finding>) {
    let ends = connection.customer_gateway_configuration.get(&line.outside);
    if let (Some(theirs), Some((_, config))) = (ends.and_then(|ends| ends.customer_gateway), line.config)
        && config.known_gateway().is_some_and(|ours| ours != theirs)
        && !line.up()
    {
        let seen = format!("AWS has {theirs}, here stands {}", config.customer_gateway);
        findings.push(CUSTOMER_GATEWAY.found().at(&line.label).seen(seen));
    }
    let versions = names(&tunnel.ike_versions);
    if !versions.is_empty() && versions.iter().all(|version| version != "ikev2") {
        findings
            .push(IKEV1_ONLY.found().at(&line.label).seen(format!("IkeVersions: {}", versions.join(", "))));
    }
}

fn key(
    line: &Line<'_>,
    lines: &[Line<'_>],
    connection: &Connection,
    tunnel: &TunnelOptions,
    findings: &mut Vec<Finding>,
) {
    let Some(theirs) = &tunnel.pre_shared_key else {
        if connection.pre_shared_key_arn.is_none() && line.fails_with(&ike::AUTH_FAILED) {
            findings.push(CERTIFICATE.found().at(&line.label));
        }
        return;
    };
    let Some(ours) = line.key.filter(|ours| ours.expose() != theirs.expose()) else { return };
    let swapped = lines.iter().find(|other| {
        other.outside != line.outside
            && other
                .aws
                .and_then(|(_, tunnel)| tunnel.pre_shared_key.as_ref())
                .is_some_and(|key| key.expose() == ours.expose())
    });
    let finding = PSK.found().at(&line.label);
    let finding = match swapped {
        Some(other) => finding.seen(format!("the key here is AWS's key of {}", other.label)),
        None if theirs.expose().trim_ascii() == ours.expose().trim_ascii() => {
            finding.seen("the keys differ in blanks or line ends only")
        }
        None => finding.seen(format!("{} characters here, {} at AWS", ours.len(), theirs.len())),
    };
    // While the tunnel is up the file may be older than the key.
    findings.push(if line.up() {
        finding.rated(Severity::Warning).seen("the tunnel is up, so one of the two is out of date: it will fail at the next connect, or the AWS file is old")
    } else {
        finding
    });
}

/// What both allow; an empty list of AWS's allows everything.
fn nothing_common<T: ToString>(ours: &[T], theirs: &[String]) -> bool {
    !theirs.is_empty() && !ours.iter().any(|one| theirs.contains(&one.to_string()))
}

fn algorithms(line: &Line<'_>, tunnel: &TunnelOptions, findings: &mut Vec<Finding>) {
    let Some((_, config)) = line.config else { return };
    let lists = [
        (ike::list(&config.ike.encryption), names(&tunnel.phase1_encryption_algorithms), "encryption"),
        (ike::list(&config.ike.integrity), names(&tunnel.phase1_integrity_algorithms), "integrity"),
        (ike::list(&config.ike.dh_groups), names(&tunnel.phase1_dh_group_numbers), "DH groups"),
    ];
    let differs = [
        nothing_common(&config.ike.encryption, &lists[0].1),
        nothing_common(&config.ike.integrity, &lists[1].1),
        nothing_common(&config.ike.dh_groups, &lists[2].1),
    ];
    difference(line, &IKE_ALGORITHMS, &lists, &differs, findings);

    let encryption = names(&tunnel.phase2_encryption_algorithms);
    let common = config
        .esp
        .encryption
        .iter()
        .filter(|one| encryption.is_empty() || encryption.contains(&one.to_string()));
    // Integrity is negotiated beside CBC only.
    let aead = common.clone().any(|one| one.is_aead());
    let lists = [
        (ike::list(&config.esp.encryption), encryption, "encryption"),
        (ike::list(&config.esp.integrity), names(&tunnel.phase2_integrity_algorithms), "integrity"),
    ];
    let differs = [
        nothing_common(&config.esp.encryption, &lists[0].1),
        !aead && nothing_common(&config.esp.integrity, &lists[1].1),
    ];
    difference(line, &ESP_ALGORITHMS, &lists, &differs, findings);

    let groups = names(&tunnel.phase2_dh_group_numbers);
    if nothing_common(&config.esp.dh_groups, &groups) {
        let seen =
            format!("AWS allows {}, offered here: {}", groups.join(", "), ike::list(&config.esp.dh_groups));
        findings.push(PFS.found().at(&line.label).seen(seen));
    }
}

fn difference(
    line: &Line<'_>,
    known: &Known,
    lists: &[(String, Vec<String>, &str)],
    differs: &[bool],
    findings: &mut Vec<Finding>,
) {
    let seen: Vec<String> = lists
        .iter()
        .zip(differs)
        .filter(|(_, differs)| **differs)
        .map(|((ours, theirs, what), _)| {
            format!("{what}: AWS allows {}, offered here: {ours}", theirs.join(", "))
        })
        .collect();
    if !seen.is_empty() {
        let finding = known.found().at(&line.label).seen(seen.join("; "));
        // A tunnel that is up shows that the file is old, or that the options changed since.
        findings.push(if line.up() { finding.rated(Severity::Warning) } else { finding });
    }
}

fn inside(line: &Line<'_>, tunnel: &TunnelOptions, findings: &mut Vec<Finding>) {
    let Some((_, config)) = line.config else { return };
    for ours in &config.inside {
        let theirs =
            if ours.aws.is_ipv4() { tunnel.tunnel_inside_cidr } else { tunnel.tunnel_inside_ipv6_cidr };
        let Some(theirs) = theirs.map(|cidr| cidr.trunc()) else { continue };
        if !theirs.contains(&ours.aws) && !line.up() {
            let seen = format!("AWS has {theirs}, here stands {}", ours.ours);
            findings.push(INSIDE.found().at(&line.label).seen(seen));
        }
    }
}

fn startup(line: &Line<'_>, connection: &Connection, tunnel: &TunnelOptions, findings: &mut Vec<Finding>) {
    let Some((_, config)) = line.config else { return };
    let action = tunnel.startup_action.as_deref().unwrap_or("add");
    match (action, config.startup) {
        ("add", Startup::Respond) => findings.push(NOBODY_BEGINS.found().at(&line.label)),
        ("add", Startup::Initiate) => findings.push(STARTUP_ADD.found().at(&line.label)),
        _ => {}
    }
    if connection.options.enable_acceleration && config.encapsulation == config::Encapsulation::Auto {
        findings.push(ACCELERATED.found().at(&line.label));
    }
    if !tunnel.log_options.as_ref().is_some_and(|logs| logs.cloud_watch_log_options.log_enabled) {
        findings.push(LOGS_OFF.found().at(&line.label));
    }
}

/// Lifetimes, dead peer detection and the replay window.
fn timers(line: &Line<'_>, tunnel: &TunnelOptions, findings: &mut Vec<Finding>) {
    let Some((_, config)) = line.config else { return };
    let differing = |named: &[(&str, Option<u64>, u64)], wrong: fn(u64, u64) -> bool| {
        let told = named.iter().filter_map(|(name, theirs, ours)| {
            let theirs = theirs.filter(|theirs| wrong(*theirs, *ours))?;
            Some(format!("{name} is {theirs} at AWS, {ours} here"))
        });
        told.collect::<Vec<_>>()
    };
    let mut lifetimes = differing(
        &[
            ("Phase1LifetimeSeconds", tunnel.phase1_lifetime_seconds, config.ike.lifetime.as_secs()),
            ("Phase2LifetimeSeconds", tunnel.phase2_lifetime_seconds, config.esp.lifetime.as_secs()),
        ],
        |theirs, ours| theirs < ours,
    );
    let margin =
        [("RekeyMarginTimeSeconds", tunnel.rekey_margin_time_seconds, config.rekey_margin.as_secs())];
    lifetimes.extend(differing(&margin, |theirs, ours| theirs > ours));
    if !lifetimes.is_empty() {
        findings.push(LIFETIME.found().at(&line.label).seen(lifetimes.join("; ")));
    }
    let timeout = [("DpdTimeoutSeconds", tunnel.dpd_timeout_seconds, config.dpd_timeout.as_secs())];
    let mut dpd = differing(&timeout, |theirs, ours| theirs != ours);
    if tunnel.dpd_timeout_action.as_deref() == Some("none") {
        dpd.push("DpdTimeoutAction is none".to_owned());
    }
    if !dpd.is_empty() {
        findings.push(DPD.found().at(&line.label).seen(dpd.join("; ")));
    }
    let window = [("ReplayWindowSize", tunnel.replay_window_size, u64::from(config.esp.replay_window))];
    let window = differing(&window, |theirs, ours| theirs < ours);
    if !window.is_empty() {
        findings.push(REPLAY_WINDOW.found().at(&line.label).seen(window.join("; ")));
    }
}

/// `get-active-vpn-tunnel-status` beside the SAs here. Without a name the answer may be of any tunnel.
fn negotiated(active: &ActiveStatus, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    let of = |line: &&Line<'_>| active.outside_ip_address.is_none_or(|outside| outside == line.outside);
    let candidates: Vec<&Line<'_>> = lines.iter().filter(of).collect();
    if active.ike_version.as_deref() == Some("ikev1") {
        // A tunnel that is up here speaks IKEv2; the answer is about the one that is not.
        for line in candidates.iter().filter(|line| !line.up()).take(1) {
            findings.push(ACTIVE_VERSION.found().at(&line.label));
        }
        return;
    }
    let up: Vec<&&Line<'_>> = candidates.iter().filter(|line| line.up()).collect();
    let differences: Vec<(&str, Vec<String>)> =
        up.iter().map(|line| (line.label.as_str(), differs(active, line))).collect();
    if differences.is_empty() || differences.iter().any(|(_, differs)| differs.is_empty()) {
        return;
    }
    let told: Vec<String> =
        differences.iter().map(|(label, differs)| format!("{label}: {}", differs.join(", "))).collect();
    let finding = ACTIVE.found().seen(told.join("; "));
    findings.push(match (active.outside_ip_address, up.first()) {
        (Some(_), Some(line)) => finding.at(&line.label),
        _ => finding.rated(Severity::Info),
    });
}

/// What AWS calls otherwise than the SAs of this tunnel.
fn differs(active: &ActiveStatus, line: &Line<'_>) -> Vec<String> {
    let Some((_, tunnel)) = line.status else { return Vec::new() };
    let ike = tunnel.ike.as_ref().map_or("", |ike| ike.proposal.as_str());
    let child = tunnel.child.as_ref().map_or("", |child| child.proposal.as_str());
    let mut told = Vec::new();
    for (phase, proposal, cipher, group) in [
        ("phase 1", ike, &active.phase1_encryption_algorithm, active.phase1_dh_group),
        ("phase 2", child, &active.phase2_encryption_algorithm, active.phase2_dh_group),
    ] {
        let parts: Vec<&str> = proposal.split('/').collect();
        let ours = parts.first().copied().unwrap_or_default();
        if let Some(theirs) =
            cipher.as_deref().filter(|theirs| !ours.is_empty() && aws_cipher(ours) != *theirs)
        {
            told.push(format!("{phase} is {theirs} at AWS, {ours} here"));
        }
        // The first child takes the group of phase 1 and names none.
        let known = parts.iter().find_map(|part| group_number(part));
        if let (Some(ours), Some(theirs)) = (known, group)
            && ours != theirs
        {
            told.push(format!("the group of {phase} is {theirs} at AWS, {ours} here"));
        }
    }
    told
}

/// `AES_GCM_16_256` is AWS's `AES256-GCM-16`, `AES_CBC_128` its `AES128`.
fn aws_cipher(ours: &str) -> String {
    let bits = ours.rsplit('_').next().unwrap_or_default();
    if ours.starts_with("AES_GCM_16") { format!("AES{bits}-GCM-16") } else { format!("AES{bits}") }
}

/// The number of a group of RFC 7296 and RFC 5903 by its name here.
fn group_number(name: &str) -> Option<u16> {
    let numbers = [
        ("MODP_1024", 2),
        ("MODP_1536", 5),
        ("MODP_2048", 14),
        ("MODP_3072", 15),
        ("MODP_4096", 16),
        ("MODP_6144", 17),
        ("MODP_8192", 18),
        ("ECP_256", 19),
        ("ECP_384", 20),
        ("ECP_521", 21),
    ];
    numbers.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number)
}

fn telemetry(line: &Line<'_>, connection: &Connection, findings: &mut Vec<Finding>) {
    let (Some(telemetry), Some(stage)) = (connection.telemetry(line.outside), line.stage()) else { return };
    let since = match telemetry.last_status_change.as_str() {
        "" => String::new(),
        change => format!("since {change}"),
    };
    let words = [telemetry.status.as_str(), telemetry.status_message.as_str(), since.as_str()];
    let said = format!(
        "AWS says {}",
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
    );
    match (telemetry.status.as_str(), stage) {
        ("DOWN", api::Stage::Up) => {
            findings.push(TELEMETRY_DOWN.found().at(&line.label).seen(said));
        }
        ("UP", stage) if stage < api::Stage::Tunnel => {
            findings.push(TELEMETRY_UP.found().at(&line.label).seen(said));
        }
        ("UP", api::Stage::Up) => {
            let told = line.status.and_then(|(_, tunnel)| tunnel.bgp.as_ref()).map(|bgp| bgp.advertised);
            if told.is_some_and(|told| told > 0) && telemetry.accepted_route_count == Some(0) {
                let seen = format!("{} announced, AcceptedRouteCount is 0", told.unwrap_or(0));
                findings.push(NOTHING_ACCEPTED.found().at(&line.label).seen(seen));
            }
        }
        _ => {}
    }
}

/// What concerns the connection and not one of its tunnels.
fn whole(connection: &Connection, first: &Line<'_>, own: &[&Line<'_>], findings: &mut Vec<Finding>) {
    let id = &connection.vpn_connection_id;
    if !matches!(connection.state.as_str(), "available" | "") {
        findings.push(STATE.found().seen(format!("{id} is {}", connection.state)));
    }
    if connection.gateway_association_state.as_deref() == Some("not-associated") {
        findings.push(DETACHED.found().seen(id));
    }
    // One address that differs is told with its tunnel; here the configuration has none for it.
    let described = &connection.options.tunnel_options;
    if own.len() < described.len()
        && first.config.is_some_and(|(config, _)| config.tunnels.len() < described.len())
    {
        let unused: Vec<_> = described
            .iter()
            .filter_map(|tunnel| tunnel.outside_ip_address)
            .filter(|outside| own.iter().all(|line| line.outside != *outside))
            .collect();
        findings.push(UNUSED.found().seen(format!("{id}: {}", ike::list(&unused))));
    }
    let Some((config, _)) = first.config else { return };
    let dynamic = matches!(config.routing, config::Routing::Bgp(_));
    if connection.options.static_routes_only == Some(dynamic) {
        let theirs = if dynamic { "static" } else { "dynamic" };
        findings.push(
            ROUTING_TYPE.found().seen(format!("{id} is {theirs} at AWS, {} here", config.routing.name())),
        );
        return;
    }
    match &config.routing {
        config::Routing::Bgp(bgp) => numbers(connection, bgp, own, findings),
        config::Routing::Static { .. } => static_routes(connection, config, findings),
    }
    network_cidrs(connection, config, own, findings);
}

fn numbers(connection: &Connection, bgp: &config::Bgp, own: &[&Line<'_>], findings: &mut Vec<Finding>) {
    for line in own {
        let Some(ends) = connection.customer_gateway_configuration.get(&line.outside) else { continue };
        let ours = ends.customer_asn.filter(|asn| *asn != bgp.local_asn);
        let theirs = ends.aws_asn.filter(|asn| *asn != bgp.remote_asn);
        if (ours.is_some() || theirs.is_some()) && !line.up() {
            let seen = format!(
                "AWS has {} for us and {} for itself, here stand {} and {}",
                ends.customer_asn.unwrap_or(bgp.local_asn),
                ends.aws_asn.unwrap_or(bgp.remote_asn),
                bgp.local_asn,
                bgp.remote_asn
            );
            findings.push(ASN.found().at(&line.label).seen(seen));
        }
    }
    let limit = if connection.is_transit() { 1000 } else { 100 };
    let told = bgp.advertise.len().min(bgp.max_advertised as usize);
    if told > limit {
        findings.push(QUOTA.found().seen(format!("{told} are to be announced, AWS takes {limit}")));
    }
}

fn static_routes(connection: &Connection, config: &config::Connection, findings: &mut Vec<Finding>) {
    // Behind a transit gateway the routes stand in its route table, which this file does not show.
    if connection.is_transit() {
        return;
    }
    let there: Vec<IpNet> = connection
        .routes
        .iter()
        .filter(|route| !route.state.starts_with("delet"))
        .filter_map(|route| route.destination_cidr_block)
        .collect();
    for lan in config.lan.iter().filter(|lan| !there.iter().any(|route| route.contains(*lan))) {
        let seen = format!(
            "{lan} is ours, the static routes of {} are: {}",
            connection.vpn_connection_id,
            if there.is_empty() { "none".to_owned() } else { ike::list(&there) }
        );
        let remedy = format!(
            "aws ec2 create-vpn-connection-route --vpn-connection-id {} --destination-cidr-block {lan}",
            connection.vpn_connection_id
        );
        findings.push(ROUTE_MISSING.found().seen(seen).first_do(remedy));
    }
}

fn network_cidrs(
    connection: &Connection,
    config: &config::Connection,
    own: &[&Line<'_>],
    findings: &mut Vec<Finding>,
) {
    let options = &connection.options;
    let parse = |cidr: &Option<String>| cidr.as_deref().and_then(|text| text.parse::<IpNet>().ok());
    let vpc: &[IpNet] = match &config.routing {
        config::Routing::Static { vpc } => vpc,
        config::Routing::Bgp(_) => &[],
    };
    for (name, cidr, networks) in [
        ("LocalIpv4NetworkCidr", parse(&options.local_ipv4_network_cidr), config.lan.as_slice()),
        ("RemoteIpv4NetworkCidr", parse(&options.remote_ipv4_network_cidr), vpc),
        ("LocalIpv6NetworkCidr", parse(&options.local_ipv6_network_cidr), config.lan.as_slice()),
        ("RemoteIpv6NetworkCidr", parse(&options.remote_ipv6_network_cidr), vpc),
    ] {
        let Some(cidr) = cidr.filter(|cidr| cidr.prefix_len() > 0) else { continue };
        let same_family = |net: &&IpNet| net.addr().is_ipv4() == cidr.addr().is_ipv4();
        let outside: Vec<&IpNet> =
            networks.iter().filter(same_family).filter(|net| !cidr.contains(*net)).collect();
        let refused = own.iter().find(|line| line.fails_with(&ipsec::TS));
        if outside.is_empty() && refused.is_none() {
            continue;
        }
        let seen = format!("{name} is {cidr}, and does not cover {}", ike::list(&outside));
        let finding = SELECTORS.found().seen(seen.trim_end_matches(", and does not cover "));
        findings.push(match refused {
            Some(line) => finding.at(&line.label).rated(Severity::Error),
            None => finding,
        });
    }
}

//! One TCP connection to the neighbour, and the only file that knows the codec and state machine crates.
//!
//! A [`Link`] begins when the TCP connection stands and goes through OpenSent, OpenConfirm and Established
//! (RFC 4271 §8.2.2). Connecting, collisions and routes are the speaker's business. Everything that leaves
//! this file is a type of this crate, so that the crates below can be replaced by rewriting it (ADR 0003).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::Instant;
use rustbgpd_fsm::{Action, Event, PeerConfig, Session, SessionState, TimerType};
use rustbgpd_wire::notification::{NotificationCode, extract_shutdown_communication};
use rustbgpd_wire::{
    Afi, AsPath, AsPathSegment, Capability, DecodeError, ErrorDisposition, Ipv4NlriEntry, Ipv4Prefix,
    Ipv4UnicastMode, Ipv6Prefix, MAX_MESSAGE_LEN, Message, MpReachNlri, MpUnreachNlri, NlriEntry,
    NotificationMessage, OpenMessage, Origin as WireOrigin, PathAttribute, Prefix, RouteRefreshMessage,
    RouteRefreshSubtype, Safi, UpdateMessage, decode_message, encode_message, peek_message_length,
};

use crate::config::{Config, Family};
use crate::path::{AsSegment, Attributes, Origin};

/// How long to wait for the neighbour's OPEN. RFC 4271 §8.2.2 suggests 4 minutes; a tunnel endpoint that takes
/// a connection and says nothing for this long is better tried again.
const OPEN_WAIT: Duration = Duration::from_secs(60);
/// IPv4 prefixes in one UPDATE: at most 5 octets each, room for attributes within 4096.
const IPV4_PREFIXES_PER_UPDATE: usize = 700;
/// IPv6 prefixes in one UPDATE: at most 17 octets each.
const IPV6_PREFIXES_PER_UPDATE: usize = 200;
/// Longest text sent with a Cease (RFC 8203; RFC 9003 allows more, old neighbours do not).
const COMMUNICATION_MAX: usize = 128;

/// What both OPENs agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) router_id: Ipv4Addr,
    pub(crate) hold: Duration,
    pub(crate) families: Vec<Family>,
    pub(crate) four_octet_as: bool,
    pub(crate) route_refresh: bool,
}

/// A NOTIFICATION, still in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) code: u8,
    pub(crate) subcode: u8,
    pub(crate) communication: Option<String>,
}

/// An UPDATE after the checks of RFC 7606: what it withdraws and announces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) withdrawn: Vec<IpNet>,
    pub(crate) announced: Vec<(Vec<IpNet>, Arc<Attributes>)>,
    pub(crate) end_of_rib: Option<Family>,
    /// Why its announcements became withdrawals, and how many.
    pub(crate) treated_as_withdraw: Option<(String, u32)>,
    /// Attributes dropped without harm.
    pub(crate) discarded: Vec<String>,
}

/// What a link wants or tells, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Vec<u8>),
    SentKeepalive,
    /// The neighbour's OPEN was accepted: the moment of collision detection.
    Opened(Negotiated),
    Established(Negotiated),
    Update(Update),
    Keepalive,
    Refresh(Family),
    Sent(Notification),
    Received(Notification),
    Close,
}

/// The attributes of what we announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) as_path: Vec<u32>,
    pub(crate) med: Option<u32>,
    pub(crate) next_hop: IpAddr,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    session: Session,
    families: Vec<Family>,
    keepalive_max: Duration,
    buffer: BytesMut,
    hold_at: Option<Instant>,
    keepalive_at: Option<Instant>,
    ended: bool,
}

impl Link {
    /// Starts on a connection that stands: sends OPEN.
    pub(crate) fn new(config: &Config, now: Instant) -> (Self, Vec<Step>) {
        let mut peer = PeerConfig::new(config.local_as, config.remote_as, config.router_id);
        peer.hold_time = u16::try_from(config.hold.as_secs()).unwrap_or(u16::MAX);
        peer.families = config.families.iter().map(|family| wire_family(*family)).collect();
        peer.disable_ipv4_unicast = !config.families.contains(&Family::Ipv4);
        let mut link = Self {
            session: Session::new(peer),
            families: config.families.clone(),
            keepalive_max: config.keepalive,
            buffer: BytesMut::new(),
            hold_at: None,
            keepalive_at: None,
            ended: false,
        };
        // Connecting is done; the machine below only wants to hear about it.
        link.session.handle_event(Event::ManualStart);
        let steps = link.event(now, Event::TcpConnectionConfirmed);
        (link, steps)
    }

    pub(crate) fn is_established(&self) -> bool {
        self.session.state() == SessionState::Established
    }

    /// Whether the neighbour's OPEN was accepted.
    pub(crate) fn is_open_confirm(&self) -> bool {
        self.session.state() == SessionState::OpenConfirm
    }

    pub(crate) fn hold_at(&self) -> Option<Instant> {
        self.hold_at
    }

    pub(crate) fn keepalive_at(&self) -> Option<Instant> {
        self.keepalive_at
    }

    /// Takes bytes from the stream; [`Link::next`] works them off.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Works off one message, if a whole one is there.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Vec<Step>> {
        if self.ended {
            return None;
        }
        let length = match peek_message_length(&self.buffer, MAX_MESSAGE_LEN) {
            Ok(Some(length)) => usize::from(length),
            Ok(None) => return None,
            Err(error) => return Some(self.event(now, Event::DecodeError(error))),
        };
        if self.buffer.len() < length {
            return None;
        }
        let mut message = self.buffer.split_to(length).freeze();
        Some(match decode_message(&mut message, MAX_MESSAGE_LEN) {
            Ok(message) => self.message(now, message),
            Err(error) => self.event(now, Event::DecodeError(error)),
        })
    }

    /// Does what is due.
    pub(crate) fn timeout(&mut self, now: Instant) -> Vec<Step> {
        if !self.ended && self.hold_at.is_some_and(|at| at <= now) {
            self.hold_at = None;
            return self.event(now, Event::HoldTimerExpires);
        }
        if !self.ended && self.keepalive_at.is_some_and(|at| at <= now) {
            self.keepalive_at = None;
            return self.event(now, Event::KeepaliveTimerExpires);
        }
        Vec::new()
    }

    /// Ends the connection with a NOTIFICATION of ours.
    pub(crate) fn end(&mut self, code: u8, subcode: u8, data: &[u8]) -> Vec<Step> {
        if self.ended {
            return Vec::new();
        }
        self.ended = true;
        let data = Bytes::copy_from_slice(data);
        let message = NotificationMessage::new(NotificationCode::from_u8(code), subcode, data);
        let seen = seen(&message);
        let mut steps: Vec<_> = encode(&Message::Notification(message)).map(Step::Send).into_iter().collect();
        steps.extend([Step::Sent(seen), Step::Close]);
        steps
    }

    fn message(&mut self, now: Instant, message: Message) -> Vec<Step> {
        match message {
            Message::Open(open) => self.event(now, Event::OpenReceived(open)),
            Message::Keepalive => {
                let mut steps = vec![Step::Keepalive];
                steps.extend(self.event(now, Event::KeepaliveReceived));
                steps
            }
            Message::Notification(notification) => {
                let mut steps = vec![Step::Received(seen(&notification))];
                steps.extend(self.event(now, Event::NotificationReceived(notification)));
                steps
            }
            Message::Update(update) => self.update(now, &update),
            Message::RouteRefresh(refresh) => self.refresh(now, &refresh),
            // The enum is open: nothing else decodes today.
            _ => Vec::new(),
        }
    }

    fn refresh(&mut self, now: Instant, refresh: &RouteRefreshMessage) -> Vec<Step> {
        let (Some(afi), Some(safi)) = (refresh.afi(), refresh.safi()) else { return Vec::new() };
        let mut steps = self.event(now, Event::RouteRefreshReceived { afi, safi });
        let wanted = matches!(refresh.subtype(), RouteRefreshSubtype::Normal);
        // RFC 2918 §4: a family that was not agreed on is ignored.
        if let Some(family) = family_of(afi, safi).filter(|it| wanted && self.agreed().contains(it)) {
            steps.push(Step::Refresh(family));
        }
        steps
    }

    fn agreed(&self) -> Vec<Family> {
        self.session.negotiated().map_or_else(Vec::new, |negotiated| {
            let offered = |family: &Family| self.families.contains(family);
            let families = negotiated.negotiated_families.iter();
            families.filter_map(|(afi, safi)| family_of(*afi, *safi)).filter(offered).collect()
        })
    }

    fn update(&mut self, now: Instant, update: &UpdateMessage) -> Vec<Step> {
        let Some(negotiated) = self.session.negotiated() else {
            return self.event(now, Event::UpdateReceived);
        };
        match judge(update, negotiated.four_octet_as, &self.agreed()) {
            Ok(update) => {
                let mut steps = self.event(now, Event::UpdateReceived);
                if self.is_established() {
                    steps.push(Step::Update(update));
                }
                steps
            }
            Err(fault) => {
                let event = match fault {
                    Fault::Decode(error) => Event::DecodeError(error),
                    Fault::Reset(notification) => Event::UpdateValidationError(notification),
                };
                self.event(now, event)
            }
        }
    }

    /// Feeds the state machine and turns its actions into steps and timers.
    fn event(&mut self, now: Instant, event: Event) -> Vec<Step> {
        let mut steps = Vec::new();
        let was_waiting = self.session.state() == SessionState::OpenSent;
        for action in self.session.handle_event(event) {
            match action {
                Action::SendOpen(open) => steps.extend(encode(&Message::Open(plain(open))).map(Step::Send)),
                Action::SendKeepalive => {
                    steps.extend(encode(&Message::Keepalive).map(Step::Send));
                    steps.push(Step::SentKeepalive);
                }
                Action::SendNotification(notification) => {
                    let seen = seen(&notification);
                    steps.extend(encode(&Message::Notification(notification)).map(Step::Send));
                    steps.push(Step::Sent(seen));
                }
                Action::StartTimer(timer, seconds) => self.start(now, timer, seconds),
                Action::StopTimer(TimerType::Hold) => self.hold_at = None,
                Action::StopTimer(TimerType::Keepalive) => self.keepalive_at = None,
                Action::CloseTcpConnection => {
                    self.ended = true;
                    steps.push(Step::Close);
                }
                Action::SessionEstablished(_) => steps.extend(self.negotiated().map(Step::Established)),
                _ => {}
            }
        }
        if was_waiting
            && self.session.state() == SessionState::OpenConfirm
            && let Some(negotiated) = self.negotiated()
        {
            //= RFC 4271 §6.8: connections are examined when the OPEN is received. Only the one that stays is
            // confirmed by a KEEPALIVE: the other side would take a connection for established that ends at once.
            steps.insert(0, Step::Opened(negotiated));
        }
        steps
    }

    fn start(&mut self, now: Instant, timer: TimerType, seconds: u32) {
        let time = Duration::from_secs(seconds.into());
        match timer {
            TimerType::Hold if self.session.negotiated().is_none() => {
                self.hold_at = Some(now + time.min(OPEN_WAIT))
            }
            TimerType::Hold => self.hold_at = Some(now + time),
            TimerType::Keepalive if seconds > 0 => {
                self.keepalive_at = Some(now + time.min(self.keepalive_max))
            }
            _ => {}
        }
    }

    pub(crate) fn negotiated(&self) -> Option<Negotiated> {
        let negotiated = self.session.negotiated()?;
        Some(Negotiated {
            router_id: negotiated.peer_router_id,
            hold: Duration::from_secs(negotiated.hold_time.into()),
            families: self.agreed(),
            four_octet_as: negotiated.four_octet_as,
            route_refresh: negotiated.peer_route_refresh,
        })
    }
}

/// Why an UPDATE ends the session (RFC 7606 §3 (j), §5).
enum Fault {
    Decode(DecodeError),
    Reset(NotificationMessage),
}

/// RFC 7606: what an UPDATE means, however malformed its attributes are.
fn judge(update: &UpdateMessage, four_octet_as: bool, agreed: &[Family]) -> Result<Update, Fault> {
    let parsed = update.parse_revised(four_octet_as, false, false, &[]).map_err(Fault::Decode)?;
    let mut result = Update::default();
    let mut verdict: Option<String> = None;
    for malformed in &parsed.malformed {
        let why = format!("attribute {}: {}", malformed.type_code, malformed.error);
        match malformed.disposition {
            ErrorDisposition::AttributeDiscard => result.discarded.push(why),
            ErrorDisposition::TreatAsWithdraw => _ = verdict.get_or_insert(why),
            ErrorDisposition::SessionReset => return Err(Fault::Decode(malformed.error.clone())),
        }
    }
    let attributes = &parsed.update.attributes;
    let reach = attributes.iter().find_map(|attribute| match attribute {
        PathAttribute::MpReachNlri(reach) => Some(reach),
        _ => None,
    });
    let body: Vec<IpNet> = parsed.update.announced.iter().filter_map(|entry| ipv4(entry.prefix)).collect();
    let multi: Vec<IpNet> = reach
        .map_or_else(Vec::new, |reach| reach.announced.iter().filter_map(|it| prefix(it.prefix)).collect());
    let any = !body.is_empty() || !multi.is_empty();
    if let Err(error) =
        rustbgpd_wire::validate::validate_update_attributes(attributes, any, !body.is_empty(), true)
    {
        match error.disposition {
            ErrorDisposition::SessionReset => {
                let data = Bytes::from(error.data);
                let code = NotificationCode::UpdateMessage;
                return Err(Fault::Reset(NotificationMessage::new(code, error.subcode, data)));
            }
            _ => _ = verdict.get_or_insert_with(|| validation_text(error.subcode, &error.data)),
        }
    }
    result.withdrawn.extend(parsed.update.withdrawn.iter().filter_map(|entry| ipv4(entry.prefix)));
    for attribute in attributes {
        if let PathAttribute::MpUnreachNlri(unreach) = attribute {
            result.withdrawn.extend(unreach.withdrawn.iter().filter_map(|it| prefix(it.prefix)));
        }
    }
    result.end_of_rib = end_of_rib(update, attributes, agreed);
    let next_hop_body = attributes.iter().find_map(|attribute| match attribute {
        PathAttribute::NextHop(address) => Some(IpAddr::V4(*address)),
        _ => None,
    });
    for (prefixes, next_hop) in [(body, next_hop_body), (multi, reach.map(|reach| reach.next_hop))] {
        if prefixes.is_empty() {
            continue;
        }
        match next_hop.and_then(|next_hop| shared(attributes, next_hop)).filter(|_| verdict.is_none()) {
            Some(attributes) => result.announced.push((prefixes, attributes)),
            None => {
                let why = verdict.clone().unwrap_or_else(|| "a mandatory attribute is missing".to_owned());
                let count = u32::try_from(prefixes.len()).unwrap_or(u32::MAX);
                let (_, total) = result.treated_as_withdraw.get_or_insert((why, 0));
                *total = total.saturating_add(count);
                result.withdrawn.extend(prefixes);
            }
        }
    }
    // RFC 4760 §7: routes of families that were not agreed on are ignored.
    let known = |prefix: &IpNet| agreed.contains(&Family::of_prefix(prefix));
    result.withdrawn.retain(known);
    result.announced.retain(|(prefixes, _)| prefixes.first().is_some_and(known));
    Ok(result)
}

/// RFC 4724 §2: an UPDATE that says nothing at all, or nothing but an empty MP_UNREACH_NLRI.
fn end_of_rib(update: &UpdateMessage, attributes: &[PathAttribute], agreed: &[Family]) -> Option<Family> {
    if !update.withdrawn_routes.is_empty() || !update.nlri.is_empty() {
        return None;
    }
    let family = match attributes {
        [] if update.path_attributes.is_empty() => Some(Family::Ipv4),
        [PathAttribute::MpUnreachNlri(unreach)] if unreach.withdrawn.is_empty() => {
            family_of(unreach.afi, unreach.safi)
        }
        _ => None,
    };
    family.filter(|family| agreed.contains(family))
}

/// The attributes we keep; `None` when a mandatory one is missing.
fn shared(attributes: &[PathAttribute], next_hop: IpAddr) -> Option<Arc<Attributes>> {
    let (mut origin, mut as_path, mut med, mut communities) = (None, None, None, Vec::new());
    for attribute in attributes {
        match attribute {
            PathAttribute::Origin(value) => {
                origin = Some(match value {
                    WireOrigin::Igp => Origin::Igp,
                    WireOrigin::Egp => Origin::Egp,
                    WireOrigin::Incomplete => Origin::Incomplete,
                });
            }
            PathAttribute::AsPath(path) => {
                let segments = path.segments.iter().map(|segment| match segment {
                    AsPathSegment::AsSequence(ases) => AsSegment::Sequence(ases.clone()),
                    AsPathSegment::AsSet(ases) => AsSegment::Set(ases.clone()),
                });
                as_path = Some(segments.collect());
            }
            PathAttribute::Med(value) => med = Some(*value),
            PathAttribute::Communities(values) | PathAttribute::CommunitiesPartial(values) => {
                communities.clone_from(values);
            }
            _ => {}
        }
    }
    Some(Arc::new(Attributes { origin: origin?, as_path: as_path?, next_hop, med, communities }))
}

fn validation_text(subcode: u8, data: &[u8]) -> String {
    let name = rustbgpd_wire::notification::description(NotificationCode::UpdateMessage, subcode);
    match (subcode, data) {
        (3, [missing]) => format!("{name}: attribute {missing} is missing"),
        _ => name.to_owned(),
    }
}

/// The OPEN as we want it: no extension that we would have to serve and AWS does not need.
fn plain(mut open: OpenMessage) -> OpenMessage {
    open.capabilities.retain(|capability| {
        matches!(
            capability,
            Capability::MultiProtocol { .. } | Capability::RouteRefresh | Capability::FourOctetAs { .. }
        )
    });
    open
}

fn seen(notification: &NotificationMessage) -> Notification {
    let text = extract_shutdown_communication(notification).ok().flatten();
    // The text is the neighbour's and goes to terminals and logs (RFC 9003 §5).
    let communication = text.map(|text| text.chars().filter(|letter| !letter.is_control()).collect());
    Notification { code: notification.code.as_u8(), subcode: notification.subcode, communication }
}

/// RFC 9003 §2: one octet of length, then UTF-8; cut at a character.
pub(crate) fn shutdown_communication(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut end = text.len().min(COMMUNICATION_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    let mut data = vec![u8::try_from(text.len()).unwrap_or(0)];
    data.extend_from_slice(text.as_bytes());
    data
}

/// RFC 4486 §4: the data of Cease / Maximum Number of Prefixes Reached.
pub(crate) fn max_prefix_data(family: Family, limit: u32) -> Vec<u8> {
    let (afi, safi) = wire_family(family);
    let mut data = (afi as u16).to_be_bytes().to_vec();
    data.push(safi as u8);
    data.extend_from_slice(&limit.to_be_bytes());
    data
}

/// UPDATEs that announce `prefixes`, all of `family`.
pub(crate) fn announce(
    family: Family,
    prefixes: &[IpNet],
    with: &Announcement,
    four_octet_as: bool,
) -> Vec<Vec<u8>> {
    let segments = vec![AsPathSegment::AsSequence(with.as_path.clone())];
    let mut attributes =
        vec![PathAttribute::Origin(WireOrigin::Igp), PathAttribute::AsPath(AsPath { segments })];
    if let (Family::Ipv4, IpAddr::V4(next_hop)) = (family, with.next_hop) {
        attributes.push(PathAttribute::NextHop(next_hop));
    }
    attributes.extend(with.med.map(PathAttribute::Med));
    let chunks = prefixes.chunks(per_update(family));
    chunks
        .filter_map(|chunk| match family {
            Family::Ipv4 => build(&ipv4_entries(chunk), &[], &attributes, four_octet_as),
            Family::Ipv6 => {
                let reach = mp_reach(chunk, with.next_hop);
                let all: Vec<_> = attributes.iter().cloned().chain([reach]).collect();
                build(&[], &[], &all, four_octet_as)
            }
        })
        .collect()
}

/// UPDATEs that withdraw `prefixes`, all of `family`.
pub(crate) fn withdraw(family: Family, prefixes: &[IpNet]) -> Vec<Vec<u8>> {
    let chunks = prefixes.chunks(per_update(family));
    chunks
        .filter_map(|chunk| match family {
            Family::Ipv4 => build(&[], &ipv4_entries(chunk), &[], true),
            Family::Ipv6 => build(&[], &[], &[mp_unreach(chunk)], true),
        })
        .collect()
}

/// RFC 4724 §2.
pub(crate) fn end_of_rib_marker(family: Family) -> Option<Vec<u8>> {
    match family {
        Family::Ipv4 => build(&[], &[], &[], true),
        Family::Ipv6 => build(&[], &[], &[mp_unreach(&[])], true),
    }
}

/// RFC 2918 §3.
pub(crate) fn route_refresh(family: Family) -> Option<Vec<u8>> {
    let (afi, safi) = wire_family(family);
    encode(&Message::RouteRefresh(RouteRefreshMessage::new(afi, safi)))
}

fn per_update(family: Family) -> usize {
    match family {
        Family::Ipv4 => IPV4_PREFIXES_PER_UPDATE,
        Family::Ipv6 => IPV6_PREFIXES_PER_UPDATE,
    }
}

fn build(
    announced: &[Ipv4NlriEntry],
    withdrawn: &[Ipv4NlriEntry],
    attributes: &[PathAttribute],
    four_octet_as: bool,
) -> Option<Vec<u8>> {
    let mode = Ipv4UnicastMode::Body;
    let update =
        UpdateMessage::try_build(announced, withdrawn, attributes, four_octet_as, false, mode).ok()?;
    encode(&Message::Update(update))
}

/// Encoding fails only for messages beyond 4096 octets, which the limits above exclude.
fn encode(message: &Message) -> Option<Vec<u8>> {
    encode_message(message).ok().map(|bytes| bytes.to_vec())
}

fn ipv4_entries(prefixes: &[IpNet]) -> Vec<Ipv4NlriEntry> {
    let entry = |prefix: &IpNet| match prefix {
        IpNet::V4(net) => {
            Some(Ipv4NlriEntry { path_id: 0, prefix: Ipv4Prefix::new(net.network(), net.prefix_len()) })
        }
        IpNet::V6(_) => None,
    };
    prefixes.iter().filter_map(entry).collect()
}

fn ipv6_entries(prefixes: &[IpNet]) -> Vec<NlriEntry> {
    let entry = |prefix: &IpNet| match prefix {
        IpNet::V6(net) => {
            let prefix = Prefix::V6(Ipv6Prefix::new(net.network(), net.prefix_len()));
            Some(NlriEntry { path_id: 0, prefix })
        }
        IpNet::V4(_) => None,
    };
    prefixes.iter().filter_map(entry).collect()
}

fn mp_reach(prefixes: &[IpNet], next_hop: IpAddr) -> PathAttribute {
    PathAttribute::MpReachNlri(Box::new(MpReachNlri {
        afi: Afi::Ipv6,
        safi: Safi::Unicast,
        next_hop,
        link_local_next_hop: None,
        announced: ipv6_entries(prefixes),
        flowspec_announced: Vec::new(),
        evpn_announced: Vec::new(),
        bgpls_announced: Vec::new(),
        vpn_announced: Vec::new(),
        labeled_announced: Vec::new(),
        rtc_announced: Vec::new(),
    }))
}

fn mp_unreach(prefixes: &[IpNet]) -> PathAttribute {
    PathAttribute::MpUnreachNlri(Box::new(MpUnreachNlri {
        afi: Afi::Ipv6,
        safi: Safi::Unicast,
        withdrawn: ipv6_entries(prefixes),
        flowspec_withdrawn: Vec::new(),
        evpn_withdrawn: Vec::new(),
        bgpls_withdrawn: Vec::new(),
        vpn_withdrawn: Vec::new(),
        labeled_withdrawn: Vec::new(),
        rtc_withdrawn: Vec::new(),
    }))
}

fn wire_family(family: Family) -> (Afi, Safi) {
    match family {
        Family::Ipv4 => (Afi::Ipv4, Safi::Unicast),
        Family::Ipv6 => (Afi::Ipv6, Safi::Unicast),
    }
}

fn family_of(afi: Afi, safi: Safi) -> Option<Family> {
    match (afi, safi) {
        (Afi::Ipv4, Safi::Unicast) => Some(Family::Ipv4),
        (Afi::Ipv6, Safi::Unicast) => Some(Family::Ipv6),
        _ => None,
    }
}

fn ipv4(prefix: Ipv4Prefix) -> Option<IpNet> {
    Ipv4Net::new(prefix.addr, prefix.len).ok().map(|net| IpNet::V4(net.trunc()))
}

fn prefix(prefix: Prefix) -> Option<IpNet> {
    match prefix {
        Prefix::V4(prefix) => ipv4(prefix),
        Prefix::V6(prefix) => Ipv6Net::new(prefix.addr, prefix.len).ok().map(|net| IpNet::V6(net.trunc())),
    }
}

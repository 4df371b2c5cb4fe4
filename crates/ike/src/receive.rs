//! The way of a datagram: find its IKE SA, check it without changing anything, then apply it.
//!
//! [`Endpoint::check`] takes `&self`; what it lets through is applied by functions that cannot fail. So a
//! forged, truncated or replayed datagram changes nothing but a drop counter.

use std::net::SocketAddr;

use model::IkeSpi;

use crate::endpoint::{Endpoint, Mode};
use crate::error::{DropReason, Failure};
use crate::fragment::{Flight, Opened};
use crate::message;
use crate::output::Notice;
use crate::sa::candidates::Candidates;
use crate::sa::established::{Asked, Checked};
use crate::sa::responder::{First, Heard, Opening};
use crate::sa::state::Sa;
use crate::sa::{authenticating, candidates, initiator, responder};
use crate::wire::{self, ExchangeType, Flags, Header, NotifyType};

/// A datagram that passed its check.
#[derive(Debug)]
enum Incoming {
    /// A repeat: answer it with these octets.
    Repeat(Flight),
    /// A first request.
    First,
    /// An answer to our IKE_SA_INIT.
    Init(IkeSpi, initiator::Answer),
    /// An answer to our IKE_AUTH, or one more to our IKE_SA_INIT.
    Auth(IkeSpi, candidates::Answer),
    /// IKE_AUTH for a half-open IKE SA.
    HalfOpen(IkeSpi, Heard),
    /// For an established IKE SA.
    Established(IkeSpi, Checked),
    /// The peer speaks another major version.
    OtherVersion,
}

impl Endpoint {
    /// Takes a datagram.
    pub(crate) fn on_datagram(&mut self, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        let judged = wire::parse_header(datagram)
            .map_err(DropReason::Malformed)
            .and_then(|header| self.check(&header, remote, datagram).map(|incoming| (header, incoming)));
        match judged {
            Ok((header, incoming)) => {
                let asked = Asked { header, datagram, local, remote, largest: None };
                self.apply(&asked, incoming);
            }
            Err(reason) => self.drop_datagram(reason),
        }
    }

    /// Judges a datagram; changes nothing.
    fn check(&self, header: &Header, remote: SocketAddr, datagram: &[u8]) -> Result<Incoming, DropReason> {
        if self.mode == Mode::Closed {
            return Err(DropReason::Closed);
        }
        let from_peer = remote.ip() == self.ctx.config.remote;
        let major = header.major_version();
        if major != 2 {
            return if from_peer { Ok(Incoming::OtherVersion) } else { Err(DropReason::Version(major)) };
        }
        if header.spi_i == IkeSpi::ZERO {
            return Err(DropReason::UnknownSpi);
        }
        let opens = header.exchange == ExchangeType::IKE_SA_INIT && !header.flags.response();
        if opens {
            return self.check_first(header, remote, datagram, from_peer);
        }
        let ours = if header.flags.initiator() { header.spi_r } else { header.spi_i };
        let Some(sa) = self.sas.get(&ours) else {
            let ghost = self.tombstones.iter().find(|t| t.spi == ours && t.last.request == datagram);
            let ghost = ghost.map(|t| Incoming::Repeat(t.last.response.clone()));
            return ghost.ok_or(if from_peer { DropReason::UnknownSpi } else { DropReason::UnknownPeer });
        };
        match sa {
            // Nothing is authenticated yet: only the peer's address may speak.
            Sa::Initiator(_) if !from_peer => Err(DropReason::UnknownPeer),
            Sa::Initiator(sa) => {
                sa.check(&self.ctx.config, header, datagram).map(|answer| Incoming::Init(ours, answer))
            }
            Sa::Authenticating(sa) => sa
                .check(&self.ctx.config, from_peer, header, datagram)
                .map(|answer| Incoming::Auth(ours, answer)),
            // AUTH does not cover the outer addresses: without a NAT they are those of IKE_SA_INIT, and a copy
            // that overtakes the original from elsewhere must not lead the tunnel there (RFC 7296 §2.23).
            Sa::HalfOpen(sa) if !from_peer && !sa.agreed.path.nat_remote => Err(DropReason::UnknownPeer),
            Sa::HalfOpen(sa) => sa.check(header, datagram).map(|heard| Incoming::HalfOpen(ours, heard)),
            Sa::Established(sa) => match sa.check(header, datagram)? {
                Checked::Hint if !from_peer => Err(DropReason::Unprotected),
                checked => Ok(Incoming::Established(ours, checked)),
            },
        }
    }

    fn check_first(
        &self,
        header: &Header,
        remote: SocketAddr,
        datagram: &[u8],
        from_peer: bool,
    ) -> Result<Incoming, DropReason> {
        if !from_peer {
            return Err(DropReason::UnknownPeer);
        }
        if !header.flags.initiator() || header.spi_r != IkeSpi::ZERO {
            return Err(DropReason::Flags);
        }
        if header.message_id != 0 {
            return Err(DropReason::MessageId);
        }
        if self.mode == Mode::Closing {
            return Err(DropReason::Closed);
        }
        // Our own request, sent back to us. With equal identities on both sides we would authenticate to
        // ourselves, for both know the key.
        if self.sas.get(&header.spi_i).is_some_and(Sa::is_attempt) {
            return Err(DropReason::Unexpected);
        }
        // Of these IKE SAs the peer has had our answer, for it authenticated with it: this is a replay.
        if self.concluded.iter().any(|request| request == datagram) {
            return Err(DropReason::Unexpected);
        }
        for sa in self.sas.values() {
            //= RFC 7296 §2.1: a repeated request gets the identical answer.
            if let Sa::HalfOpen(sa) = sa
                && sa.from == remote
                && sa.agreed.request == datagram
            {
                return Ok(Incoming::Repeat(Flight::whole(sa.agreed.response.clone())));
            }
        }
        Ok(Incoming::First)
    }

    fn apply(&mut self, asked: &Asked<'_>, incoming: Incoming) {
        match incoming {
            Incoming::Repeat(response) => self.ctx.send_flight(asked.local, asked.remote, &response),
            Incoming::First => self.on_first(asked),
            Incoming::Init(spi, answer) => self.on_init_answer(spi, answer),
            Incoming::Auth(spi, answer) => self.on_auth_answer(spi, answer),
            Incoming::HalfOpen(spi, heard) => self.on_half_open(spi, asked, heard),
            Incoming::Established(spi, checked) => self.on_established(spi, asked, checked),
            Incoming::OtherVersion => self.on_other_version(asked),
        }
    }

    fn on_first(&mut self, asked: &Asked<'_>) {
        let half_open = self.sas.values().filter(|sa| matches!(sa, Sa::HalfOpen(_))).count();
        let first = First {
            local: asked.local,
            remote: asked.remote,
            header: asked.header,
            datagram: asked.datagram,
        };
        match responder::open(&mut self.ctx, first, half_open) {
            Opening::HalfOpen(sa) => self.hold(Sa::HalfOpen(sa)),
            Opening::Stateless => {}
            Opening::Dropped(reason) => self.drop_datagram(reason),
        }
    }

    fn on_init_answer(&mut self, spi: IkeSpi, answer: initiator::Answer) {
        let Some(Sa::Initiator(mut sa)) = self.sas.remove(&spi) else { return };
        self.ctx.alone = self.sas.is_empty();
        match sa.apply(&mut self.ctx, answer) {
            Some(next) => self.hold(Sa::Authenticating(Box::new(Candidates::new(*sa, next)))),
            None => self.hold(Sa::Initiator(sa)),
        }
    }

    fn on_auth_answer(&mut self, spi: IkeSpi, answer: candidates::Answer) {
        let Some(Sa::Authenticating(mut sa)) = self.sas.remove(&spi) else { return };
        let outcome = match answer {
            candidates::Answer::Another(agreed) => {
                sa.follow(&mut self.ctx, *agreed);
                None
            }
            candidates::Answer::Auth(spi_r, answer) => sa.conclude(&mut self.ctx, spi_r, answer),
        };
        match outcome {
            None => self.hold(Sa::Authenticating(sa)),
            Some(authenticating::Outcome::Established(sa)) => self.welcome(sa, false),
            Some(authenticating::Outcome::Failed(failure)) => self.attempt_failed(failure),
            Some(authenticating::Outcome::Continues(_)) => {}
        }
    }

    fn on_half_open(&mut self, spi: IkeSpi, asked: &Asked<'_>, heard: Heard) {
        let Some(Sa::HalfOpen(mut sa)) = self.sas.remove(&spi) else { return };
        let opened = match heard {
            Heard::Next(opened) => opened,
            Heard::Repeat { recut } => {
                sa.answer_again(&mut self.ctx, asked, recut);
                return self.hold(Sa::HalfOpen(sa));
            }
        };
        let (mut verified, mut complete) = (None, None);
        match opened {
            Opened::Whole(whole) => verified = Some(*whole),
            Opened::Malformed => {}
            Opened::Fragment(fragment) => match sa.add(&self.ctx, *fragment, asked.datagram) {
                Some(whole) => complete = Some(whole),
                None => return self.hold(Sa::HalfOpen(sa)),
            },
        }
        let verified = verified.or_else(|| complete.as_mut().and_then(|complete| complete.verified.take()));
        let asked = &asked.with(complete.as_ref());
        let outcome = if sa.agreed.next_method().is_some() {
            match sa.intermediate(&mut self.ctx, asked, verified) {
                Ok(sa) => return self.hold(Sa::HalfOpen(sa)),
                Err(outcome) => *outcome,
            }
        } else {
            sa.conclude(&mut self.ctx, asked, verified)
        };
        match outcome {
            responder::Outcome::Established { sa, initial_contact } => self.welcome(sa, initial_contact),
            responder::Outcome::Refused { last, failure } => {
                self.bury(spi, last);
                self.ctx.failed(failure);
            }
        }
    }

    fn on_established(&mut self, spi: IkeSpi, asked: &Asked<'_>, checked: Checked) {
        let from = (asked.local, asked.remote);
        self.with_established(spi, |sa, ctx, events| match checked {
            Checked::Repeat { recut } => sa.answer_again(ctx, asked, recut),
            Checked::Fragment(fragment) => {
                let Some(mut complete) = sa.add(ctx, asked, *fragment) else { return };
                let verified = complete.verified.take();
                if asked.header.flags.response() {
                    return sa.on_response(ctx, from, verified, events);
                }
                sa.on_request(ctx, &asked.with(Some(&complete)), verified, events);
            }
            Checked::Request(verified) => sa.on_request(ctx, asked, Some(*verified), events),
            Checked::BadRequest => sa.on_request(ctx, asked, None, events),
            Checked::Response(verified) => sa.on_response(ctx, from, Some(*verified), events),
            Checked::BadResponse => sa.on_response(ctx, from, None, events),
            Checked::Hint => sa.hint(ctx),
        });
    }

    /// IKEv1, or something from the future (RFC 7296 §2.5): a hint why an attempt gets nowhere.
    fn on_other_version(&mut self, asked: &Asked<'_>) {
        let major = asked.header.major_version();
        self.drop_datagram(DropReason::Version(major));
        for sa in self.sas.values_mut() {
            if let Sa::Initiator(sa) = sa {
                sa.refuse(&mut self.ctx, Failure::UnsupportedVersion);
            }
        }
        if major > 2 && !asked.header.flags.response() && self.mode == Mode::Open {
            //= RFC 7296 §2.5: tell which version we speak. One answer to one datagram, and a smaller one.
            let flags = Flags::new(false, true);
            let header = Header::new(
                asked.header.spi_i,
                asked.header.spi_r,
                asked.header.exchange,
                flags,
                asked.header.message_id,
            );
            let payload = message::notify(NotifyType::INVALID_MAJOR_VERSION, [wire::VERSION_2 >> 4]);
            self.ctx.send(asked.local, asked.remote, wire::encode(&header, &[payload]));
        }
    }

    /// Counts a datagram that changed nothing; one notice for each kind of reason in a second.
    fn drop_datagram(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.0.get_mut(reason.index()) {
            *count += 1;
        }
        let now = self.ctx.now;
        if let Some(last) = self.drop_noticed.get_mut(reason.index())
            && last.is_none_or(|last| now - last >= crate::endpoint::DROP_NOTICE_INTERVAL)
        {
            *last = Some(now);
            self.ctx.notice(Notice::Dropped(reason));
        }
    }
}

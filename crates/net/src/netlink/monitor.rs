//! Changes of links, addresses and routes as the kernel announces them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::address::{self, Address};
use super::link::{self, Link};
use super::route::{self, Route};
use super::socket::split_message;
use crate::Error;

/// Receive buffer of the monitor: room for a burst of some ten thousand route changes.
const BUFFER: usize = 8 << 20;
/// Most datagrams one [`Monitor::receive`] reads, so that a flood does not starve the caller.
const MAX_DATAGRAMS: usize = 64;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface appeared or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone {
        /// Its index.
        index: u32,
        /// Its name.
        name: String,
    },
    /// An address appeared or changed.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route appeared or was replaced.
    Route(Route),
    /// A route is gone.
    RouteGone(Route),
    /// A policy rule came or went.
    Rules,
    /// Announcements were lost: read everything anew.
    Overrun,
}

/// A non-blocking socket that is readable when something changed.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Subscribes in the current network namespace. Needs no privilege.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn open() -> Result<Self, Error> {
        let wrap = |e| Error::system("watch the routing tables", e);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(wrap)?;
        let group = |group: libc::c_uint| 1_u32 << (group - 1);
        let groups = group(libc::RTNLGRP_LINK)
            | group(libc::RTNLGRP_IPV4_IFADDR)
            | group(libc::RTNLGRP_IPV6_IFADDR)
            | group(libc::RTNLGRP_IPV4_ROUTE)
            | group(libc::RTNLGRP_IPV6_ROUTE)
            | group(libc::RTNLGRP_IPV4_RULE)
            | group(libc::RTNLGRP_IPV6_RULE);
        socket.bind(&SocketAddr::new(0, groups)).map_err(wrap)?;
        socket.set_non_blocking(true).map_err(wrap)?;
        let fd = socket.as_raw_fd();
        crate::socket::set_buffer(fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, BUFFER).map_err(wrap)?;
        Ok(Self { socket, buffer: Vec::with_capacity(65_536) })
    }

    /// What changed since the last call; empty when nothing did.
    ///
    /// # Errors
    /// The kernel's, never `WouldBlock`.
    pub fn receive(&mut self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        for _ in 0..MAX_DATAGRAMS {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    changes.push(Change::Overrun);
                    continue;
                }
                Err(e) => return Err(e),
            }
            let mut rest = self.buffer.as_slice();
            while let Some((bytes, next)) = split_message(rest) {
                rest = next;
                // What the codec cannot read (a newer attribute) still means that something changed.
                match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
                    Ok(message) => changes.extend(from_payload(message.payload)),
                    Err(_) => changes.push(Change::Overrun),
                }
            }
        }
        Ok(changes)
    }
}

fn from_payload(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    let NetlinkPayload::InnerMessage(message) = payload else { return None };
    match message {
        RouteNetlinkMessage::NewLink(message) => link::from_message(&message).map(Change::Link),
        RouteNetlinkMessage::DelLink(message) => {
            link::from_message(&message).map(|Link { index, name, .. }| Change::LinkGone { index, name })
        }
        RouteNetlinkMessage::NewAddress(message) => address::from_message(&message).map(Change::Address),
        RouteNetlinkMessage::DelAddress(message) => address::from_message(&message).map(Change::AddressGone),
        RouteNetlinkMessage::NewRoute(message) => route::from_message(&message).map(Change::Route),
        RouteNetlinkMessage::DelRoute(message) => route::from_message(&message).map(Change::RouteGone),
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Change::Rules),
        _ => None,
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

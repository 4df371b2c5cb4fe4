//! Requests and their answers on one rtnetlink socket.

use std::os::fd::AsRawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::Error;

/// Largest answer datagram; the kernel fills up to 32 KiB of a dump at a time.
const BUFFER_LEN: usize = 65_536;
/// Most messages of one dump: a full table is around a million routes.
const MAX_MESSAGES: usize = 4_000_000;
/// Requests sent at once: their acknowledgements must fit into the socket's receive buffer, about 0.8 KB each.
const BATCH: usize = 64;
/// A dump that changed while it was read is repeated this often before it is taken as it is.
const MAX_REPEATS: usize = 3;

/// A socket with a sequence counter; every answer is matched to its request.
#[derive(Debug)]
pub(super) struct Requests {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Requests {
    pub(super) fn open() -> Result<Self, Error> {
        let wrap = |e| Error::system("open a netlink socket", e);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(wrap)?;
        socket.bind_auto().map_err(wrap)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(wrap)?;
        // The kernel then filters dumps by the fields of the request's header, and rejects what it does not know.
        let _ =
            crate::socket::set_option(socket.as_raw_fd(), libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1);
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER_LEN) })
    }

    /// A request that is answered by success or an errno.
    pub(super) fn change(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        what: impl Fn() -> String,
    ) -> Result<(), Error> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags, &what)?;
        self.answers(&what).map(|_| ())
    }

    /// Many requests, each answered by success or an errno, in their order: as many at a time as the answers have
    /// room for. One refused does not keep the others from being carried out.
    pub(super) fn change_all(
        &mut self,
        changes: impl IntoIterator<Item = (RouteNetlinkMessage, u16)>,
        what: impl Fn() -> String,
    ) -> Result<Vec<Option<i32>>, Error> {
        let mut answers = Vec::new();
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let first = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            let mut count = 0;
            for (message, flags) in changes.by_ref().take(BATCH) {
                bytes.extend(self.encode(message, NLM_F_REQUEST | NLM_F_ACK | flags));
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                count += 1;
            }
            self.socket.send(&bytes, 0).map_err(|e| Error::system(what(), e))?;
            answers.extend(self.acknowledgements(first, count, &what)?);
        }
        Ok(answers)
    }

    /// Reads one acknowledgement for each of `count` requests from number `first` on; the errno where one failed.
    fn acknowledgements(
        &mut self,
        first: u32,
        count: usize,
        what: &impl Fn() -> String,
    ) -> Result<Vec<Option<i32>>, Error> {
        let mut answers = vec![None; count];
        let mut missing = count;
        while missing > 0 {
            self.receive(what)?;
            let mut rest = self.buffer.as_slice();
            while let Some((bytes, next)) = split_message(rest) {
                rest = next;
                let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else { continue };
                let NetlinkPayload::Error(error) = message.payload else { continue };
                let index = message.header.sequence_number.wrapping_sub(first) as usize;
                if let Some(answer) = answers.get_mut(index) {
                    *answer = error.code.map(|code| code.get().saturating_abs());
                    missing -= 1;
                }
            }
        }
        Ok(answers)
    }

    /// A request that is answered by one object.
    pub(super) fn get(
        &mut self,
        message: RouteNetlinkMessage,
        what: impl Fn() -> String,
    ) -> Result<RouteNetlinkMessage, Error> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK, &what)?;
        let (mut answers, _) = self.answers(&what)?;
        answers.pop().ok_or_else(|| Error::Answer { what: what(), detail: "it is empty".to_owned() })
    }

    /// A request that is answered by all objects of a kind.
    pub(super) fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        what: impl Fn() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let mut repeats = 0;
        loop {
            self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP, &what)?;
            let (answers, interrupted) = self.answers(&what)?;
            if !interrupted || repeats == MAX_REPEATS {
                return Ok(answers);
            }
            repeats += 1;
        }
    }

    fn send(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        what: &impl Fn() -> String,
    ) -> Result<(), Error> {
        let bytes = self.encode(message, flags);
        self.socket.send(&bytes, 0).map(|_| ()).map_err(|e| Error::system(what(), e))
    }

    /// The octets of a request, with the next number.
    fn encode(&mut self, message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    /// Takes one datagram into the buffer.
    fn receive(&mut self, what: &impl Fn() -> String) -> Result<(), Error> {
        self.buffer.clear();
        let (len, _) = self.socket.recv_from(&mut self.buffer, 0).map_err(|e| Error::system(what(), e))?;
        if len > self.buffer.len() {
            return Err(Error::Answer { what: what(), detail: format!("{len} octets at once") });
        }
        Ok(())
    }

    /// Reads until the request's end; the flag tells that the dump changed meanwhile.
    fn answers(&mut self, what: &impl Fn() -> String) -> Result<(Vec<RouteNetlinkMessage>, bool), Error> {
        let mut found = Vec::new();
        let mut interrupted = false;
        loop {
            self.receive(what)?;
            let mut rest = self.buffer.as_slice();
            while let Some((bytes, next)) = split_message(rest) {
                rest = next;
                let message = match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
                    Ok(message) => message,
                    // An object with an attribute newer than our codec; leaving it out beats failing the dump.
                    Err(_) if is_object(bytes) => continue,
                    Err(e) => return Err(Error::Answer { what: what(), detail: e.to_string() }),
                };
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) if found.len() < MAX_MESSAGES => found.push(inner),
                    NetlinkPayload::Done(_) => return Ok((found, interrupted)),
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok((found, interrupted)),
                            Some(code) => Err(Error::system(
                                what(),
                                std::io::Error::from_raw_os_error(code.get().saturating_abs()),
                            )),
                        };
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Numbers below 16 are netlink's own control messages.
fn is_object(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, _, kind, high, ..] if *high != 0 || *kind >= 16)
}

/// Cuts the first message off a datagram.
pub(super) fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    if len < 16 {
        return None;
    }
    let message = bytes.get(..len)?;
    Some((message, bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_cut_at_its_length_fields_and_never_beyond_its_end() {
        let mut bytes = vec![0; 38];
        bytes[..4].copy_from_slice(&18_u32.to_ne_bytes());
        bytes[20..24].copy_from_slice(&18_u32.to_ne_bytes());
        let (first, rest) = split_message(&bytes).unwrap();
        assert_eq!((first.len(), rest.len()), (18, 18));
        let (second, rest) = split_message(rest).unwrap();
        assert_eq!((second.len(), rest.len()), (18, 0));
        assert_eq!(split_message(rest), None);
        bytes[..4].copy_from_slice(&39_u32.to_ne_bytes());
        assert_eq!(split_message(&bytes), None);
        bytes[..4].copy_from_slice(&3_u32.to_ne_bytes());
        assert_eq!(split_message(&bytes), None);
    }
}

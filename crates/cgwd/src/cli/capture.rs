//! `cgwd capture`: inner packets on standard output, for tcpdump and Wireshark.

use std::io::{IsTerminal, Write};
use std::path::Path;

use http_body_util::BodyExt;

use super::args::Capture;
use super::output::complain;
use super::{EXIT_FAILED, EXIT_UNREACHABLE, Failure};
use crate::capture::pcapng;
use crate::control::client::Client;

/// Longer blocks than any packet's are no pcapng.
const BLOCK_BYTES_MAX: usize = 1 << 20;

pub(super) async fn run(socket: &Path, capture: &Capture) -> Result<u8, Failure> {
    if std::io::stdout().is_terminal() {
        let message = "cgwd: captured packets are binary, and standard output is a terminal; write \
                       `cgwd capture | tcpdump -r -`, or `cgwd capture > file.pcapng`";
        return Err(Failure::new(EXIT_FAILED, message));
    }
    let mut body = Client::new(socket).capture(capture.tunnel.as_deref(), capture.count).await?;
    let what = capture.tunnel.as_deref().unwrap_or("all tunnels");
    complain(&format!("cgwd: capturing the decrypted packets of {what}; Ctrl-C ends it"));
    let mut copy = Copy::default();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| {
            Failure::new(EXIT_UNREACHABLE, format!("cgwd: the daemon ended the capture: {error}"))
        })?;
        let Some(data) = frame.data_ref() else { continue };
        match copy.take(data, &mut std::io::stdout().lock()) {
            Ok(()) => {}
            // The reader has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(error) => {
                let message = format!("cgwd: cannot write the packets: {error}; is the disk full?");
                return Err(Failure::new(EXIT_FAILED, message));
            }
        }
    }
    complain(&format!("{} packets captured, {} lost on the way here", copy.packets, copy.lost));
    Ok(0)
}

/// Passes whole blocks on, so that a file is readable wherever it ends, and counts.
#[derive(Default)]
struct Copy {
    rest: Vec<u8>,
    packets: u64,
    lost: u64,
}

impl Copy {
    fn take(&mut self, data: &[u8], out: &mut impl Write) -> std::io::Result<()> {
        self.rest.extend(data);
        let mut whole = 0;
        while let Some((kind, block)) = block(self.rest.get(whole..).unwrap_or_default())? {
            match kind {
                pcapng::PACKET => self.packets += 1,
                pcapng::STATISTICS => {
                    self.lost = pcapng::dropped(block.get(8..).unwrap_or_default()).unwrap_or(0)
                }
                _ => {}
            }
            whole += block.len();
        }
        out.write_all(self.rest.get(..whole).unwrap_or_default())?;
        out.flush()?;
        self.rest.drain(..whole);
        Ok(())
    }
}

/// The first block and its type, when all of it is there.
fn block(bytes: &[u8]) -> std::io::Result<Option<(u32, &[u8])>> {
    let word =
        |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    let (Some(kind), Some(len)) = (word(0), word(4)) else { return Ok(None) };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if !(pcapng::BLOCK_OVERHEAD..=BLOCK_BYTES_MAX).contains(&len) {
        return Err(std::io::Error::other("what the daemon sends is no capture"));
    }
    Ok(bytes.get(..len).map(|block| (kind, block)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_blocks_reach_the_reader() {
        let block = |kind: u32, body: &[u8]| {
            let len = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
            [&kind.to_le_bytes()[..], &len, body, &len].concat()
        };
        let all =
            [block(pcapng::PACKET, &[0; 8]), block(1, &[0; 4]), block(pcapng::PACKET, &[0; 40])].concat();
        let (mut copy, mut out) = (Copy::default(), Vec::new());
        for piece in all.chunks(7) {
            copy.take(piece, &mut out).unwrap();
            assert!(out.is_empty() || [20, 36, all.len()].contains(&out.len()), "{}", out.len());
        }
        assert_eq!((out, copy.packets), (all, 2));
        assert!(copy.take(&[0; 8], &mut Vec::new()).is_err(), "a block of length 0 never ends");
    }
}

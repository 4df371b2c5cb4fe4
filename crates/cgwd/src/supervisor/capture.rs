//! `cgwd capture`: plugs the data planes of the tunnels into a tap, and notices when the client is gone.

use std::sync::Arc;

use super::Supervisor;
use super::line::Line;
use crate::capture::{Capture, Interface, Stream};
use crate::catalog::Code;
use crate::control::Refusal;
use crate::translate::failure::Finding;

/// The capture under way; there is at most one, because each copies every packet.
pub(super) struct Current {
    capture: Arc<Capture>,
    /// Connection and tunnel, when only one is asked for.
    only: Option<(String, String)>,
}

impl Current {
    /// Plugs in every tunnel that runs, also one that has started since.
    pub(super) fn plug(&self, lines: &[Line]) {
        for line in lines {
            let (connection, tunnel) = (&line.connection.id, &line.config.name);
            if self.only.as_ref().is_some_and(|(c, t)| c != connection || t != tunnel) {
                continue;
            }
            let Some(running) = line.running() else { continue };
            let interface = Interface {
                name: line.config.interface.clone(),
                index: running.glue.plane().interface_index(),
                description: format!("{connection}/{tunnel} to {}", line.config.outside),
            };
            let number = self.capture.number(&interface);
            running.glue.plane().tap(Some((Arc::clone(&self.capture.tap), number)));
        }
    }
}

impl Supervisor {
    /// Begins a capture of one tunnel, or of all.
    ///
    /// # Errors
    /// When no tunnel is called so, or another capture is under way.
    pub(super) fn capture(&mut self, tunnel: Option<&str>, count: Option<u64>) -> Result<Stream, Refusal> {
        self.end_capture();
        if self.capture.is_some() {
            let message =
                "another cgwd capture is under way; end it first (two would copy every packet twice)";
            return Err(Refusal::conflict(message));
        }
        let only = match tunnel {
            Some(name) => {
                let found = self.config.find_tunnel(name);
                let (connection, tunnel) = found.map_err(|error| Refusal::not_found(error.to_string()))?;
                Some((connection.id.clone(), tunnel.name.clone()))
            }
            None => None,
        };
        let (capture, stream) = Capture::new(count);
        let current = Current { capture, only };
        current.plug(&self.lines);
        let text = match &current.only {
            Some((connection, tunnel)) => {
                format!("decrypted packets of {connection}/{tunnel} are being captured")
            }
            None => "decrypted packets of all tunnels are being captured".to_owned(),
        };
        self.capture = Some(current);
        self.event(None, None, Finding { code: Code::CaptureStarted, text }, None);
        Ok(stream)
    }

    /// Takes the tap out again once the client is gone.
    pub(super) fn end_capture(&mut self) {
        let Some(current) = self.capture.take_if(|current| current.capture.tap.is_closed()) else { return };
        for running in self.lines.iter().filter_map(Line::running) {
            running.glue.plane().tap(None);
        }
        let (packets, lost) = (current.capture.packets(), current.capture.tap.dropped());
        let text = format!("the capture ended after {packets} packets, {lost} more were not kept");
        self.event(None, None, Finding { code: Code::CaptureEnded, text }, None);
    }
}

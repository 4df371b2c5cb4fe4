//! A file that nobody needs to store: pseudo-random octets sent over TCP, and their SHA-256 at the other end.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use ring::digest::{Context, SHA256};

const CHUNK: usize = 1 << 16;

struct Stream(u64);

impl Stream {
    fn fill(&mut self, chunk: &mut [u8]) {
        for word in chunk.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes()[..word.len()]);
        }
    }
}

fn each_chunk(octets: usize, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut stream = Stream(0x9e37_79b9_7f4a_7c15);
    let mut chunk = vec![0; CHUNK];
    let mut left = octets;
    while left > 0 {
        let part = &mut chunk[..left.min(CHUNK)];
        stream.fill(part);
        take(part)?;
        left -= part.len();
    }
    Ok(())
}

/// Waits for one connection and sends `octets` to it.
pub(crate) fn serve(address: &str, octets: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)?;
    println!("ready");
    let (mut connection, _) = listener.accept()?;
    each_chunk(octets.parse()?, |part| connection.write_all(part))?;
    Ok(())
}

/// Fetches `octets` and compares their digest with what should have been sent.
pub(crate) fn fetch(address: &str, octets: &str) -> Result<(), Box<dyn Error>> {
    let octets: usize = octets.parse()?;
    let mut expected = Context::new(&SHA256);
    each_chunk(octets, |part| {
        expected.update(part);
        Ok(())
    })?;
    let start = Instant::now();
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    let mut found = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let len = connection.read(&mut chunk)?;
        if len == 0 {
            break;
        }
        found.update(&chunk[..len]);
        total += len;
    }
    if total != octets || expected.finish().as_ref() != found.finish().as_ref() {
        return Err(format!("{total} of {octets} octets arrived, or their SHA-256 differs").into());
    }
    println!("same {:.3} Gbit/s", octets as f64 * 8e-9 / start.elapsed().as_secs_f64());
    Ok(())
}

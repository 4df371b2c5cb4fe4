//! A transfer over TCP that compares every octet with the one that must stand there.
//!
//! The content is a fixed pseudo-random stream that both ends generate by themselves, so an octet lost,
//! repeated, moved or changed is found at its position. The receiver answers with the number of octets it
//! found right.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Direction;

/// A prime, so that no packet or window boundary repeats with the pattern.
const PATTERN: usize = 65_521;
/// A connection that moves nothing for this long has failed.
const STALL: Duration = Duration::from_secs(20);

/// What a transfer achieved.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Octets that arrived, every one of them right.
    pub bytes: u64,
    /// From the request to the last octet's confirmation.
    pub seconds: f64,
}

impl Report {
    /// Payload throughput in Mbit/s.
    pub fn mbit_per_second(&self) -> f64 {
        let bits = Duration::from_micros(self.bytes * 8).as_secs_f64();
        bits / self.seconds
    }
}

/// Asks the server at `target` for a transfer and takes part in it.
///
/// # Errors
/// When the connection fails or stalls, or the content differs.
pub fn run(target: SocketAddr, direction: Direction, bytes: u64) -> Result<Report> {
    let start = Instant::now();
    let mut stream =
        TcpStream::connect_timeout(&target, STALL).with_context(|| format!("connect {target}"))?;
    prepare(&stream)?;
    let mut request = [0; 9];
    request[0] = u8::from(direction == Direction::Upload);
    request[1..].copy_from_slice(&bytes.to_be_bytes());
    stream.write_all(&request)?;
    match direction {
        Direction::Download => {
            check(&mut stream, bytes)?;
            stream.write_all(&bytes.to_be_bytes())?;
        }
        Direction::Upload => {
            produce(&mut stream, bytes)?;
            let mut confirmed = [0; 8];
            stream.read_exact(&mut confirmed).context("the receiver found a wrong octet or hung up")?;
            if u64::from_be_bytes(confirmed) != bytes {
                bail!("the receiver confirmed {} of {bytes} octets", u64::from_be_bytes(confirmed));
            }
        }
    }
    Ok(Report { bytes, seconds: start.elapsed().as_secs_f64() })
}

/// The server's half of one transfer.
///
/// # Errors
/// As [`run`].
pub fn serve(mut stream: TcpStream) -> Result<()> {
    prepare(&stream)?;
    let mut request = [0; 9];
    stream.read_exact(&mut request)?;
    let [upload, length @ ..] = request;
    let bytes = u64::from_be_bytes(length);
    if upload == 1 {
        check(&mut stream, bytes)?;
        stream.write_all(&bytes.to_be_bytes())?;
    } else {
        produce(&mut stream, bytes)?;
        // Keeps the connection until the client has checked everything.
        let _ = stream.read(&mut [0; 8]);
    }
    Ok(())
}

fn prepare(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    stream.set_nodelay(true)?;
    Ok(())
}

/// xorshift64*, seeded with a constant: noise enough that no shifted copy matches.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(PATTERN + 8);
    while block.len() < PATTERN {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        block.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
    }
    block.truncate(PATTERN);
    block
}

/// The block at a position of the stream: the pattern with the block's number in front, so that blocks differ.
fn stamp(block: &mut [u8], number: u64) {
    if let Some(head) = block.first_chunk_mut::<8>() {
        *head = number.to_be_bytes();
    }
}

fn produce(stream: &mut TcpStream, bytes: u64) -> Result<()> {
    let mut block = pattern();
    let mut left = bytes;
    for number in 0.. {
        if left == 0 {
            break;
        }
        stamp(&mut block, number);
        let length = left.min(PATTERN as u64);
        stream.write_all(block.get(..usize::try_from(length)?).unwrap_or_default())?;
        left -= length;
    }
    Ok(())
}

fn check(stream: &mut TcpStream, bytes: u64) -> Result<()> {
    let mut block = pattern();
    let mut got = vec![0; PATTERN];
    let mut left = bytes;
    for number in 0.. {
        if left == 0 {
            break;
        }
        stamp(&mut block, number);
        let length = usize::try_from(left.min(PATTERN as u64))?;
        let (got, expected) =
            (got.get_mut(..length).unwrap_or_default(), block.get(..length).unwrap_or_default());
        stream.read_exact(got).with_context(|| format!("at octet {} of {bytes}", bytes - left))?;
        if got != expected {
            let offset = got.iter().zip(expected).take_while(|(a, b)| a == b).count() as u64;
            bail!("the content differs at octet {}", bytes - left + offset);
        }
        left -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn both_directions_arrive_whole_over_loopback() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                serve(stream.unwrap()).unwrap();
            }
        });
        for direction in [Direction::Download, Direction::Upload] {
            assert_eq!(run(address, direction, 200_001).unwrap().bytes, 200_001);
        }
        server.join().unwrap();
    }

    #[test]
    fn a_changed_octet_is_found_at_its_position() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let liar = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 9]).unwrap();
            let mut block = pattern();
            stamp(&mut block, 0);
            block[1234] ^= 1;
            stream.write_all(&block).unwrap();
        });
        let error = run(address, Direction::Download, PATTERN as u64).unwrap_err();
        assert_eq!(error.to_string(), "the content differs at octet 1234");
        liar.join().unwrap();
    }
}

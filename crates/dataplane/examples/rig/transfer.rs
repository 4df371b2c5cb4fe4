//! A file that nobody needs to store: pseudo-random octets sent over TCP, and their SHA-256 at the other end.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use net::udp::{UdpOptions, UdpSocket};
use ring::digest::{Context, SHA256};

const CHUNK: usize = 1 << 16;
/// Datagrams of one send.
const TRAIN: u32 = 20;

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
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
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

/// What datagram `number` holds: its number, then octets that follow from it.
fn datagram(number: u32, out: &mut [u8]) {
    Stream(u64::from(number) + 1).fill(out);
    out[..4].copy_from_slice(&number.to_be_bytes());
}

/// Sends `count` datagrams of `size` octets in trains that the kernel cuts up (`UDP_SEGMENT`).
pub(crate) fn blast(address: &str, count: &str, size: &str) -> Result<(), Box<dyn Error>> {
    let remote: SocketAddr = address.parse()?;
    let (count, size): (u32, u16) = (count.parse()?, size.parse()?);
    let any = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any.parse()?, &UdpOptions::default())?;
    socket.connect(remote)?;
    let mut train = vec![0; usize::from(size) * TRAIN as usize];
    for first in (0..count).step_by(TRAIN as usize) {
        let datagrams = TRAIN.min(count - first);
        for (number, slot) in (first..).zip(train.chunks_mut(usize::from(size))) {
            datagram(number, slot);
        }
        socket.send_segments(&train[..usize::from(size) * datagrams as usize], size, 0)?;
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

/// Receives `count` datagrams and compares each with what it should be.
pub(crate) fn sink(address: &str, count: &str, size: &str) -> Result<(), Box<dyn Error>> {
    let (count, size): (usize, usize) = (count.parse()?, size.parse()?);
    let options = UdpOptions { receive_buffer: Some(64 << 20), ..UdpOptions::default() };
    let socket = UdpSocket::bind(address.parse()?, &options)?;
    println!("ready");
    let mut found = vec![false; count];
    let (mut buffer, mut expected) = (vec![0; CHUNK], vec![0; size]);
    while found.contains(&false) {
        if net::poll::wait(&[socket.as_fd()], Some(Duration::from_secs(3)))?.none() {
            break;
        }
        let len = socket.receive_from(&mut buffer)?.len;
        let number = u32::from_be_bytes(*buffer.first_chunk().ok_or("too short")?);
        datagram(number, &mut expected);
        if buffer[..len] != expected {
            return Err(format!("datagram {number} of {len} octets is damaged").into());
        }
        *found.get_mut(number as usize).ok_or("a datagram that was not sent")? = true;
    }
    let missing = found.iter().filter(|found| !**found).count();
    println!("missing {missing}");
    Ok(())
}

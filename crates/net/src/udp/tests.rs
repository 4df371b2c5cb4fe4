use super::*;

fn pair() -> (UdpSocket, UdpSocket) {
    let any = "127.0.0.1:0".parse().unwrap();
    let a = UdpSocket::bind(any, &UdpOptions::default()).unwrap();
    let b = UdpSocket::bind(any, &UdpOptions::default()).unwrap();
    a.connect(b.local()).unwrap();
    b.connect(a.local()).unwrap();
    (a, b)
}

fn wait(socket: &UdpSocket) {
    let second = std::time::Duration::from_secs(2);
    assert!(crate::poll::wait(&[socket.as_fd()], Some(second)).unwrap().is(0));
}

#[test]
fn a_datagram_arrives_with_both_addresses() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let a = UdpSocket::bind(address.parse().unwrap(), &UdpOptions::default()).unwrap();
        let wildcard = if a.local().is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let b = UdpSocket::bind(wildcard.parse().unwrap(), &UdpOptions::default()).unwrap();
        let to = SocketAddr::new(a.local().ip(), b.local().port());
        a.send_to(b"hello", None, to).unwrap();
        wait(&b);
        let mut buffer = [0; 64];
        let got = b.receive_from(&mut buffer).unwrap();
        assert_eq!(got, Datagram { len: 5, local: to, remote: a.local(), truncated: false });
        b.send_to(b"back", Some(a.local().ip()), a.local()).unwrap();
        wait(&a);
        assert_eq!(a.receive_from(&mut buffer[..3]).map(|d| (d.len, d.truncated)).unwrap(), (3, true));
        assert_eq!(a.receive_from(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn one_send_becomes_many_datagrams_and_a_batch_receives_them_with_their_tos() {
    let (a, b) = pair();
    let payload: Vec<u8> = (0..450_u16).map(|i| (i / 100) as u8).collect();
    a.send_segments(&payload, 100, 0x2a).unwrap();
    wait(&b);
    let mut batch = ReceiveBatch::new(16, 2048);
    assert_eq!(b.receive_batch(&mut batch).unwrap(), 5);
    for index in 0..batch.len() {
        let message = batch.message(index).unwrap();
        let len = if index < 4 { 100 } else { 50 };
        assert_eq!(message.bytes, &vec![index as u8; len][..]);
        assert_eq!((message.segment, message.tos, message.truncated), (len, 0x2a, false));
        assert_eq!(message.remote, Some(a.local()));
        assert_eq!(batch.bytes(index).len(), len);
    }
    assert!(batch.message(5).is_none());
    assert!(batch.bytes(5).is_empty());
}

#[test]
fn with_gro_the_kernel_may_hand_over_a_train_and_says_its_segment_size() {
    let (a, b) = pair();
    b.set_gro(true).unwrap();
    a.send_segments(&[7; 450], 100, 0).unwrap();
    wait(&b);
    let mut batch = ReceiveBatch::new(16, 65536);
    b.receive_batch(&mut batch).unwrap();
    let mut total = 0;
    for index in 0..batch.len() {
        let message = batch.message(index).unwrap();
        total += message.bytes.chunks(message.segment).count();
        assert!(message.segment == 100 || message.bytes.len() == message.segment);
    }
    assert_eq!(total, 5);
}

#[test]
fn the_connected_socket_wins_over_the_wildcard_on_the_same_port() {
    let wildcard = UdpSocket::bind("0.0.0.0:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    let port = wildcard.local().port();
    let peer = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    let local = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
    let connected = UdpSocket::bind(local, &UdpOptions::default()).unwrap();
    connected.connect(peer.local()).unwrap();
    peer.send_to(b"esp", None, local).unwrap();
    stranger.send_to(b"ike", None, local).unwrap();
    let mut buffer = [0; 16];
    wait(&connected);
    assert_eq!(connected.receive_from(&mut buffer).unwrap().remote, peer.local());
    wait(&wildcard);
    assert_eq!(wildcard.receive_from(&mut buffer).unwrap().remote, stranger.local());
}

#[test]
fn what_overflows_the_receive_buffer_is_counted() {
    let options = UdpOptions { receive_buffer: Some(4096), ..UdpOptions::default() };
    let a = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
    let b = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    for _ in 0..100 {
        b.send_to(&[0; 1000], None, a.local()).unwrap();
    }
    let mut received = 0;
    while a.receive_from(&mut [0; 1500]).is_ok() {
        received += 1;
    }
    assert!(received < 100);
    assert_eq!(a.dropped(), 100 - received);
}

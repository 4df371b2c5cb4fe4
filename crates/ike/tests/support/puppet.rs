//! A peer with its own keys that does exactly what the test says, right or wrong, in either role.

use std::net::SocketAddr;

use ike::crypto::{
    self, KeyInputs, KeyPair, Protection, SaKeys, Sender, SignedOctets, Suite, derive_sa_keys,
};
use ike::wire::{
    AuthMethod, Authentication, DhGroup, ExchangeType, Flags, Header, IdType, Identification, KeyExchange,
    Message, Notify, NotifyType, Payload, PayloadType, Proposal, ProtocolId, SecurityAssociation, Transform,
    encode, parse, parse_header,
};
use ike::{Config, Input, Transmit};
use model::{IkeSpi, Instant, KeyBits, SecureRng, Spi, TrafficSelector};

use super::{A_IP, B_IP, Peer, START, Side, TestRng, config};

/// The puppet and the endpoint it plays with.
pub struct Stage {
    pub peer: Peer,
    pub now: Instant,
    /// What the endpoint sent and nobody has looked at.
    pub inbox: Vec<Transmit>,
    pub puppet: Puppet,
}

/// Keys and counters of the puppet.
pub struct Puppet {
    side: Side,
    rng: TestRng,
    keypair: KeyPair,
    pub spi_i: IkeSpi,
    pub spi_r: IkeSpi,
    nonce: Vec<u8>,
    peer_nonce: Vec<u8>,
    request: Vec<u8>,
    response: Vec<u8>,
    keys: Option<SaKeys>,
    seal: Option<Protection>,
    open: Option<Protection>,
    /// Message ID of the puppet's next request.
    pub next: u32,
}

const SUITE: Suite = Suite {
    cipher: crypto::IkeCipher::AesGcm16(KeyBits::B128),
    prf: crypto::Prf::HmacSha2_256,
    integrity: None,
    group: DhGroup::CURVE25519,
};

pub fn ike_transforms() -> Vec<Transform> {
    vec![SUITE.cipher.transform(), SUITE.prf.transform(), Transform::group(SUITE.group)]
}

pub fn esp_transforms(group: bool) -> Vec<Transform> {
    let mut transforms = vec![SUITE.cipher.transform()];
    if group {
        transforms.push(Transform::group(SUITE.group));
    }
    transforms.push(Transform::esn(false));
    transforms
}

pub fn sa(protocol: ProtocolId, spi: &[u8], transforms: Vec<Transform>) -> Payload {
    let proposal = Proposal { number: 1, protocol, spi: spi.to_vec(), transforms };
    Payload::Sa(SecurityAssociation { proposals: vec![proposal] })
}

pub fn notify(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::new(kind, Vec::new()))
}

pub fn rekey_sa(protocol: ProtocolId, spi: &[u8]) -> Payload {
    Payload::Notify(Notify { protocol, spi: spi.to_vec(), kind: NotifyType::REKEY_SA, data: Vec::new() })
}

/// SA, TSi and TSr of a child as the puppet offers or accepts it.
pub fn child(spi: u32, group: bool) -> Vec<Payload> {
    let any = vec![TrafficSelector::any_v4()];
    vec![
        sa(ProtocolId::ESP, &spi.to_be_bytes(), esp_transforms(group)),
        Payload::TsI(any.clone()),
        Payload::TsR(any),
    ]
}

pub fn of_kind(payloads: &[Payload], kind: PayloadType) -> Option<&Payload> {
    payloads.iter().find(|payload| payload.kind() == kind)
}

/// The SPI in the first proposal; empty when there is none.
pub fn spi_of(payloads: &[Payload]) -> Vec<u8> {
    match of_kind(payloads, PayloadType::SA) {
        Some(Payload::Sa(sa)) => sa.proposals[0].spi.clone(),
        _ => Vec::new(),
    }
}

pub fn notifies(payloads: &[Payload]) -> Vec<NotifyType> {
    payloads.iter().filter_map(|p| if let Payload::Notify(n) = p { Some(n.kind) } else { None }).collect()
}

impl Stage {
    /// The endpoint plays A and initiates, the puppet answers IKE_SA_INIT; IKE_AUTH waits in the inbox.
    pub fn responding(change: impl Fn(&mut Config)) -> Self {
        let mut stage = Self::set(Side::A, change);
        let first = stage.take();
        stage.puppet.answer_init(&first);
        let answer = stage.puppet.response.clone();
        stage.deliver(&answer);
        stage
    }

    /// As above, and IKE_AUTH is answered as it should be; the child has the puppet's SPI 0x1000.
    pub fn responded(change: impl Fn(&mut Config)) -> Self {
        let mut stage = Self::responding(change);
        let (header, _) = stage.request();
        let mut payloads = stage.puppet.auth();
        payloads.extend(child(0x1000, false));
        stage.reply(&header, &payloads);
        assert_eq!(stage.peer.children.len(), 1, "established with the puppet");
        stage
    }

    /// The endpoint plays B and waits, the puppet has sent IKE_SA_INIT and got its answer.
    pub fn initiating(change: impl Fn(&mut Config)) -> Self {
        let mut stage = Self::set(Side::B, change);
        let request = stage.puppet.init_request();
        stage.deliver(&request);
        let answer = stage.take();
        stage.puppet.take_init_answer(&answer);
        stage
    }

    /// As above, and IKE_AUTH is done as it should be; the child has the puppet's SPI 0x1000.
    pub fn initiated(change: impl Fn(&mut Config)) -> Self {
        let mut stage = Self::initiating(change);
        let mut payloads = stage.puppet.auth();
        payloads.extend(child(0x1000, false));
        stage.ask(ExchangeType::IKE_AUTH, &payloads).expect("IKE_AUTH is answered");
        assert_eq!(stage.peer.children.len(), 1, "established with the puppet");
        stage
    }

    fn set(side: Side, change: impl Fn(&mut Config)) -> Self {
        let mut config = config(side);
        change(&mut config);
        let mut rng = TestRng { state: 99, bias: Default::default() };
        let keypair = KeyPair::generate(SUITE.group, &mut rng).unwrap();
        let (spi, nonce) = (IkeSpi(rng.next_u64()), vec![0x77; 32]);
        let initiates = side == Side::B;
        let puppet = Puppet {
            side: side.other(),
            rng,
            keypair,
            spi_i: if initiates { spi } else { IkeSpi::ZERO },
            spi_r: if initiates { IkeSpi::ZERO } else { spi },
            nonce,
            peer_nonce: Vec::new(),
            request: Vec::new(),
            response: Vec::new(),
            keys: None,
            seal: None,
            open: None,
            next: if initiates { 1 } else { 0 },
        };
        let mut stage = Self { peer: Peer::new(config, 5, START), now: START, inbox: Vec::new(), puppet };
        stage.tick();
        stage
    }

    pub fn tick(&mut self) {
        self.peer.endpoint.handle_timeout(self.now);
        self.inbox.extend(self.peer.drain());
    }

    /// Lets time pass; what is sent goes to the inbox.
    pub fn run(&mut self, duration: std::time::Duration) {
        let end = self.now + duration;
        while let Some((at, _)) = self.peer.endpoint.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.peer.endpoint.handle_input(self.now, input);
        self.inbox.extend(self.peer.drain());
    }

    /// Hands octets to the endpoint, from the puppet's address.
    pub fn deliver(&mut self, payload: &[u8]) {
        let address = |side| -> SocketAddr {
            let ip = if side == Side::A { A_IP } else { B_IP };
            SocketAddr::new(ip.parse().unwrap(), 500)
        };
        let (local, remote) = (address(self.puppet.side.other()), address(self.puppet.side));
        self.input(Input::Datagram { local, remote, payload });
    }

    /// The oldest datagram of the inbox.
    pub fn take(&mut self) -> Vec<u8> {
        assert!(!self.inbox.is_empty(), "the endpoint sent nothing");
        self.inbox.remove(0).payload
    }

    /// The oldest request of the inbox, opened.
    pub fn request(&mut self) -> (Header, Vec<Payload>) {
        let datagram = self.take();
        let header = parse_header(&datagram).unwrap();
        assert!(!header.flags.response(), "a request was expected");
        (header, self.puppet.opened(&datagram))
    }

    /// Answers a request of the endpoint.
    pub fn reply(&mut self, to: &Header, payloads: &[Payload]) {
        let flags = Flags::new(self.puppet.side == Side::A, true);
        let datagram = self.puppet.sealed(to.exchange, flags, to.message_id, payloads);
        self.deliver(&datagram);
    }

    /// Sends a request; gives the answer's payloads.
    pub fn ask(&mut self, exchange: ExchangeType, payloads: &[Payload]) -> Option<Vec<Payload>> {
        let id = self.puppet.next;
        let flags = Flags::new(self.puppet.side == Side::A, false);
        let datagram = self.puppet.sealed(exchange, flags, id, payloads);
        self.deliver(&datagram);
        let index = self.inbox.iter().position(|transmit| {
            let header = parse_header(&transmit.payload).unwrap();
            header.flags.response() && header.message_id == id
        })?;
        self.puppet.next += 1;
        let answer = self.inbox.remove(index).payload;
        Some(self.puppet.opened(&answer))
    }

    /// CREATE_CHILD_SA with a good key exchange: `before`, then SA, nonce, KE and traffic selectors.
    pub fn create_child(&mut self, before: Vec<Payload>, spi: u32) -> Vec<Payload> {
        let mut payloads = before;
        payloads.extend([Payload::Nonce(vec![0x55; 32]), self.puppet.ke()]);
        payloads.extend(child(spi, true));
        self.ask(ExchangeType::CREATE_CHILD_SA, &payloads).expect("CREATE_CHILD_SA is answered")
    }

    /// Our outbound SPI of the only child, as the endpoint's inbound one.
    pub fn inbound(&self) -> Spi {
        self.peer.children.values().next().expect("a child is installed").spi_in
    }
}

impl Puppet {
    /// A KE payload.
    pub fn ke(&self) -> Payload {
        Payload::Ke(KeyExchange { group: SUITE.group, data: self.keypair.public().to_vec() })
    }

    fn init_request(&mut self) -> Vec<u8> {
        let header =
            Header::new(self.spi_i, self.spi_r, ExchangeType::IKE_SA_INIT, Flags::new(true, false), 0);
        let payloads =
            [sa(ProtocolId::IKE, &[], ike_transforms()), self.ke(), Payload::Nonce(self.nonce.clone())];
        self.request = encode(&header, &payloads);
        self.request.clone()
    }

    fn take_init_answer(&mut self, answer: &[u8]) {
        let message = parse(answer).unwrap();
        self.spi_r = message.header.spi_r;
        self.response = answer.to_vec();
        self.agree(&message);
    }

    fn answer_init(&mut self, request: &[u8]) {
        let message = parse(request).unwrap();
        self.spi_i = message.header.spi_i;
        self.request = request.to_vec();
        let header =
            Header::new(self.spi_i, self.spi_r, ExchangeType::IKE_SA_INIT, Flags::new(false, true), 0);
        let payloads =
            [sa(ProtocolId::IKE, &[], ike_transforms()), self.ke(), Payload::Nonce(self.nonce.clone())];
        self.response = encode(&header, &payloads);
        self.agree(&message);
    }

    fn agree(&mut self, message: &Message) {
        let (mut public, mut nonce) = (Vec::new(), Vec::new());
        for payload in &message.payloads {
            match payload {
                Payload::Ke(ke) => public.clone_from(&ke.data),
                Payload::Nonce(data) => nonce.clone_from(data),
                _ => {}
            }
        }
        self.peer_nonce = nonce;
        let shared = self.keypair.agree(&public).unwrap();
        let initiates = self.side == Side::A;
        let (ni, nr) =
            if initiates { (&self.nonce, &self.peer_nonce) } else { (&self.peer_nonce, &self.nonce) };
        let inputs = KeyInputs { ni, nr, shared: &shared, spi_i: self.spi_i, spi_r: self.spi_r };
        let keys = derive_sa_keys(&SUITE, &inputs);
        let (ours, theirs) = if initiates {
            (Sender::Initiator, Sender::Responder)
        } else {
            (Sender::Responder, Sender::Initiator)
        };
        self.seal = Some(Protection::new(&SUITE, &keys, ours).unwrap());
        self.open = Some(Protection::new(&SUITE, &keys, theirs).unwrap());
        self.keys = Some(keys);
    }

    /// ID and AUTH of the puppet, as they should be.
    pub fn auth(&self) -> Vec<Payload> {
        let initiates = self.side == Side::A;
        let ip: std::net::Ipv4Addr = if initiates { A_IP } else { B_IP }.parse().unwrap();
        let id = Identification::new(IdType::ID_IPV4_ADDR, ip.octets().to_vec());
        let keys = self.keys.as_ref().unwrap();
        let body = id.body();
        let signed = SignedOctets {
            message: if initiates { &self.request } else { &self.response },
            nonce: &self.peer_nonce,
            id_body: &body,
            sk_p: if initiates { &keys.sk_pi } else { &keys.sk_pr },
            intermediate: &[],
        };
        let data = crypto::auth_psk(SUITE.prf, &super::psk(&config(Side::A)), &signed);
        let auth = Payload::Auth(Authentication { method: AuthMethod::SHARED_KEY, data });
        vec![if initiates { Payload::IdI(id) } else { Payload::IdR(id) }, auth]
    }

    /// A protected datagram.
    pub fn sealed(&mut self, exchange: ExchangeType, flags: Flags, id: u32, payloads: &[Payload]) -> Vec<u8> {
        let header = Header::new(self.spi_i, self.spi_r, exchange, flags, id);
        self.seal.as_mut().unwrap().seal(&header, payloads, &mut self.rng)
    }

    /// The payloads of a protected datagram of the endpoint.
    pub fn opened(&self, datagram: &[u8]) -> Vec<Payload> {
        self.open.as_ref().unwrap().open(datagram).expect("the endpoint's message opens").payloads
    }

    /// Encrypted payloads of the test's own making: the chain starts with `first` and is `inner`.
    pub fn random(&mut self, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        self.rng.fill(&mut out);
        out
    }
}

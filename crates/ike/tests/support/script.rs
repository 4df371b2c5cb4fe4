//! A peer played by the test: it has the keys, a key schedule called step by step, and no scruples.
//!
//! What two endpoints would never say to each other, a [`Script`] says to one. The endpoint under attack is a
//! [`Target`]: it executes nothing, and hands over what it sent, installed and reported.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ike::crypto::{
    KeyInputs, KeyPair, Protection, SaKeys, Sender, SignedOctets, Suite, Verified, auth_psk, derive_sa_keys,
    nat_detection_hash,
};
use ike::wire::{
    self, AuthMethod, Authentication, Delete, DhGroup, EncrId, ExchangeType, Flags, Header, IdType,
    Identification, KeyExchange, Notify, NotifyType, Payload, PrfId, Proposal, ProtocolId,
    SecurityAssociation, Transform,
};
use ike::{ChildId, ChildSa, Config, Endpoint, Failure, Input, Notice, Output, Role, Transmit};
use model::{IkeSpi, Instant, KeyBits, SecureRng, Spi, TrafficSelector};

use crate::support::{A_IP, B_IP, START, Side, config};

pub const PSK: &[u8] = b"correct horse battery staple";

/// A deterministic generator.
pub struct Dice(pub u64);

impl SecureRng for Dice {
    fn fill(&mut self, out: &mut [u8]) {
        for octet in out {
            *octet = self.octet();
        }
    }
}

impl Dice {
    pub fn word(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn octet(&mut self) -> u8 {
        (self.word() >> 56) as u8
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.word() % u64::try_from(limit).unwrap()).unwrap()
    }
}

pub fn address(side: Side) -> SocketAddr {
    let ip = if side == Side::A { A_IP } else { B_IP };
    SocketAddr::new(ip.parse().unwrap(), 500)
}

/// One endpoint under attack.
pub struct Target {
    pub endpoint: Endpoint,
    pub now: Instant,
    pub side: Side,
    pub sent: Vec<Transmit>,
    pub children: BTreeMap<ChildId, ChildSa>,
    pub notices: Vec<Notice>,
}

impl Target {
    pub fn new(side: Side, config: Config) -> Self {
        let mut target = Self {
            endpoint: Endpoint::new(config, Box::new(Dice(0x7a67)), START),
            now: START,
            side,
            sent: Vec::new(),
            children: BTreeMap::new(),
            notices: Vec::new(),
        };
        target.tick();
        target
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send(transmit) => self.sent.push(transmit),
                Output::Install(child) => {
                    self.children.insert(child.id, *child);
                }
                Output::Retire { child } => {
                    self.children.remove(&child);
                }
                Output::Notice(notice) => self.notices.push(notice),
                Output::Activate { .. } | Output::Path { .. } => {}
            }
        }
    }

    pub fn tick(&mut self) {
        self.endpoint.handle_timeout(self.now);
        self.drain();
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.endpoint.handle_input(self.now, input);
        self.drain();
    }

    /// Lets time pass, with nothing arriving.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((at, _)) = self.endpoint.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    /// A datagram arrives from `remote`; gives what was sent because of it.
    pub fn hear_from(&mut self, remote: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
        let before = self.sent.len();
        let mut local = address(self.side);
        if remote.port() == 4500 {
            local.set_port(4500);
        }
        self.input(Input::Datagram { local, remote, payload: datagram });
        self.sent[before..].iter().map(|transmit| transmit.payload.clone()).collect()
    }

    /// A datagram arrives from the peer's own address.
    pub fn hear(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.hear_from(address(self.side.other()), datagram)
    }

    pub fn digest(&self) -> u64 {
        self.endpoint.state_digest()
    }

    /// The datagram changes nothing and is not answered.
    #[track_caller]
    pub fn ignores(&mut self, datagram: &[u8], what: &str) {
        let (before, notices) = (self.digest(), self.notices.len());
        let answers = self.hear(datagram);
        assert_eq!(self.digest(), before, "{what} changed the state");
        assert!(answers.is_empty(), "{what} was answered");
        let news = &self.notices[notices..];
        assert!(news.iter().all(|notice| matches!(notice, Notice::Dropped(_))), "{what}: {news:?}");
    }

    pub fn failures(&self) -> Vec<&Failure> {
        self.notices
            .iter()
            .filter_map(|notice| if let Notice::Failed(failure) = notice { Some(failure) } else { None })
            .collect()
    }

    /// The last datagram it sent.
    pub fn last(&self) -> Vec<u8> {
        self.sent.last().expect("something was sent").payload.clone()
    }

    /// IKE SAs of every kind, and installed children.
    pub fn holds(&self) -> (usize, usize) {
        (self.endpoint.status().ike_sas, self.children.len())
    }
}

/// The test's side of one IKE SA.
pub struct Script {
    pub role: Role,
    pub suite: Suite,
    pub spi_i: IkeSpi,
    pub spi_r: IkeSpi,
    pub ni: Vec<u8>,
    pub nr: Vec<u8>,
    pub keypair: KeyPair,
    /// Our ESP SPI in the first child.
    pub spi: Spi,
    /// The two first messages.
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    pub keys: Option<SaKeys>,
    seal: Option<Protection>,
    open: Option<Protection>,
    /// Message ID of our next request.
    pub next: u32,
    pub dice: Dice,
}

/// The algorithms of [`crate::support::config`].
pub const SUITE: Suite = Suite {
    cipher: ike::crypto::IkeCipher::AesGcm16(KeyBits::B128),
    prf: ike::crypto::Prf::HmacSha2_256,
    integrity: None,
    group: DhGroup::CURVE25519,
};

pub fn notify(kind: NotifyType, data: &[u8]) -> Payload {
    Payload::Notify(Notify::new(kind, data.to_vec()))
}

/// A payload of a known type with a body of the test's making.
pub fn raw(kind: wire::PayloadType, data: &[u8]) -> Payload {
    Payload::Unknown { kind, critical: false, data: data.to_vec() }
}

pub fn esp_delete(spis: &[u32]) -> Payload {
    let spis = spis.iter().map(|spi| spi.to_be_bytes().to_vec()).collect();
    Payload::Delete(Delete { protocol: ProtocolId::ESP, spis })
}

pub fn ike_delete() -> Payload {
    Payload::Delete(Delete { protocol: ProtocolId::IKE, spis: Vec::new() })
}

/// Kinds of notifications in a message.
pub fn notified(payloads: &[Payload]) -> Vec<NotifyType> {
    payloads.iter().filter_map(|p| if let Payload::Notify(n) = p { Some(n.kind) } else { None }).collect()
}

/// The SA payload of IKE_SA_INIT.
pub fn ike_sa(spi: &[u8]) -> Payload {
    let transforms = vec![
        Transform::encryption(EncrId::AES_GCM_16, Some(128)),
        Transform::prf(PrfId::PRF_HMAC_SHA2_256),
        Transform::group(DhGroup::CURVE25519),
    ];
    let proposal = Proposal { number: 1, protocol: ProtocolId::IKE, spi: spi.to_vec(), transforms };
    Payload::Sa(SecurityAssociation { proposals: vec![proposal] })
}

/// The SA payload of a child.
pub fn esp_sa(spi: &[u8], group: bool) -> Payload {
    let mut transforms = vec![Transform::encryption(EncrId::AES_GCM_16, Some(128))];
    if group {
        transforms.push(Transform::group(DhGroup::CURVE25519));
    }
    transforms.push(Transform::esn(false));
    let proposal = Proposal { number: 1, protocol: ProtocolId::ESP, spi: spi.to_vec(), transforms };
    Payload::Sa(SecurityAssociation { proposals: vec![proposal] })
}

impl Script {
    fn new(role: Role, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let keypair = KeyPair::generate(DhGroup::CURVE25519, &mut dice).unwrap();
        let mut nonce = vec![0; 32];
        dice.fill(&mut nonce);
        let spi = Spi::new(0x5c21_0000 | u32::try_from(seed & 0xffff).unwrap()).unwrap();
        let ours = IkeSpi(dice.word());
        Self {
            role,
            suite: SUITE,
            spi_i: if role == Role::Initiator { ours } else { IkeSpi::ZERO },
            spi_r: if role == Role::Responder { ours } else { IkeSpi::ZERO },
            ni: if role == Role::Initiator { nonce.clone() } else { Vec::new() },
            nr: if role == Role::Responder { nonce } else { Vec::new() },
            keypair,
            spi,
            request: Vec::new(),
            response: Vec::new(),
            keys: None,
            seal: None,
            open: None,
            next: 0,
            dice,
        }
    }

    pub fn initiator(seed: u64) -> Self {
        Self::new(Role::Initiator, seed)
    }

    pub fn responder(seed: u64) -> Self {
        Self::new(Role::Responder, seed)
    }

    fn own_nonce(&self) -> &[u8] {
        if self.role == Role::Initiator { &self.ni } else { &self.nr }
    }

    pub fn ke(&self) -> Payload {
        let (group, data) = (self.keypair.group(), self.keypair.public().to_vec());
        Payload::Ke(KeyExchange { group, data })
    }

    /// SA, KE, nonce and the two NAT detection hashes, as either role sends them.
    pub fn first_payloads(&self) -> Vec<Payload> {
        let (ours, theirs) = match self.role {
            Role::Initiator => (address(Side::A), address(Side::B)),
            Role::Responder => (address(Side::B), address(Side::A)),
        };
        let hash = |address| nat_detection_hash(self.spi_i, self.spi_r, address);
        vec![
            ike_sa(&[]),
            self.ke(),
            Payload::Nonce(self.own_nonce().to_vec()),
            notify(NotifyType::NAT_DETECTION_SOURCE_IP, &hash(ours)),
            notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &hash(theirs)),
        ]
    }

    /// Encodes IKE_SA_INIT of our role and remembers it for AUTH.
    pub fn first(&mut self, payloads: &[Payload]) -> Vec<u8> {
        let response = self.role == Role::Responder;
        let flags = Flags::new(!response, response);
        let header = Header::new(self.spi_i, self.spi_r, ExchangeType::IKE_SA_INIT, flags, 0);
        let datagram = wire::encode(&header, payloads);
        match self.role {
            Role::Initiator => self.request = datagram.clone(),
            Role::Responder => self.response = datagram.clone(),
        }
        datagram
    }

    /// Takes the other side's IKE_SA_INIT; as initiator the keys exist after it.
    pub fn hear_first(&mut self, datagram: &[u8]) {
        let message = wire::parse(datagram).expect("a well-formed first message");
        let mut peer = Vec::new();
        for payload in &message.payloads {
            match payload {
                Payload::Ke(ke) => peer.clone_from(&ke.data),
                Payload::Nonce(nonce) if self.role == Role::Initiator => self.nr.clone_from(nonce),
                Payload::Nonce(nonce) => self.ni.clone_from(nonce),
                _ => {}
            }
        }
        match self.role {
            Role::Initiator => {
                self.spi_r = message.header.spi_r;
                self.response = datagram.to_vec();
            }
            Role::Responder => {
                self.spi_i = message.header.spi_i;
                self.request = datagram.to_vec();
            }
        }
        let shared = self.keypair.agree(&peer).expect("a good public value");
        let inputs =
            KeyInputs { ni: &self.ni, nr: &self.nr, shared: &shared, spi_i: self.spi_i, spi_r: self.spi_r };
        self.take_keys(derive_sa_keys(&self.suite, &inputs));
        self.next = if self.role == Role::Initiator { 1 } else { 0 };
    }

    /// Uses these keys from now on.
    pub fn take_keys(&mut self, keys: SaKeys) {
        let (ours, theirs) = match self.role {
            Role::Initiator => (Sender::Initiator, Sender::Responder),
            Role::Responder => (Sender::Responder, Sender::Initiator),
        };
        self.seal = Some(Protection::new(&self.suite, &keys, ours).unwrap());
        self.open = Some(Protection::new(&self.suite, &keys, theirs).unwrap());
        self.keys = Some(keys);
    }

    pub fn identity(&self) -> Identification {
        let ip: std::net::Ipv4Addr = if self.role == Role::Initiator { A_IP } else { B_IP }.parse().unwrap();
        Identification::new(IdType::ID_IPV4_ADDR, ip.octets().to_vec())
    }

    fn signed<'a>(&'a self, id_body: &'a [u8]) -> SignedOctets<'a> {
        let keys = self.keys.as_ref().unwrap();
        match self.role {
            Role::Initiator => SignedOctets {
                message: &self.request,
                nonce: &self.nr,
                id_body,
                sk_p: &keys.sk_pi,
                intermediate: &[],
            },
            Role::Responder => SignedOctets {
                message: &self.response,
                nonce: &self.ni,
                id_body,
                sk_p: &keys.sk_pr,
                intermediate: &[],
            },
        }
    }

    /// What a signature for `id` is made over.
    pub fn signed_octets(&self, id: &Identification) -> Vec<u8> {
        self.signed(&id.body()).octets(self.suite.prf)
    }

    /// AUTH for `id` with `psk`.
    pub fn auth(&self, id: &Identification, psk: &[u8]) -> Payload {
        let data = auth_psk(self.suite.prf, &psk.into(), &self.signed(&id.body()));
        Payload::Auth(Authentication { method: AuthMethod::SHARED_KEY, data })
    }

    fn id_payload(&self, id: Identification) -> Payload {
        if self.role == Role::Initiator { Payload::IdI(id) } else { Payload::IdR(id) }
    }

    pub fn selectors() -> [Payload; 2] {
        let any = vec![TrafficSelector::any_v4()];
        [Payload::TsI(any.clone()), Payload::TsR(any)]
    }

    /// IKE_AUTH of our role with payloads of the test's making in place of AUTH.
    pub fn auth_payloads_with(&self, id: Identification, proof: Vec<Payload>) -> Vec<Payload> {
        let mut payloads = vec![self.id_payload(id)];
        payloads.extend(proof);
        payloads.push(esp_sa(&self.spi.get().to_be_bytes(), false));
        payloads.extend(Self::selectors());
        payloads
    }

    /// IKE_AUTH of our role, with the given identity and key.
    pub fn auth_payloads_as(&self, id: Identification, psk: &[u8]) -> Vec<Payload> {
        let auth = self.auth(&id, psk);
        let mut payloads = vec![self.id_payload(id), auth, esp_sa(&self.spi.get().to_be_bytes(), false)];
        payloads.extend(Self::selectors());
        payloads
    }

    /// IKE_AUTH of our role as it should be.
    pub fn auth_payloads(&self) -> Vec<Payload> {
        self.auth_payloads_as(self.identity(), PSK)
    }

    /// CREATE_CHILD_SA for a child; `rekeys` is our SPI of the child to be replaced.
    pub fn child_payloads(&mut self, spi: u32, rekeys: Option<u32>) -> Vec<Payload> {
        let mut payloads = Vec::new();
        if let Some(old) = rekeys {
            payloads.push(Payload::Notify(Notify {
                protocol: ProtocolId::ESP,
                spi: old.to_be_bytes().to_vec(),
                kind: NotifyType::REKEY_SA,
                data: Vec::new(),
            }));
        }
        let mut nonce = vec![0; 32];
        self.dice.fill(&mut nonce);
        payloads.extend([esp_sa(&spi.to_be_bytes(), true), Payload::Nonce(nonce), self.ke()]);
        payloads.extend(Self::selectors());
        payloads
    }

    /// CREATE_CHILD_SA for the IKE SA.
    pub fn ike_rekey_payloads(&mut self, spi: u64) -> Vec<Payload> {
        let mut nonce = vec![0; 32];
        self.dice.fill(&mut nonce);
        vec![ike_sa(&spi.to_be_bytes()), Payload::Nonce(nonce), self.ke()]
    }

    pub fn header(&self, exchange: ExchangeType, response: bool, id: u32) -> Header {
        let flags = Flags::new(self.role == Role::Initiator, response);
        Header::new(self.spi_i, self.spi_r, exchange, flags, id)
    }

    /// A protected message.
    pub fn seal(&mut self, header: &Header, payloads: &[Payload]) -> Vec<u8> {
        self.seal.as_mut().unwrap().seal(header, payloads, &mut self.dice)
    }

    /// One fragment of a protected message.
    pub fn seal_fragment(
        &mut self,
        header: &Header,
        head: ike::crypto::FragmentHead,
        plaintext: &[u8],
    ) -> Vec<u8> {
        self.seal.as_mut().unwrap().seal_fragment(header, head, plaintext, &mut self.dice)
    }

    pub fn open(&self, datagram: &[u8]) -> Verified {
        self.open.as_ref().unwrap().open(datagram).expect("the target's message is protected")
    }

    /// Our next request, sealed.
    pub fn ask(&mut self, exchange: ExchangeType, payloads: &[Payload]) -> Vec<u8> {
        let header = self.header(exchange, false, self.next);
        self.next += 1;
        self.seal(&header, payloads)
    }

    /// Sends our next request and opens the one answer.
    #[track_caller]
    pub fn exchange(
        &mut self,
        target: &mut Target,
        exchange: ExchangeType,
        payloads: &[Payload],
    ) -> Vec<Payload> {
        let request = self.ask(exchange, payloads);
        let answers = target.hear(&request);
        let answer = answers.first().expect("a request is answered");
        let verified = self.open(answer);
        assert!(verified.header.flags.response());
        verified.payloads
    }

    /// Answers the target's request.
    pub fn answer(&mut self, target: &mut Target, request: &[u8], payloads: &[Payload]) -> Vec<Vec<u8>> {
        let asked = wire::parse_header(request).unwrap();
        let header = self.header(asked.exchange, true, asked.message_id);
        let datagram = self.seal(&header, payloads);
        target.hear(&datagram)
    }
}

/// A waiting endpoint whose IKE_SA_INIT with us is done.
pub fn half_open(seed: u64) -> (Target, Script) {
    half_open_with(seed, config(Side::B))
}

pub fn half_open_with(seed: u64, config: Config) -> (Target, Script) {
    let mut target = Target::new(Side::B, config);
    let mut script = Script::initiator(seed);
    let request = script.first(&script.first_payloads());
    let answers = target.hear(&request);
    script.hear_first(&answers[0]);
    (target, script)
}

/// A waiting endpoint that has authenticated us.
pub fn served(seed: u64) -> (Target, Script) {
    served_with(seed, config(Side::B))
}

pub fn served_with(seed: u64, config: Config) -> (Target, Script) {
    let (mut target, mut script) = half_open_with(seed, config);
    let payloads = script.auth_payloads();
    let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert!(answer.iter().any(|payload| matches!(payload, Payload::Auth(_))), "{answer:?}");
    assert_eq!(target.holds(), (1, 1));
    (target, script)
}

/// An initiating endpoint to which we have answered IKE_SA_INIT; gives its IKE_AUTH request.
pub fn authenticating(seed: u64) -> (Target, Script, Vec<u8>) {
    authenticating_with(seed, config(Side::A))
}

pub fn authenticating_with(seed: u64, config: Config) -> (Target, Script, Vec<u8>) {
    let mut target = Target::new(Side::A, config);
    let mut script = Script::responder(seed);
    script.hear_first(&target.last());
    let answer = script.first(&script.first_payloads());
    let request = target.hear(&answer).remove(0);
    (target, script, request)
}

/// An initiating endpoint that has authenticated us.
pub fn connected(seed: u64) -> (Target, Script) {
    connected_with(seed, config(Side::A))
}

pub fn connected_with(seed: u64, config: Config) -> (Target, Script) {
    let (mut target, mut script, request) = authenticating_with(seed, config);
    script.answer(&mut target, &request, &script.auth_payloads());
    assert_eq!(target.holds(), (1, 1), "{:?}", target.notices);
    (target, script)
}

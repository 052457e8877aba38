//! One message to one server and its verified answer: over UDP, then over TCP.

use super::LONGEST;
use super::failure::{Failure, Reason};
use crate::clock::Clock;
use crate::tsig::{Mac, ResponseError, TsigKey, sign_request, verify_response};
use crate::wire::{Class, Composer, Flags, Header, Message, Name, Question, Rtype};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// A server, and the key that we share with it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    key: Option<TsigKey>,
    clock: Clock,
}

/// How often a message is sent over UDP.
const TRIES: usize = 3;
/// How long an answer is waited for over UDP, each time.
const UDP_WAIT: Duration = Duration::from_secs(2);
/// How long all of the exchange over TCP may take.
const TCP_WAIT: Duration = Duration::from_secs(10);
/// What a UDP datagram may carry where there is no EDNS (RFC 1035 section 4.2.1); what is longer goes over TCP.
const DATAGRAM: usize = 512;
/// How far the clocks may be apart (RFC 8945 section 10).
const FUDGE: u16 = 300;
/// The longest TSIG record: two names, and a MAC of 64 octets.
const TSIG_ROOM: usize = 2 * Name::MAX + 128;

/// What goes out, and the MAC that its answer is verified with.
struct Request {
    message: Vec<u8>,
    mac: Option<Mac>,
}

impl Server {
    /// A server at `address`; without a key nothing is signed.
    pub fn new(address: SocketAddr, key: Option<TsigKey>, clock: Clock) -> Server {
        Server { address, key, clock }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn failure(&self, attempted: String, reason: Reason) -> Failure {
        Failure { attempted, server: self.address, reason }
    }

    /// Asks for records, not recursively: what this server holds counts, not what it could find out.
    pub(super) async fn query(&self, name: &Name, rtype: Rtype) -> Result<Vec<u8>, Reason> {
        self.question(name, rtype, Flags(0)).await
    }

    /// Asks a resolver.
    pub(in crate::link) async fn resolve(&self, name: &Name, rtype: Rtype) -> Result<Vec<u8>, Reason> {
        self.question(name, rtype, Flags::RD).await
    }

    async fn question(&self, name: &Name, rtype: Rtype, flags: Flags) -> Result<Vec<u8>, Reason> {
        let mut buffer = vec![0; DATAGRAM];
        let mut message = Composer::new(&mut buffer, DATAGRAM, 0, flags).map_err(|_| Reason::TooLong)?;
        message.question(&Question { name: *name, rtype, class: Class::IN }).map_err(|_| Reason::TooLong)?;
        let len = message.finish();
        buffer.truncate(len);
        self.ask(buffer).await
    }

    /// Sends a message under a number of its own, signed, and returns the verified answer.
    pub(super) async fn ask(&self, message: Vec<u8>) -> Result<Vec<u8>, Reason> {
        let request = self.seal(message)?;
        if request.message.len() <= DATAGRAM {
            for _ in 0..TRIES {
                match timeout(UDP_WAIT, self.over_udp(&request)).await {
                    Ok(Ok(Some(answer))) => return Ok(answer),
                    // TCP tells more, or cannot be forged as easily; a refused port may be open there.
                    Ok(_) => break,
                    Err(_) => {}
                }
            }
        }
        let answer = timeout(TCP_WAIT, self.over_tcp(&request)).await;
        let answer = answer.map_err(|_| Reason::NoAnswer(io::ErrorKind::TimedOut.into()))?.map_err(Reason::NoAnswer)?;
        if !answers(&answer, &request.message) {
            return Err(Reason::Malformed);
        }
        self.verify(&request, &answer)?;
        Ok(answer)
    }

    /// Reads an answer that was verified.
    pub(in crate::link) fn parse<'a>(&self, answer: &'a [u8]) -> Result<Message<'a>, Reason> {
        Message::parse(answer).map_err(|_| Reason::Malformed)
    }

    fn seal(&self, mut message: Vec<u8>) -> Result<Request, Reason> {
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|error| Reason::Unsent(format!("no random number to be had: {error}")))?;
        if let Some(place) = message.first_chunk_mut() {
            *place = id;
        }
        let Some(key) = &self.key else { return Ok(Request { message, mac: None }) };
        let len = message.len();
        message.resize((len + TSIG_ROOM).min(LONGEST), 0);
        let (len, mac) = sign_request(key, &mut message, len, self.clock.now(), FUDGE).map_err(|_| Reason::TooLong)?;
        message.truncate(len);
        Ok(Request { message, mac: Some(mac) })
    }

    /// Whether the answer is signed as the request was. The server's own words on our signature come before what its
    /// code says.
    fn verify(&self, request: &Request, answer: &[u8]) -> Result<(), Reason> {
        let (Some(key), Some(mac)) = (&self.key, &request.mac) else { return Ok(()) };
        let message = self.parse(answer)?;
        let Some(tsig_at) = message.tsig_at else {
            // Servers that know no TSIG, or refuse before they look at it, answer so. It is no answer to rely on, but
            // what it says helps.
            return Err(match message.header.flags.rcode() {
                crate::wire::Rcode::NOERROR | crate::wire::Rcode::NXDOMAIN => Reason::Tsig(ResponseError::Unsigned),
                rcode => Reason::Rcode(rcode),
            });
        };
        verify_response(key, mac, answer, tsig_at, self.clock.now()).map_err(Reason::Tsig)
    }

    /// `None` where the answer has to be asked for over TCP.
    async fn over_udp(&self, request: &Request) -> io::Result<Option<Vec<u8>>> {
        // A port of its own for each try, and only this server's answers come in (RFC 5452 section 9.2).
        let any = if self.address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
        socket.connect(self.address).await?;
        socket.send(&request.message).await?;
        let mut buffer = vec![0; LONGEST];
        loop {
            let len = socket.recv(&mut buffer).await?;
            let answer = buffer.get(..len).unwrap_or_default();
            if !answers(answer, &request.message) {
                continue;
            }
            let cut_off = Header::read(answer).is_some_and(|header| header.flags.has(Flags::TC));
            return Ok((!cut_off && self.verify(request, answer).is_ok()).then(|| answer.to_vec()));
        }
    }

    async fn over_tcp(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).await?;
        let length = u16::try_from(request.message.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &request.message].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

/// Whether this is the answer to that request, by number, opcode and question; an error may leave the question out.
fn answers(answer: &[u8], request: &[u8]) -> bool {
    let (Ok(answer), Ok(request)) = (Message::parse(answer), Message::parse(request)) else { return false };
    answer.header.id == request.header.id
        && answer.header.flags.has(Flags::QR)
        && answer.header.flags.opcode() == request.header.flags.opcode()
        && match (&answer.question, &request.question) {
            (Some(answered), Some(asked)) => {
                answered.name == asked.name && answered.rtype == asked.rtype && answered.class == asked.class
            }
            (answered, _) => answered.is_none(),
        }
}

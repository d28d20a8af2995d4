//! One question to one upstream server: over UDP, and over TCP where it does not fit.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::relay::{Answer, Verdict, is_bare_refusal};
use super::wire::{self, HEADER, UDP_PAYLOAD};

/// A server that says nothing for so long is passed over.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// The question is sent again when this has passed, since the network may have lost it, and then after twice as long.
const AGAIN: Duration = Duration::from_millis(600);

/// What is asked of every server in turn.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Recursion desired, and authentic data and checking disabled, where they stand in the header.
    pub flags: [u8; 2],
    /// Name, type and class.
    pub section: Box<[u8]>,
    pub dnssec_ok: bool,
}

/// Nobody answered: nothing came in time, or nobody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence;

/// Asks one server, for so long at most. The answer is well-formed and to this question; what it says is for the caller to judge.
pub async fn exchange(server: SocketAddr, ask: &Ask, patience: Duration) -> Result<Answer, Silence> {
    match attempt(server, ask, true, patience).await? {
        Some(answer) if answer.verdict() != Verdict::Misunderstood => Ok(answer),
        // Old servers do not know EDNS (RFC 6891 §6.2.2).
        Some(_) | None => attempt(server, ask, false, patience).await?.ok_or(Silence),
    }
}

/// `None` where it says that it does not understand, and not even what.
async fn attempt(server: SocketAddr, ask: &Ask, edns: bool, patience: Duration) -> Result<Option<Answer>, Silence> {
    let id = next_id();
    let message = ask.message(id, edns);
    let answer = timeout(patience, over_udp(server, &message, id, ask)).await.ok().and_then(Result::ok);
    let answer = answer.ok_or(Silence)?;
    if answer.as_ref().is_none_or(|answer| answer.verdict() != Verdict::Truncated) {
        return Ok(answer);
    }
    let whole = timeout(patience, over_tcp(server, &message, id, ask)).await.ok().and_then(Result::ok);
    whole.map(Some).ok_or(Silence)
}

/// From a port of its own, which together with the id an attacker would have to guess; connected, so that the kernel
/// drops what comes from elsewhere and tells when nobody listens.
async fn over_udp(server: SocketAddr, message: &[u8], id: [u8; 2], ask: &Ask) -> io::Result<Option<Answer>> {
    let any = if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let mut buffer = [0; UDP_PAYLOAD as usize];
    let mut pause = AGAIN;
    loop {
        socket.send(message).await?;
        let heard = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                let heard = &buffer[..length];
                if let Some(answer) = Answer::read(heard, id, &ask.section) {
                    return Ok::<_, io::Error>(Some(answer));
                }
                if is_bare_refusal(heard, id) {
                    return Ok(None);
                }
            }
        };
        if let Ok(answer) = timeout(pause, heard).await {
            return answer;
        }
        pause *= 2;
    }
}

async fn over_tcp(server: SocketAddr, message: &[u8], id: [u8; 2], ask: &Ask) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = Vec::new();
    (&mut stream).take(length.into()).read_to_end(&mut answer).await?;
    Answer::read(&answer, id, &ask.section).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl Ask {
    fn message(&self, id: [u8; 2], edns: bool) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + self.section.len() + wire::OPT_LENGTH);
        message.extend(id);
        message.extend(self.flags);
        message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
        message.extend(&self.section);
        if edns {
            wire::write_opt(&mut message, self.dnssec_ok);
        }
        message
    }
}

/// Not to be guessed: a keyed hash whose key is this process' own.
fn next_id() -> [u8; 2] {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let [first, second, ..] = KEY.hash_one(COUNT.fetch_add(1, Relaxed)).to_be_bytes();
    [first, second]
}

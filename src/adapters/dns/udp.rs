//! Questions over UDP, many at each waking: one call of the kernel takes them in, one sends the answers.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;

use super::Names;
use super::desk::Done;
use super::wire::Transport;

/// Questions that one call of the kernel takes in.
const BATCH: usize = 32;
/// No question is longer; what is, is cut, and so malformed.
const LONGEST: usize = 1536;
/// After an error that is not about one datagram.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers for as long as the socket can be waited for; the result is why it cannot.
pub async fn serve(socket: UdpSocket, names: Names) -> io::Error {
    let socket = Arc::new(socket);
    let (mut batch, mut text) = (Batch::new(), String::new());
    let mut elsewhere = JoinSet::new();
    loop {
        while elsewhere.try_join_next().is_some() {}
        if let Err(error) = socket.readable().await {
            return error;
        }
        match socket.try_io(Interest::READABLE, || batch.receive(socket.as_raw_fd())) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => {
                tracing::debug!(%error, "no DNS question is received");
                sleep(PAUSE).await;
                continue;
            }
        }
        let Batch { buffers, received, to_send, spare } = &mut batch;
        for ((from, length), buffer) in received.iter().zip(buffers) {
            let Some(asker) = address(from) else { continue };
            let message = &buffer[..*length];
            let mut response = spare.pop().unwrap_or_default();
            match names.answer_at_once(message, asker, Transport::Udp, &mut text, &mut response) {
                Done::Answered => to_send.push((*from, response)),
                Done::Nothing => spare.push(response),
                Done::Elsewhere => {
                    let (names, socket, message) = (names.clone(), socket.clone(), message.to_vec());
                    elsewhere.spawn(async move {
                        names.answer_from_elsewhere(&message, asker, Transport::Udp, &mut response).await;
                        if let Err(error) = socket.send_to(&response, asker).await {
                            tracing::debug!(%error, %asker, "a DNS response is not sent");
                        }
                    });
                }
            }
        }
        batch.send(&socket).await;
        // Others have their turn also while questions come without end.
        yield_now().await;
    }
}

/// What was taken in at once, and what goes out for it.
struct Batch {
    buffers: Vec<[u8; LONGEST]>,
    /// From whom, and how many octets of the buffer of the same number.
    received: Vec<(SockaddrStorage, usize)>,
    to_send: Vec<(SockaddrStorage, Vec<u8>)>,
    /// Responses that were sent, to be written anew.
    spare: Vec<Vec<u8>>,
}

impl Batch {
    fn new() -> Self {
        let (received, to_send) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        Self { buffers: vec![[0; LONGEST]; BATCH], received, to_send, spare: Vec::new() }
    }

    fn receive(&mut self, socket: RawFd) -> io::Result<()> {
        self.received.clear();
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let found = recvmmsg(socket, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        self.received.extend(found.filter_map(|message| Some((message.address?, message.bytes))));
        Ok(())
    }

    async fn send(&mut self, socket: &UdpSocket) {
        let mut sent = 0;
        while sent < self.to_send.len() {
            match socket.try_io(Interest::WRITABLE, || send(socket.as_raw_fd(), &self.to_send[sent..])) {
                Ok(count) => sent += count.max(1),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if socket.writable().await.is_err() {
                        break;
                    }
                }
                // It is about the first of them.
                Err(error) => {
                    tracing::debug!(%error, "a DNS response is not sent");
                    sent += 1;
                }
            }
        }
        self.spare.extend(self.to_send.drain(..).map(|(_, response)| response));
        self.spare.truncate(BATCH);
    }
}

/// Sends as many as the kernel takes at once, and says how many those are.
fn send(socket: RawFd, messages: &[(SockaddrStorage, Vec<u8>)]) -> io::Result<usize> {
    let mut headers = MultiHeaders::preallocate(messages.len(), None);
    let slices: Vec<_> = messages.iter().map(|(_, response)| [IoSlice::new(response)]).collect();
    let to: Vec<_> = messages.iter().map(|(address, _)| Some(*address)).collect();
    let sent = sendmmsg(socket, &mut headers, slices.iter(), to, [], MsgFlags::MSG_DONTWAIT)?;
    Ok(sent.count())
}

fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in().map(|address| SocketAddrV4::from(*address).into());
    v4.or_else(|| from.as_sockaddr_in6().map(|address| SocketAddrV6::from(*address).into()))
}

//! Questions over UDP, many at each waking: one call of the kernel takes them in, one sends the answers.
//!
//! On a thread of its own for each socket, which waits in the kernel: nine tenths of the time goes to the kernel's
//! network as it is, and a runtime's waiting would come on top; nor do the runtime's tasks wait behind a flood.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, MultiHeaders, Shutdown, SockaddrStorage, recvmmsg, sendmmsg, shutdown};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::desk::Done;
use super::names::Names;
use super::wire::Transport;

/// Questions that one call of the kernel takes in.
const BATCH: usize = 32;
/// No question is longer; what is, is cut, and so malformed.
const LONGEST: usize = 1536;
/// How often it looks for more before it sleeps, a few microseconds in all: under load nobody has to wake it then.
/// Each time, others may have the core.
const LOOKS: usize = 10;
/// After an error that is not about one datagram.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers until the future is dropped; the result is why it cannot be for longer.
pub async fn serve(socket: UdpSocket, names: Names) -> io::Error {
    let line = Line(Arc::new((socket, AtomicBool::new(false))));
    let (over, is_over) = oneshot::channel::<()>();
    let (served, runtime) = (line.0.clone(), Handle::current());
    let run = move || {
        // Dropped at the end of the thread, however it ends.
        let _over = over;
        answer_all(&served, &names, &runtime);
    };
    if let Err(error) = thread::Builder::new().name("dns".into()).spawn(run) {
        return error;
    }
    // Nothing is ever sent.
    let _ = is_over.await;
    io::Error::other("its thread ended")
}

/// A socket, and whether it is to be served no more; dropped, it wakes its thread for the last time.
struct Line(Arc<(UdpSocket, AtomicBool)>);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.1.store(true, Ordering::SeqCst);
        // Without a peer this is an error, and yet wakes who waits.
        let _ = shutdown(self.0.0.as_raw_fd(), Shutdown::Both);
    }
}

fn answer_all(line: &Arc<(UdpSocket, AtomicBool)>, names: &Names, runtime: &Handle) {
    let (mut batch, mut text) = (Batch::new(), String::new());
    let Ok(at) = line.0.local_addr().map(|address| address.ip()) else { return };
    let mut elsewhere = JoinSet::new();
    loop {
        while elsewhere.try_join_next().is_some() {}
        let received = batch.wait(line.0.as_raw_fd());
        if line.1.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = received {
            tracing::debug!(%error, "no DNS question is received");
            thread::park_timeout(PAUSE);
            continue;
        }
        let Batch { headers: _, buffers, received, to_send, spare } = &mut batch;
        for ((from, length), buffer) in received.iter().zip(buffers) {
            let Some(asker) = address(from) else { continue };
            let message = &buffer[..*length];
            let mut response = spare.pop().unwrap_or_default();
            match names.answer_at_once(message, asker, at, Transport::Udp, &mut text, &mut response) {
                Done::Answered => to_send.push((*from, response)),
                Done::Nothing => spare.push(response),
                Done::Elsewhere(room) => {
                    let (names, line, message, from) = (names.clone(), line.clone(), message.to_vec(), *from);
                    let answering = async move {
                        names.answer_from_elsewhere(&message, room, Transport::Udp, &mut response).await;
                        send_all(line.0.as_raw_fd(), &[(from, response)]);
                    };
                    elsewhere.spawn_on(answering, runtime);
                }
            }
        }
        batch.send(line.0.as_raw_fd());
    }
}

/// What was taken in at once, and what goes out for it.
struct Batch {
    headers: MultiHeaders<SockaddrStorage>,
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
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; LONGEST]; BATCH],
            received,
            to_send,
            spare: Vec::new(),
        }
    }

    /// Waits for a question, and takes in what there is beside it.
    fn wait(&mut self, socket: RawFd) -> io::Result<()> {
        for _ in 0..LOOKS {
            match self.receive(socket, MsgFlags::MSG_DONTWAIT) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                done => return done,
            }
        }
        self.receive(socket, MsgFlags::MSG_WAITFORONE)
    }

    fn receive(&mut self, socket: RawFd, flags: MsgFlags) -> io::Result<()> {
        self.received.clear();
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let found = recvmmsg(socket, &mut self.headers, slices.iter_mut(), flags, None)?;
        self.received.extend(found.filter_map(|message| Some((message.address?, message.bytes))));
        Ok(())
    }

    fn send(&mut self, socket: RawFd) {
        send_all(socket, &self.to_send);
        self.spare.extend(self.to_send.drain(..).map(|(_, response)| response));
        self.spare.truncate(BATCH);
    }
}

/// Sends what can be sent now. What cannot is lost, as on any network, and asked for again: who waited here for one
/// asker would keep all others waiting.
fn send_all(socket: RawFd, messages: &[(SockaddrStorage, Vec<u8>)]) {
    let mut sent = 0;
    while sent < messages.len() {
        match send(socket, &messages[sent..]) {
            Ok(count) => sent += count.max(1),
            // It is about the first of them.
            Err(error) => {
                tracing::debug!(%error, "a DNS response is not sent");
                sent += 1;
            }
        }
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

//! Binding: per address one TCP listener, and UDP sockets that share the port.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// The kernel spreads questions over sockets by hash of the asker: one for every other core, so many at most. Who
/// asks needs cores as well; on two cores, a second socket made it a sixth slower.
const UDP_SOCKETS: usize = 8;
/// Bytes of queries the kernel keeps while we are busy.
const RECEIVE_BUFFER: usize = 4 << 20;

#[derive(Debug)]
pub struct Sockets {
    pub udp: Vec<UdpSocket>,
    pub tcp: Vec<TcpListener>,
    /// What was really bound, where port 0 was asked for.
    pub addresses: Vec<SocketAddr>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen for DNS on {address}: {source}")]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// Binds every address, or reports the first that cannot be had.
pub fn bind(addresses: &[SocketAddr]) -> Result<Sockets, BindError> {
    let mut sockets = Sockets { udp: Vec::new(), tcp: Vec::new(), addresses: Vec::new() };
    for &address in addresses {
        bind_one(address, &mut sockets).map_err(|source| BindError { address, source })?;
    }
    Ok(sockets)
}

fn bind_one(asked: SocketAddr, sockets: &mut Sockets) -> io::Result<()> {
    // Without SO_REUSEPORT this fails when anybody listens here, a second platform of the same user included.
    let tcp = socket(asked, Type::STREAM)?;
    tcp.set_reuse_address(true)?;
    tcp.bind(&asked.into())?;
    tcp.listen(256)?;
    let listener = TcpListener::from_std(tcp.into())?;
    let address = listener.local_addr()?;
    socket(address, Type::DGRAM)?.bind(&address.into())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..(cores / 2).clamp(1, UDP_SOCKETS) {
        let udp = socket(address, Type::DGRAM)?;
        udp.set_reuse_port(true)?;
        // Less than asked for is no reason to fail.
        let _ = udp.set_recv_buffer_size(RECEIVE_BUFFER);
        udp.bind(&address.into())?;
        // A thread waits on it.
        udp.set_nonblocking(false)?;
        sockets.udp.push(udp.into());
    }
    sockets.tcp.push(listener);
    sockets.addresses.push(address);
    Ok(())
}

fn socket(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

//! The DNS server: hickory on sockets of ours.
//!
//! In: zones, swapped by pointer. Out: answers. Names of the domain are answered from the zone and never
//! forwarded; all others go to the upstream servers, with hickory's cache, time-outs and fail-over.

mod answer;
mod forward;
mod sockets;

pub use forward::upstreams;
pub use sockets::{BindError, Sockets, bind};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hickory_server::Server;

use crate::core::zone::Zone;
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;

/// A TCP client that sends nothing for this long is let go.
const IDLE: Duration = Duration::from_secs(10);
/// Answers that wait for a slow TCP client.
const QUEUED_ANSWERS: usize = 64;

/// The zone that answers come from.
#[derive(Clone, Default)]
pub struct Names {
    zone: Arc<ArcSwapOption<Zone>>,
    meters: Meters,
}

impl Names {
    pub fn new(meters: Meters) -> Self {
        Self { meters, ..Self::default() }
    }
}

impl Resolver for Names {
    fn publish(&self, zone: Arc<Zone>) {
        self.zone.store(Some(zone));
    }
}

/// Serves until the returned future is dropped or a socket fails for good, which is its result.
pub async fn serve(sockets: Sockets, names: Names, upstreams: &[SocketAddr]) -> Result<(), String> {
    let handler = answer::Handler::new(names, forward::catalog(upstreams)?);
    let mut server = Server::new(handler);
    for socket in sockets.udp {
        server.register_socket(socket);
    }
    for listener in sockets.tcp {
        server.register_listener(listener, IDLE, QUEUED_ANSWERS);
    }
    server.block_until_done().await.map_err(|error| error.to_string())
}

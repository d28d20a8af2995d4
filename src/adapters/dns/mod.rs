//! The DNS server: hickory on sockets of ours.
//!
//! In: zones, swapped by pointer. Out: answers. Names of the domain are answered from the zone and never
//! forwarded; all others go to the upstream servers, with hickory's cache, time-outs and fail-over.

mod answer;
mod forward;
mod sockets;

pub use forward::upstreams;
pub use sockets::{BindError, Sockets, bind};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hickory_server::Server;
use hickory_server::resolver::TokioResolver;

use crate::core::names::HostName;
use crate::core::zone::{QueryKind, Reply, Zone};
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;

/// A TCP client that sends nothing for this long is let go.
const IDLE: Duration = Duration::from_secs(10);
/// Answers that wait for a slow TCP client.
const QUEUED_ANSWERS: usize = 64;

/// The zone that answers come from, and what is asked for all other names.
#[derive(Clone)]
pub struct Names {
    zone: Arc<ArcSwapOption<Zone>>,
    outside: Option<TokioResolver>,
    meters: Meters,
}

impl Names {
    pub fn new(upstreams: &[SocketAddr], meters: Meters) -> Result<Self, String> {
        Ok(Self { zone: Arc::default(), outside: forward::resolver(upstreams)?, meters })
    }
}

#[async_trait::async_trait]
impl Resolver for Names {
    fn publish(&self, zone: Arc<Zone>) {
        self.zone.store(Some(zone));
    }

    async fn look_up(&self, name: &HostName) -> Result<IpAddr, String> {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let zone = self.zone.load_full().ok_or("no names are known yet")?;
        let reply = zone.lookup(name.as_str(), QueryKind::A, loopback);
        match reply {
            Reply::Answers { .. } => reply.addresses().first().copied().ok_or_else(|| "it has no address".to_owned()),
            Reply::NoData | Reply::NoName => Err("there is no such name in our domain".into()),
            Reply::NotOurs => {
                let outside = self.outside.as_ref().ok_or("there is no DNS server to ask, dns.upstream names one")?;
                let found = outside.lookup_ip(format!("{name}.")).await.map_err(|error| error.to_string())?;
                // What changes with every answer would make nginx reload with every look.
                found.iter().min().ok_or_else(|| "it has no address".to_owned())
            }
        }
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

//! The DNS server, on sockets of ours.
//!
//! In: zones, swapped by pointer, and the servers to ask. Out: answers. Names of the domain are answered from the zone
//! and never passed on (`quick` for plain questions about addresses, `answer` by hickory for all else); other names
//! go to the upstream servers (`forward`), whose answers are passed on as they come (`relay`).

mod answer;
mod desk;
mod exchange;
mod forward;
mod quick;
mod relay;
mod sockets;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod upstreams;
mod wire;

pub use sockets::{BindError, Sockets, bind};
pub use upstreams::{Sources, follow};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hickory_server::proto::op::Message;
use tokio::task::JoinSet;

use crate::core::names::HostName;
use crate::core::zone::{QueryKind, Reply, Zone};
use crate::ports::limits::Limits;
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;

/// The zone that answers come from, and what is asked for all other names; cheap to clone.
#[derive(Clone)]
pub struct Names {
    zone: Arc<ArcSwapOption<Zone>>,
    forwarder: forward::Forwarder,
    limits: Limits,
    meters: Meters,
}

impl Names {
    pub fn new(meters: Meters, limits: Limits) -> Self {
        Self { zone: Arc::default(), forwarder: forward::Forwarder::new(limits.clone()), limits, meters }
    }

    /// From now on these servers are asked for names outside the domain, in this order.
    pub fn ask(&self, servers: &[SocketAddr]) {
        self.forwarder.ask(servers);
    }

    async fn look_up_outside(&self, name: &HostName) -> Result<IpAddr, String> {
        let mut section: Vec<u8> = Vec::new();
        for label in name.as_str().split('.') {
            section.extend(u8::try_from(label.len()));
            section.extend(label.as_bytes());
        }
        let mut reason = "it has no address";
        for kind in [1, 28] {
            let section = [&section[..], &[0, 0, kind, 0, 1]].concat().into();
            let ask = exchange::Ask { flags: [wire::RD, 0], section, dnssec_ok: false };
            let Some(answer) = self.forwarder.resolve(&ask).await else {
                reason = "no DNS server answers, dns.upstream names one";
                continue;
            };
            let message = Message::from_vec(answer.message()).map_err(|error| error.to_string())?;
            // What changes with every answer would make nginx reload with every look.
            if let Some(address) = message.answers.iter().filter_map(|record| record.data.ip_addr()).min() {
                return Ok(address);
            }
        }
        Err(reason.into())
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
            Reply::NotOurs => self.look_up_outside(name).await,
        }
    }
}

/// Serves until the returned future is dropped or a socket fails for good, which is its result.
pub async fn serve(sockets: Sockets, names: Names) -> String {
    let mut serving = JoinSet::new();
    for socket in sockets.udp {
        serving.spawn(udp::serve(socket, names.clone()));
    }
    for listener in sockets.tcp {
        serving.spawn(tcp::serve(listener, names.clone()));
    }
    match serving.join_next().await {
        Some(Ok(error)) => error.to_string(),
        Some(Err(error)) => error.to_string(),
        None => "it has no sockets".into(),
    }
}

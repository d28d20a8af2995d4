//! The names that there are, and whom to ask for all others.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hickory_server::proto::op::Message;

use super::{exchange, forward, wire};
use crate::core::names::HostName;
use crate::core::zone::{QueryKind, Reply, Zone};
use crate::ports::limits::Limits;
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;

/// The zone that answers come from, and what is asked for all other names; cheap to clone.
#[derive(Clone)]
pub struct Names {
    pub(super) zone: Arc<ArcSwapOption<Zone>>,
    pub(super) forwarder: forward::Forwarder,
    pub(super) limits: Limits,
    pub(super) meters: Meters,
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

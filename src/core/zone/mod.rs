//! Every name the platform answers for, as immutable lookup tables.
//!
//! A value and the pure function that answers one question from it; `plan` builds it, the DNS server reads it.

mod lookup;

pub use lookup::{Answer, QueryKind, Reply};

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::asker::Asker;
use super::container::{Network, Subnet};
use super::grants::GrantedName;
use super::names::{Domain, HostName};

/// What a name that nobody has answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wildcard {
    /// NXDOMAIN, so that a missing container is seen to be missing.
    #[default]
    Off,
    /// The balancer, as the asker sees it: what devdns does with `HOSTMACHINE_IP`.
    Balancer,
    Address(IpAddr),
}

/// How container names become DNS names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Naming {
    /// In lower case, as they are and with `_` as `-`.
    #[default]
    Standard,
    /// In addition devdns' `NAMING=default`: cut at the first `_`.
    Devdns,
    /// In addition devdns' `NAMING=full`: the same as standard, kept for its users.
    DevdnsFull,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct DnsOptions {
    pub ttl: Duration,
    pub wildcard: Wildcard,
    pub naming: Naming,
    /// Literal names, the domain is not appended.
    pub extra: BTreeMap<HostName, IpAddr>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The balancer, at the address under which the asker reaches it.
    Balancer,
    /// Containers: those addresses that the asker shares a network with, else all.
    Containers(Arc<[IpAddr]>),
    /// Containers by name, each with its port.
    Services(Vec<(Arc<str>, u16)>),
    Fixed(IpAddr),
    /// There are names below it, nothing at it: NODATA and not NXDOMAIN (RFC 8020).
    Empty,
}

/// Stands for this machine, at the address under which the asker reaches it (RFC 1122 §3.2.1.3).
pub const THIS_MACHINE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// A container behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    pub container: Arc<str>,
    /// Of two that have a name in common the one that started last is found.
    pub started_at: Option<Timestamp>,
    /// It is called so; else the name was made from what it is called, and gives way.
    pub is_exact: bool,
    /// It is found as `NAME.DOMAIN` too. A name that ends like one of the platform's own is not.
    pub is_plain: bool,
    /// [`THIS_MACHINE`] for one that shares its network with this machine.
    pub addresses: Arc<[IpAddr]>,
}

/// The name that an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointer {
    /// A name below the domain.
    Below(Arc<str>),
    Full(String),
}

/// The published names. Lower case, without the trailing dot.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    pub domain: Domain,
    pub ttl: Duration,
    pub wildcard: Wildcard,
    /// Everything but containers, by its full name. Where a container has the same name, this one counts.
    pub names: HashMap<GrantedName, Target>,
    /// Each is found as `NAME.DOMAIN` and as `NAME.container.DOMAIN`; there may be as many as fit on a machine, so
    /// neither is spelt out.
    pub containers: HashMap<Arc<str>, Located>,
    pub reverse: HashMap<IpAddr, Pointer>,
    pub networks: Vec<Network>,
    /// This machine's own addresses with their ranges.
    pub local: Vec<Subnet>,
    pub gateway: IpAddr,
    /// Where the balancer listens: names tell of no other place.
    pub balancer: Vec<SocketAddr>,
}

impl Zone {
    /// Who has an address; `None` while the platform's own network is not known.
    pub fn asker(&self, address: IpAddr) -> Option<Asker> {
        Asker::of(address, &self.networks, self.gateway, &self.local)
    }

    /// Whether somebody is answered at all at this address of ours. At a gateway of the engine's networks, which is
    /// listened at for containers, only they and this machine are; what else is listened at was asked for.
    pub fn answers(&self, asker: IpAddr, at: IpAddr) -> bool {
        let is_gateway = at.to_canonical() == self.gateway || self.is_of_engine(at);
        !is_gateway || self.is_of_engine(asker) || self.asker(asker) == Some(Asker::Loopback)
    }

    /// Whether an address is on one of the engine's networks.
    fn is_of_engine(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.subnets.iter().any(|subnet| subnet.contains(address)))
    }

    /// What a full name stands for.
    pub fn target(&self, name: &str) -> Option<Cow<'_, Target>> {
        if let Some(target) = self.names.get(name) {
            return Some(Cow::Borrowed(target));
        }
        let (label, located) = self.container_label(name)?;
        match located {
            Some(located) => Some(Cow::Owned(Target::Containers(located.addresses.clone()))),
            None if self.is_above_a_container(label) => Some(Cow::Owned(Target::Empty)),
            None => None,
        }
    }

    /// The container that a full name leads to.
    pub fn container_at(&self, name: &str) -> Option<&Arc<str>> {
        let located = self.container_label(name).filter(|_| !self.names.contains_key(name))?.1?;
        Some(&located.container)
    }

    /// Every full name with what it stands for and, if that is one container, with that one's own name.
    pub fn entries(&self) -> impl Iterator<Item = (String, Cow<'_, Target>, Option<&str>)> {
        let others = self.names.iter().map(|(name, target)| (name.as_str().to_owned(), Cow::Borrowed(target), None));
        let of_containers = self.containers.iter().flat_map(|(label, located)| {
            let full = [format!("{label}.{}", self.domain), self.name_of_container(label)];
            let target = || Cow::Owned(Target::Containers(located.addresses.clone()));
            let full = full.into_iter().skip(usize::from(!located.is_plain));
            let free = full.filter(|name| !self.names.contains_key(name.as_str()));
            free.map(move |name| (name, target(), Some(&*located.container)))
        });
        others.chain(of_containers)
    }

    /// The full name under which a container is found whatever else has its name.
    pub fn name_of_container(&self, label: &str) -> String {
        format!("{label}.container.{}", self.domain)
    }

    /// What a name below the domain says of a container, and the container of that name.
    fn container_label<'n>(&self, name: &'n str) -> Option<(&'n str, Option<&Located>)> {
        let label = self.below(name)?;
        if let Some(located) = self.containers.get(label).filter(|located| located.is_plain) {
            return Some((label, Some(located)));
        }
        match label.strip_suffix(".container") {
            Some(label) => Some((label, self.containers.get(label))),
            None => Some((label, None)),
        }
    }

    /// What a name has in front of the domain. A dot behind a backslash is part of a label and divides nothing.
    fn below<'n>(&self, name: &'n str) -> Option<&'n str> {
        let label = name.strip_suffix(self.domain.as_str())?.strip_suffix('.')?;
        let escapes = label.bytes().rev().take_while(|b| *b == b'\\').count();
        (escapes % 2 == 0).then_some(label)
    }

    /// Whether the name is the end of a container's that has dots: something is below it, nothing at it.
    fn is_above_a_container(&self, label: &str) -> bool {
        self.containers.keys().any(|name| name.strip_suffix(label).is_some_and(|rest| rest.ends_with('.')))
    }
}

//! Every name the platform answers for, as immutable lookup tables.
//!
//! A value and the pure function that answers one question from it; `plan` builds it, the DNS server reads it.

mod lookup;

pub use lookup::{Answer, QueryKind, Reply};

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::{Network, Subnet};
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
    Containers(Vec<IpAddr>),
    Services(Vec<(String, u16)>),
    Fixed(IpAddr),
    /// There are names below it, nothing at it: NODATA and not NXDOMAIN (RFC 8020).
    Empty,
}

/// The published names. Lower case, without the trailing dot.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    pub domain: Domain,
    pub ttl: Duration,
    pub wildcard: Wildcard,
    pub names: HashMap<String, Target>,
    /// The name that an address belongs to.
    pub reverse: HashMap<IpAddr, String>,
    /// Which container stands behind a name, for people who ask.
    pub origins: HashMap<String, Arc<str>>,
    pub networks: Vec<Network>,
    /// This machine's own addresses with their ranges.
    pub local: Vec<Subnet>,
    pub gateway: IpAddr,
}

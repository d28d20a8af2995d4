//! A container as the engine reports it, and the labels the platform reads and writes.
//!
//! Plain data: whatever a foreign container says in its labels is still unchecked text here. `claim` checks it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Labels by which a container asks for a route, or by which we know our own.
pub mod label {
    pub const APP: &str = "platformer.app";
    pub const VERSION: &str = "platformer.version";
    pub const PORT: &str = "platformer.port";
    pub const HOST: &str = "platformer.host";
    pub const PATH: &str = "platformer.path";
    pub const ROUTE: &str = "platformer.route";
    pub const OWNER: &str = "platformer.owner";
    pub const DEPLOYMENT: &str = "platformer.deployment";
    /// What only we can write: it proves the labels in [`PROVEN`], and differs with every start.
    pub const PROOF: &str = "platformer.proof";
    pub const ALL: [&str; 9] = [APP, VERSION, PORT, HOST, PATH, ROUTE, OWNER, DEPLOYMENT, PROOF];
    pub const PROVEN: [&str; 4] = [APP, VERSION, OWNER, DEPLOYMENT];
    /// What an image may say of its containers; who it is, and whose, only the one who starts it says.
    pub const OF_IMAGES: [&str; 2] = [ROUTE, PORT];
    pub const PREFIX: &str = "platformer.";
}

/// The engine's id of a container (for Docker 64 hex digits).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId(pub Arc<str>);

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which platform a container belongs to: two on one machine have different owners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner(pub Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    Created,
    Running,
    Paused,
    /// Ended. `code` is the exit code, `oom` whether the kernel killed it for memory.
    Exited {
        code: i64,
        oom: bool,
        at: Option<Timestamp>,
    },
}

impl RunState {
    /// How the run ended, in words; `None` while it has not.
    pub fn ending(&self) -> Option<String> {
        match self {
            RunState::Exited { oom: true, .. } => Some("it ran out of memory".into()),
            RunState::Exited { code, .. } => Some(format!("it exited with {code}")),
            RunState::Created | RunState::Running | RunState::Paused => None,
        }
    }
}

/// What Docker's own HEALTHCHECK says, where the image has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerHealth {
    Starting,
    Healthy,
    Unhealthy,
}

/// One network that a container is connected to, with its addresses there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub network: Arc<str>,
    pub addresses: Vec<IpAddr>,
    /// What else it is called there: Docker itself answers these to all others on the network.
    pub aliases: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    pub id: ContainerId,
    /// The engine's name, without Docker's leading slash.
    pub name: Arc<str>,
    /// The image reference it was made from.
    pub image: Arc<str>,
    /// Its own labels, and of its image's only those that an image may give.
    pub labels: BTreeMap<String, String>,
    /// Labels of ours that are its image's and do not count.
    pub of_image: Vec<Arc<str>>,
    /// Carries our proof: this platform made it, whatever else is written on it.
    pub ours: bool,
    pub state: RunState,
    pub health: Option<DockerHealth>,
    pub attachments: Vec<Attachment>,
    /// Shares the host's network namespace: it is reached over loopback.
    pub host_network: bool,
    /// Shares the network namespace of this container: it is reached at that one's addresses.
    pub joined: Option<ContainerId>,
    /// TCP ports that its image exposes.
    pub exposed: Vec<u16>,
    pub created_at: Timestamp,
    /// Changes with every start: what was learnt about an earlier run does not count for this one.
    pub started_at: Option<Timestamp>,
    /// How often the engine has started it again by itself since somebody last started it.
    pub restarts: u32,
    /// Why the engine could not describe it in full: then what is here is from the engine's list.
    pub trouble: Option<String>,
}

impl Container {
    pub fn is_running(&self) -> bool {
        self.state == RunState::Running
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Where the balancer reaches it: on `network` if it is there, else on its first network by name.
    pub fn address_on(&self, network: &str) -> Option<IpAddr> {
        if self.host_network {
            return Some(IpAddr::from([127, 0, 0, 1]));
        }
        let attachments = self.attachments.iter().filter(|a| !a.addresses.is_empty());
        let ours_first = |a: &&Attachment, b: &&Attachment| {
            (&*a.network != network, &a.network).cmp(&(&*b.network != network, &b.network))
        };
        let addresses = &attachments.min_by(ours_first)?.addresses;
        addresses.iter().find(|a| a.is_ipv4()).or(addresses.first()).copied()
    }
}

/// A network of the engine, for telling which asker shares one with whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub name: Arc<str>,
    /// The platform that made it, if one did.
    pub owner: Option<Owner>,
    pub subnets: Vec<Subnet>,
}

/// An address range in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    pub base: IpAddr,
    pub prefix: u8,
}

impl Subnet {
    /// Parses `172.18.0.0/16` or `fd00::/64`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, prefix) = text.split_once('/')?;
        let base: IpAddr = base.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        (prefix <= if base.is_ipv4() { 32 } else { 128 }).then_some(Self { base, prefix })
    }

    /// The address after the network's own.
    pub fn first_host(&self) -> Option<IpAddr> {
        match self.base {
            IpAddr::V4(base) => Some(std::net::Ipv4Addr::from_bits(base.to_bits().checked_add(1)?).into()),
            IpAddr::V6(base) => Some(std::net::Ipv6Addr::from_bits(base.to_bits().checked_add(1)?).into()),
        }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.prefix);
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => (base.to_bits() ^ ip.to_bits()).leading_zeros() >= bits,
            (IpAddr::V6(base), IpAddr::V6(ip)) => (base.to_bits() ^ ip.to_bits()).leading_zeros() >= bits,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_contain_their_addresses_and_no_others() {
        let net = Subnet::parse("172.18.0.0/16").unwrap();
        assert!(net.contains("172.18.255.1".parse().unwrap()) && net.contains("::ffff:172.18.0.9".parse().unwrap()));
        assert!(!net.contains("172.19.0.1".parse().unwrap()) && !net.contains("fd00::1".parse().unwrap()));
        assert!(Subnet::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(Subnet::parse("10.0.0.0/33").is_none() && Subnet::parse("10.0.0.0").is_none());
    }
}

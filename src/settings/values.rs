//! The types of single settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

use crate::core::container::Subnet;
use crate::core::zone::Wildcard;

/// An address to listen on; `network:PORT` is the gateway of the platform's network, known only once that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    Address(SocketAddr),
    Network(u16),
}

impl Listen {
    pub fn resolve(self, gateway: IpAddr) -> SocketAddr {
        match self {
            Listen::Address(address) => address,
            Listen::Network(port) => SocketAddr::new(gateway, port),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bad =
            || format!("{text:?} is no address; write IP:PORT, or network:PORT for the platform network's gateway");
        match text.strip_prefix("network:") {
            Some(port) => port.parse().map(Listen::Network).map_err(|_| bad()),
            None => text.parse().map(Listen::Address).map_err(|_| bad()),
        }
    }
}

/// Where the balancer listens: one address, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum HttpListens {
    /// On port 80 of every address that this machine has.
    Everywhere,
    At(Vec<SocketAddr>),
}

impl HttpListens {
    /// The addresses; without a setting IPv6 is among them where there is such. `[::]` is every address, of IPv4 too.
    pub fn addresses(&self, has_ipv6: bool) -> Vec<SocketAddr> {
        let all = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let all_of_6 = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        match self {
            Self::Everywhere => [all(80)].into_iter().chain(has_ipv6.then(|| all_of_6(80))).collect(),
            Self::At(listed) => {
                let both = listed.iter().filter(|a| **a == all_of_6(a.port())).map(|a| all(a.port()));
                let mut addresses: Vec<SocketAddr> = Vec::new();
                for address in listed.iter().copied().chain(both) {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                addresses
            }
        }
    }
}

impl TryFrom<toml::Value> for HttpListens {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        let one = |value: &toml::Value| {
            let parsed = value.as_str().and_then(|text| text.parse().ok());
            parsed.ok_or_else(|| format!("{value} is no address; write IP:PORT, such as \"0.0.0.0:80\" or \"[::]:80\""))
        };
        match &value {
            toml::Value::Array(list) if list.is_empty() => Err("it lists no address; leave it out for port 80".into()),
            toml::Value::Array(list) => list.iter().map(one).collect::<Result<_, _>>().map(Self::At),
            value => one(value).map(|address| Self::At(vec![address])),
        }
    }
}

/// A network such as `10.0.0.0/8`, or a single address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cidr(String);

impl Cidr {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match Subnet::parse(&text).is_some() || text.parse::<IpAddr>().is_ok() {
            true => Ok(Self(text)),
            false => Err(format!("{text:?} is no network; write it as 10.0.0.0/8, or a single address")),
        }
    }
}

/// Requests that one address may have under way at the balancer; 0: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct PerAddress(pub u32);

impl Default for PerAddress {
    fn default() -> Self {
        Self(1024)
    }
}

impl TryFrom<toml::Value> for PerAddress {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        let number = number(&value).filter(|n| *n <= 65_536).map(Self);
        number.ok_or_else(|| format!("{value}: write a number up to 65536, 0 for no limit"))
    }
}

/// A DNS server: `9.9.9.9` or `9.9.9.9:5353`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Upstream(pub SocketAddr);

impl TryFrom<String> for Upstream {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        text.parse()
            .or_else(|_| alone())
            .map(Self)
            .map_err(|_| format!("{text:?} is no DNS server; write IP or IP:PORT"))
    }
}

/// `off`, `balancer` or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Wildcarded(pub Wildcard);

impl TryFrom<String> for Wildcarded {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "off" => Ok(Self(Wildcard::Off)),
            "balancer" | "host" => Ok(Self(Wildcard::Balancer)),
            address => address
                .parse()
                .map(|ip| Self(Wildcard::Address(ip)))
                .map_err(|_| format!("{text:?}: write off, balancer or an address")),
        }
    }
}

/// How many worker processes nginx has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Workers {
    Auto,
    Number(u16),
}

impl TryFrom<toml::Value> for Workers {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        if value.as_str() == Some("auto") {
            return Ok(Self::Auto);
        }
        number::<u16>(&value)
            .filter(|n| (1..=512).contains(n))
            .map(Self::Number)
            .ok_or_else(|| format!("{value}: write auto or a number from 1 to 512"))
    }
}

impl Workers {
    /// How many there are: `auto` is one for each core that this process may use, whatever the machine has.
    pub fn count(self) -> usize {
        match self {
            Self::Auto => std::thread::available_parallelism().map_or(1, usize::from),
            Self::Number(number) => number.into(),
        }
    }
}

impl std::fmt::Display for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// Connections that a worker of nginx can hold, those to instances included. A worker that starts makes room for all
/// of them, about 420 bytes each, so a large number makes every switch slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct Connections(pub u64);

impl TryFrom<toml::Value> for Connections {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        let number = number(&value).filter(|n| (64..=65_536).contains(n)).map(Self);
        number.ok_or_else(|| format!("{value}: write a number from 64 to 65536"))
    }
}

/// A number as the file has it, or as a variable spells it.
fn number<N: FromStr + TryFrom<i64>>(value: &toml::Value) -> Option<N> {
    match value {
        toml::Value::String(text) => text.parse().ok(),
        toml::Value::Integer(number) => N::try_from(*number).ok(),
        _ => None,
    }
}

//! The types of single settings.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

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

//! Registered services: what serves HTTP and is no container that we know of.
//!
//! In: URLs and names as somebody registered them. Out: checked values. Where a host name leads to is found out
//! elsewhere; whether it leads back to us is asked here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::app::HealthPath;
use super::names::{HostName, NameError, Port, checked_name, textual_order};

/// More addresses than this under one name are a mistake, or an attack.
pub const MOST_ENDPOINTS: usize = 100;
/// Of one address.
pub const MOST_TAGS: usize = 64;
/// In bytes.
pub const LONGEST_TAG: usize = 255;

checked_name! {
    /// What an endpoint is known by among those of its service: 1 to 128 visible characters.
    EndpointId, "service id", check_id
}
textual_order!(EndpointId);

fn check_id(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() || c.is_whitespace()) {
        _ if text.is_empty() => Err("it is empty".into()),
        _ if text.len() > 128 => Err(format!("it has {} bytes, 128 are allowed", text.len())),
        Some(c) => Err(format!("{c:?} is not allowed")),
        None => Ok(()),
    }
}

/// Where an endpoint is: scheme, host and port. A path is left out, since requests bring their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceUrl {
    pub https: bool,
    pub host: ServiceHost,
    pub port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceHost {
    Address(IpAddr),
    Name(HostName),
}

impl ServiceUrl {
    /// Parses `http://HOST[:PORT]` or `https://…`; a path behind it means nothing.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bad = |reason: &str| NameError::new("service URL", text, reason);
        // The parser drops or rewrites these: what it would read is not what was written.
        if let Some(c) = text.chars().find(|c| c.is_control() || c.is_whitespace() || *c == '\\') {
            return Err(bad(&format!("{c:?} is not allowed in it; write it as http://HOST:PORT")));
        }
        let (_, rest) = text.split_once("://").ok_or_else(|| bad("write it as http://HOST:PORT"))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('%') {
            return Err(bad("'%' is not allowed in a host; write it as http://HOST:PORT"));
        }
        if authority.contains('@') {
            return Err(bad("a user and a password in it would be shown to everyone; leave them out"));
        }
        let url = Url::parse(text).map_err(|e| bad(&format!("{e}; write it as http://HOST:PORT")))?;
        let https = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(bad("only http and https can be routed; write it as http://HOST:PORT")),
        };
        let host = match url.host() {
            Some(Host::Ipv4(ip)) => ServiceHost::Address(ip.into()),
            Some(Host::Ipv6(ip)) => ServiceHost::Address(ip.into()),
            Some(Host::Domain("localhost")) => ServiceHost::Address(Ipv4Addr::LOCALHOST.into()),
            Some(Host::Domain(name)) => {
                ServiceHost::Name(HostName::parse(name.trim_end_matches('.')).map_err(|e| bad(&e.to_string()))?)
            }
            None => return Err(bad("it names no host; write it as http://HOST:PORT")),
        };
        let port = url.port_or_known_default().unwrap_or_default();
        let port = Port::try_from(u64::from(port)).map_err(|e| bad(&e.reason))?;
        Ok(Self { https, host, port })
    }

    /// Host and port as a request's `Host` header has them.
    pub fn authority(&self) -> String {
        let host = match &self.host {
            ServiceHost::Address(IpAddr::V6(ip)) => format!("[{ip}]"),
            ServiceHost::Address(IpAddr::V4(ip)) => ip.to_string(),
            ServiceHost::Name(name) => name.to_string(),
        };
        match (self.https, self.port.get()) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The name that has to be looked up.
    pub fn name(&self) -> Option<&HostName> {
        match &self.host {
            ServiceHost::Name(name) => Some(name),
            ServiceHost::Address(_) => None,
        }
    }
}

impl std::fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

impl TryFrom<String> for ServiceUrl {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<ServiceUrl> for String {
    fn from(url: ServiceUrl) -> Self {
        url.to_string()
    }
}

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub url: ServiceUrl,
    /// Asked for its health; without one a connection must be accepted.
    pub health: Option<HealthPath>,
    pub tags: Vec<String>,
    pub at: Timestamp,
    pub by: Arc<str>,
    /// Whether it may be on this machine, or on its link: only who may do everything vouches for that. What was
    /// registered before that was asked stays where it is.
    #[serde(default = "vouched")]
    pub inside: bool,
}

fn vouched() -> bool {
    true
}

/// All addresses under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub endpoints: BTreeMap<EndpointId, Endpoint>,
}

impl Service {
    /// When its first address was registered.
    pub fn since(&self) -> Timestamp {
        self.endpoints.values().map(|endpoint| endpoint.at).min().unwrap_or_default()
    }
}

/// Why an address is one that strangers are not to be led to: it is this machine's, or its link's, where things listen
/// that trust whoever gets there. `local` are this machine's own addresses. `None` for all others.
pub fn inside(ip: IpAddr, local: impl Fn(IpAddr) -> bool) -> Option<&'static str> {
    let ip = embedded(ip);
    match ip {
        _ if ip.is_loopback() => Some("loopback"),
        _ if local(ip) => Some("an address of this machine"),
        IpAddr::V4(ip) if ip.octets()[0] == 0 => Some("no address of anybody"),
        IpAddr::V4(ip) if ip.is_link_local() => Some("link-local"),
        IpAddr::V4(ip) if ip.is_multicast() || ip.is_broadcast() => Some("no address of one machine"),
        IpAddr::V6(ip) if ip.is_unspecified() => Some("no address of anybody"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("link-local"),
        IpAddr::V6(ip) if ip.is_multicast() => Some("no address of one machine"),
        // Where a cloud answers over IPv6 what it answers at 169.254.169.254.
        IpAddr::V6(ip) if ip.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Some("link-local"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The IPv4 address that an IPv6 one leads to (mapped, compatible, RFC 6052, 6to4), or the address itself.
fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => IpAddr::V6(v6),
    }
}

/// Whether a connection to `to` would arrive at one of our own listeners. `local` are this machine's addresses.
pub fn is_ours(to: SocketAddr, own: &[SocketAddr], local: impl Fn(IpAddr) -> bool) -> bool {
    let ip = to.ip().to_canonical();
    own.iter().filter(|listener| listener.port() == to.port()).any(|listener| {
        let covers_all = listener.ip().is_unspecified() && (ip.is_loopback() || local(ip));
        listener.ip() == ip || ip.is_unspecified() || covers_all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_kept_as_scheme_host_and_port() {
        for (text, expected) in [
            ("http://10.0.0.5:8080", "http://10.0.0.5:8080"),
            ("http://10.0.0.5/with/a/path?and=query", "http://10.0.0.5"),
            ("HTTPS://Legacy.Corp/", "https://legacy.corp"),
            ("https://legacy.corp:8443", "https://legacy.corp:8443"),
            ("http://[fd00::5]:80", "http://[fd00::5]"),
            ("http://localhost:3000", "http://127.0.0.1:3000"),
            ("http://2130706433:81", "http://127.0.0.1:81"),
        ] {
            assert_eq!(ServiceUrl::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_routed_is_refused_with_the_reason() {
        for (text, expected) in [
            ("", "http://HOST:PORT"),
            ("demo", "http://HOST:PORT"),
            ("ftp://10.0.0.5", "only http and https"),
            ("http://", "http://HOST:PORT"),
            ("http://user:secret@10.0.0.5", "leave them out"),
            ("http://10.0.0.5:0", "1 to 65535"),
            ("http://10.0.0.5:65536", "port"),
            ("http://a_b:80", "'_' is not allowed"),
            ("http://x;return 200:80", "http://HOST:PORT"),
            ("http://$host", "not allowed"),
            ("http://x/\r\nX: y", "'\\r' is not allowed"),
            ("http://x/a b", "' ' is not allowed"),
            (" http://x", "' ' is not allowed"),
            ("http://x\t:80", "'\\t' is not allowed"),
            ("http:\\\\x", "'\\\\' is not allowed"),
            ("http:x", "http://HOST:PORT"),
            ("http://%31.2.3.4", "'%' is not allowed"),
            ("http://@x", "leave them out"),
        ] {
            let error = ServiceUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error}");
        }
    }

    #[test]
    fn what_is_inside_this_machine_is_known_in_every_spelling() {
        let local = |ip: IpAddr| ip == IpAddr::from([192, 0, 2, 7]);
        for text in [
            "http://127.0.0.1",
            "http://localhost",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.0.0.1",
            "http://017700000001",
            "http://[::1]",
            "http://[::ffff:127.0.0.1]",
            "http://[::127.0.0.1]",
            "http://[64:ff9b::7f00:1]",
            "http://[2002:7f00:1::]",
            "http://0.0.0.0",
            "http://0",
            "http://[::]",
            "http://169.254.169.254",
            "http://[::ffff:a9fe:a9fe]",
            "http://[fe80::1]",
            "http://[fd00:ec2::254]",
            "http://192.0.2.7",
            "http://[::ffff:192.0.2.7]",
            "http://224.0.0.1",
            "http://255.255.255.255",
        ] {
            let ServiceHost::Address(ip) = ServiceUrl::parse(text).unwrap().host else { panic!("{text} is a name") };
            assert!(inside(ip, local).is_some(), "{text}");
        }
        for text in ["10.0.0.5", "192.0.2.8", "2001:db8::5", "fd00::5", "::ffff:10.0.0.5", "172.18.0.9"] {
            assert_eq!(inside(text.parse().unwrap(), local), None, "{text}");
        }
    }

    #[test]
    fn an_address_of_ours_is_known_in_every_spelling() {
        let own: Vec<SocketAddr> = ["0.0.0.0:80", "127.0.0.1:7700"].iter().map(|a| a.parse().unwrap()).collect();
        let local = |ip: IpAddr| ip == IpAddr::from([192, 0, 2, 7]);
        for (to, expected) in [
            ("127.0.0.1:80", true),
            ("127.9.9.9:80", true),
            ("192.0.2.7:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:7700", true),
            ("127.0.0.1:7700", true),
            ("192.0.2.7:7700", false),
            ("192.0.2.8:80", false),
            ("127.0.0.1:81", false),
        ] {
            assert_eq!(is_ours(to.parse().unwrap(), &own, local), expected, "{to}");
        }
    }
}

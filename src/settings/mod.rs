//! Settings: file, then environment, then flags → one validated value. Nothing is opened or bound here.
//!
//! Every key has a default. `PLATFORMER_SECTION_KEY` overrides the file, flags override that. An unknown key
//! is an error with file, line and the nearest known one, so that a typing mistake never passes silently.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::core::app::Period;
use crate::core::names::{Domain, HostName};
use crate::core::zone::{Naming, Wildcard};

mod check;
mod environment;
mod load;
mod proxy;
mod repository;
mod told;
mod values;

pub use load::{Source, check_environment, find, load};
pub use proxy::Proxy;
pub use repository::Repository;
pub use told::Notify;
pub use values::{Cidr, Connections, HttpListens, Listen, PerAddress, Upstream, Wildcarded, Workers};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub domain: Domain,
    /// Ledger, token, nginx's folder. Must exist on this machine under the same path in a container.
    pub state: PathBuf,
    pub repository: Repository,
    /// Overrides built-in templates, file by file.
    pub templates: Option<PathBuf>,
    pub listen: Listens,
    pub docker: Docker,
    pub nginx: Nginx,
    pub dns: Dns,
    pub api: Api,
    pub proxy: Proxy,
    pub services: Services,
    pub webhooks: Webhooks,
    /// Servers that are told what happens.
    pub notify: Vec<Notify>,
    /// Totals of what others may make us hold, by the names of the table of limits.
    pub limits: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listens {
    pub http: HttpListens,
    /// Where containers reach the balancer when `http` is moved, so that their URLs need no port.
    pub internal: Listen,
    pub dns: Vec<Listen>,
    pub api: SocketAddr,
    /// A port of its own for registered services, at `/NAME/…`, and for registering them.
    pub services: Option<Listen>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    /// Whoever asks from this machine needs no token to use the registry, as older clients expect.
    pub open: bool,
    /// Certificates in PEM: what a service on https shows must be signed by one of them.
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Docker Hub is told at the `callback_url` of its webhook that it was taken, if that is on Docker's own host.
    pub callback: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    pub host: String,
    pub network: String,
    pub subnet: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nginx {
    pub binary: PathBuf,
    /// A number, or `auto` for one per core.
    pub workers: Workers,
    /// Of each worker.
    pub connections: Connections,
    pub user: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    pub ttl: Period,
    /// Empty: the servers of this machine's own `resolv.conf`.
    pub upstream: Vec<Upstream>,
    /// That file; in a container, of the machine's own folders as they are mounted there.
    pub resolv_conf: PathBuf,
    pub wildcard: Wildcarded,
    pub naming: Naming,
    pub extra: BTreeMap<HostName, IpAddr>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    pub allowed_hosts: Vec<String>,
    pub trusted_origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domain: Domain::platform(),
            state: "/var/lib/platformer".into(),
            repository: Repository::default(),
            templates: None,
            listen: Listens::default(),
            docker: Docker::default(),
            nginx: Nginx::default(),
            dns: Dns::default(),
            api: Api::default(),
            proxy: Proxy::default(),
            services: Services::default(),
            webhooks: Webhooks::default(),
            notify: Vec::new(),
            limits: BTreeMap::new(),
        }
    }
}

impl Default for Listens {
    fn default() -> Self {
        Self {
            http: HttpListens::Everywhere,
            internal: Listen::Network(80),
            dns: vec![Listen::Address(SocketAddr::from(([127, 0, 0, 1], 53))), Listen::Network(53)],
            api: SocketAddr::from(([127, 0, 0, 1], 7700)),
            services: None,
        }
    }
}

impl Default for Docker {
    fn default() -> Self {
        Self { host: "unix:///var/run/docker.sock".into(), network: "platformer".into(), subnet: None }
    }
}

impl Default for Nginx {
    fn default() -> Self {
        Self { binary: "nginx".into(), workers: Workers::Auto, connections: Connections(4096), user: None }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            ttl: Period::seconds(0),
            upstream: Vec::new(),
            resolv_conf: "/etc/resolv.conf".into(),
            wildcard: Wildcarded(Wildcard::Off),
            naming: Naming::Standard,
            extra: BTreeMap::new(),
        }
    }
}

/// Settings that cannot be used: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct SettingsError {
    /// `platformer.toml:3`, `PLATFORMER_LISTEN_HTTP` or `--set`.
    pub place: String,
    pub reason: String,
}

impl Settings {
    /// Makes relative paths absolute, so that they mean the same wherever they are used.
    pub fn absolute(mut self, base: &Path) -> Self {
        self.state = base.join(&self.state).components().collect();
        self.repository.path = base.join(&self.repository.path).components().collect();
        self.templates = self.templates.map(|t| base.join(t).components().collect());
        self.dns.resolv_conf = base.join(&self.dns.resolv_conf).components().collect();
        self.services.ca = self.services.ca.map(|file| base.join(file).components().collect());
        self
    }
}

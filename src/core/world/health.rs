//! What probes are told to ask, and what they said.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::core::app::HealthPath;
use crate::core::container::ContainerId;
use crate::core::names::AppName;
use crate::core::service::EndpointId;

/// What probes said of one run of a container, or of an endpoint as it was registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// The run it is about; a restart makes it void.
    pub started_at: Option<Timestamp>,
    pub verdict: Result<(), String>,
    pub since: Timestamp,
    pub was_ready: bool,
}

/// The state of an instance, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    Starting,
    Ready,
    Unhealthy,
    Draining,
    Stopped,
}

impl Condition {
    /// As people and `/metrics` read it, and as it is written in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// A GET that must answer 200-399.
    Http(HealthPath),
    /// A connection that must be accepted.
    Tcp,
}

impl ProbeKind {
    /// Between probes of what is ready, where nothing else is asked for.
    pub fn usual_interval(&self) -> Duration {
        match self {
            Self::Http(_) => Duration::from_secs(5),
            Self::Tcp => Duration::from_secs(10),
        }
    }
}

/// What is probed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Container(ContainerId),
    Endpoint(AppName, EndpointId),
}

/// One address to be probed until it is taken off the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    pub subject: Subject,
    /// The run of the container, or the registration, that the verdict is about.
    pub started_at: Option<Timestamp>,
    pub address: SocketAddr,
    pub kind: ProbeKind,
    /// The `Host` of an HTTP probe, as visitors send it; without one the address.
    pub host: Option<Arc<str>>,
    /// Between probes of a ready instance; a starting or unhealthy one is probed faster.
    pub interval: Duration,
    pub timeout: Duration,
}

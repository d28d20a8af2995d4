//! The ground that is nobody's: this machine, the domain itself, and the platform's own names below it.

use std::sync::Arc;

use super::granted::{GrantedName, Leads};
use super::refusal::Why;
use super::wish::Ground;
use crate::core::names::{Domain, HostName, PathPrefix, RESERVED};

/// The parts of the platform that answer at a name of their own, at the balancer.
pub const PARTS: [&str; 5] = ["repository", "loadbalancer", "dns", "services", "dashboard"];

/// What this machine is called in `/etc/hosts` and by Docker, wherever that is.
const MACHINE: [&str; 6] = [
    "localhost.localdomain",
    "ip6-localhost",
    "ip6-loopback",
    "host.docker.internal",
    "gateway.docker.internal",
    "kubernetes.docker.internal",
];

/// Below this path nginx finds the pages that stand in for an app.
const OWN_PATH: &str = "/_platformer";

/// The hosts of one part of the platform: below the domain and below `localhost`.
pub fn own_hosts(part: &str, domain: &Domain) -> Vec<HostName> {
    [domain.as_str(), "localhost"].iter().filter_map(|d| HostName::parse(&format!("{part}.{d}")).ok()).collect()
}

/// Why nobody is given this host.
pub(super) fn whose(host: &HostName, ground: &Ground<'_>) -> Option<Why> {
    match host.as_str() {
        "localhost" => return Some(Why::Localhost),
        text if text == ground.domain.as_str() => return Some(Why::Domain),
        _ => {}
    }
    if host.is_address() {
        return Some(Why::Address);
    }
    let is_bare = |part: &&str| **part == *host.as_str();
    if let Some(part) = host.reserved_under(ground.domain).or_else(|| PARTS.into_iter().find(is_bare)) {
        return Some(Why::Platform(part));
    }
    (ground.machine.contains(host) || MACHINE.contains(&host.as_str())).then_some(Why::Machine)
}

pub(super) fn is_own_path(path: &PathPrefix) -> bool {
    path.as_str().strip_prefix(OWN_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The platform's own names below the domain.
pub(super) fn names(domain: &Domain) -> impl Iterator<Item = (GrantedName, Leads)> {
    RESERVED.into_iter().map(move |part| {
        let leads = if PARTS.contains(&part) { Leads::Balancer } else { Leads::Nothing };
        (GrantedName(Arc::from(format!("{part}.{domain}"))), leads)
    })
}

//! Whom the balancer believes, and how much of it one address may hold.

use serde::Deserialize;

use super::{Cidr, PerAddress};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Proxies in front of the balancer: what they say of their clients is passed on.
    pub trusted: Vec<Cidr>,
    /// Requests that one address may have under way.
    pub per_address: PerAddress,
}

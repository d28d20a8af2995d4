//! Instances on their way out: out of the routes, drained, stopped.

use std::net::SocketAddr;

use super::World;
use crate::core::container::ContainerId;

/// Where an instance is on its way out. The order is the platform's first promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting until no worker may send it anything new.
    Unrouting,
    /// Finishing the requests it has.
    Draining,
    /// Being stopped.
    Stopping,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retiring {
    pub phase: Phase,
    pub address: Option<SocketAddr>,
}

impl World {
    /// Instances in `Unrouting` that nothing routes to any more. Where the platform goes down and its balancer is
    /// gone already, waiting for another to come would be for ever.
    pub fn unrouted(&self) -> impl Iterator<Item = &ContainerId> {
        let is_over = self.closing.is_some() && self.balancer.is_gone();
        let is_routed = move |address| !is_over && self.balancer.may_send_to(address);
        self.retiring
            .iter()
            .filter(move |(_, r)| r.phase == Phase::Unrouting && !r.address.is_some_and(is_routed))
            .map(|(id, _)| id)
    }
}

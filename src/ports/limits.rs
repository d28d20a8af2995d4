//! Everything that somebody outside can make us hold: how much of it, by one asker and in total.
//!
//! One table, [`TABLE`]. Who accepts something takes it from [`Limits`] first and keeps what it gets for as long as
//! it is held: dropping gives it back. `/metrics` tells what is held and what was refused, by the names of the table.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// What can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// A connection to the control API.
    ApiConnection,
    /// A question over TCP to DNS.
    DnsConnection,
    /// A question that was passed on to an upstream and is not answered yet.
    DnsForward,
}

/// How much of one resource there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub resource: Resource,
    /// As `/metrics` and refusals call it.
    pub name: &'static str,
    /// Held by everybody together.
    pub total: usize,
    /// Held by one address.
    pub each: usize,
}

/// Every limit, one line each.
pub const TABLE: &[Limit] = &[
    Limit { resource: Resource::ApiConnection, name: "api_connections", total: 1024, each: 256 },
    Limit { resource: Resource::DnsConnection, name: "dns_connections", total: 256, each: 32 },
    Limit { resource: Resource::DnsForward, name: "dns_forwards", total: 1024, each: 256 },
];

/// Says which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {held} are held {}, which is the limit", if *.by_one { "by this address" } else { "in all" })]
pub struct Full {
    pub name: &'static str,
    pub held: usize,
    /// One address reached its own limit, and not everybody together theirs.
    pub by_one: bool,
}

/// What is held now; cheap to clone, and shared by all adapters.
#[derive(Debug, Clone, Default)]
pub struct Limits(Arc<Mutex<HashMap<Resource, Count>>>);

#[derive(Debug, Default)]
struct Count {
    total: usize,
    each: HashMap<IpAddr, usize>,
    refused: u64,
}

/// Something that is held; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    limits: Limits,
    resource: Resource,
    asker: IpAddr,
}

/// One line of what is held, for `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    pub limit: Limit,
    pub held: usize,
    /// How often somebody was refused since the supervisor started.
    pub refused: u64,
}

impl Resource {
    pub fn limit(self) -> Limit {
        let line = TABLE.iter().find(|limit| limit.resource == self);
        line.copied().unwrap_or(Limit { resource: self, name: "unlisted", total: 0, each: 0 })
    }
}

impl Limits {
    /// Takes one more for `asker`, or says which limit is reached.
    pub fn take(&self, resource: Resource, asker: IpAddr) -> Result<Held, Full> {
        let (limit, asker) = (resource.limit(), asker.to_canonical());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(resource).or_default();
        let each = count.each.get(&asker).copied().unwrap_or_default();
        if count.total >= limit.total || each >= limit.each {
            count.refused += 1;
            let by_one = each >= limit.each;
            return Err(Full { name: limit.name, held: if by_one { each } else { count.total }, by_one });
        }
        count.total += 1;
        count.each.insert(asker, each + 1);
        Ok(Held { limits: self.clone(), resource, asker })
    }

    /// What is held of everything, in the table's order.
    pub fn levels(&self) -> Vec<Level> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |limit: &Limit| {
            let count = counts.get(&limit.resource);
            Level { limit: *limit, held: count.map_or(0, |c| c.total), refused: count.map_or(0, |c| c.refused) }
        };
        TABLE.iter().map(level).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.limits.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(&self.resource) else { return };
        count.total = count.total.saturating_sub(1);
        if let Some(each) = count.each.get_mut(&self.asker) {
            *each -= 1;
            if *each == 0 {
                count.each.remove(&self.asker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_reached_by_one_and_by_all_and_given_back() {
        for limit in TABLE {
            let limits = Limits::default();
            let asker = |n: usize| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
            let mut held: Vec<Held> = (0..limit.each).map(|_| limits.take(limit.resource, asker(0)).unwrap()).collect();
            let full = limits.take(limit.resource, asker(0)).unwrap_err();
            assert!(full.by_one || limit.each == limit.total, "{full}");
            for n in limit.each..limit.total {
                held.push(limits.take(limit.resource, asker(1 + n / limit.each)).unwrap());
            }
            assert!(limits.take(limit.resource, asker(9999)).is_err(), "{}", limit.name);
            let level = limits.levels().into_iter().find(|l| l.limit == *limit).unwrap();
            assert_eq!((level.held, level.refused), (limit.total, 2));
            drop(held);
            assert!(limits.levels().iter().all(|level| level.held == 0));
            assert!(limits.0.lock().unwrap()[&limit.resource].each.is_empty(), "nobody is remembered");
            limits.take(limit.resource, asker(0)).unwrap();
        }
    }
}

//! Everything that somebody outside can make us hold: how much of it, by one asker and in total.
//!
//! One table, [`TABLE`]. Who accepts something takes it from [`Limits`] first and keeps what it gets for as long as
//! it is held: dropping gives it back. `/metrics` tells what is held and what was refused, by the names of the table,
//! which are also those of the settings that move a limit.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::names::nearest;

/// What can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// A connection to the control API.
    ApiConnection,
    /// A question over TCP to DNS.
    DnsConnection,
    /// A question that was passed on to an upstream and is not answered yet.
    DnsForward,
    /// A body of a request to the API that is larger than most, or of unknown size, and is not an upload.
    LargeBody,
    /// An artefact or a piece of an image that is being received.
    Upload,
    /// A file of the repository that is being sent.
    Download,
    /// A server-sent stream: events, or a page that is kept true.
    Stream,
    /// A question that waits for a change, as Consul's clients ask.
    LongPoll,
    /// An instance's log that is followed.
    FollowedLog,
    /// A worker of nginx that was replaced and has connections yet: the oldest of too many is ended.
    LeavingWorker,
}

/// How much of one resource there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub resource: Resource,
    /// As `/metrics` and refusals call it.
    pub name: &'static str,
    /// Held by everybody together.
    pub total: usize,
    /// Held by one asker: an address, or a token wherever it is used.
    pub each: usize,
}

/// Every limit, one line each.
pub const TABLE: &[Limit] = &[
    Limit { resource: Resource::ApiConnection, name: "api_connections", total: 1024, each: 256 },
    Limit { resource: Resource::DnsConnection, name: "dns_connections", total: 256, each: 32 },
    Limit { resource: Resource::DnsForward, name: "dns_forwards", total: 1024, each: 256 },
    Limit { resource: Resource::LargeBody, name: "large_bodies", total: 64, each: 32 },
    Limit { resource: Resource::Upload, name: "uploads", total: 32, each: 16 },
    Limit { resource: Resource::Download, name: "downloads", total: 512, each: 64 },
    Limit { resource: Resource::Stream, name: "streams", total: 256, each: 128 },
    Limit { resource: Resource::LongPoll, name: "long_polls", total: 512, each: 192 },
    Limit { resource: Resource::FollowedLog, name: "followed_logs", total: 128, each: 32 },
    Limit { resource: Resource::LeavingWorker, name: "leaving_workers", total: 64, each: 64 },
];

/// Says which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name}: {held} are held {}, which is the limit; end some and ask again, or raise limits.{name}",
    if *.by_one { "by this address or token" } else { "in all" }
)]
pub struct Full {
    pub name: &'static str,
    pub held: usize,
    /// One asker reached its own limit, and not everybody together theirs.
    pub by_one: bool,
}

/// What is held now; cheap to clone, and shared by all adapters.
#[derive(Debug, Clone, Default)]
pub struct Limits(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: Mutex<HashMap<Resource, Count>>,
    /// Limits that are not those of the table.
    moved: Vec<Limit>,
}

#[derive(Debug, Default)]
struct Count {
    total: usize,
    each: HashMap<Asker, usize>,
    refused: u64,
}

/// Something that is held; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    limits: Limits,
    resource: Resource,
    asker: Asker,
}

/// Whom something that is held is counted against. All who use this machine come from one address, and so does whoever
/// comes through the same proxy: who shows a token is counted by that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Asker {
    /// As [`one_of`] has it.
    Address(IpAddr),
    /// By the token's id.
    Token(Arc<str>),
}

impl From<IpAddr> for Asker {
    fn from(address: IpAddr) -> Self {
        Self::Address(one_of(address))
    }
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
    /// The table with some totals moved, each by its name; what one address may hold moves in proportion.
    ///
    /// # Errors
    /// A name that is not in the table, with the nearest one, or a total of 0.
    pub fn with(totals: &BTreeMap<String, usize>) -> Result<Self, String> {
        let moved = totals.iter().map(|(name, total)| {
            let line = TABLE.iter().find(|limit| limit.name == name).ok_or_else(|| {
                let near = nearest(name, TABLE.iter().map(|limit| limit.name));
                let near = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
                format!("limits.{name}: there is no such limit{near}")
            })?;
            let each = line.each.saturating_mul(*total).div_ceil(line.total).min(*total);
            match total {
                0 => Err(format!("limits.{name}: nothing at all would be served; write 1 or more")),
                total => Ok(Limit { total: *total, each, ..*line }),
            }
        });
        let moved = moved.collect::<Result<_, String>>()?;
        Ok(Self(Arc::new(Inner { moved, ..Inner::default() })))
    }

    /// What is in force for a resource.
    pub fn of(&self, resource: Resource) -> Limit {
        let moved = self.0.moved.iter().find(|limit| limit.resource == resource);
        moved.copied().unwrap_or_else(|| resource.limit())
    }

    /// Takes one more for `asker`, or says which limit is reached.
    pub fn take(&self, resource: Resource, asker: impl Into<Asker>) -> Result<Held, Full> {
        let (limit, asker) = (self.of(resource), asker.into());
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(resource).or_default();
        let each = count.each.get(&asker).copied().unwrap_or_default();
        if count.total >= limit.total || each >= limit.each {
            count.refused += 1;
            let by_one = each >= limit.each;
            return Err(Full { name: limit.name, held: if by_one { each } else { count.total }, by_one });
        }
        count.total += 1;
        count.each.insert(asker.clone(), each + 1);
        Ok(Held { limits: self.clone(), resource, asker })
    }

    /// Notes how many there are of what nobody takes here, and that so many more had to go.
    pub fn measured(&self, resource: Resource, held: usize, ended: usize) {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(resource).or_default();
        count.total = held;
        count.refused += ended as u64;
    }

    /// What is held of everything, in the table's order.
    pub fn levels(&self) -> Vec<Level> {
        let counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |limit: &Limit| {
            let count = counts.get(&limit.resource);
            Level {
                limit: self.of(limit.resource),
                held: count.map_or(0, |c| c.total),
                refused: count.map_or(0, |c| c.refused),
            }
        };
        TABLE.iter().map(level).collect()
    }
}

/// The address that stands for all that one asker can ask from: of IPv6 addresses that the world routes, whoever has
/// one has the whole of its /64.
pub fn one_of(asker: IpAddr) -> IpAddr {
    match asker.to_canonical() {
        IpAddr::V6(ip) if ip.segments()[0] & 0xe000 == 0x2000 => {
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)))
        }
        ip => ip,
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.limits.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
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
            assert!(limits.0.counts.lock().unwrap()[&limit.resource].each.is_empty(), "nobody is remembered");
            limits.take(limit.resource, asker(0)).unwrap();
        }
    }

    #[test]
    fn who_shows_a_token_is_counted_by_it_and_not_by_the_address_that_many_share() {
        let limits = Limits::default();
        let take = |asker: Asker| limits.take(Resource::Stream, asker);
        let token = |id: &str| Asker::Token(id.into());
        let _one: Vec<_> = (0..Resource::Stream.limit().each).map(|_| take(token("one")).unwrap()).collect();
        assert!(take(token("one")).is_err_and(|full| full.by_one));
        assert!(take(token("other")).is_ok() && take(IpAddr::from([127, 0, 0, 1]).into()).is_ok());
    }

    #[test]
    fn who_has_many_addresses_is_one_asker() {
        let one = |text: &str| one_of(text.parse().unwrap());
        assert_eq!(one("2001:db8:1:2:3::4"), one("2001:db8:1:2::ffff"));
        assert_ne!(one("2001:db8:1:2::4"), one("2001:db8:1:3::4"));
        assert_eq!((one("::ffff:10.0.0.1"), one("fd00::9")), ("10.0.0.1".parse().unwrap(), "fd00::9".parse().unwrap()));
    }

    #[test]
    fn an_operator_moves_a_limit_by_its_name() {
        let with = |name: &str, total| Limits::with(&BTreeMap::from([(name.to_owned(), total)]));
        let limits = with("streams", 4).unwrap();
        assert_eq!((limits.of(Resource::Stream).total, limits.of(Resource::Stream).each), (4, 2));
        assert_eq!(limits.of(Resource::Upload), Resource::Upload.limit());
        let one = with("streams", 1).unwrap();
        assert_eq!(one.of(Resource::Stream).each, 1);
        assert!(with("steams", 4).unwrap_err().contains("did you mean streams?"));
        assert!(with("streams", 0).unwrap_err().contains("1 or more"));
    }
}

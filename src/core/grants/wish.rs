//! What apps, services and containers wish for, and what wishes stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::core::names::{AppName, Domain, HostName, PathPrefix};

/// So many pairs of host and path are given to labels in all, beside each app's own name: more make every switch slow.
pub const MOST_OF_LABELS: usize = 10_000;
/// And so many to the labels of one container.
pub const MOST_OF_ONE: usize = 2_500;

/// Which wishes come before which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// An app file says so.
    Declared,
    /// A registered service.
    Service,
    /// Labels of a container that is ready.
    Ready,
    /// Labels of one that is not.
    Waiting,
    /// What an app had whose last container has gone.
    Departed,
}

/// What one app or service wishes for.
#[derive(Debug, Clone)]
pub struct Wish {
    pub app: AppName,
    /// At each of its hosts.
    pub paths: Vec<PathPrefix>,
    /// It has releases, which answer at addresses of their own.
    pub has_releases: bool,
    /// Labels may have other paths of its hosts.
    pub open: bool,
    pub asks: Vec<Ask>,
}

/// Hosts that are asked for together.
#[derive(Debug, Clone)]
pub struct Ask {
    pub rank: Rank,
    pub since: Timestamp,
    /// Whom a refusal concerns: `app shop`, `service legacy`, `container web-1`.
    pub subject: Arc<str>,
    pub hosts: Arc<[HostName]>,
}

/// What wishes stand on.
pub struct Ground<'a> {
    pub domain: &'a Domain,
    /// Names of this machine itself, and those at which its dashboard is asked.
    pub machine: &'a BTreeSet<HostName>,
    /// Names that the settings give to addresses.
    pub extra: &'a BTreeMap<HostName, IpAddr>,
    /// Whether a container that is no instance of the app has this name below the domain.
    pub is_others: &'a dyn Fn(&str, &AppName) -> bool,
}

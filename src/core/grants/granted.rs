//! What was granted, as values that can be narrowed but not made or widened outside of this module.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::core::names::{AppName, Domain, HostName, PathPrefix};

/// What one app was given. Only [`super::grant`] makes one that holds anything, and what nginx was given is read back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    pub(super) hosts: Vec<HostName>,
    pub(super) paths: Vec<PathPrefix>,
    #[serde(default, rename = "stable_hosts")]
    pub(super) stable: Vec<HostName>,
    #[serde(default, rename = "candidate_hosts")]
    pub(super) candidate: Vec<HostName>,
}

impl Granted {
    /// Its own hosts, at each of which it has all of [`Granted::paths`].
    pub fn hosts(&self) -> &[HostName] {
        &self.hosts
    }

    pub fn paths(&self) -> &[PathPrefix] {
        &self.paths
    }

    /// Where its stable release answers, whatever the split.
    pub fn stable(&self) -> &[HostName] {
        &self.stable
    }

    /// Where its candidate answers while there is one.
    pub fn candidate(&self) -> &[HostName] {
        &self.candidate
    }

    /// Every host of it, of whichever kind.
    pub fn all(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.iter().chain(&self.stable).chain(&self.candidate)
    }

    /// The same with no other hosts of its own than these.
    pub fn only(&self, hosts: &[HostName]) -> Self {
        let hosts = self.hosts.iter().filter(|host| hosts.contains(host)).cloned().collect();
        Self { hosts, ..self.clone() }
    }

    /// The same without what others have by now.
    pub fn beside<'a>(&self, others: impl Iterator<Item = &'a Granted>) -> Self {
        let mut taken: HashMap<&HostName, Vec<&'a Granted>> = HashMap::new();
        for other in others {
            other.all().for_each(|host| taken.entry(host).or_default().push(other));
        }
        let shares = |other: &&Granted| other.paths.iter().any(|path| self.paths.contains(path));
        let free = |host: &&HostName| !taken.get(*host).is_some_and(|holders| holders.iter().any(shares));
        let left = |hosts: &[HostName]| hosts.iter().filter(free).cloned().collect();
        let (hosts, stable, candidate) = (left(&self.hosts), left(&self.stable), left(&self.candidate));
        Self { hosts, stable, candidate, paths: self.paths.clone() }
    }
}

/// A name that DNS may answer for: only [`super::grant`] makes one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantedName(pub(super) Arc<str>);

impl GrantedName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names above this one that are still below `domain`, from the nearest on. They exist though nothing is at them.
    pub fn parents(&self, domain: &Domain) -> impl Iterator<Item = GrantedName> {
        let above = std::iter::successors(self.0.split_once('.'), |(_, rest)| rest.split_once('.'));
        let length = domain.as_str().len();
        above.map(|(_, parent)| parent).take_while(move |p| p.len() > length).map(|p| Self(p.into()))
    }
}

impl Borrow<str> for GrantedName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a granted name is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// The balancer: a host of an app, or the platform's own.
    Balancer,
    /// The addresses of an app's ready instances.
    Instances(AppName),
    /// The same with their ports.
    Services(AppName),
    /// An address that the settings name.
    Fixed(IpAddr),
    /// Names are below it, nothing is at it.
    Nothing,
}

/// Everything that was given away.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    pub(super) apps: BTreeMap<AppName, Granted>,
    pub(super) names: HashMap<GrantedName, Leads>,
    pub refused: Vec<Refusal>,
}

impl Grants {
    /// What an app or service was given; nothing if it wished for nothing.
    pub fn take(&mut self, app: &AppName) -> Granted {
        self.apps.remove(app).unwrap_or_default()
    }

    /// Every name but those of containers.
    pub fn names(&self) -> &HashMap<GrantedName, Leads> {
        &self.names
    }
}

#[cfg(test)]
mod testing {
    use super::*;

    impl Granted {
        pub fn of(hosts: &[&str], paths: &[&str]) -> Self {
            let host = |text: String| HostName::parse(&text).unwrap();
            let release = |which: &str| hosts.iter().map(|h| host(format!("{which}.{h}"))).collect();
            Self {
                hosts: hosts.iter().map(|h| host((*h).to_owned())).collect(),
                paths: paths.iter().map(|p| PathPrefix::parse(p).unwrap()).collect(),
                stable: release("stable"),
                candidate: release("candidate"),
            }
        }

        pub fn of_service(hosts: &[&str]) -> Self {
            Self { stable: Vec::new(), candidate: Vec::new(), ..Self::of(hosts, &["/"]) }
        }
    }

    impl GrantedName {
        pub fn of(name: &str) -> Self {
            Self(name.into())
        }
    }
}

//! Registered services in the world: where each endpoint is reached and how it is.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;

use super::{Condition, Health, RESTLESS, Subject, World};
use crate::core::names::{AppName, HostName};
use crate::core::service::{Endpoint, EndpointId, ServiceHost, ServiceUrl, inside, is_ours};
use crate::core::zone::QueryKind;

/// An endpoint of a registered service as it is now.
#[derive(Debug, Clone)]
pub struct Reached<'w> {
    pub service: &'w AppName,
    pub id: &'w EndpointId,
    pub endpoint: &'w Endpoint,
    /// Where the balancer reaches it, or why nowhere.
    pub address: Result<SocketAddr, String>,
    pub condition: Condition,
    pub since: Timestamp,
    /// Why it is not ready.
    pub reason: Option<String>,
}

impl Reached<'_> {
    /// Whether it is given requests: whoever registers it says that it serves, so it does until a probe finds
    /// otherwise. A service that moves is missed by nobody.
    pub fn is_routed(&self) -> bool {
        matches!(self.condition, Condition::Ready | Condition::Starting) && self.address.is_ok()
    }
}

impl World {
    /// Every endpoint, ordered by service, then id.
    pub fn endpoints(&self) -> Vec<Reached<'_>> {
        let all = self.services.iter().flat_map(|(name, service)| service.endpoints.iter().map(move |e| (name, e)));
        all.map(|(service, (id, endpoint))| self.reached(service, id, endpoint)).collect()
    }

    fn reached<'w>(&'w self, service: &'w AppName, id: &'w EndpointId, endpoint: &'w Endpoint) -> Reached<'w> {
        let address = self.place_of(endpoint);
        let health = self.endpoint_health.get(&(service.clone(), id.clone()));
        let health = health.filter(|health| health.started_at == Some(endpoint.at));
        let held = self.held_since(&Subject::Endpoint(service.clone(), id.clone()));
        let (condition, since, reason) = match (&address, health) {
            (Err(reason), _) => (Condition::Unhealthy, endpoint.at, Some(reason.clone())),
            (Ok(_), Some(Health { verdict: Ok(()), since, .. })) => (Condition::Ready, *since, None),
            (Ok(_), Some(Health { verdict: Err(reason), since, .. })) => {
                (Condition::Unhealthy, *since, Some(reason.clone()))
            }
            (Ok(address), None) if self.balancer.adopted_names(*address) => (Condition::Ready, endpoint.at, None),
            (Ok(_), None) => (Condition::Starting, endpoint.at, None),
        };
        let (condition, since, reason) = match held {
            Some(since) if condition != Condition::Unhealthy => (Condition::Unhealthy, since, Some(RESTLESS.into())),
            _ => (condition, since, reason),
        };
        Reached { service, id, endpoint, address, condition, since, reason }
    }

    /// Asked anew each time that a name was looked up: where it leads now is what counts.
    fn place_of(&self, endpoint: &Endpoint) -> Result<SocketAddr, String> {
        let url = &endpoint.url;
        let ip = match &url.host {
            ServiceHost::Address(_) if url.https && self.platform.checks_certificates => {
                return Err(format!("{url} has no name to check its certificate by; register it by its name"));
            }
            ServiceHost::Address(ip) => *ip,
            ServiceHost::Name(name) => match self.looked_up.get(name) {
                None => return Err(format!("{name} has not been looked up yet")),
                Some(Err(reason)) => return Err(format!("{name}: {reason}")),
                Some(Ok(ip)) => *ip,
            },
        };
        let address = SocketAddr::new(ip, url.port.get());
        match self.is_ours_address(address) {
            true => Err(format!("{address} is the platform itself")),
            false if endpoint.inside => Ok(address),
            false => match inside(ip, |ip| self.is_local(ip)) {
                Some(what) => Err(format!("{ip} is {what}; only a token with the scope admin may register that")),
                None => Ok(address),
            },
        }
    }

    /// Whether we listen there ourselves.
    pub(super) fn is_ours_address(&self, address: SocketAddr) -> bool {
        is_ours(address, &self.platform.listeners, |ip| self.is_local(ip))
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        ip == self.platform.gateway || self.local_addresses.iter().any(|subnet| subnet.base == ip)
    }

    /// Whether an app, declared or not, goes by this name.
    pub fn is_app(&self, name: &AppName) -> bool {
        self.declared_app(name).is_some() || self.instances().iter().any(|member| member.claim.app == *name)
    }

    /// Whether a URL is one of our own listeners, as far as its name can be told without asking anybody else.
    pub fn leads_back(&self, url: &ServiceUrl) -> bool {
        self.told_of(url).into_iter().any(|ip| self.is_ours_address(SocketAddr::new(ip, url.port.get())))
    }

    /// Whether a URL leads to this machine or its link, as far as that can be told now, and what is there.
    pub fn leads_inside(&self, url: &ServiceUrl) -> Option<(IpAddr, &'static str)> {
        self.told_of(url).into_iter().find_map(|ip| Some((ip, inside(ip, |ip| self.is_local(ip))?)))
    }

    fn told_of(&self, url: &ServiceUrl) -> Vec<IpAddr> {
        match &url.host {
            ServiceHost::Address(ip) => vec![*ip],
            ServiceHost::Name(name) => {
                let looked_up = self.looked_up.get(name).and_then(|found| found.as_ref().ok()).copied();
                looked_up.into_iter().chain(self.addresses_of(name)).collect()
            }
        }
    }

    /// The addresses that we ourselves give a name of ours.
    fn addresses_of(&self, name: &HostName) -> Vec<IpAddr> {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        if name.below("localhost").is_some() {
            return vec![loopback];
        }
        let zone = self.published.as_ref();
        zone.map_or(Vec::new(), |zone| zone.lookup(name.as_str(), QueryKind::A, loopback).addresses())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::Service;
    use crate::core::testing::{at, world_with};
    use crate::core::world::{Fact, Intent};
    use std::collections::BTreeMap;

    #[test]
    fn a_name_that_comes_to_lead_inside_is_routed_no_more_unless_it_was_vouched_for() {
        let (mut world, _) = world_with("", |_, _| Intent::new(at(0)));
        let (name, id) = (AppName::parse("legacy").unwrap(), EndpointId::parse("legacy").unwrap());
        let url = ServiceUrl::parse("http://rebound.example:9999").unwrap();
        let host = url.name().unwrap().clone();
        let mut reached = |inside: bool, leads: [u8; 4]| {
            let endpoint = Endpoint { url: url.clone(), health: None, tags: vec![], at: at(1), by: "t".into(), inside };
            let service = Service { endpoints: BTreeMap::from([(id.clone(), endpoint)]) };
            world.apply(Fact::Registered(BTreeMap::from([(name.clone(), service)])), at(2));
            world.apply(Fact::LookedUp(BTreeMap::from([(host.clone(), Ok(leads.into()))])), at(3));
            world.endpoints()[0].address.clone()
        };
        assert!(reached(false, [10, 0, 0, 5]).is_ok());
        for leads in [[127, 0, 0, 1], [169, 254, 169, 254], [0, 0, 0, 0], [172, 30, 0, 1]] {
            assert!(reached(false, leads).unwrap_err().contains("scope admin"), "{leads:?}");
            assert!(reached(true, leads).is_ok(), "{leads:?}");
        }
    }
}

//! Registered services in the world: registering, removing, where each endpoint is reached and how it is.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;

use super::steer::Decider;
use super::{Action, Condition, Done, Health, Refusal, World};
use crate::core::names::{AppName, HostName, nearest};
use crate::core::service::{
    Endpoint, EndpointId, LONGEST_TAG, MOST_ENDPOINTS, MOST_TAGS, Service, ServiceHost, ServiceUrl, inside, is_ours,
};
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

type Decision = Result<(Vec<Action>, Done), Refusal>;

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
        let (condition, since, reason) = match (&address, health) {
            (Err(reason), _) => (Condition::Unhealthy, endpoint.at, Some(reason.clone())),
            (Ok(_), Some(Health { verdict: Ok(()), since, .. })) => (Condition::Ready, *since, None),
            (Ok(_), Some(Health { verdict: Err(reason), since, .. })) => {
                (Condition::Unhealthy, *since, Some(reason.clone()))
            }
            (Ok(address), None) if self.balancer.adopted_names(*address) => (Condition::Ready, endpoint.at, None),
            (Ok(_), None) => (Condition::Starting, endpoint.at, None),
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

    /// Adds an endpoint to a service, or puts it in the place of all others.
    pub(super) fn register(
        &self,
        name: &AppName,
        id: &EndpointId,
        endpoint: &Endpoint,
        alone: bool,
        who: Decider<'_>,
    ) -> Decision {
        let refuse = |reason: String| Err(Refusal::Service { name: name.clone(), reason });
        if self.is_app(name) {
            return Err(Refusal::State { app: name.clone(), reason: "an app has this name; choose another".into() });
        }
        let url = &endpoint.url;
        if self.leads_back(url) {
            return refuse(format!("{url} is the platform itself, requests would go round in circles"));
        }
        if !endpoint.inside
            && let Some((ip, what)) = self.leads_inside(url)
        {
            return refuse(format!(
                "{url} leads to {ip}, which is {what}; only a token with the scope admin may register that"
            ));
        }
        if endpoint.tags.len() > MOST_TAGS || endpoint.tags.iter().any(|tag| tag.len() > LONGEST_TAG) {
            return refuse(format!("at most {MOST_TAGS} tags of {LONGEST_TAG} bytes are kept"));
        }
        if endpoint.health.is_some() && url.https {
            return refuse("a health path is asked over http only; leave it out for an https address".into());
        }
        let mut service = self.services.get(name).cloned().unwrap_or_default();
        if alone {
            service.endpoints.clear();
        }
        if let Some((_, other)) = service.endpoints.iter().find(|(other, e)| *other != id && e.url.https != url.https) {
            return refuse(format!("{} and {url}: one service speaks either http or https", other.url));
        }
        service.endpoints.insert(id.clone(), endpoint.clone());
        if service.endpoints.len() > MOST_ENDPOINTS {
            return refuse(format!("it has {MOST_ENDPOINTS} addresses, more are not allowed"));
        }
        let said = format!("{name} is at {url}");
        Ok(self.keep(name, Some(service), said, who))
    }

    /// Takes one endpoint of a service away, or all.
    pub(super) fn deregister(&self, name: &AppName, id: Option<&EndpointId>, who: Decider<'_>) -> Decision {
        let missing = || {
            let near = nearest(name.as_str(), self.services.keys().map(AppName::as_str));
            let hint = match near.filter(|near| *near != name.as_str()) {
                Some(near) => format!("did you mean {near}?"),
                None => "`platformer services list` lists those there are".into(),
            };
            let what = id.map_or_else(|| name.to_string(), |id| format!("{name} with id {id}"));
            Refusal::NoService { what, hint }
        };
        let mut service = self.services.get(name).cloned().ok_or_else(missing)?;
        match id {
            Some(id) => _ = service.endpoints.remove(id).ok_or_else(missing)?,
            None => service.endpoints.clear(),
        }
        let left = Some(service).filter(|service| !service.endpoints.is_empty());
        Ok(self.keep(name, left, format!("{name} is registered no more"), who))
    }

    fn keep(&self, name: &AppName, service: Option<Service>, said: String, who: Decider<'_>) -> (Vec<Action>, Done) {
        let message = format!("{said} (by {})", who.by);
        (vec![Action::KeepService { name: name.clone(), service, message }], Done { said, deployment: None })
    }

    /// Whether an app, declared or not, goes by this name.
    pub fn is_app(&self, name: &AppName) -> bool {
        self.declared_app(name).is_some() || self.instances().iter().any(|member| member.claim.app == *name)
    }

    /// Whether a URL is one of our own listeners, as far as its name can be told without asking anybody else.
    fn leads_back(&self, url: &ServiceUrl) -> bool {
        self.told_of(url).into_iter().any(|ip| self.is_ours_address(SocketAddr::new(ip, url.port.get())))
    }

    /// Whether a URL leads to this machine or its link, as far as that can be told now, and what is there.
    fn leads_inside(&self, url: &ServiceUrl) -> Option<(IpAddr, &'static str)> {
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

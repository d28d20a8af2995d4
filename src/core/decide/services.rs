//! Registering services, and taking them away.

use super::command::Done;
use super::record::{Decided, Decision};
use super::refusal::Refusal;
use super::request::Decider;
use crate::core::names::{AppName, nearest};
use crate::core::service::{Endpoint, EndpointId, LONGEST_TAG, MOST_ENDPOINTS, MOST_TAGS, Service};
use crate::core::world::{World, Write};

impl World {
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

    fn keep(&self, name: &AppName, service: Option<Service>, said: String, who: Decider<'_>) -> Decided {
        let message = format!("{said} (by {})", who.by);
        Decided::new(vec![Write::Service { name: name.clone(), service, message }], Done { said, deployment: None })
    }
}

//! The chain behind an answer: name → address, host → app → release → instance, or where it breaks.

use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use super::status::Status;
use crate::core::names::{AppName, HostName};
use crate::core::routes::Routes;
use crate::core::world::Condition;
use crate::core::zone::{QueryKind, Reply, Zone};

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub ok: bool,
    pub what: String,
    /// What would mend it, where it does not hold.
    pub remedy: Option<String>,
}

fn holds(what: impl Into<String>) -> Step {
    Step { ok: true, what: what.into(), remedy: None }
}

fn breaks(what: impl Into<String>, remedy: impl Into<String>) -> Step {
    Step { ok: false, what: what.into(), remedy: Some(remedy.into()) }
}

/// Explains what a request for a host name or URL leads to, as this machine sees it.
pub fn why(target: &str, zone: &Zone, routes: &Routes, status: &Status) -> Vec<Step> {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').map_or((rest, "/".to_owned()), |(host, path)| (host, format!("/{path}")));
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let path = path.split(['?', '#']).next().unwrap_or("/").to_owned();
    let Ok(host) = HostName::parse(host.trim_end_matches('.')) else {
        return vec![breaks(
            format!("{target:?} has no host name that DNS could answer"),
            "write a host or an URL, such as http://hello-world.platform/",
        )];
    };
    let mut steps = vec![resolve(&host, zone)];
    if let Some(container) = zone.container_at(host.as_str()) {
        steps.push(holds(format!("{host} is container {container} itself; the balancer is not asked")));
        return steps;
    }
    if host.reserved_under(&zone.domain).is_some() {
        steps.push(holds(format!("{host} is the platform's own")));
        return steps;
    }
    let found = find(&host, &path, routes);
    match found {
        None => {
            let hosts: Vec<_> = routes.apps.values().flat_map(|a| a.granted.hosts()).map(HostName::as_str).collect();
            let near = crate::core::names::nearest(host.as_str(), hosts.iter().copied());
            let remedy = near
                .map_or("platformer status lists the hosts there are".into(), |near| format!("did you mean {near}?"));
            steps.push(breaks(format!("no app answers at {host}{path}: 404"), remedy));
        }
        Some((app, which)) => {
            steps.push(holds(format!("host {host} and path {path} belong to app {app}")));
            of_app(app, which, routes, status, &mut steps);
        }
    }
    let generation = status.generation;
    steps.push(match generation.live {
        Some(live) => holds(format!("nginx serves generation {live}")),
        None => breaks("nginx does not answer with any generation", "platformer doctor"),
    });
    steps
}

fn resolve(host: &HostName, zone: &Zone) -> Step {
    let reply = zone.lookup(host.as_str(), QueryKind::A, IpAddr::V4(Ipv4Addr::LOCALHOST));
    match reply {
        Reply::Answers { .. } => {
            let addresses: Vec<_> = reply.addresses().iter().map(IpAddr::to_string).collect();
            holds(format!(
                "{host} resolves to {} on this machine, to {} in containers",
                addresses.join(", "),
                zone.gateway
            ))
        }
        Reply::NoData | Reply::NoName => {
            breaks(format!("{host} has no address in our DNS"), "platformer dns lists the names there are")
        }
        Reply::NotOurs => holds(format!("{host} is not in our domain; other DNS servers answer for it")),
    }
}

/// The app that a host and path lead to, and whether one release of it is asked for by name.
fn find<'r>(host: &HostName, path: &str, routes: &'r Routes) -> Option<(&'r AppName, Option<&'static str>)> {
    let covers = |prefix: &str| {
        prefix == "/" || path == prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
    };
    let of_host = routes.apps.iter().filter_map(|(app, route)| {
        let granted = &route.granted;
        let kinds =
            [(granted.hosts(), None), (granted.stable(), Some("stable")), (granted.candidate(), Some("candidate"))];
        let which = kinds.into_iter().find(|(hosts, _)| hosts.contains(host))?.1;
        let length = granted.paths().iter().filter(|p| covers(p.as_str())).map(|p| p.as_str().len()).max()?;
        Some((length, app, which))
    });
    of_host.max_by_key(|(length, ..)| *length).map(|(_, app, which)| (app, which))
}

/// Why an app has no release to serve: what is known to be wrong with it comes first.
fn nothing_serves(app: &AppName, shared: bool, status: &Status) -> Step {
    if let Some(problem) = status.problems.iter().find(|problem| problem.app.as_ref() == Some(app)) {
        return breaks(format!("nothing of {app} can serve: 503; {}", problem.reason), problem.remedy.clone());
    }
    match shared {
        true => breaks(format!("no container of {app} is ready: 503"), format!("platformer status {app}")),
        false => breaks(
            format!("{app} has no stable release: 503"),
            format!("platformer repository push {app} VERSION FILE"),
        ),
    }
}

fn of_app(app: &AppName, which: Option<&str>, routes: &Routes, status: &Status, steps: &mut Vec<Step>) {
    let Some(route) = routes.apps.get(app) else { return };
    let release = if which == Some("candidate") { &route.candidate } else { &route.stable };
    let Some(release) = release else {
        steps.push(match which {
            Some("candidate") => breaks(format!("{app} has no candidate: 404"), format!("platformer status {app}")),
            _ => nothing_serves(app, route.shared, status),
        });
        return;
    };
    let shared = if route.shared { " and its other releases" } else { "" };
    steps.push(holds(format!("requests go to release {app}@{release}{shared}")));
    let instances = status.apps.iter().filter(|a| a.name == *app).flat_map(|a| &a.instances);
    let (ready, others): (Vec<_>, Vec<_>) =
        instances.filter(|i| route.shared || i.release == *release).partition(|i| i.state == Condition::Ready);
    for instance in &ready {
        let address = instance.address.map(|a| a.to_string()).unwrap_or_default();
        steps.push(holds(format!("instance {} at {address} is ready since {}", instance.name, instance.since)));
    }
    for instance in &others {
        let reason = instance.reason.as_deref().unwrap_or("no reason known");
        let what = format!("instance {} is {:?}: {reason}", instance.name, instance.state).to_lowercase();
        steps.push(breaks(what, format!("docker logs {}", instance.name)));
    }
    if ready.is_empty() {
        let remedy =
            if others.is_empty() { format!("platformer start {app}") } else { format!("platformer logs {app}") };
        steps.push(breaks(format!("no instance of {app}@{release} is ready: 503"), remedy));
    }
}

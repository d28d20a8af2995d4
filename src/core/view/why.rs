//! The chain behind an answer: name → address, host → app → release → instance, or where it breaks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use super::services::ServiceStatus;
use super::status::{AppStatus, InstanceStatus, Status};
use crate::core::names::{AppName, HostName, nearest};
use crate::core::problem::{Problem, ProblemKind};
use crate::core::routes::Routes;
use crate::core::world::Condition;
use crate::core::zone::{QueryKind, Reply, Zone};

type Services = BTreeMap<AppName, ServiceStatus>;

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

/// Explains what a request for a host name or URL leads to, as this machine sees it; or how an instance is that is
/// named as `status` names it.
pub fn why(target: &str, zone: &Zone, routes: &Routes, status: &Status, services: &Services) -> Vec<Step> {
    let is_instance = |instance: &&InstanceStatus| *instance.name == *target;
    let named = status.apps.iter().find_map(|app| Some((app, app.instances.iter().find(is_instance)?)));
    let is_host = HostName::parse(target).is_ok_and(|host| find(&host, "/", routes).is_some());
    if let Some((app, instance)) = named.filter(|_| !is_host) {
        return vec![of_instance(app, instance, routes, status), of_generation(status)];
    }
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
            let remedy = match near(&host, routes, status) {
                Some(near) => format!("did you mean {near}?"),
                None => "platformer status lists the hosts there are".into(),
            };
            steps.push(breaks(format!("no app answers at {host}{path}: 404"), remedy));
        }
        Some((app, which)) => {
            let service = services.get(app).filter(|_| routes.apps[app].outside.is_some());
            let kind = if service.is_some() { "service" } else { "app" };
            steps.push(holds(format!("host {host} and path {path} belong to {kind} {app}")));
            match service {
                Some(service) => of_service(service, &mut steps),
                None => of_app(app, which, routes, status, &mut steps),
            }
        }
    }
    steps.push(of_generation(status));
    steps
}

/// Whether nginx serves what is wanted, and if not, why.
fn of_generation(status: &Status) -> Step {
    let generation = status.generation;
    let stands_in_the_way =
        |problem: &&Problem| matches!(problem.kind, ProblemKind::BalancerDied | ProblemKind::BalancerTrouble);
    let trouble = status.problems.iter().find(stands_in_the_way);
    let reason = trouble.map(|problem| format!(": {}", problem.reason)).unwrap_or_default();
    let remedy = trouble.map_or("platformer doctor", |problem| &problem.remedy);
    let wanted = generation.wanted;
    match generation.live {
        None => breaks(format!("nginx does not answer with any generation{reason}"), remedy),
        Some(live) if live == wanted => holds(format!("nginx serves generation {live}")),
        Some(live) if trouble.is_some() => {
            breaks(format!("nginx still serves generation {live}, {wanted} is wanted{reason}"), remedy)
        }
        Some(live) => holds(format!("nginx serves generation {live}, {wanted} is on its way")),
    }
}

/// What was probably meant: a host; or what is called so, an app by the first of its hosts.
fn near<'s>(host: &HostName, routes: &'s Routes, status: &'s Status) -> Option<&'s str> {
    let hosts = routes.apps.values().flat_map(|app| app.granted.hosts()).map(HostName::as_str);
    let apps = status.apps.iter().map(|app| app.name.as_str());
    let instances = status.apps.iter().flat_map(|app| &app.instances).map(|instance| &*instance.name);
    let near = nearest(host.as_str(), hosts.chain(apps).chain(instances))?;
    let app = status.apps.iter().find(|app| app.name.as_str() == near);
    Some(app.and_then(|app| app.hosts.first()).map_or(near, HostName::as_str))
}

fn resolve(host: &HostName, zone: &Zone) -> Step {
    let reply = zone.lookup(host.as_str(), QueryKind::A, IpAddr::V4(Ipv4Addr::LOCALHOST));
    match reply {
        Reply::Answers { .. } => {
            let addresses: Vec<_> = reply.addresses().iter().map(IpAddr::to_string).collect();
            holds(format!(
                "the platform's DNS says {} for {host} on this machine, {} in containers",
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

/// What keeps an app from serving before any of its instances is looked at: nothing is to run, the engine is away, or
/// what is known to be wrong with it.
fn first_reason(app: &AppName, status: &Status) -> Option<Step> {
    if let Some(idle) = status.app(app).and_then(|known| known.idle.as_ref()) {
        return Some(breaks(format!("{app} {}: 503", idle.reason), idle.remedy.clone()));
    }
    let is_away = |problem: &&Problem| problem.kind == ProblemKind::EngineAway;
    // What only others suffer from, or what was there before, keeps nobody from serving.
    let is_its_own = |problem: &&Problem| {
        let is_besides = matches!(problem.kind, ProblemKind::Contested | ProblemKind::Taken | ProblemKind::FileGone);
        problem.app.as_ref() == Some(app) && !is_besides
    };
    let problems = || status.problems.iter();
    let problem = problems().find(is_away).or_else(|| problems().find(is_its_own))?;
    Some(breaks(format!("nothing of {app} can serve: 503; {}", problem.reason), problem.remedy.clone()))
}

/// Why an app has no release to serve: what is known to be wrong with it comes first.
fn nothing_serves(app: &AppName, shared: bool, status: &Status) -> Step {
    if let Some(step) = first_reason(app, status) {
        return step;
    }
    match status.app(app).and_then(|known| known.deployment.as_ref()).filter(|deployment| deployment.ended_at.is_none())
    {
        _ if shared => breaks(format!("no container of {app} is ready: 503"), format!("platformer status {app}")),
        Some(deployment) => {
            let (id, state, reason) = (&deployment.id, deployment.state, &deployment.reason);
            let what = format!("{app} has no stable release: 503; deployment {id} is {state}: {reason}");
            breaks(what, format!("platformer status {app}"))
        }
        None => breaks(
            format!("{app} has no stable release: 503"),
            format!("platformer repository push {app} VERSION FILE"),
        ),
    }
}

/// How one instance is, and what keeps it from serving.
fn of_instance(app: &AppStatus, instance: &InstanceStatus, routes: &Routes, status: &Status) -> Step {
    let (name, release) = (&instance.name, &instance.release);
    let what = format!("instance {name} of {}@{release}", app.name);
    if instance.state == Condition::Ready {
        let addresses = routes.apps.get(&app.name).and_then(|route| route.releases.get(release));
        let is_routed = addresses.is_some_and(|all| instance.address.is_some_and(|address| all.contains(&address)));
        let address = instance.address.map(|address| format!(" at {address}")).unwrap_or_default();
        let routed = if is_routed { "is in the balancer" } else { "has no traffic" };
        return holds(format!("{what}{address} is ready since {}, and {routed}", instance.since));
    }
    if let Some(idle) = app.idle.as_ref().filter(|_| instance.managed) {
        return breaks(format!("{what} does not run: {} {}", app.name, idle.reason), idle.remedy.clone());
    }
    let subject = format!("container {name}");
    let problem = status.problems.iter().find(|problem| problem.subject == subject);
    let known = problem.map(|problem| problem.reason.as_str());
    let reason = instance.reason.as_deref().or(known).unwrap_or("no probe has passed yet");
    let remedy = problem.map_or_else(|| format!("docker logs {name}"), |problem| problem.remedy.clone());
    breaks(format!("{what} is {}: {reason}", instance.state.word()), remedy)
}

/// How each address of a service is.
fn of_service(service: &ServiceStatus, steps: &mut Vec<Step>) {
    let name = &service.name;
    for endpoint in &service.endpoints {
        let (url, state) = (&endpoint.url, endpoint.state.word());
        steps.push(match endpoint.state {
            Condition::Ready | Condition::Starting => holds(format!("requests go to {url}, which is {state}")),
            Condition::Unhealthy | Condition::Draining | Condition::Stopped => {
                let reason = endpoint.reason.as_deref().unwrap_or("no reason known");
                breaks(
                    format!("{url} is {state}: {reason}"),
                    format!("start it, or platformer services set {name} URL"),
                )
            }
        });
    }
}

/// What keeps an instance from serving.
fn not_ready(instance: &InstanceStatus) -> Step {
    let reason = instance.reason.as_deref().unwrap_or("no reason known");
    let what = format!("instance {} is {}: {reason}", instance.name, instance.state.word());
    breaks(what, format!("docker logs {}", instance.name))
}

fn of_app(app: &AppName, which: Option<&str>, routes: &Routes, status: &Status, steps: &mut Vec<Step>) {
    let Some(route) = routes.apps.get(app) else { return };
    let refused = |problem: &&Problem| problem.kind == ProblemKind::RoutesRefused && problem.app.as_ref() == Some(app);
    if let Some(problem) = status.problems.iter().find(refused) {
        steps.push(breaks(problem.reason.clone(), problem.remedy.clone()));
    }
    if route.maintenance && which != Some("candidate") {
        steps.push(breaks(format!("maintenance of {app} is on: 503"), format!("platformer maintenance {app} off")));
    }
    let release = if which == Some("candidate") { &route.candidate } else { &route.stable };
    let Some(release) = release else {
        steps.push(match which {
            Some("candidate") => breaks(format!("{app} has no candidate: 404"), format!("platformer status {app}")),
            _ => nothing_serves(app, route.shared, status),
        });
        let instances = status.app(app).into_iter().flat_map(|app| &app.instances);
        steps.extend(instances.filter(|i| i.state != Condition::Ready).map(not_ready));
        return;
    };
    let shared = if route.shared && route.releases.len() > 1 { " and its other releases" } else { "" };
    steps.push(holds(format!("requests go to release {app}@{release}{shared}")));
    let instances = status.app(app).into_iter().flat_map(|app| &app.instances);
    let (ready, others): (Vec<_>, Vec<_>) =
        instances.filter(|i| route.shared || i.release == *release).partition(|i| i.state == Condition::Ready);
    let reason = first_reason(app, status).filter(|_| ready.is_empty());
    let is_explained = reason.is_some();
    steps.extend(reason);
    for instance in &ready {
        let address = instance.address.map(|a| a.to_string()).unwrap_or_default();
        steps.push(holds(format!("instance {} at {address} is ready since {}", instance.name, instance.since)));
    }
    steps.extend(others.iter().map(|instance| not_ready(instance)));
    if ready.is_empty() && !is_explained {
        let remedy =
            if others.is_empty() { format!("platformer status {app}") } else { format!("platformer logs {app}") };
        steps.push(breaks(format!("no instance of {app}@{release} is ready: 503"), remedy));
    }
}

#[cfg(test)]
mod tests;

//! World → routes: which app has which host, and which of its instances are ready.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::core::app::{App, Sticky, Strategy};
use crate::core::deploy::Kind;
use crate::core::names::{AppName, HostName, PathPrefix, Version};
use crate::core::problem::{Problem, ProblemKind};
use crate::core::routes::{AppRoute, Routes};
use crate::core::service::Service;
use crate::core::split::{Percent, Split};
use crate::core::world::{Intent, Member, World, by_app};

/// The hosts an app asks for: declared ones, else those its containers name, else the default.
pub fn hosts_of(world: &World, name: &AppName, app: Option<&App>, members: &[Member<'_>]) -> Vec<HostName> {
    let domain = &world.platform.domain;
    match app {
        Some(app) => app.all_hosts(domain),
        None => {
            let asked: BTreeSet<_> = members.iter().flat_map(|m| m.claim.hosts.iter().cloned()).collect();
            App { hosts: asked.into_iter().collect(), ..App::named(name.clone()) }.all_hosts(domain)
        }
    }
}

/// Builds the wanted routes from the members (ordered by app), and reports every host that is refused.
pub fn routes(world: &World, members: &[Member<'_>], problems: &mut Vec<Problem>, now: Timestamp) -> Routes {
    let by_app = by_app(members);
    let removed = |name: &AppName| world.declared_app(name).is_none() && world.declared.contains_key(name);
    let mut apps: BTreeMap<AppName, AppRoute> = BTreeMap::new();
    for name in world.declared.keys().chain(by_app.keys().copied()) {
        if !removed(name) && !apps.contains_key(name) {
            let members = by_app.get(name).copied().unwrap_or_default();
            apps.insert(name.clone(), route(world, name, members));
        }
    }
    super::services::route(world, &mut apps, problems);
    keep_departed(world, &mut apps);
    grant_hosts(world, &by_app, &mut apps, problems, now);
    Routes { apps: apps.into_iter().map(|(name, route)| (name, Arc::new(route))).collect() }
}

fn route(world: &World, name: &AppName, members: &[Member<'_>]) -> AppRoute {
    let app = world.declared_app(name);
    let mut releases: BTreeMap<Version, Vec<SocketAddr>> = BTreeMap::new();
    for member in members.iter().filter(|m| m.is_ready()) {
        if let Ok(address) = member.address {
            releases.entry(member.version.clone()).or_default().push(address);
        }
    }
    for instances in releases.values_mut() {
        instances.sort_unstable();
        instances.dedup();
    }
    let newest = releases.keys().max().cloned();
    let stable = if app.is_some() { world.stable(name).cloned() } else { newest.clone() };
    let intent = world.intents.get(name).filter(|_| app.is_some());
    // Without a deployment it is what somebody started by hand at another version.
    let by_hand = || {
        let others = members.iter().filter(|m| !m.claim.managed && m.is_ready() && Some(&m.version) != stable.as_ref());
        others.map(|m| m.version.clone()).max().filter(|_| app.is_some())
    };
    // A release that is only gone back to is not looked at first: its routes change once, with the traffic.
    let deployed = intent.and_then(Intent::underway).filter(|d| d.kind == Kind::Deploy);
    let candidate = deployed.map(|d| d.release.clone()).or_else(by_hand);
    let split = intent.map(|intent| split(intent, members, stable.as_ref())).unwrap_or_default();
    let named: BTreeSet<_> = members.iter().flat_map(|m| m.claim.paths.iter().cloned()).collect();
    let paths = match app {
        Some(app) => app.paths.clone(),
        None if named.is_empty() => vec![PathPrefix::root()],
        None => named.into_iter().collect(),
    };
    AppRoute {
        hosts: hosts_of(world, name, app.map(Arc::as_ref), members),
        paths,
        strip_prefix: app.is_some_and(|a| a.strip_prefix),
        proxy: app.map(|a| a.proxy.clone()).unwrap_or_default(),
        // Without what gets nothing: a share of 0 makes no other text, so no reload.
        split: split.among(|version| releases.contains_key(version), stable.as_ref()).without_idle(),
        sticky: match intent.and_then(|i| i.sticky) {
            Some(mode) => Sticky { mode },
            None => app.map(|a| a.sticky.clone()).unwrap_or_default(),
        },
        preview: deployed.map(|d| d.preview.clone()),
        maintenance: intent.is_some_and(|i| i.maintenance),
        releases,
        stable,
        candidate,
        outside: None,
        shared: app.is_none(),
    }
}

/// The decided shares; those of a rolling deployment follow the number of ready instances. What somebody started
/// by hand is not replaced, so it holds nothing up: it joins stable, whichever that is.
fn split(intent: &Intent, members: &[Member<'_>], stable: Option<&Version>) -> Split {
    let rolling = intent.active().filter(|d| d.strategy == Strategy::Rolling && d.stage.has_traffic());
    let Some(deployment) = rolling else { return intent.split() };
    let ready = |version: &Version| {
        members.iter().filter(|m| m.claim.managed && m.version == *version && m.is_ready()).count() as u64
    };
    let (new, old) = (ready(&deployment.release), stable.map_or(0, ready));
    Split::between(stable, &deployment.release, if new + old == 0 { Percent::ALL } else { Percent::of(new, new + old) })
}

/// An app whose last container has just gone keeps its hosts, so that they answer 503 and not 404.
fn keep_departed(world: &World, apps: &mut BTreeMap<AppName, AppRoute>) {
    for name in world.departed.keys() {
        let last = world.balancer.live.as_ref().and_then(|live| live.routes.apps.get(name));
        if let (Some(last), false) = (last, apps.contains_key(name)) {
            apps.insert(
                name.clone(),
                AppRoute {
                    releases: BTreeMap::new(),
                    split: Split::default(),
                    stable: None,
                    candidate: None,
                    ..(**last).clone()
                },
            );
        }
    }
}

/// Gives each pair of host and path to the app that came first; the others lose it and both are told.
fn grant_hosts(
    world: &World,
    by_app: &BTreeMap<&AppName, &[Member<'_>]>,
    apps: &mut BTreeMap<AppName, AppRoute>,
    problems: &mut Vec<Problem>,
    now: Timestamp,
) {
    let seen = |name: &AppName| match world.intents.get(name) {
        Some(intent) if world.declared.contains_key(name) => intent.first_seen,
        _ if !by_app.contains_key(name) => world.services.get(name).map_or(now, Service::since),
        _ => by_app.get(name).copied().into_iter().flatten().map(|m| m.container.created_at).min().unwrap_or(now),
    };
    let mut order: Vec<AppName> = apps.keys().cloned().collect();
    order.sort_by_key(|name| (!world.declared.contains_key(name), seen(name), name.clone()));
    let mut holders: BTreeMap<(HostName, PathPrefix), AppName> = BTreeMap::new();
    for name in order {
        let Some(route) = apps.get_mut(&name) else { continue };
        let paths = route.paths.clone();
        route.hosts.retain(|host| {
            if let Some(reserved) = host.reserved_under(&world.platform.domain) {
                let reason = format!("host {host} belongs to the platform's own {reserved:?}");
                let remedy = "choose another host";
                problems.push(Problem::of_app(ProblemKind::Taken, &name, reason, remedy, now));
                return false;
            }
            let taken =
                paths.iter().find_map(|path| holders.get(&(host.clone(), path.clone())).map(|holder| (path, holder)));
            if let Some((path, holder)) = taken {
                let reason = format!("host {host} with path {path} is already held by app {holder}, which keeps it");
                let remedy = format!("give {name} another host or path");
                problems.push(Problem::of_app(ProblemKind::Taken, &name, reason, remedy.clone(), now));
                let reason =
                    format!("app {name} also claims host {host} with path {path}; {holder} came first and keeps it");
                problems.push(Problem::of_app(ProblemKind::Taken, holder, reason, remedy, now));
                return false;
            }
            true
        });
        for host in &route.hosts {
            holders.extend(paths.iter().map(|path| ((host.clone(), path.clone()), name.clone())));
        }
    }
}

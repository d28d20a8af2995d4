//! World → routes: which app has which host, and which of its instances are ready.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::zone::Containers;
use crate::core::app::{App, Sticky, Strategy};
use crate::core::claim::MOST_PATHS;
use crate::core::deploy::Kind;
use crate::core::grants::{Ask, Granted, Grants, Ground, Rank, Refusal, Why, Wish, grant};
use crate::core::names::{AppName, HostName, PathPrefix, Version};
use crate::core::problem::{Problem, ProblemKind};
use crate::core::routes::{AppRoute, Routes};
use crate::core::split::{Percent, Split};
use crate::core::world::{Intent, Member, World, by_app};

/// Builds the wanted routes from the members (ordered by app), and reports every host that is refused. `containers`
/// are the names that containers have below the domain.
pub fn routes(
    world: &World,
    members: &[Member<'_>],
    containers: &Containers,
    problems: &mut Vec<Problem>,
    now: Timestamp,
) -> (Routes, Grants) {
    let by_app = by_app(members);
    let removed = |name: &AppName| world.declared_app(name).is_none() && world.declared.contains_key(name);
    let mut apps: BTreeMap<AppName, AppRoute> = BTreeMap::new();
    let mut wishes: BTreeMap<AppName, Wish> = BTreeMap::new();
    for name in world.declared.keys().chain(by_app.keys().copied()) {
        if !removed(name) && !apps.contains_key(name) {
            let members = by_app.get(name).copied().unwrap_or_default();
            apps.insert(name.clone(), route(world, name, members));
            wishes.insert(name.clone(), wish(world, name, members, problems, now));
        }
    }
    super::services::route(world, &mut apps, &mut wishes, problems);
    keep_departed(world, &mut apps, &mut wishes);
    let wishes: Vec<Wish> = wishes.into_values().collect();
    let platform = &world.platform;
    let of_app: HashMap<&str, &AppName> = members.iter().map(|m| (&*m.container.name, &m.claim.app)).collect();
    let ground = Ground {
        domain: &platform.domain,
        machine: &platform.machine,
        extra: &platform.dns.extra,
        is_others: &|name, app| {
            let located = containers.get(name).filter(|located| located.is_plain);
            located.is_some_and(|located| of_app.get(&*located.container) != Some(&app))
        },
    };
    let mut grants = grant(&wishes, &ground);
    report(&grants.refused, problems);
    let granted = |(name, route)| {
        let granted = grants.take(&name);
        (name, Arc::new(AppRoute { granted, ..route }))
    };
    let apps = apps.into_iter().map(granted).collect();
    (Routes { apps }, grants)
}

/// What an app wishes for: what its file says, else what each of its containers does.
fn wish(world: &World, name: &AppName, members: &[Member<'_>], problems: &mut Vec<Problem>, now: Timestamp) -> Wish {
    let domain = &world.platform.domain;
    if let Some(app) = world.declared_app(name) {
        let since = world.intents.get(name).map_or(now, |intent| intent.first_seen);
        let (subject, hosts) = (format!("app {name}").into(), app.all_hosts(domain).into());
        let asks = vec![Ask { rank: Rank::Declared, since, subject, hosts }];
        return Wish { app: name.clone(), paths: app.paths.clone(), has_releases: true, open: app.open, asks };
    }
    let ready = members.iter().any(Member::is_ready);
    let counted = members.iter().filter(|m| m.is_ready() == ready);
    let named: BTreeSet<_> = counted.flat_map(|m| m.claim.paths.iter().cloned()).collect();
    if named.len() > MOST_PATHS {
        let reason = format!("its containers ask for {} paths, {MOST_PATHS} are allowed", named.len());
        let remedy = "ask for fewer, or for one above them";
        problems.push(Problem::of_app(ProblemKind::ClaimRefused, name, reason, remedy, now));
    }
    let paths = if named.is_empty() { vec![PathPrefix::root()] } else { named.into_iter().take(MOST_PATHS).collect() };
    let usual: Arc<[HostName]> = App::named(name.clone()).all_hosts(domain).into();
    let local: Arc<[HostName]> = [name.localhost()].into();
    let ask = |member: &Member<'_>| {
        let named = Ask {
            rank: if member.is_ready() { Rank::Ready } else { Rank::Waiting },
            since: member.container.created_at,
            subject: format!("container {}", member.container.name).into(),
            hosts: member.claim.hosts.clone(),
        };
        let hosts = if named.hosts.is_empty() { usual.clone() } else { local.clone() };
        [named.clone(), Ask { hosts, ..named }]
    };
    let asks = members.iter().flat_map(ask).filter(|ask| !ask.hosts.is_empty()).collect();
    Wish { app: name.clone(), paths, has_releases: true, open: false, asks }
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
    AppRoute {
        granted: Granted::default(),
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

/// An app whose last container has just gone keeps its hosts, so that they answer 503 and not 404, for as long as
/// nobody else asks for them.
fn keep_departed(world: &World, apps: &mut BTreeMap<AppName, AppRoute>, wishes: &mut BTreeMap<AppName, Wish>) {
    for (name, since) in &world.departed {
        let last = world.balancer.live.as_ref().and_then(|live| live.routes.apps.get(name));
        let Some(last) = last.filter(|_| !apps.contains_key(name)) else { continue };
        let (hosts, subject) = (last.granted.hosts().into(), format!("app {name}").into());
        let asks = vec![Ask { rank: Rank::Departed, since: *since, subject, hosts }];
        let paths = last.granted.paths().to_vec();
        wishes.insert(name.clone(), Wish { app: name.clone(), paths, has_releases: true, open: false, asks });
        let (releases, split, stable, candidate) = Default::default();
        apps.insert(name.clone(), AppRoute { releases, split, stable, candidate, ..(**last).clone() });
    }
}

/// Who is refused a host is told whose it is; of two declared apps the holder is told too, since both are somebody's.
fn report(refused: &[Refusal], problems: &mut Vec<Problem>) {
    for refusal in refused.iter().filter(|refusal| refusal.by != Rank::Departed) {
        let (subject, reason, remedy) = (&*refusal.subject, refusal.reason(), refusal.remedy());
        let problem = Problem::new(ProblemKind::Taken, subject, reason, remedy, refusal.since);
        problems.push(problem.in_app(&refusal.app));
        if let (Why::Taken { path, holder }, Rank::Declared) = (&refusal.why, refusal.by) {
            let (name, host) = (&refusal.app, &refusal.what);
            let reason =
                format!("app {name} also claims host {host} with path {path}; {holder} came first and keeps it");
            problems.push(Problem::of_app(ProblemKind::Contested, holder, reason, refusal.remedy(), refusal.since));
        }
    }
}

#[cfg(test)]
mod tests;

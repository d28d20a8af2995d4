//! World → what registered services need: routes and probes.

use std::collections::BTreeMap;

use crate::core::app::{Health, Proxy, Sticky};
use crate::core::grants::{Ask, Granted, Rank, Wish};
use crate::core::names::{AppName, PathPrefix, Version};
use crate::core::problem::{Problem, ProblemKind};
use crate::core::routes::{AppRoute, Outside};
use crate::core::service::{Service, ServiceUrl};
use crate::core::split::Split;
use crate::core::world::{Condition, ProbeKind, ProbeTarget, Reached, Subject, World};

/// Adds a route and a wish for each service, unless an app has its name by now, and reports what is wrong.
pub(super) fn route(
    world: &World,
    apps: &mut BTreeMap<AppName, AppRoute>,
    wishes: &mut BTreeMap<AppName, Wish>,
    problems: &mut Vec<Problem>,
) {
    let endpoints = world.endpoints();
    for of_one in endpoints.chunk_by(|a, b| a.service == b.service) {
        let Some(first) = of_one.first() else { continue };
        let name = first.service;
        let subject = || format!("service {name}");
        if apps.contains_key(name) {
            let reason = "an app has this name, which comes first";
            let remedy = format!("platformer services remove {name}, and register it under another name");
            problems.push(Problem::new(ProblemKind::Taken, subject(), reason, remedy, first.endpoint.at));
            continue;
        }
        for broken in of_one.iter().filter(|e| e.condition == Condition::Unhealthy) {
            let reason = format!("{}: {}", broken.endpoint.url, broken.reason.as_deref().unwrap_or("no answer"));
            let remedy = format!(
                "start it; `platformer services set {name} URL` moves it, `platformer services remove {name}` forgets it"
            );
            let held = world.held_since(&Subject::Endpoint(name.clone(), broken.id.clone()));
            let kind = if held.is_some() { ProblemKind::Restless } else { ProblemKind::Unhealthy };
            let since = held.unwrap_or(broken.since);
            problems.push(Problem::new(kind, subject(), reason, remedy, since));
        }
        if let Ok(prefix) = PathPrefix::parse(&format!("/{name}")) {
            apps.insert(name.clone(), of_service(of_one, prefix));
            let since = world.services.get(name).map_or(first.endpoint.at, Service::since);
            let hosts = vec![name.host(&world.platform.domain), name.localhost()];
            let asks = vec![Ask { rank: Rank::Service, since, subject: subject().into(), hosts: hosts.into() }];
            let paths = vec![PathPrefix::root()];
            wishes.insert(name.clone(), Wish { app: name.clone(), paths, has_releases: false, open: false, asks });
        }
    }
}

fn of_service(endpoints: &[Reached<'_>], prefix: PathPrefix) -> AppRoute {
    let mut ready: Vec<_> =
        endpoints.iter().filter(|e| e.is_routed()).filter_map(|e| e.address.as_ref().ok().copied()).collect();
    ready.sort_unstable();
    ready.dedup();
    let only = match endpoints {
        [only] => Some(&only.endpoint.url),
        _ => None,
    };
    let https = endpoints.iter().any(|e| e.endpoint.url.https);
    let tls_name = endpoints.iter().filter(|_| https).find_map(|e| e.endpoint.url.name()).map(ToString::to_string);
    let releases = if ready.is_empty() { BTreeMap::new() } else { [(Version::latest(), ready)].into() };
    AppRoute {
        granted: Granted::default(),
        strip_prefix: false,
        proxy: Proxy::default(),
        stable: releases.keys().next().cloned(),
        releases,
        candidate: None,
        split: Split::default(),
        sticky: Sticky::default(),
        preview: None,
        maintenance: false,
        outside: Some(Outside { https, tls_name, host: only.map(ServiceUrl::authority), prefix }),
        shared: true,
    }
}

/// Every endpoint whose address is known.
pub(super) fn probes(world: &World) -> Vec<ProbeTarget> {
    let target = |reached: Reached<'_>| {
        let kind = reached.endpoint.health.clone().map_or(ProbeKind::Tcp, ProbeKind::Http);
        Some(ProbeTarget {
            subject: Subject::Endpoint(reached.service.clone(), reached.id.clone()),
            started_at: Some(reached.endpoint.at),
            address: reached.address.ok()?,
            interval: kind.usual_interval(),
            host: Some(reached.endpoint.url.authority().into()),
            kind,
            timeout: Health::default().timeout.get(),
        })
    };
    world.endpoints().into_iter().filter_map(target).collect()
}

//! The state of the platform as people and programs read it: `status --json` and `/v1/status`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::diff::Plan;
use super::problems::Problem;
use crate::core::container::ContainerId;
use crate::core::names::{AppName, HostName, Version};
use crate::core::routes::AppRoute;
use crate::core::world::{Condition, EngineState, Member, World, by_app};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub apps: Vec<AppStatus>,
    pub problems: Vec<Problem>,
    pub engine: EngineStatus,
    pub generation: Generations,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AppStatus {
    pub name: AppName,
    pub hosts: Vec<HostName>,
    pub stable: Option<Version>,
    pub candidate: Option<Version>,
    /// Percent of the traffic that each release is given.
    pub split: BTreeMap<Version, Share>,
    /// Percent of the traffic that each release had; `null` while too little was seen.
    pub measured: Option<BTreeMap<Version, Share>>,
    pub ready: usize,
    pub wanted: usize,
    pub maintenance: bool,
    pub instances: Vec<InstanceStatus>,
    pub deployment: Option<DeploymentStatus>,
}

/// Percent with at most two decimals; a whole number is written as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hundredths = (self.0 * 100.0).round();
        if hundredths % 100.0 == 0.0 {
            return serializer.serialize_u64((hundredths / 100.0) as u64);
        }
        serializer.serialize_f64(hundredths / 100.0)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstanceStatus {
    pub name: Arc<str>,
    pub id: ContainerId,
    pub release: Version,
    pub address: Option<SocketAddr>,
    pub state: Condition,
    /// Why it is not ready.
    pub reason: Option<String>,
    pub since: Timestamp,
    pub managed: bool,
}

/// One attempt to make a release stable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeploymentStatus {
    pub id: String,
    pub release: Version,
    pub state: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngineStatus {
    #[serde(flatten)]
    pub state: EngineState,
}

/// The three numbers that are kept apart: only what nginx itself answers is live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Generations {
    pub wanted: u64,
    pub written: u64,
    pub live: Option<u64>,
}

/// The supervisor's own part of the status.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SupervisorStatus {
    pub pid: u32,
    pub version: &'static str,
    pub started_at: Timestamp,
}

/// Draws up the status of a world and the plan made from it.
pub fn status(world: &World, plan: &Plan) -> Status {
    let members = world.instances();
    let mut by_app = by_app(&members);
    world.declared.keys().for_each(|name| _ = by_app.entry(name).or_default());
    let gone = |name: &AppName| world.declared.contains_key(name) && world.declared_app(name).is_none();
    let apps = by_app.iter().filter(|(name, members)| !(gone(name) && members.is_empty()));
    let balancer = &world.balancer;
    Status {
        apps: apps.map(|(name, members)| app_status(world, plan, name, members)).collect(),
        problems: plan.problems.clone(),
        engine: EngineStatus { state: world.engine },
        generation: Generations { wanted: plan.generation, written: balancer.written, live: balancer.settled },
    }
}

fn app_status(world: &World, plan: &Plan, name: &AppName, members: &[&Member<'_>]) -> AppStatus {
    let route = plan.routes.apps.get(name);
    let app = world.declared_app(name);
    let instances: Vec<_> = members.iter().map(|m| instance(m)).collect();
    let ready = members.iter().filter(|m| m.is_ready()).count();
    let running = members.iter().filter(|m| m.container.is_running()).count();
    AppStatus {
        name: name.clone(),
        hosts: route.map(|r| r.hosts.clone()).unwrap_or_default(),
        stable: route.and_then(|r| r.stable.clone()),
        candidate: route.and_then(|r| r.candidate.clone()),
        split: route.map(|r| split(r)).unwrap_or_default(),
        measured: None,
        ready,
        wanted: app.map_or(running, |app| usize::from(world.wanted(app))),
        maintenance: false,
        instances,
        deployment: None,
    }
}

fn split(route: &AppRoute) -> BTreeMap<Version, Share> {
    if !route.shared {
        let candidate = route.candidate.iter().map(|v| (v.clone(), Share(0.0)));
        return route.stable.iter().map(|v| (v.clone(), Share(100.0))).chain(candidate).collect();
    }
    let all = route.releases.values().map(Vec::len).sum::<usize>();
    let share = |count: usize| Share(count as f64 * 100.0 / all as f64);
    route.releases.iter().map(|(version, instances)| (version.clone(), share(instances.len()))).collect()
}

fn instance(member: &Member<'_>) -> InstanceStatus {
    InstanceStatus {
        name: member.container.name.clone(),
        id: member.container.id.clone(),
        release: member.version.clone(),
        address: member.address.as_ref().ok().copied(),
        state: member.condition,
        reason: match (&member.reason, &member.address) {
            _ if member.condition == Condition::Ready && member.address.is_ok() => None,
            (Some(reason), _) => Some(reason.clone()),
            (None, Err(unreachable)) => Some(unreachable.reason.clone()),
            (None, Ok(_)) => None,
        },
        since: member.since,
        managed: member.claim.managed,
    }
}

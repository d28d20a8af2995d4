//! The state of the platform as people and programs read it: `status --json` and `/v1/status`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::summary::{self, Count, SourceStatus};
use crate::core::app::{App, Strategy};
use crate::core::container::ContainerId;
use crate::core::decide::{Standing, Verb};
use crate::core::deploy::{Deployment, DeploymentState, GateResult, Kind};
use crate::core::names::{AppName, HostName, ImageRef, Version};
use crate::core::plan::{Plan, due};
use crate::core::problem::{Problem, ProblemKind};
use crate::core::routes::AppRoute;
use crate::core::split::Percent;
use crate::core::world::{Condition, EngineState, Idle, Intent, Member, Traffic, World, by_app};

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
    pub split: BTreeMap<Version, Percent>,
    /// Percent of the traffic that each release had; `null` while too little was seen.
    pub measured: Option<BTreeMap<Version, Percent>>,
    pub ready: usize,
    pub wanted: usize,
    /// Why none is wanted, where somebody said so.
    #[serde(skip)]
    pub idle: Option<Idle>,
    pub maintenance: bool,
    /// `Running 0.0.5 (2)`, `Transitioning from 0.0.4 (2) to 0.0.5 (2)`.
    pub summary: String,
    /// Instances that each release is to have, and those that are ready.
    pub desired: Vec<Count>,
    pub last: Vec<Count>,
    /// The version that it is held at.
    pub pin: Option<Version>,
    /// The version that is deployed once what is under way has ended.
    pub queued: Option<Version>,
    pub source: Option<SourceStatus>,
    pub instances: Vec<InstanceStatus>,
    pub deployment: Option<DeploymentStatus>,
    /// What may be asked of it now, by the rule that decides on it: `promote`, `abort` and so on.
    pub offers: Vec<Verb>,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentStatus {
    pub id: Arc<str>,
    pub app: AppName,
    pub release: Version,
    pub from: Option<Version>,
    pub strategy: Strategy,
    pub kind: Kind,
    pub state: DeploymentState,
    /// The state without what halts it.
    pub stage: DeploymentState,
    pub reason: String,
    /// `2 of 4` for a canary on its way.
    pub step: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub by: String,
    pub plan: Vec<String>,
    pub gate: Option<GateStatus>,
    pub numbers: BTreeMap<String, f64>,
    /// What an instance wrote last, where the deployment failed or was rolled back.
    pub log: Vec<String>,
}

/// The gate of a deployment; without exit code and log while it has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateStatus {
    pub image: ImageRef,
    pub exit_code: Option<i64>,
    pub error: Option<String>,
    pub log: Vec<String>,
}

impl Status {
    pub fn app(&self, name: &AppName) -> Option<&AppStatus> {
        self.apps.iter().find(|app| app.name == *name)
    }

    /// What is wrong that concerns an app: with itself, its containers and its files, and with what all apps need.
    pub fn problems_of(&self, app: &AppStatus) -> Vec<&Problem> {
        let name = &app.name;
        let of_all = [
            ProblemKind::EngineAway,
            ProblemKind::BalancerDied,
            ProblemKind::BalancerTrouble,
            ProblemKind::TemplateRefused,
            ProblemKind::Ledger,
            ProblemKind::Disk,
        ];
        let is_of_all = |problem: &Problem| of_all.contains(&problem.kind);
        let is_its_file = |subject: &str| {
            let path = subject.strip_prefix("file ").unwrap_or_default();
            let folders = ["config", "artefacts", "files"].map(|folder| format!("{folder}/{name}"));
            let below = |folder: &String| path.strip_prefix(folder).is_some_and(|r| r.is_empty() || r.starts_with('/'));
            path == format!("apps/{name}.toml") || folders.iter().any(below)
        };
        let is_its_container = |subject: &str| {
            let called = subject.strip_prefix("container ");
            called.is_some_and(|called| app.instances.iter().any(|instance| *instance.name == *called))
        };
        let concerns = |problem: &&Problem| {
            let subject = problem.subject.as_str();
            problem.app.as_ref() == Some(name)
                || is_of_all(problem)
                || is_its_file(subject)
                || is_its_container(subject)
        };
        self.problems.iter().filter(concerns).collect()
    }
}

impl Generations {
    /// Whether nginx serves this generation, or what has taken its place.
    pub fn have_served(&self, generation: u64) -> bool {
        self.live.is_some_and(|live| live >= generation || live == self.wanted)
    }
}

impl DeploymentStatus {
    pub fn new(deployment: &Deployment) -> Self {
        let d = deployment.clone();
        let result = d.gate_result.unwrap_or(GateResult { exit_code: None, error: None, log: Vec::new() });
        Self {
            state: deployment.state(),
            stage: deployment.stage.into(),
            step: deployment.step(),
            gate: d.gate.map(|gate| GateStatus {
                image: gate.image,
                exit_code: result.exit_code,
                error: result.error,
                log: result.log,
            }),
            numbers: d.judged.numbers(d.share),
            log: d.last_lines,
            id: d.id,
            app: d.app,
            release: d.release,
            from: d.from,
            strategy: d.strategy,
            kind: d.kind,
            reason: d.reason,
            started_at: d.started_at,
            ended_at: d.ended_at,
            by: d.by,
            plan: d.plan,
        }
    }
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

fn app_status(world: &World, plan: &Plan, name: &AppName, members: &[Member<'_>]) -> AppStatus {
    let route = plan.routes.apps.get(name);
    let app = world.declared_app(name);
    let instances: Vec<_> = members.iter().map(|m| instance(m)).collect();
    let ready = members.iter().filter(|m| m.is_ready()).count();
    let is_ready = |version: &Version| members.iter().any(|m| m.version == *version && m.is_ready());
    let running = members.iter().filter(|m| m.container.is_running()).count();
    let intent = world.intents.get(name).filter(|_| app.is_some());
    let wanted = app.map_or(running, |app| usize::from(world.wanted(app)));
    let (desired, last) = (summary::desired(intent, wanted), summary::last(members));
    AppStatus {
        name: name.clone(),
        summary: summary::summary(intent, wanted, &last),
        desired: if app.is_some() { desired } else { last.clone() },
        last,
        pin: app.and_then(|app| world.pin(app)).cloned(),
        queued: app.zip(intent).and_then(|(app, intent)| queued(world, app, intent)),
        source: app.and_then(|app| summary::source(world, app)),
        hosts: route.map(|r| r.granted.hosts().to_vec()).unwrap_or_default(),
        stable: route.and_then(|r| r.stable.clone()),
        candidate: world
            .intents
            .get(name)
            .and_then(Intent::candidate)
            .or(route.and_then(|r| r.candidate.as_ref()))
            .cloned(),
        split: route.map(|r| split(r)).unwrap_or_default(),
        measured: world.traffic.get(name).and_then(Traffic::measured),
        ready,
        wanted,
        idle: app.and_then(|app| world.idle(app)),
        maintenance: route.is_some_and(|r| r.maintenance),
        instances,
        deployment: world.intents.get(name).and_then(|i| i.deployment.as_deref()).map(DeploymentStatus::new),
        offers: intent
            .map(|intent| Standing { app: name, intent, is_ready: &is_ready }.offers(wanted))
            .unwrap_or_default(),
    }
}

fn queued(world: &World, app: &App, intent: &Intent) -> Option<Version> {
    due(world, app, intent).filter(|due| due.queued).map(|due| due.wanted.version)
}

fn split(route: &AppRoute) -> BTreeMap<Version, Percent> {
    if !route.shared {
        let candidate = route.candidate.iter().map(|v| (v.clone(), Percent::NONE));
        return candidate.chain(route.split.iter().map(|(v, share)| (v.clone(), share))).collect();
    }
    let all = route.releases.values().map(Vec::len).sum::<usize>() as u64;
    let share = |count: usize| Percent::of(count as u64, all);
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

//! The gate of a deployment: a container that tests the candidate, and its end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::outcome::Plan;
use crate::core::container::label;
use crate::core::deploy::{Deployment, Stage};
use crate::core::names::AppName;
use crate::core::world::{Action, Intent, JobSpec, World};

/// The gate runs once the candidate's own address leads to it.
pub fn run_gate(world: &World, app: &AppName, deployment: &Deployment, plan: &mut Plan) {
    let Some(gate) =
        deployment.gate.as_ref().filter(|_| deployment.stage == Stage::Testing && deployment.halt.is_none())
    else {
        return;
    };
    let live = world.balancer.live.as_ref().filter(|live| live.settled);
    let route = live.and_then(|l| l.routes.apps.get(app));
    let is_reachable = route.is_some_and(|r| {
        r.candidate.as_ref() == Some(&deployment.release) && r.releases.contains_key(&deployment.release)
    });
    if world.gates.contains_key(&deployment.id) || !is_reachable {
        return;
    }
    let platform = &world.platform;
    let port = if platform.port == 80 { String::new() } else { format!(":{}", platform.port) };
    let url = format!("http://candidate.{}.{}{port}", app, platform.domain);
    let env = [
        ("URL", url.clone()),
        ("TARGET_URL", url),
        ("APP", app.to_string()),
        ("RELEASE", deployment.release.to_string()),
    ];
    let labels = [
        (label::OWNER, platform.owner.0.to_string()),
        (label::DEPLOYMENT, deployment.id.to_string()),
        // Whatever its image says: it is no instance.
        (label::ROUTE, "false".to_owned()),
    ];
    let job = JobSpec {
        name: format!("{}-gate", deployment.id),
        image: gate.image.clone(),
        entrypoint: Vec::new(),
        command: gate.command.clone(),
        env: env.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        hosts: platform.own_hosts(),
        timeout: gate.timeout.get(),
    };
    plan.actions.push(Action::Gate { deployment: deployment.id.clone(), job: Box::new(job) });
}

/// Gates of deployments that no longer test are ended.
pub fn end_stray_gates(world: &World, plan: &mut Plan) {
    if world.is_engine_unknown() {
        return;
    }
    let is_closing = world.closing.is_some_and(|closing| !closing.keep_apps);
    let testing: BTreeSet<&str> = world
        .intents
        .values()
        .filter_map(Intent::active)
        .filter(|d| d.stage == Stage::Testing && !is_closing)
        .map(|d| &*d.id)
        .collect();
    for container in world.gates_there() {
        let deployment = container.label(label::DEPLOYMENT).unwrap_or_default();
        if !testing.contains(deployment) && !world.busy.contains(&container.id) {
            plan.actions.push(Action::Stop { id: container.id.clone(), grace: Duration::ZERO, log_for: None });
        }
    }
}

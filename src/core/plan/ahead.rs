//! What a deployment would make of an app's routes, before it is begun.

use std::net::SocketAddr;

use crate::core::app::Strategy;
use crate::core::deploy::Deployment;
use crate::core::routes::AppRoute;
use crate::core::split::{Percent, Split};

/// Of a rolling deployment no more replacements are shown one by one.
const SHOWN: u16 = 10;

/// The routes that a deployment of an app that serves as `route` leads through, one generation each, with what
/// brings it there. Instances that there are not yet stand under addresses for documentation (RFC 5737).
pub fn ahead(route: &AppRoute, deployment: &Deployment, wanted: u16, surge: u16, port: u16) -> Vec<(String, AppRoute)> {
    let (release, from) = (&deployment.release, deployment.from.as_ref());
    let instances = |count: u16| -> Vec<SocketAddr> {
        (1..=count.min(250)).map(|n| SocketAddr::from(([192, 0, 2, n.to_le_bytes()[0]], port))).collect()
    };
    let mut current = AppRoute {
        candidate: Some(release.clone()),
        preview: Some(deployment.preview.clone()),
        split: route.split.among(|version| version != release, from).without_idle(),
        ..route.clone()
    };
    let mut steps = vec![("it has begun".to_owned(), current.clone())];
    if let Some(from) = from.filter(|_| deployment.stop_first) {
        current.releases.remove(from);
        steps.push((format!("{from} is stopped"), current.clone()));
    }
    let first = deployment.first(wanted, surge);
    current.releases.insert(release.clone(), instances(first));
    current.split = at_share(&current, deployment, Percent::NONE);
    steps.push((format!("{release} is ready, at 0 %"), current.clone()));
    if deployment.is_one_by_one() {
        for new in replaced(first, wanted) {
            let old = usize::from(wanted - new);
            current.releases.insert(release.clone(), instances(new));
            from.and_then(|from| current.releases.get_mut(from)).into_iter().for_each(|left| left.truncate(old));
            current.releases.retain(|_, instances| !instances.is_empty());
            let share = Percent::of(u64::from(new), u64::from(wanted.max(1)));
            current.split = at_share(&current, deployment, share);
            steps.push((format!("{release} has {share} %"), current.clone()));
        }
    } else {
        for share in shares(deployment) {
            current.split = at_share(&current, deployment, share);
            steps.push((format!("{release} has {share} %"), current.clone()));
        }
    }
    if deployment.strategy != Strategy::Manual && !deployment.waits {
        current.releases.insert(release.clone(), instances(wanted));
        current.releases.retain(|version, _| version == release || (deployment.keep_old && Some(version) == from));
        (current.stable, current.candidate, current.preview) = (Some(release.clone()), None, None);
        steps.push((format!("{release} is stable"), current));
    }
    steps
}

/// The candidate's share, with what those get who cannot serve given to those who can.
fn at_share(route: &AppRoute, deployment: &Deployment, share: Percent) -> Split {
    let split = Split::between(deployment.from.as_ref(), &deployment.release, share);
    split.among(|version| route.releases.contains_key(version), deployment.from.as_ref()).without_idle()
}

/// How many are new while one after the other is replaced.
fn replaced(first: u16, wanted: u16) -> impl Iterator<Item = u16> {
    let count = (wanted - first + 1).min(SHOWN);
    (1..=count).map(move |n| first + (wanted - first) * (n - 1) / (count - 1).max(1))
}

/// The candidate's share, step by step.
fn shares(deployment: &Deployment) -> Vec<Percent> {
    match deployment.strategy {
        _ if deployment.waits => Vec::new(),
        Strategy::Manual => Vec::new(),
        Strategy::Rolling | Strategy::BlueGreen | Strategy::Recreate => vec![Percent::ALL],
        Strategy::Canary => deployment.canary.steps.iter().copied().chain([Percent::ALL]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::core::app::App;
    use crate::core::container::{Container, ContainerId};
    use crate::core::decide::{Command, Decider, DeployRequest, Steer};
    use crate::core::names::{ImageRef, Version};
    use crate::core::release::ImageNow;
    use crate::core::routes::Routes;
    use crate::core::testing::{at, container, planned_and_recorded, world_with};
    use crate::core::world::{Action, Fact, Intent, Subject, World};

    /// What a route says of releases: how many instances of the old and the new one, who has how much, who is stable.
    type Shape = (usize, usize, String, bool);

    fn shape(route: &AppRoute) -> Shape {
        let [old, new] = ["1.0", "2.0"].map(|v| Version::parse(v).unwrap());
        let count = |version: &Version| route.releases.get(version).map_or(0, Vec::len);
        let shares: Vec<_> = route.split.carriers().map(|(version, share)| format!("{version} {share} %")).collect();
        (count(&old), count(&new), shares.join(", "), route.stable.as_ref() == Some(&new))
    }

    fn deploy(
        world: &World,
        app: &App,
        tag: &str,
        dry_run: bool,
        now: i64,
    ) -> (Vec<crate::core::world::Write>, Arc<Deployment>) {
        let request = DeployRequest {
            image: ImageRef::parse(&format!("shop:{tag}")).ok(),
            image_now: Some(ImageNow::default()),
            dry_run,
            ..DeployRequest::default()
        };
        let steer = Command::Steer { app: app.name.clone(), steer: Steer::Deploy(Box::new(request)) };
        let decided = world.decide(&steer, Decider { by: "test", now: at(now), secret: "s" }).unwrap();
        (decided.writes, decided.done.deployment.unwrap())
    }

    /// Plays until nothing happens any more, with an engine and an nginx that do all as they are told. The routes that
    /// became live, in their order.
    fn play(world: &mut World, app: &App, now: &mut jiff::Timestamp) -> Vec<Arc<Routes>> {
        let (mut live, mut idle) = (Vec::new(), 0);
        while idle < 60 {
            let plan = planned_and_recorded(world, *now);
            idle += 1;
            let mut facts = Vec::new();
            for action in plan.actions {
                idle = 0;
                world.begin(&action, *now);
                match action {
                    Action::Prepare { app, release } => {
                        let result = Ok("sha256:1".into());
                        facts.push(Fact::Prepared { app, version: release.version.clone(), result });
                    }
                    Action::Start(spec) => {
                        let labels: Vec<_> = spec.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                        let id = ContainerId(spec.name.as_str().into());
                        let made =
                            Container { created_at: *now, started_at: Some(*now), ..container(&spec.name, &labels) };
                        facts.push(Fact::Started { name: spec.name.clone(), result: Ok(Box::new(made)) });
                        facts.push(Fact::Probed {
                            subject: Subject::Container(id),
                            started_at: Some(*now),
                            verdict: Ok(()),
                        });
                    }
                    Action::Drain { id, .. } => facts.push(Fact::Drained(id)),
                    Action::Stop { id, .. } => facts.push(Fact::Stopped { id, result: Ok(()) }),
                    Action::Switch(switch) => {
                        live.push(switch.routes.clone());
                        facts.extend([Fact::Reached(switch.generation), Fact::Settled(switch.generation)]);
                    }
                    _ => {}
                }
            }
            for fact in facts {
                world.apply(fact, *now);
            }
            *now += Duration::from_millis(500);
        }
        assert!(live.iter().all(|routes| routes.apps.contains_key(&app.name)));
        live
    }

    /// What is shown of a deployment of shop 2.0 over 1.0, and what comes of it.
    fn shown_and_seen(declaration: &str) -> (Vec<Shape>, Vec<Shape>) {
        let file = format!("image = \"shop:1.0\"\n{declaration}");
        let (mut world, app) = world_with(&file, |_, _| Intent::new(at(0)));
        let mut now = at(1);
        let (writes, _) = deploy(&world, &app, "1.0", false, 1);
        writes.iter().for_each(|write| world.take_over(write));
        play(&mut world, &app, &mut now);
        let route = world.balancer.live.as_ref().unwrap().routes.apps[&app.name].clone();
        let (_, dry) = deploy(&world, &app, "2.0", true, 1000);
        let wanted = world.wanted(&app);
        let shown = ahead(&route, &dry, wanted, app.deploy.surge, app.port.get());
        let (writes, _) = deploy(&world, &app, "2.0", false, 1000);
        writes.iter().for_each(|write| world.take_over(write));
        let seen = play(&mut world, &app, &mut now);
        let mut seen: Vec<_> = seen.iter().map(|routes| shape(&routes.apps[&app.name])).collect();
        seen.dedup();
        (shown.iter().map(|(_, route)| shape(route)).collect(), seen)
    }

    #[test]
    fn what_is_shown_beforehand_is_what_comes_of_it() {
        for strategy in ["recreate", "rolling", "blue-green", "canary", "manual"] {
            for more in ["replicas = 1", "replicas = 3", "replicas = 1\nvolumes = [\"/data/shop:/data\"]"] {
                // Two releases that write to one volume do not run side by side.
                if more.contains("volumes") && matches!(strategy, "canary" | "manual") {
                    continue;
                }
                let (shown, seen) = shown_and_seen(&format!("{more}\n[deploy]\nstrategy = \"{strategy}\"\n"));
                match strategy {
                    // Without visitors it stays at its first step.
                    "canary" => assert_eq!(shown[..3], seen, "{more}"),
                    _ => assert_eq!(shown, seen, "{strategy}, {more}"),
                }
            }
        }
    }
}

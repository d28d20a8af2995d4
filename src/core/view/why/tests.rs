use super::*;
use crate::core::container::{ContainerId, RunState};
use crate::core::names::Version;
use crate::core::release::Release;
use crate::core::service::{Endpoint, EndpointId, Service, ServiceUrl};
use crate::core::testing::{at, container, planned, world_with};
use crate::core::view::{services, status};
use crate::core::world::{Action, Fact, Intent, Subject, Unprepared, Unsecured, World};

fn serving(edit: impl FnOnce(&mut Intent)) -> World {
    let declaration = "image = \"shop:1.0\"\nport = 8080\n";
    let (world, _) = world_with(declaration, |app, index| {
        let version = Version::parse("1.0").unwrap();
        let draft = Release::draft(app, version.clone(), None, index, at(0));
        let release = Release { image_digest: Some("sha256:1".into()), proven: true, ..draft };
        let releases = [(version.clone(), release)].into();
        let mut intent = Intent { stable: Some(version), releases, ..Intent::new(at(0)) };
        edit(&mut intent);
        intent
    });
    world
}

/// The links that break, each with its remedy.
fn broken(mut world: World, target: &str) -> Vec<String> {
    let plan = planned(&mut world, at(9));
    let mut zones = plan.actions.iter().filter_map(|action| match action {
        Action::Publish(zone) => Some(zone.clone()),
        _ => None,
    });
    let zone = zones.next_back().unwrap();
    let mut status = status(&world, &plan);
    // A balancer that has not begun would break each chain.
    status.generation.live = status.generation.live.or(Some(status.generation.wanted));
    let steps = why(target, &zone, &plan.routes, &status, &services(&world));
    let told = steps.into_iter().filter(|step| !step.ok);
    told.map(|step| format!("{} → {}", step.what, step.remedy.unwrap())).collect()
}

#[test]
fn the_first_link_that_breaks_is_the_reason_and_its_remedy_mends_it() {
    let none = serving(|intent| intent.replicas = Some(0));
    assert_eq!(broken(none, "shop.platform"), ["shop is scaled to 0: 503 → platformer scale shop 1"]);
    let stopped = serving(|intent| intent.stopped = true);
    assert_eq!(broken(stopped, "shop.platform"), ["shop is stopped: 503 → platformer start shop"]);
    let mut unprepared = serving(|_| {});
    let why = Unprepared::Never("key PASSWORD is missing".into());
    let key = (AppName::parse("shop").unwrap(), Version::parse("1.0").unwrap());
    unprepared.unprepared.insert(key, Unsecured { since: at(1), tried: at(1), times: 1, why });
    let told = broken(unprepared, "shop.platform");
    assert!(told.len() == 1 && told[0].contains("shop@1.0 cannot be run: key PASSWORD is missing"), "{told:?}");
}

#[test]
fn maintenance_and_services_are_explained() {
    let closed = serving(|intent| intent.maintenance = true);
    assert!(
        broken(closed, "shop.platform")
            .contains(&"maintenance of shop is on: 503 → platformer maintenance shop off".to_owned())
    );
    let mut world = serving(|_| {});
    let (name, id) = (AppName::parse("legacy").unwrap(), EndpointId::parse("legacy").unwrap());
    let url = ServiceUrl::parse("http://10.0.0.5:80").unwrap();
    let endpoint = Endpoint { url, health: None, tags: vec![], at: at(0), by: "t".into(), inside: false };
    let service = Service { endpoints: BTreeMap::from([(id.clone(), endpoint)]) };
    world.apply(Fact::Registered(BTreeMap::from([(name.clone(), service)])), at(0));
    assert_eq!(broken(world.clone(), "legacy.platform"), [""; 0]);
    let subject = Subject::Endpoint(name, id);
    world.apply(Fact::Probed { subject, started_at: Some(at(0)), verdict: Err("no answer".into()) }, at(1));
    let told = broken(world, "legacy.platform");
    assert_eq!(told, ["http://10.0.0.5 is unhealthy: no answer → start it, or platformer services set legacy URL"]);
}

#[test]
fn who_is_not_ready_is_told_with_its_reason() {
    let mut world = serving(|_| {});
    let seen = container("files", &[("platformer.app", "files")]);
    let (id, started_at) = (seen.id.clone(), seen.started_at);
    world.apply(Fact::Seen(Box::new(seen)), at(1));
    let verdict = Err("172.30.0.9:9000: connection refused".into());
    world.apply(Fact::Probed { subject: Subject::Container(id), started_at, verdict }, at(1));
    let told = broken(world, "files.platform");
    assert!(told.len() == 2 && told[0].contains("no container of files is ready"), "{told:?}");
    assert!(told[1].contains("9000: connection refused"), "{told:?}");
}

#[test]
fn an_instance_is_explained_by_its_name() {
    let labels = [("platformer.app", "shop"), ("platformer.version", "1.0"), ("platformer.owner", "me")];
    let with = |mut world: World| {
        let state = RunState::Exited { code: 3, oom: false, at: Some(at(1)) };
        let seen = crate::core::container::Container { state, ..container("shop-1.0-1", &labels) };
        world.apply(Fact::Seen(Box::new(seen)), at(1));
        assert!(world.containers.contains_key(&ContainerId("shop-1.0-1".into())));
        world
    };
    let told = broken(with(serving(|_| {})), "shop-1.0-1");
    assert_eq!(told, ["instance shop-1.0-1 of shop@1.0 is stopped: it exited with 3 → docker logs shop-1.0-1"]);
    let told = broken(with(serving(|intent| intent.replicas = Some(0))), "shop-1.0-1");
    assert!(told[0].ends_with("shop is scaled to 0 → platformer scale shop 1"), "{told:?}");
}

#[test]
fn that_nginx_does_not_serve_what_is_wanted_is_told_with_its_reason() {
    let mut world = serving(|_| {});
    world.balancer.settled = Some(41);
    world.balancer.retry = Some((at(60), 1, "No space left on device".into()));
    let told = broken(world, "shop.platform");
    let last = told.last().unwrap();
    assert!(last.starts_with("nginx still serves generation 41, 1 is wanted: No space left on device"), "{last}");
}

#[test]
fn what_is_nothings_name_hints_at_what_was_meant() {
    for (target, meant) in [("shp.platform", "shop.platform"), ("shpo", "shop.platform")] {
        let told = broken(serving(|_| {}), target);
        assert!(told.iter().any(|step| step.ends_with(&format!("did you mean {meant}?"))), "{target}: {told:?}");
    }
}

#[test]
fn an_app_is_told_of_what_concerns_it_and_of_nothing_else() {
    let (mut world, kind) = (serving(|_| {}), ProblemKind::File);
    let plan = planned(&mut world, at(9));
    let mut status = status(&world, &plan);
    let of = |kind, subject: &str| Problem::new(kind, subject, "", "", at(0));
    status.problems = vec![
        of(kind, "file apps/shop.toml"),
        of(kind, "file artefacts/shop/1.0/a.zip"),
        of(ProblemKind::EngineAway, "docker"),
        Problem::of_app(ProblemKind::Dying, &status.apps[0].name, "", "", at(0)),
        of(kind, "file artefacts/shopping/1.0/a.zip"),
        of(ProblemKind::Dying, "container other"),
    ];
    let told: Vec<_> = status.problems_of(&status.apps[0]).iter().map(|p| p.subject.as_str()).collect();
    assert_eq!(told, ["file apps/shop.toml", "file artefacts/shop/1.0/a.zip", "docker", "app shop"]);
}

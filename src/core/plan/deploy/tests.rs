use super::*;
use crate::core::container::Container;
use crate::core::testing::{at, container, planned, planned_and_recorded, world_with};
use crate::core::world::{Fact, Subject};

#[test]
fn what_stays_warm_is_secured_again_after_its_new_deployment_was_called_off() {
    let [stable, warm] = ["1.0", "1.1"].map(|v| Version::parse(v).unwrap());
    let (mut world, _) = world_with("image = \"shop:1.0\"", |app, index| {
        let mut intent = Intent { stable: Some(stable.clone()), warm: Some(warm.clone()), ..Intent::new(at(0)) };
        for (version, digest) in [(stable, Some("sha256:1".into())), (warm.clone(), None)] {
            let release = Release::draft(app, version.clone(), None, index, at(0));
            intent.releases.insert(version, Release { image_digest: digest, proven: true, ..release });
        }
        intent
    });
    let plan = planned(&mut world, at(1));
    let secured = |a: &Action| matches!(a, Action::Prepare { release, .. } if release.version == warm);
    assert!(plan.actions.iter().any(secured), "{:?}", plan.actions);
}

#[test]
fn what_cannot_be_pulled_is_tried_ever_more_rarely_and_at_once_when_somebody_asks() {
    let version = Version::parse("1.0").unwrap();
    let (mut world, app) = world_with("image = \"shop:1.0\"", |app, index| {
        let release = Release::draft(app, version.clone(), None, index, at(0));
        let releases = [(version.clone(), release)].into();
        Intent { stable: Some(version.clone()), releases, ..Intent::new(at(0)) }
    });
    let tried = |world: &mut World, seconds: std::ops::Range<i64>| {
        let mut times = Vec::new();
        for now in seconds {
            for action in planned(world, at(now)).actions {
                if let Action::Prepare { app, release } = &action {
                    times.push(now);
                    world.begin(&action, at(now));
                    let result = Err(Unprepared::Never("toomanyrequests".into()));
                    world.apply(Fact::Prepared { app: app.clone(), version: release.version.clone(), result }, at(now));
                }
            }
        }
        times
    };
    assert_eq!(tried(&mut world, 0..100), [0, 1, 3, 7, 15, 31, 63]);
    let decided = world.decide(&Command::Restart(app.name.clone()), Decider { by: "me", now: at(100), secret: "" });
    decided.unwrap().writes.iter().for_each(|write| world.take_over(write));
    assert_eq!(tried(&mut world, 100..102), [100, 101]);
    let rarely = tried(&mut world, 10_000..13_000);
    assert!(rarely.ends_with(&[11_020, 11_620, 12_220, 12_820]), "ten minutes at most: {rarely:?}");
}

#[test]
fn what_runs_is_taken_over_where_the_ledger_is_lost() {
    for gate in ["", "[gate]\nimage = \"gate\"\n"] {
        let declaration = format!("image = \"shop:1.2\"\nreplicas = 2\n{gate}");
        let (mut world, app) = world_with(&declaration, |_, _| Intent::new(at(0)));
        let running = |name: &str, version: &str| {
            let labels = [("platformer.app", "shop"), ("platformer.version", version), ("platformer.owner", "me")];
            Container { image: "sha256:1".into(), ..container(name, &labels) }
        };
        let containers = vec![running("a", "1.0"), running("b", "1.0"), running("c", "1.1")];
        let probed: Vec<_> = containers.iter().map(|c| (Subject::Container(c.id.clone()), c.started_at)).collect();
        world.apply(Fact::Listed { containers, networks: Vec::new(), local: Vec::new() }, at(1));
        planned_and_recorded(&mut world, at(1));
        let intent = &world.intents[&app.name];
        assert_eq!(intent.stable.as_ref().map(Version::as_str), Some("1.0"), "what most instances are");
        let release = &intent.releases[&Version::parse("1.0").unwrap()];
        assert_eq!((release.image_digest.as_deref(), release.image.as_str()), (Some("sha256:1"), "shop:1.2"));
        for (subject, started_at) in probed {
            world.apply(Fact::Probed { subject, started_at, verdict: Ok(()) }, at(2));
        }
        let plan = planned_and_recorded(&mut world, at(2));
        let begun = plan.actions.iter().filter(|a| matches!(a, Action::Start(_) | Action::Stop { .. }));
        assert_eq!(begun.count(), 0, "{:?}", plan.actions);
        let serving = &plan.routes.apps[&app.name];
        assert_eq!(serving.main().len(), 2, "{serving:?}");
    }
}

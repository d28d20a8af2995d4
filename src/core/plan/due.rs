//! What is deployed of itself: a new version of an app that wants such, and the first release of an app with a gate.
//!
//! One deployment at a time. What appears meanwhile is queued, and of what is queued only the newest counts, so
//! thirty tags at once are two deployments.

use crate::core::app::{App, Auto, Source};
use crate::core::deploy::{Deployment, Halt, Stage};
use crate::core::names::Version;
use crate::core::source::Wanted;
use crate::core::world::{Intent, World};

/// A version that is to be deployed by itself.
pub struct Due {
    pub wanted: Wanted,
    /// It waits until the deployment under way has ended.
    pub queued: bool,
}

/// The version that an app is to have without anybody asking, if it has not.
pub fn due(world: &World, app: &App, intent: &Intent) -> Option<Due> {
    let source = app.source.as_ref();
    let is_automatic = app.deploy.auto || source.is_some_and(|source| source.auto == Auto::Newest);
    let is_first = intent.stable.is_none() && app.gate.is_some();
    if !(is_automatic || is_first) || world.idle(app).is_some() {
        return None;
    }
    let pin = world.pin(app);
    let is_remote = source.is_some_and(Source::is_remote);
    let own_image = || {
        let version = app.image_version().filter(|_| !is_remote && pin.is_none())?;
        Some(Wanted { version, digest: String::new(), waits_for: None })
    };
    let wanted = world.wanted_version(app).or_else(own_image)?;
    let current = intent.candidate().or(intent.stable.as_ref()).map(Version::base);
    let is_other = current.map_or(is_first, |current| match pin {
        // Whoever went back to it, or holds it, means what it was.
        _ if wanted.version.base() == current => pin.is_none() && is_pushed_again(intent, &wanted),
        Some(_) => true,
        None => wanted.version.base() > current,
    });
    let is_rejected = intent.rejected.get(&wanted.version).is_some_and(|rejected| *rejected == wanted.digest);
    if !is_other || wanted.waits_for.is_some() || is_rejected {
        return None;
    }
    // Whoever pins a version does not want the other one to come first.
    let is_in_turn =
        |deployment: &Deployment| !deployment.is_candidate() || (pin.is_none() && goes_on(world, deployment));
    let queued = intent.active().is_some_and(|deployment| is_in_turn(deployment));
    Some(Due { wanted, queued })
}

/// Whether the registry has another image by now under the tag of what runs, or is to run. One that was pinned here by
/// hand is compared by its manifest too; where that was never known nothing is known to have changed.
fn is_pushed_again(intent: &Intent, wanted: &Wanted) -> bool {
    let current = intent.candidate().or(intent.stable.as_ref()).and_then(|version| intent.releases.get(version));
    let known = current.and_then(|release| release.source_digest.as_deref());
    wanted.digest.starts_with("sha256:") && known.is_some_and(|known| known != wanted.digest)
}

/// Whether a deployment may still end by itself or by the hand of whoever halted it. One that is held has nothing to
/// go on with, and one whose contents cannot be had may never begin: a newer version takes their place.
fn goes_on(world: &World, deployment: &Deployment) -> bool {
    let key = (deployment.app.clone(), deployment.release.clone());
    let is_stranded = deployment.stage == Stage::Fetching && world.unprepared.contains_key(&key);
    deployment.halt != Some(Halt::Held) && !is_stranded
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::app::Strategy;
    use crate::core::deploy::End;
    use crate::core::release::Release;
    use crate::core::source::Look;
    use crate::core::testing::{at, deployment, world_with};
    use crate::core::world::{Unprepared, Unsecured};

    const APP: &str = "[source]\nimage = \"r/shop\"\nauto = \"newest\"";

    fn queued(deployment: Deployment, unprepared: bool, pin: Option<&str>) -> Option<bool> {
        let version = |text: &str| Version::parse(text).unwrap();
        let (mut world, app) = world_with(APP, |_, _| Intent {
            stable: deployment.from.clone(),
            pin: pin.map(version),
            deployment: Some(Arc::new(deployment.clone())),
            ..Intent::new(at(0))
        });
        let images = ["1.5", "3.0"].map(|v| (version(v), Some(Arc::from("sha256:1")))).into();
        world.found.insert(app.name.clone(), Look { at: at(0), images: Some(Ok(images)), git: None });
        if unprepared {
            let why = Unprepared::Later("no such image".into());
            let unsecured = Unsecured { since: at(0), tried: at(0), times: 1, why };
            world.unprepared.insert((app.name.clone(), deployment.release.clone()), unsecured);
        }
        due(&world, &app, &world.intents[&app.name]).map(|due| due.queued)
    }

    #[test]
    fn a_tag_that_was_pushed_again_is_due_and_one_that_was_not_is_not() {
        let (mut world, app) = world_with(APP, |app, index| {
            let stable = Version::parse("1.0").unwrap();
            let draft = Release::draft(app, stable.clone(), None, index, at(0));
            let release = Release { source_digest: Some("sha256:1".into()), ..draft };
            Intent { stable: Some(stable.clone()), releases: [(stable, release)].into(), ..Intent::new(at(0)) }
        });
        let is_due = |world: &mut World, digest: &str| {
            let images = [(Version::parse("1.0").unwrap(), Some(Arc::from(digest)))].into();
            world.found.insert(app.name.clone(), Look { at: at(0), images: Some(Ok(images)), git: None });
            due(world, &app, &world.intents[&app.name]).map(|due| due.wanted.digest)
        };
        assert_eq!(is_due(&mut world, "sha256:1"), None);
        assert_eq!(is_due(&mut world, "sha256:2").as_deref(), Some("sha256:2"));
        world.intents.get_mut(&app.name).unwrap().pin = Version::parse("1.0").ok();
        assert!(due(&world, &app, &world.intents[&app.name]).is_none(), "a rollback pins what it was");
    }

    #[test]
    fn a_newer_version_waits_for_a_deployment_that_goes_on_and_takes_the_place_of_one_that_does_not() {
        let in_stage = |stage| deployment(Strategy::Rolling, stage);
        let halted = |halt| Deployment { halt: Some(halt), ..in_stage(Stage::Routing { step: 0 }) };
        for (what, deployment, unprepared, expected) in [
            ("on its way", in_stage(Stage::Starting), false, Some(true)),
            ("being fetched", in_stage(Stage::Fetching), false, Some(true)),
            ("nowhere to be fetched", in_stage(Stage::Fetching), true, Some(false)),
            ("paused", halted(Halt::Paused), false, Some(true)),
            ("held", halted(Halt::Held), false, Some(false)),
            ("draining the old one", in_stage(Stage::Draining), false, Some(true)),
            ("on its way back", in_stage(Stage::Aborting { end: End::Failed }), false, Some(true)),
            ("over", in_stage(Stage::Done), false, Some(false)),
        ] {
            assert_eq!(queued(deployment, unprepared, None), expected, "{what}");
        }
        assert_eq!(queued(in_stage(Stage::Starting), false, Some("1.5")), Some(false), "another one is pinned");
    }
}

//! What nginx refused, what stands in its place, and when it is tried again.
//!
//! Each app by itself: whoever is refused again and again waits ever longer, and nobody else with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::facts::Culprit;
use super::moment::move_by;
use crate::core::names::AppName;
use crate::core::routes::{AppRoute, Routes};

/// Pause before something else of an app is tried that was refused twice within [`REMEMBERED`]; the first time there
/// is none.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What has not changed is tried again after this, then ever more rarely: what it collided with may have gone.
const AGAIN: Duration = Duration::from_secs(60);
const MOST_RARELY: Duration = Duration::from_secs(3600);
/// So long after its last refusal an app begins anew.
const REMEMBERED: Duration = Duration::from_secs(7200);
/// Apps whose refusals are remembered; more at once begin anew.
const MOST_REMEMBERED: usize = 10_000;

/// Routes of an app that nginx refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedApp {
    pub input: Arc<AppRoute>,
    /// What stands in its place; `None`: nothing.
    pub instead: Option<Arc<AppRoute>>,
    pub reason: String,
    pub since: Timestamp,
    /// Something else is not tried before this.
    until: Timestamp,
    /// The same is tried again then.
    again: Timestamp,
}

#[derive(Debug, Clone, Default)]
pub struct Refusals {
    apps: BTreeMap<AppName, RefusedApp>,
    /// How often each was refused, and when last.
    times: BTreeMap<AppName, (u32, Timestamp)>,
}

impl Refusals {
    /// Those in force.
    pub fn apps(&self) -> &BTreeMap<AppName, RefusedApp> {
        &self.apps
    }

    pub(super) fn clock_set(&mut self, by: SignedDuration) {
        let apps = self.apps.values_mut().flat_map(|app| [&mut app.since, &mut app.until, &mut app.again]);
        apps.chain(self.times.values_mut().map(|(_, last)| last)).for_each(|moment| move_by(moment, by));
    }

    /// Notes whom nginx refused in `tried`. Who is refused with what stood in his place has nothing in it any more.
    pub(super) fn refuse(&mut self, tried: &Routes, culprits: Vec<Culprit>, now: Timestamp) {
        self.times.retain(|_, (_, last)| now.duration_since(*last).unsigned_abs() < REMEMBERED);
        if self.times.len() >= MOST_REMEMBERED {
            self.times.clear();
        }
        for Culprit { app, instead, reason } in culprits {
            let before = self.apps.get(&app);
            let Some(input) = before.map(|b| b.input.clone()).or_else(|| tried.apps.get(&app).cloned()) else {
                continue;
            };
            let (times, last) = self.times.entry(app.clone()).or_insert((0, now));
            let until = match *times {
                0 => now,
                n => now + FIRST_PAUSE.saturating_mul(3u32.saturating_pow(n - 1)).min(LONGEST_PAUSE),
            };
            let again = now + AGAIN.saturating_mul(2u32.saturating_pow(*times)).min(MOST_RARELY);
            (*times, *last) = (*times + 1, now);
            let (instead, since) = before.map_or((instead, now), |b| (None, b.since));
            self.apps.insert(app, RefusedApp { input, instead, reason, since, until, again });
        }
    }

    /// Puts into `wanted` what stands in the place of refused routes. Returns the apps that are wanted in another way by
    /// now, whose refusals can be forgotten, and the moment at which one of the others is to be looked at again.
    pub fn apply(&self, wanted: &mut Routes, now: Timestamp) -> (Vec<AppName>, Option<Timestamp>) {
        let (mut released, mut wake) = (Vec::new(), None::<Timestamp>);
        for (app, refused) in &self.apps {
            let new = wanted.apps.get(app).cloned();
            let moment = |new: &Arc<AppRoute>| if refused.is_about(new) { refused.again } else { refused.until };
            let Some(new) = new.filter(|new| now < moment(new)) else {
                released.push(app.clone());
                continue;
            };
            wake = Some(wake.map_or(moment(&new), |at| at.min(moment(&new))));
            match &refused.instead {
                None => _ = wanted.apps.remove(app),
                Some(good) if good.is_shaped_like(&refused.input) => {
                    wanted.restore(app, good.with_instances_of(&new));
                }
                Some(good) => wanted.restore(app, good.serving_as(&new)),
            }
        }
        (released, wake)
    }

    /// Forgets what nginx refused of these.
    pub fn forget(&mut self, apps: &[AppName]) {
        self.apps.retain(|app, _| !apps.contains(app));
    }
}

impl RefusedApp {
    /// Whether these routes are what was refused. Other instances behind the same hosts change nothing about it,
    /// unless they are all that was new.
    fn is_about(&self, route: &Arc<AppRoute>) -> bool {
        let by_shape = self.instead.as_ref().is_none_or(|good| !good.is_shaped_like(&self.input));
        *route == self.input || (by_shape && route.is_shaped_like(&self.input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::grants::Granted;
    use crate::core::names::Version;
    use crate::core::testing::{at, route};

    fn app() -> AppName {
        AppName::parse("shop").unwrap()
    }

    fn with(hosts: &[&str], address: &str) -> Arc<AppRoute> {
        let releases = [(Version::latest(), vec![address.parse().unwrap()])].into();
        Arc::new(AppRoute { granted: Granted::of_service(hosts), releases, ..route() })
    }

    fn wanted(route: &Arc<AppRoute>) -> Routes {
        Routes { apps: [(app(), route.clone())].into() }
    }

    fn apply(refusals: &mut Refusals, routes: &mut Routes, now: Timestamp) -> Option<Timestamp> {
        let (released, wake_at) = refusals.apply(routes, now);
        refusals.forget(&released);
        wake_at
    }

    fn culprit(instead: Option<&Arc<AppRoute>>) -> Vec<Culprit> {
        vec![Culprit { app: app(), instead: instead.cloned(), reason: "no".into() }]
    }

    #[test]
    fn what_stands_in_for_a_refused_route_has_the_newest_instances_and_goes_once_it_is_refused_too() {
        let (bad, good) = (with(&["a.x", "b.x"], "10.0.0.1:80"), with(&["a.x"], "10.0.0.1:80"));
        let mut refusals = Refusals::default();
        refusals.refuse(&wanted(&bad), culprit(Some(&good)), at(0));
        let moved = with(&["a.x", "b.x"], "10.0.0.2:80");
        let mut routes = wanted(&moved);
        assert_eq!(apply(&mut refusals, &mut routes, at(1)), Some(at(60)));
        assert_eq!(routes, wanted(&with(&["a.x"], "10.0.0.2:80")));
        refusals.refuse(&routes, culprit(Some(&good)), at(2));
        let mut routes = wanted(&moved);
        apply(&mut refusals, &mut routes, at(3));
        assert!(routes.apps.is_empty());
    }

    #[test]
    fn another_input_is_tried_at_once_the_first_time_and_later_after_a_pause() {
        let mut refusals = Refusals::default();
        let names: Vec<String> = (0..9).map(|n| format!("a{n}.x")).collect();
        let inputs: Vec<_> = names.iter().map(|name| with(&[name], "10.0.0.1:80")).collect();
        let mut now = 0;
        for (n, pause) in [0, 1, 3, 9, 27, 60, 60].into_iter().enumerate() {
            refusals.refuse(&wanted(&inputs[n]), culprit(None), at(now));
            let next = &inputs[n + 1];
            for (later, is_tried) in [(pause - 1, false), (pause, true)] {
                let mut routes = wanted(next);
                if later >= 0 && refusals.apps().contains_key(&app()) {
                    apply(&mut refusals, &mut routes, at(now + later));
                    assert_eq!(routes.apps.contains_key(&app()), is_tried, "{n}: {later} s later");
                }
            }
            now += pause;
        }
    }

    #[test]
    fn what_does_not_change_is_tried_again_ever_more_rarely() {
        let bad = with(&["a.x"], "10.0.0.1:80");
        let mut refusals = Refusals::default();
        let mut now = 0;
        for pause in [60, 120, 240] {
            refusals.refuse(&wanted(&bad), culprit(None), at(now));
            assert_eq!(apply(&mut refusals, &mut wanted(&bad), at(now)), Some(at(now + pause)));
            now += pause;
            let mut routes = wanted(&bad);
            assert_eq!((apply(&mut refusals, &mut routes, at(now)), routes), (None, wanted(&bad)));
        }
        refusals.refuse(&wanted(&bad), culprit(None), at(now));
        apply(&mut refusals, &mut Routes::default(), at(now));
        assert!(refusals.apps().is_empty(), "whoever goes takes his refusal along");
    }

    #[test]
    fn an_instance_that_is_gone_is_not_named_by_what_stood_before() {
        let old = with(&["a.x"], "10.0.0.1:80");
        let mut new = (*with(&["a.x"], "10.0.0.2:80")).clone();
        new.maintenance = true;
        let mut refusals = Refusals::default();
        refusals.refuse(&wanted(&Arc::new(new.clone())), culprit(Some(&old)), at(0));
        let mut routes = wanted(&Arc::new(new));
        apply(&mut refusals, &mut routes, at(1));
        assert!(routes.apps[&app()].releases.is_empty());
    }
}

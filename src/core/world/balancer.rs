//! What is known of the balancer: which generation is wanted, written and live, and what was refused.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::facts::{Found, Switch};
use super::moment::move_by;
use super::refusals::Refusals;
use crate::core::names::AppName;
use crate::core::routes::Routes;
use crate::core::templates::Templates;

/// Between two switches, once so many have come at once: at most 100 in any ten seconds, whatever containers do.
const PACE: Duration = Duration::from_millis(120);
const BURST: u32 = 16;

/// What fails may be mended in a moment, a disk that was full or a port that was taken, and nobody is served meanwhile:
/// it is tried again within so long.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What was over at once is told for so long.
const TOLD: SignedDuration = SignedDuration::from_mins(10);

/// So many switches are remembered, each with so many of the apps that it was for.
const SWITCHES: usize = 64;
const APPS: usize = 8;

/// The routes that a worker of nginx is known to use.
#[derive(Debug, Clone)]
pub struct Live {
    pub generation: u64,
    pub routes: Arc<Routes>,
    /// `None` for an adopted nginx: then only the fingerprint is known.
    pub templates: Option<Arc<Templates>>,
    pub fingerprint: u64,
    /// No older worker accepts any more.
    pub settled: bool,
}

/// A generation on its way.
#[derive(Debug, Clone)]
pub struct Switching {
    pub switch: Switch,
    pub since: Timestamp,
}

/// Input that nginx refused. It is not tried again until it changes.
#[derive(Debug, Clone)]
pub struct Refused<T> {
    pub input: T,
    pub reason: String,
    pub since: Timestamp,
}

#[derive(Debug, Clone, Default)]
pub struct Balancer {
    /// Whether it has been looked for: until then nothing is switched.
    known: bool,
    pub live: Option<Live>,
    pub switching: Option<Switching>,
    /// The generation that every worker which accepts connections serves: what people are told is live.
    pub settled: Option<u64>,
    /// The highest number ever given out.
    pub last_generation: u64,
    pub written: u64,
    pub refusals: Refusals,
    pub refused_templates: Option<Refused<Arc<Templates>>>,
    /// After a failure that may pass: not before this moment, for this reason.
    pub retry: Option<(Timestamp, u32, String)>,
    pub died: Option<(Timestamp, String)>,
    /// How many old workers were ended with what they had, and when the last of them.
    pub ended: Option<(Timestamp, usize)>,
    /// The apps whose routes the last switches changed, a few of each.
    changed: VecDeque<Vec<AppName>>,
    /// When the pace that [`PACE`] sets will have caught up with all switches that were begun.
    paced: Option<Timestamp>,
    adopted: Option<Arc<Routes>>,
    /// Routes of a balancer that died: workers that outlived their master may go on serving them until a
    /// later generation has settled.
    lost: Vec<Arc<Routes>>,
}

impl Balancer {
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// The moment before which no further switch may begin: what changes until then goes into one.
    pub fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        // A clock that was set back holds nothing up for longer than a burst takes.
        let paced = self.paced?.min(now + PACE * BURST);
        Some(paced - PACE * (BURST - 1)).filter(|moment| *moment > now)
    }

    pub(super) fn begin(&mut self, switch: &Switch, now: Timestamp) {
        self.last_generation = switch.generation;
        self.changed.push_back(changed(switch));
        if self.changed.len() > SWITCHES {
            self.changed.pop_front();
        }
        self.switching = Some(Switching { switch: switch.clone(), since: now });
        let paced = self.paced.map_or(now, |paced| paced.max(now).min(now + PACE * BURST));
        self.paced = Some(paced + PACE);
    }

    pub(super) fn adopt(&mut self, found: Option<Found>) {
        self.known = true;
        self.died = None;
        self.switching = None;
        if let Some(Found { generation, routes, fingerprint, last }) = found {
            self.last_generation = self.last_generation.max(last);
            self.written = generation;
            self.settled = Some(generation);
            self.adopted = Some(routes.clone());
            self.live = Some(Live { generation, routes, templates: None, fingerprint, settled: true });
        }
    }

    pub(super) fn clock_set(&mut self, by: SignedDuration) {
        let switching = self.switching.iter_mut().map(|switching| &mut switching.since);
        let refused = self.refused_templates.iter_mut().map(|refused| &mut refused.since);
        let retry = self.retry.iter_mut().map(|(until, ..)| until);
        let died = self.died.iter_mut().map(|(since, _)| since);
        let ended = self.ended.iter_mut().map(|(since, _)| since);
        switching
            .chain(refused)
            .chain(retry)
            .chain(died)
            .chain(ended)
            .chain(&mut self.paced)
            .for_each(|moment| move_by(moment, by));
        self.refusals.clock_set(by);
    }

    pub(super) fn died(&mut self, now: Timestamp, reason: String) {
        self.lost.extend(self.live.take().map(|live| live.routes));
        self.lost.extend(self.switching.take().map(|s| s.switch.routes));
        self.settled = None;
        self.died = Some((now, reason));
    }

    /// The app that most of the last switches were for, if one stands out, and how many of them.
    pub fn mostly_for(&self) -> Option<(&AppName, usize)> {
        let mut counts: BTreeMap<&AppName, usize> = BTreeMap::new();
        self.changed.iter().flatten().for_each(|app| *counts.entry(app).or_default() += 1);
        let most = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (most.1 * 2 > self.changed.len() && self.changed.len() > 1).then_some(most)
    }

    /// Forgets what was told for long enough.
    pub(super) fn forget_past(&mut self, now: Timestamp) {
        self.ended = self.ended.filter(|(at, _)| now.duration_since(*at) < TOLD);
    }

    /// When something of it is to be forgotten.
    pub fn forgets_at(&self) -> Option<Timestamp> {
        self.ended.map(|(at, _)| at + TOLD)
    }

    pub(super) fn workers_ended(&mut self, count: usize, now: Timestamp) {
        let before = self.ended.map_or(0, |(_, before)| before);
        self.ended = Some((now, before + count));
    }

    pub(super) fn reached(&mut self, generation: u64) {
        if let Some(switching) = self.switching.as_ref().filter(|s| s.switch.generation == generation) {
            self.live = Some(Live {
                generation,
                routes: switching.switch.routes.clone(),
                templates: Some(switching.switch.templates.clone()),
                fingerprint: switching.switch.fingerprint,
                settled: false,
            });
            self.written = generation;
            self.retry = None;
            self.died = None;
        }
    }

    pub(super) fn settled(&mut self, generation: u64) {
        self.switching.take_if(|s| s.switch.generation == generation);
        if let Some(live) = self.live.as_mut().filter(|l| l.generation == generation) {
            live.settled = true;
            self.settled = Some(generation);
            self.lost.clear();
        }
    }

    /// Whether a worker may still send requests to the address: no such instance is ever stopped.
    pub fn may_send_to(&self, address: SocketAddr) -> bool {
        let live = self.live.as_ref().is_some_and(|l| !l.settled || l.routes.names(address));
        live || self.switching.as_ref().is_some_and(|s| s.switch.routes.names(address))
            || self.lost.iter().any(|routes| routes.names(address))
    }

    /// Whether none of ours runs or is being started.
    pub(super) fn is_gone(&self) -> bool {
        self.live.is_none() && self.switching.is_none()
    }

    pub(super) fn adopted_names(&self, address: SocketAddr) -> bool {
        self.adopted.as_ref().is_some_and(|routes| routes.names(address))
    }
}

/// Apps whose routes a switch changes.
fn changed(switch: &Switch) -> Vec<AppName> {
    let (old, new) = (&switch.live.apps, &switch.routes.apps);
    let differs = |app: &&AppName| old.get(*app) != new.get(*app);
    let gone = old.keys().filter(|app| !new.contains_key(*app));
    new.keys().chain(gone).filter(differs).take(APPS).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::templates::Templates;
    use crate::core::testing::{at, route};

    #[test]
    fn whoever_makes_most_switches_is_known() {
        let mut balancer = Balancer::default();
        let name = |text: &str| AppName::parse(text).unwrap();
        let routes = |apps: &[(&str, bool)]| {
            let route = |maintenance| Arc::new(crate::core::routes::AppRoute { maintenance, ..route() });
            let apps = apps.iter().map(|(app, maintenance)| (name(app), route(*maintenance))).collect();
            Arc::new(Routes { apps })
        };
        for n in 0..200u64 {
            let is_on = n % 2 == 0;
            let (live, routes) =
                (routes(&[("mine", !is_on), ("shop", false)]), routes(&[("mine", is_on), ("shop", false)]));
            let templates = Arc::new(Templates::built_in());
            balancer
                .begin(&Switch { generation: n, routes, templates, fingerprint: 1, live, is_new_text: false }, at(1));
        }
        assert_eq!(balancer.mostly_for(), Some((&name("mine"), SWITCHES)));
    }

    #[test]
    fn the_first_switches_wait_for_nothing_and_no_ten_seconds_have_more_than_a_hundred() {
        let switch = Switch {
            generation: 1,
            routes: Arc::default(),
            templates: Arc::new(Templates::built_in()),
            fingerprint: 1,
            live: Arc::default(),
            is_new_text: false,
        };
        let mut balancer = Balancer::default();
        let (mut now, mut begun) = (at(1000), Vec::new());
        // Somebody changes something every millisecond.
        while now < at(1030) {
            if balancer.not_before(now).is_none() {
                balancer.begin(&switch, now);
                begun.push(now);
            }
            now += Duration::from_millis(1);
        }
        assert!(begun[BURST as usize - 1] < at(1000) + Duration::from_millis(BURST.into()), "{:?}", begun[15]);
        let within =
            |first: Timestamp| begun.iter().filter(move |t| **t >= first && **t < first + Duration::from_secs(10));
        let most = begun.iter().map(|first| within(*first).count()).max();
        assert!(most.is_some_and(|most| (80..=100).contains(&most)), "{most:?}");
        // After a pause the first is not delayed, and a clock that is set back stops nobody for long.
        assert_eq!(balancer.not_before(at(1040)), None);
        assert!(balancer.not_before(at(10)).is_none_or(|moment| moment < at(13)));
    }
}

//! nginx: it takes routes or refuses them, and counts the requests that it passes on.

use std::sync::Arc;
use std::time::Duration;

use super::Mistake;
use super::outside::{APPS, Outside, fails, name, version};
use crate::core::deploy::{Counted, Deployment, Stage, Tally};
use crate::core::grants::Granted;
use crate::core::names::AppName;
use crate::core::routes::Routes;
use crate::core::split::{Percent, Split};
use crate::core::world::{Culprit, Fact, Intent, Switch, SwitchError};

impl Outside {
    pub(super) fn switch(&mut self, mut switch: Switch) {
        if let Some(mistake) = self.mistake {
            switch.routes = self.mistaken(mistake, &switch.routes);
        }
        if self.trouble(7) {
            let app = name(self.random.draw());
            let instead = switch.live.apps.get(&app).filter(|_| self.random.one_in(2)).cloned();
            let error = match self.random.draw() % 12 {
                0 => SwitchError::Apps(vec![Culprit { app, instead, reason: "refused".into() }]),
                1..4 => SwitchError::Template { reason: "unknown directive".into() },
                _ => SwitchError::Trouble { reason: "disk full".into() },
            };
            self.facts.push_back(Fact::Unswitched { generation: switch.generation, error });
            return;
        }
        for (app, _) in APPS {
            let Some(route) = switch.routes.apps.get(&AppName::parse(app).unwrap()) else { continue };
            let has = |host: String| route.granted.hosts().iter().any(|granted| granted.as_str() == host);
            let theirs = self.containers.values().filter(|c| !c.ours).filter_map(|c| c.address_on("platform"));
            if !has(format!("{app}.platform")) || !has(format!("{app}.localhost")) {
                self.violation = Some(format!("{app} has lost a host: {:?}", route.granted));
            }
            for address in theirs.filter(|ip| route.releases.values().flatten().any(|at| at.ip() == *ip)) {
                self.violation = Some(format!("{app} is served by a neighbour at {address}"));
            }
        }
        for (app, route) in &switch.routes.apps {
            let Some(intent) = self.ledger.get(app) else { continue };
            if let Some(early) = intent.active().filter(|d| d.stage.is_preparing())
                && Some(&early.release) != intent.stable.as_ref()
                && route.split.share(&early.release) > Percent::NONE
            {
                self.violation = Some(format!("{app}: {} has traffic while it is {}", early.release, early.state()));
            }
            let untested = intent.active().filter(|d| d.gate.is_some() && !self.passed.contains(&d.id));
            if let Some(untested) = untested.filter(|d| Some(&d.release) != intent.stable.as_ref() && !d.hurried)
                && route.split.share(&untested.release) > Percent::NONE
            {
                self.violation = Some(format!("{app}: {} has traffic and its gate has not passed", untested.release));
            }
            // Made stable by this very plan it is served by the next, which follows at once.
            let was_stable = intent.stable.as_ref().filter(|stable| route.stable.as_ref() == Some(stable));
            let can_serve = was_stable.is_some_and(|stable| route.releases.contains_key(stable));
            if can_serve && route.main().is_empty() {
                self.violation = Some(format!("{app}: stable can serve and nobody does"));
            }
        }
        let before = self.live.replace((switch.generation, switch.routes));
        if let Some((_, routes)) = before.filter(|_| self.troubled && self.random.one_in(2)) {
            self.leaving.push((routes, self.now + Duration::from_millis(self.random.draw() % 8_000)));
        }
        self.facts.push_back(Fact::Reached(switch.generation));
        let settles = if self.trouble(3) { self.random.draw() % 1_000 } else { 0 };
        self.later.push((self.now + Duration::from_millis(settles), Fact::Settled(switch.generation)));
    }

    /// The routes as they must not be.
    pub(super) fn mistaken(&self, mistake: Mistake, routes: &Routes) -> Arc<Routes> {
        let mut wrong = routes.clone();
        for (app, route) in &mut wrong.apps {
            let deployment = self.ledger.get(app).and_then(Intent::active);
            let is_meant = |d: &&Arc<Deployment>| match mistake {
                Mistake::TrafficBeforeItIsHealthy => d.stage == Stage::Starting && d.gate.is_none(),
                Mistake::TrafficWithoutTheGate => d.stage == Stage::Testing,
                _ => false,
            };
            if let Some(early) = deployment.filter(is_meant) {
                Arc::make_mut(route).split = Split::all(early.release.clone());
            }
            match mistake {
                Mistake::NobodyServes => Arc::make_mut(route).split = Split::default(),
                Mistake::LoseAHost => Arc::make_mut(route).granted = Granted::default(),
                Mistake::ServeByANeighbour => {
                    let theirs = self.containers.values().filter(|c| !c.ours).filter_map(|c| c.address_on("platform"));
                    let addresses = theirs.map(|ip| (ip, 8080).into()).collect();
                    Arc::make_mut(route).releases.insert(version(0), addresses);
                }
                _ => {}
            }
        }
        Arc::new(wrong)
    }

    /// Requests to whatever is live, counted by the balancer.
    pub(super) fn ask(&mut self) {
        let Some((generation, routes)) = self.live.clone() else { return };
        let mut counts = Vec::new();
        for (app, route) in &routes.apps {
            for (version, share) in route.split.carriers().filter(|(v, _)| route.releases.contains_key(*v)) {
                let mut tally = Tally::default();
                for _ in 0..(share.fraction() * 40.0).ceil() as u32 {
                    let failed = fails(version) && self.random.one_in(3);
                    tally.count(0.01, failed.then(|| self.random.draw()));
                }
                counts.push(Counted {
                    app: app.clone(),
                    version: version.clone(),
                    generation: Some(generation),
                    tally,
                });
            }
        }
        self.tell(Fact::Counted(counts));
    }
}

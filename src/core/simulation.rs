//! The seeded simulator: the brain that runs in production, against an engine, a balancer and a ledger that lose,
//! delay and fail.
//!
//! Four apps are deployed by every strategy, several at once, with good releases and bad ones. Invariants, checked
//! after every act: *an instance that the live routes name is never stopped*; a release that is not healthy, or has
//! not passed its gate, has no traffic; nothing is started that is not on record; where stable can serve, somebody does; a neighbour that claims what is not its
//! own takes no host, serves no app's visitors and is never stopped. And once the trouble ends, everything
//! converges: nothing is stuck, nothing is left over. A failing seed prints itself; `SIMULATE=seed` replays it alone.
//! That each of these is seen is tried with a [`Mistake`] of each kind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::app::{Strategy, parse_file};
use super::brain::{Brain, Step, Ticket};
use super::container::{Container, ContainerId, RunState};
use super::decide::{Command, DeployRequest, Seed, Steer};
use super::deploy::{Counted, Deployment, GateResult, Stage, Tally};
use super::grants::Granted;
use super::names::{AppName, Version};
use super::notices::Notices;
use super::repository::{File, Index};
use super::routes::Routes;
use super::split::{Percent, Split};
use super::templates::Templates;
use super::testing::{Random, at, container, platform};
use super::world::{Action, Culprit, Fact, Intent, Subject, Switch, SwitchError, Undone, Unprepared, World, Write};

const APPS: [(&str, &str); 4] = [
    ("shop", "replicas = 2"),
    ("blog", "replicas = 1\ngate = { image = \"gate:1\" }"),
    ("cart", "replicas = 3\nsticky.mode = \"release\""),
    ("desk", "replicas = 1\nvolumes = [\"desk:/data\"]"),
];
const QUICK: &str = "[deploy]\nmonitor = \"400ms\"\nbake = \"600ms\"\nready_timeout = \"20s\"\nretain = 2\n\
                     [canary]\nsteps = [10, 50]\nstep = \"1s\"\nrequests = 20\ndeadline = \"60s\"";
/// Versions in the repository; the first is the one that apps begin with.
const VERSIONS: u64 = 9;
/// What a neighbour writes on its containers: our owner, an app's names and releases, and a name that is an app's next.
const NEIGHBOURS: [(&str, &[(&str, &str)]); 6] = [
    ("shop-1.0-1", &[("platformer.owner", "me"), ("platformer.app", "cart"), ("platformer.version", "a b")]),
    ("evil-1", &[("platformer.app", "evil"), ("platformer.host", "shop.platform,stable.cart.platform,blog.localhost")]),
    ("evil-2", &[("platformer.app", "evil"), ("platformer.host", "evil.example"), ("platformer.port", "0")]),
    ("repository", &[("platformer.owner", "me"), ("platformer.app", "evil"), ("platformer.deployment", "shop-1")]),
    ("desk", &[("platformer.route", "maybe"), ("platformer.hots", "desk.platform")]),
    ("cart-1.1-1", &[("platformer.app", "aaa"), ("platformer.host", "cart.platform,localhost,10.0.0.1,platform")]),
];
/// Lives; in them over 10,000 deployments are begun.
const SEEDS: u64 = 2_000;

/// Something the platform must never do, done on purpose to see whether it is noticed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    StopWhileRouted,
    TrafficBeforeItIsHealthy,
    TrafficWithoutTheGate,
    NobodyServes,
    LeaveAnInstance,
    NeverTell,
    StopANeighbour,
    LoseAHost,
    ServeByANeighbour,
    ActUnrecorded,
}

/// What is outside: it goes on while the supervisor is dead.
struct Outside {
    random: Random,
    mistake: Option<Mistake>,
    /// Deployments whose gate has passed.
    passed: BTreeSet<Arc<str>>,
    containers: BTreeMap<ContainerId, Container>,
    next_id: u32,
    live: Option<(u64, Arc<Routes>)>,
    facts: VecDeque<Fact>,
    ledger: BTreeMap<AppName, Intent>,
    troubled: bool,
    now: Timestamp,
    violation: Option<String>,
    /// Commands that were given, and whether each begins a deployment.
    given: Vec<bool>,
    began: u64,
}

fn name(n: u64) -> AppName {
    AppName::parse(APPS[n as usize % APPS.len()].0).unwrap()
}

fn version(n: u64) -> Version {
    Version::parse(&format!("1.{n}")).unwrap()
}

/// 1.3 fails a third of its requests, 1.5 never gets ready, 1.7 is slow to answer probes at all.
fn fails(version: &Version) -> bool {
    version.as_str().starts_with("1.3")
}

fn never_ready(version: &Version) -> bool {
    version.as_str().starts_with("1.5")
}

fn index() -> Arc<Index> {
    let mut index = Index::default();
    for (app, text) in APPS {
        let parsed = parse_file(&format!("apps/{app}.toml"), &format!("{text}\n{QUICK}")).unwrap();
        index.apps.insert(parsed.name.clone(), Arc::new(parsed));
        let last = if app == "shop" { VERSIONS } else { VERSIONS - 1 };
        for n in 0..=last {
            let path: Arc<str> = format!("artefacts/{app}/{}/{app}.tgz", version(n)).into();
            let file =
                File { path: path.clone(), identity: [0; 4], size: 1, modified: at(0), sha256: format!("{n}").into() };
            index.files.insert(path, file);
        }
    }
    Arc::new(index)
}

impl Outside {
    fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        Self {
            random: Random::new(seed),
            mistake,
            passed: BTreeSet::new(),
            containers: BTreeMap::new(),
            next_id: 0,
            live: None,
            facts: VecDeque::new(),
            ledger: BTreeMap::new(),
            troubled: true,
            now: at(1_000_000),
            violation: None,
            given: Vec::new(),
            began: 0,
        }
    }

    fn trouble(&mut self, one_in: u64) -> bool {
        self.troubled && self.random.one_in(one_in)
    }

    /// Tells a fact, unless it gets lost; sometimes twice.
    fn tell(&mut self, fact: Fact) {
        if self.trouble(6) {
            return;
        }
        if self.trouble(10) {
            self.facts.push_back(fact.clone());
        }
        self.facts.push_back(fact);
    }

    fn listed(&self) -> Fact {
        let containers = self.containers.values().cloned().collect();
        Fact::Listed { containers, networks: Vec::new(), local: Vec::new() }
    }

    /// A neighbour's container appears, or goes. Some of them the engine cannot describe.
    fn disturb(&mut self) {
        let (name, labels) = NEIGHBOURS[(self.random.draw() % NEIGHBOURS.len() as u64) as usize];
        let id = ContainerId(format!("their-{name}").into());
        if self.containers.remove(&id).is_some() {
            return self.tell(Fact::Gone(id));
        }
        let trouble = self.random.one_in(3).then(|| "500".to_owned());
        let theirs = Container { id: id.clone(), ours: false, trouble, ..container(name, labels) };
        self.containers.insert(id, theirs.clone());
        self.tell(Fact::Seen(Box::new(theirs)));
    }

    /// What an engine tells of a container that it cannot describe: it is there, and runs or does not.
    fn undescribed(&self, id: &ContainerId) -> Option<Fact> {
        let known = self.containers.get(id)?;
        Some(Fact::Seen(Box::new(Container { trouble: Some("500".into()), health: None, ..known.clone() })))
    }

    fn boot(&mut self) -> Brain {
        // An operator's own, which nginx may refuse.
        let own = [("platformer.conf.tera".to_owned(), format!("{}\n# own\n", super::templates::BUILT_IN[0].1))].into();
        let templates = if self.random.one_in(2) { Templates::overridden(&own) } else { Templates::built_in() };
        let mut world = World::new(platform(), Arc::new(templates), self.now);
        self.facts.clear();
        world.apply(Fact::Recalled(self.ledger.clone()), self.now);
        let found = self.live.clone().map(|(generation, routes)| super::world::Found {
            generation,
            routes,
            fingerprint: Templates::built_in().fingerprint(1),
            last: generation,
        });
        world.apply(Fact::Adopted(found), self.now);
        world.apply(Fact::Indexed(index()), self.now);
        world.apply(self.listed(), self.now);
        Brain::new(world, Notices::default(), self.now)
    }

    fn version_of(&self, id: &ContainerId) -> Option<Version> {
        Version::parse(self.containers.get(id)?.label("platformer.version")?).ok()
    }

    /// Nothing is done about a release that the ledger does not know.
    fn is_on_record(&mut self, app: &AppName, version: &Version) -> bool {
        let is_known = self.ledger.get(app).is_some_and(|intent| intent.releases.contains_key(version));
        if !is_known {
            self.violation = Some(format!("something is begun for {app}@{version}, which is not on record"));
        }
        is_known
    }

    /// Carries an action out, as far as trouble lets it.
    fn act(&mut self, action: Action) {
        match action {
            Action::Publish(_) | Action::Keep { .. } | Action::Connect(_) | Action::RemoveNetwork(_) => {}
            Action::Prepare { app, release } => {
                let is_on_record = self.is_on_record(&app, &release.version);
                let result = match self.random.draw() % 12 {
                    0 if self.troubled => Err(Unprepared::Later("no answer".into())),
                    1 if self.troubled
                        && is_on_record
                        && self.ledger[&app].stable.as_ref() != Some(&release.version) =>
                    {
                        Err(Unprepared::Never("no such image".into()))
                    }
                    _ => Ok("sha256:1".into()),
                };
                self.facts.push_back(Fact::Prepared { app, version: release.version, result });
            }
            Action::Gate { deployment, .. } => {
                let result = GateResult { exit_code: Some(i64::from(self.trouble(4))), error: None, log: Vec::new() };
                if result.passed() {
                    self.passed.insert(deployment.clone());
                }
                self.facts.push_back(Fact::Gated { deployment, result });
            }
            Action::Probe(targets) => {
                for target in targets.iter() {
                    let Subject::Container(id) = &target.subject else { continue };
                    let bad = self.version_of(id).is_some_and(|v| never_ready(&v)) || self.trouble(8);
                    let verdict = if bad { Err("no answer".to_owned()) } else { Ok(()) };
                    self.facts.push_back(Fact::Probed {
                        subject: target.subject.clone(),
                        started_at: target.started_at,
                        verdict,
                    });
                }
            }
            Action::Switch(_) if self.mistake == Some(Mistake::NeverTell) => {}
            Action::Switch(switch) => self.switch(switch),
            Action::Start(spec) => {
                self.is_on_record(&spec.app, &spec.version);
                if self.trouble(8) {
                    self.facts.push_back(Fact::Started {
                        name: spec.name.clone(),
                        result: Err(Undone::Refused("no memory".into())),
                    });
                    return;
                }
                self.next_id += 1;
                let labels: Vec<(&str, &str)> = spec.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                let made = Container {
                    id: ContainerId(format!("c{}", self.next_id).into()),
                    name: spec.name.as_str().into(),
                    created_at: self.now,
                    started_at: Some(self.now),
                    attachments: vec![super::container::Attachment {
                        network: "platform".into(),
                        addresses: vec![std::net::Ipv4Addr::from(0xAC1E_0000 + self.next_id).into()],
                        aliases: Vec::new(),
                    }],
                    ..container("x", &labels)
                };
                self.containers.insert(made.id.clone(), made.clone());
                self.facts.push_back(Fact::Started { name: spec.name, result: Ok(Box::new(made)) });
            }
            Action::Restart(id) => {
                let now = self.now;
                if let Some(container) = self.containers.get_mut(&id) {
                    container.state = RunState::Running;
                    container.started_at = Some(now);
                    let seen = Fact::Seen(Box::new(container.clone()));
                    self.tell(seen);
                }
                self.facts.push_back(Fact::Restarted { id, result: Ok(()) });
            }
            Action::Drain { id, .. } => self.facts.push_back(Fact::Drained(id)),
            Action::Stop { id, .. } if self.mistake == Some(Mistake::LeaveAnInstance) => {
                self.facts.push_back(Fact::Stopped { id, result: Ok(()) });
            }
            Action::Stop { id, .. } => {
                if self.containers.get(&id).is_some_and(|c| !c.ours) {
                    self.violation = Some(format!("{id} was stopped and is none of ours"));
                }
                let address = self.containers.get(&id).and_then(|c| c.address_on("platform"));
                let named = |routes: &Routes| address.is_some_and(|ip| routes.names((ip, 8080).into()));
                if self.live.as_ref().is_some_and(|(_, routes)| named(routes)) {
                    self.violation = Some(format!("{id} was stopped while the live routes name it"));
                }
                self.containers.remove(&id);
                self.facts.push_back(Fact::Stopped { id, result: Ok(()) });
            }
        }
    }

    fn switch(&mut self, mut switch: Switch) {
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
        self.live = Some((switch.generation, switch.routes));
        self.facts.push_back(Fact::Reached(switch.generation));
        self.facts.push_back(Fact::Settled(switch.generation));
    }

    /// The routes as they must not be.
    fn mistaken(&self, mistake: Mistake, routes: &Routes) -> Arc<Routes> {
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
    fn ask(&mut self) {
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

    /// Something happens that nobody of us did.
    fn happen(&mut self, brain: &mut Brain) {
        let victim = self.containers.keys().nth((self.random.draw() % 9) as usize).cloned();
        match (self.random.draw() % 30, victim) {
            (0, Some(id)) => {
                let now = self.now;
                if let Some(container) = self.containers.get_mut(&id) {
                    container.state = RunState::Exited { code: 1, oom: false, at: Some(now) };
                    let seen = Fact::Seen(Box::new(container.clone()));
                    self.tell(seen);
                }
            }
            (1, Some(id)) => {
                self.containers.remove(&id);
                self.tell(Fact::Gone(id));
            }
            (2, _) => {
                self.live = None;
                self.tell(Fact::BalancerDied { reason: "killed".into() });
            }
            (3, _) => self.tell(Fact::EngineLost),
            (4, _) => *brain = self.boot(),
            (5, _) => {
                let app = name(self.random.draw());
                self.command(brain, Command::Restart(app));
            }
            (6, _) => {
                let replicas = (self.random.draw() % 4) as u16;
                self.command(brain, Command::Scale { app: name(2), replicas });
            }
            (7..=14, _) => self.steer(brain),
            (15..=17, _) => self.disturb(),
            (18, Some(id)) => {
                if let Some(fact) = self.undescribed(&id) {
                    self.tell(fact);
                }
            }
            _ => {}
        }
    }

    fn steer(&mut self, brain: &mut Brain) {
        use Strategy::{BlueGreen, Canary, Manual, Recreate, Rolling};
        let app = name(self.random.draw());
        let target = version(self.random.draw() % (VERSIONS + 2));
        let steer = match self.random.draw() % 12 {
            0 => Steer::Promote,
            1 => Steer::Pause,
            2 => Steer::Resume,
            3 => Steer::Abort,
            4 => Steer::Rollback(None),
            5 => Steer::Swap,
            6 => {
                let share = Percent::of(self.random.draw() % 101, 100);
                Steer::Split(Split::between(brain.world().stable(&app), &target, share))
            }
            _ => Steer::Deploy(Box::new(DeployRequest {
                version: Some(target),
                strategy: Some([Rolling, BlueGreen, Canary, Recreate, Manual][(self.random.draw() % 5) as usize]),
                replace: self.random.one_in(2),
                ..DeployRequest::default()
            })),
        };
        self.command(brain, Command::Steer { app, steer });
    }

    fn command(&mut self, brain: &mut Brain, command: Command) {
        let begins =
            matches!(command, Command::Steer { steer: Steer::Deploy(_) | Steer::Rollback(_) | Steer::Swap, .. });
        self.given.push(begins);
        brain.ask(Ticket(self.given.len() as u64 - 1), command, "test".into());
    }

    /// Whether what is live and what runs is what is wanted, and nothing is under way.
    fn converged(&self) -> Result<(), String> {
        let live = self.live.as_ref().map(|(_, routes)| routes.clone()).unwrap_or_default();
        for (app, _) in APPS {
            let app = AppName::parse(app).unwrap();
            let intent = self.ledger.get(&app).ok_or("nothing is recorded")?;
            if let Some(active) = intent.active() {
                let there: Vec<_> = self.containers.values().map(|c| (&c.name, &c.state)).collect();
                return Err(format!(
                    "{} of {} ({:?}) is {}: {}; stable {:?}, warm {:?}, there are {there:?}",
                    active.id,
                    active.release,
                    active.strategy,
                    active.state(),
                    active.reason,
                    intent.stable,
                    intent.warm
                ));
            }
            let wanted = intent.replicas.map_or(index().apps[&app].replicas, |r| r);
            let route = live.apps.get(&app).ok_or(format!("{app} has no route"))?;
            let stable = intent.stable.clone().ok_or(format!("{app} has no stable release"))?;
            let routed = route.releases.get(&stable).map_or(0, Vec::len);
            let of = |version: Option<&Version>| {
                let mine =
                    self.containers.values().filter(|c| c.ours && c.label("platformer.app") == Some(app.as_str()));
                mine.filter(|c| version.is_none_or(|v| c.label("platformer.version") == Some(v.as_str()))).count()
            };
            let warm = intent.warm.as_ref().map_or(0, |_| usize::from(wanted));
            let wanted = usize::from(wanted);
            // Promoted while no instance was wanted, so that nothing could prove it: it never serves.
            if never_ready(&stable) || intent.warm.as_ref().is_some_and(never_ready) {
                continue;
            }
            if (routed, of(Some(&stable)), of(None)) != (wanted, wanted, wanted + warm) {
                let (mine, all) = (of(Some(&stable)), of(None));
                return Err(format!(
                    "{app}@{stable}: {routed} routed, {mine} run, {all} in all; {wanted} wanted, {warm} warm"
                ));
            }
            if intent.split.is_none() && wanted > 0 && route.split != Split::all(stable) {
                return Err(format!("{app} is split {:?}", route.split));
            }
        }
        Ok(())
    }

    fn turn(&mut self, brain: &mut Brain) {
        self.now += Duration::from_millis(200);
        for _ in 0..3 {
            if let Some(fact) = self.facts.pop_front() {
                brain.tell(fact);
            }
        }
        if self.mistake == Some(Mistake::StopANeighbour) {
            let theirs = self.containers.values().find(|c| !c.ours).map(|c| c.id.clone());
            theirs.into_iter().for_each(|id| self.act(Action::Stop { id, grace: Duration::ZERO, log_for: None }));
        }
        if self.mistake == Some(Mistake::StopWhileRouted) {
            let leaving: Vec<ContainerId> = brain.world().retiring.keys().cloned().collect();
            leaving.into_iter().for_each(|id| self.act(Action::Stop { id, grace: Duration::ZERO, log_for: None }));
        }
        let mut step = brain.turn(self.now, Seed::new("simulated"));
        let turn = loop {
            let pending = match step {
                Step::Done(turn) => break turn,
                Step::Record(pending) => pending,
            };
            step = if self.trouble(40) {
                pending.lost("disk full".into())
            } else {
                if self.mistake != Some(Mistake::ActUnrecorded) {
                    self.keep(pending.writes());
                }
                pending.kept()
            };
            // A kill after it was recorded, and before anything was begun.
            if self.trouble(80) {
                drop(step);
                *brain = self.boot();
                return;
            }
        };
        for (ticket, answer) in turn.answers {
            let is_begun = answer.is_ok_and(|done| done.deployment.is_some());
            self.began += u64::from(is_begun && self.given[ticket.0 as usize]);
        }
        for (ticket, images) in turn.questions {
            brain.images(ticket, images.into_iter().map(|image| (image, Default::default())).collect());
        }
        for action in turn.actions {
            // A kill between two acts: what was begun is forgotten, what was done stays.
            if self.trouble(80) {
                *brain = self.boot();
                return;
            }
            self.act(action);
        }
    }

    fn keep(&mut self, writes: &[Write]) {
        for write in writes {
            if let Write::Decision(record) = write {
                self.ledger.insert(record.app.clone(), (*record.intent).clone());
            }
        }
    }
}

/// Lives one life. Returns how many deployments were begun in it.
fn run(seed: u64, mistake: Option<Mistake>) -> Result<u64, String> {
    let mut outside = Outside::new(seed, mistake);
    let mut brain = outside.boot();
    for turn in 0..120 {
        outside.happen(&mut brain);
        if turn % 3 == 0 {
            outside.ask();
        }
        outside.turn(&mut brain);
        if let Some(violation) = outside.violation.take() {
            return Err(violation);
        }
    }
    // The trouble ends: events come again, everything is listed anew, probes answer, and people decide on what waits.
    outside.troubled = false;
    let mut last = Err("it was never looked at".to_owned());
    for turn in 1..2_000 {
        if turn % 20 == 1 {
            outside.facts.push_back(outside.listed());
            let probing = brain.world().probing.clone();
            outside.act(Action::Probe(probing));
            if outside.live.is_none() && brain.world().balancer.live.is_some() {
                outside.facts.push_back(Fact::BalancerDied { reason: "killed".into() });
            }
            outside.ask();
        }
        if turn % 200 == 0 {
            for n in 0..APPS.len() as u64 {
                let halted =
                    brain.world().intents.get(&name(n)).and_then(Intent::active).is_some_and(|d| d.halt.is_some());
                if halted {
                    outside.command(&mut brain, Command::Steer { app: name(n), steer: Steer::Abort });
                }
                // Its first release did not pass; that it is not tried again by itself is right.
                let is_without =
                    brain.world().intents.get(&name(n)).is_some_and(|i| i.stable.is_none() && i.active().is_none());
                if is_without {
                    let first = DeployRequest { version: Some(version(0)), ..DeployRequest::default() };
                    let steer = Steer::Deploy(Box::new(first));
                    outside.command(&mut brain, Command::Steer { app: name(n), steer });
                }
            }
        }
        outside.turn(&mut brain);
        if let Some(violation) = outside.violation.take() {
            return Err(violation);
        }
        if turn % 100 == 0 {
            // Twice in a row, so that it stays so.
            let before = std::mem::replace(&mut last, outside.converged());
            if before.is_ok() && last.is_ok() {
                return Ok(outside.began);
            }
        }
    }
    last.map(|()| outside.began)
}

#[test]
fn whatever_is_lost_fails_or_dies_no_routed_instance_is_stopped_and_all_converges() {
    if let Some(seed) = std::env::var("SIMULATE").ok().and_then(|seed| seed.parse().ok()) {
        run(seed, None).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        return;
    }
    let live = |first: u64| {
        let lives = (first..SEEDS)
            .step_by(2)
            .map(|seed| run(seed, None).map_err(|v| format!("seed {seed}: {v} (SIMULATE={seed} replays it)")));
        lives.sum::<Result<u64, String>>()
    };
    let began: u64 = std::thread::scope(|scope| {
        let halves = [1, 2].map(|first| scope.spawn(move || live(first)));
        halves.into_iter().map(|half| half.join().unwrap().unwrap_or_else(|violation| panic!("{violation}"))).sum()
    });
    assert!(began >= 10_000, "only {began} deployments were begun");
}

#[test]
fn a_mistake_of_each_kind_is_noticed() {
    use Mistake::{
        ActUnrecorded, LeaveAnInstance, LoseAHost, NeverTell, NobodyServes, ServeByANeighbour, StopANeighbour,
        StopWhileRouted, TrafficBeforeItIsHealthy, TrafficWithoutTheGate,
    };
    for (mistake, seen) in [
        (StopWhileRouted, "was stopped while the live routes name it"),
        (TrafficBeforeItIsHealthy, "has traffic while it is starting"),
        (TrafficWithoutTheGate, "its gate has not passed"),
        (NobodyServes, "stable can serve and nobody does"),
        (LeaveAnInstance, "in all"),
        (NeverTell, "has no route"),
        (StopANeighbour, "is none of ours"),
        (LoseAHost, "has lost a host"),
        (ServeByANeighbour, "is served by a neighbour"),
        (ActUnrecorded, "which is not on record"),
    ] {
        let noticed = (1..200).find_map(|seed| run(seed, Some(mistake)).err().filter(|why| why.contains(seen)));
        assert!(noticed.is_some(), "{mistake:?} was not noticed in 200 lives");
    }
}

//! The seeded simulator: the real core against an engine and a balancer that lose, delay and fail.
//!
//! Invariants, checked after every act: *an instance that the live routes name is never stopped*; what is live
//! and settled names only what was ready when it was rendered; and once the trouble ends, everything converges.
//! A failing seed prints itself; `SIMULATE=seed` replays it alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::app::parse_file;
use super::container::{Container, ContainerId, RunState};
use super::deploy::GateResult;
use super::names::{AppName, Version};
use super::plan::plan;
use super::repository::Index;
use super::routes::Routes;
use super::templates::Templates;
use super::testing::{Random, at, container, platform};
use super::world::{Action, Command, Decider, Fact, Intent, SwitchError, Unprepared, World};

/// What is outside: it goes on while the supervisor is dead.
struct Outside {
    random: Random,
    containers: BTreeMap<ContainerId, Container>,
    next_id: u32,
    live: Option<(u64, Arc<Routes>)>,
    facts: VecDeque<Fact>,
    ledger: BTreeMap<AppName, Intent>,
    troubled: bool,
    now: Timestamp,
    stopped_while_routed: Option<String>,
}

fn world(now: Timestamp) -> World {
    World::new(platform(), Arc::new(Templates::built_in()), now)
}

fn index() -> Arc<Index> {
    let mut index = Index::default();
    for (name, text) in [("shop", "image = \"shop:1.0\"\nreplicas = 2"), ("blog", "image = \"blog:2.0\"\nreplicas = 1")]
    {
        let app = parse_file(&format!("apps/{name}.toml"), text).unwrap();
        index.apps.insert(app.name.clone(), Arc::new(app));
    }
    Arc::new(index)
}

impl Outside {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            containers: BTreeMap::new(),
            next_id: 0,
            live: None,
            facts: VecDeque::new(),
            ledger: BTreeMap::new(),
            troubled: true,
            now: at(1_000_000),
            stopped_while_routed: None,
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
        Fact::Listed {
            containers: self.containers.values().cloned().collect(),
            networks: Vec::new(),
            local: Vec::new(),
        }
    }

    fn boot(&mut self) -> World {
        let mut world = world(self.now);
        self.facts.clear();
        world.apply(Fact::Recalled(self.ledger.clone()), self.now);
        let found = self.live.clone().map(|(generation, routes)| super::world::Found {
            generation,
            routes,
            fingerprint: Templates::built_in().fingerprint(1),
        });
        world.apply(Fact::Adopted(found), self.now);
        world.apply(Fact::Indexed(index()), self.now);
        world.apply(self.listed(), self.now);
        world
    }

    /// Carries an action out, as far as trouble lets it.
    fn act(&mut self, action: Action) {
        match action {
            Action::Record { app, intent, .. } => _ = self.ledger.insert(app, *intent),
            Action::Keep(_) => {}
            Action::Prepare { app, release } => {
                let result = match self.random.next() % 12 {
                    0 if self.troubled => Err(Unprepared::Later("no answer".into())),
                    1 if self.troubled && self.ledger[&app].stable.as_ref() != Some(&release.version) => {
                        Err(Unprepared::Never("no such image".into()))
                    }
                    _ => Ok("sha256:1".into()),
                };
                self.facts.push_back(Fact::Prepared { app, version: release.version, result });
            }
            Action::Gate { deployment, .. } => {
                let code = if self.trouble(4) { 1 } else { 0 };
                let result = GateResult { exit_code: Some(code), error: None, log: Vec::new() };
                self.facts.push_back(Fact::Gated { deployment, result });
            }
            Action::Publish(_) => {}
            Action::Probe(targets) => {
                for target in targets.iter() {
                    let verdict = if self.trouble(4) { Err("no answer".to_owned()) } else { Ok(()) };
                    self.facts.push_back(Fact::Probed {
                        id: target.id.clone(),
                        started_at: target.started_at,
                        verdict,
                    });
                }
            }
            Action::Switch(switch) => {
                if self.trouble(5) {
                    let error = SwitchError::Trouble { reason: "disk full".into() };
                    self.facts.push_back(Fact::Unswitched { generation: switch.generation, error });
                    return;
                }
                self.live = Some((switch.generation, switch.routes));
                self.facts.push_back(Fact::Reached(switch.generation));
                self.facts.push_back(Fact::Settled(switch.generation));
            }
            Action::Start(spec) => {
                if self.trouble(5) {
                    self.facts.push_back(Fact::Started { name: spec.name.clone(), result: Err("no image".into()) });
                    return;
                }
                self.next_id += 1;
                let labels: Vec<(&str, &str)> = spec.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                let made = Container {
                    id: ContainerId(format!("c{}", self.next_id).into()),
                    name: spec.name.as_str().into(),
                    created_at: self.now,
                    started_at: Some(self.now),
                    ..container(&format!("{}{}", spec.name, self.next_id), &labels)
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
            Action::Stop { id, .. } => {
                let address = self.containers.get(&id).and_then(|c| c.address_on("platform"));
                let named = |routes: &Routes| address.is_some_and(|ip| routes.names((ip, 8080).into()));
                if self.live.as_ref().is_some_and(|(_, routes)| named(routes)) {
                    self.stopped_while_routed = Some(format!("{id} was stopped while the live routes name it"));
                }
                self.containers.remove(&id);
                self.facts.push_back(Fact::Stopped { id, result: Ok(()) });
            }
        }
    }

    /// Something happens that nobody asked for.
    fn happen(&mut self, world: &mut World) {
        let victim = self.containers.keys().nth((self.random.next() % 7) as usize).cloned();
        let shop = AppName::parse("shop").unwrap();
        match (self.random.next() % 12, victim) {
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
            (4, _) => self.command(world, &Command::Restart(shop)),
            (5, _) => {
                let replicas = (self.random.next() % 4) as u16;
                self.command(world, &Command::Scale { app: shop, replicas });
            }
            (6, _) => *world = self.boot(),
            _ => {}
        }
    }

    fn command(&mut self, world: &mut World, command: &Command) {
        let who = Decider { by: "test", now: self.now, secret: "secret" };
        if let Ok((actions, _)) = world.decide(command, who) {
            for action in actions {
                world.begin(&action, self.now);
                self.act(action);
            }
        }
    }

    /// Whether what is live and what runs is what is wanted.
    fn converged(&self) -> Result<(), String> {
        let live = self.live.as_ref().map(|(_, routes)| routes.clone()).unwrap_or_default();
        for (app, version, wanted) in [("shop", "1.0", 2), ("blog", "2.0", 1)] {
            let route = live.apps.get(&AppName::parse(app).unwrap()).ok_or(format!("{app} has no route"))?;
            let routed = route.releases.get(&Version::parse(version).unwrap()).map_or(0, Vec::len);
            let running = self.containers.values().filter(|c| c.label("platformer.app") == Some(app)).count();
            if routed != wanted || running != wanted {
                return Err(format!("{app} did not converge: {routed} routed, {running} running, {wanted} wanted"));
            }
        }
        Ok(())
    }

    fn turn(&mut self, world: &mut World) {
        self.now += Duration::from_millis(200);
        if let Some(fact) = self.facts.pop_front() {
            world.apply(fact, self.now);
        }
        let plan = plan(world, self.now);
        for action in plan.actions {
            // A kill between two acts: what was begun is forgotten, what was done stays.
            if self.trouble(60) {
                *world = self.boot();
                return;
            }
            world.begin(&action, self.now);
            self.act(action);
        }
    }
}

fn run(seed: u64) -> Result<(), String> {
    let mut outside = Outside::new(seed);
    let mut world = outside.boot();
    for _ in 0..60 {
        outside.happen(&mut world);
        outside.turn(&mut world);
        if let Some(violation) = outside.stopped_while_routed.take() {
            return Err(violation);
        }
    }
    // The trouble ends: events come again, everything is listed anew, probes answer.
    outside.troubled = false;
    let shop = AppName::parse("shop").unwrap();
    outside.command(&mut world, &Command::Scale { app: shop.clone(), replicas: 2 });
    let mut last = Err("it was never looked at".to_owned());
    for turn in 1..900 {
        if turn % 20 == 1 {
            outside.facts.push_back(outside.listed());
            let probing = world.probing.clone();
            outside.act(Action::Probe(probing));
            if outside.live.is_none() && world.balancer.live.is_some() {
                outside.facts.push_back(Fact::BalancerDied { reason: "killed".into() });
            }
        }
        outside.turn(&mut world);
        if let Some(violation) = outside.stopped_while_routed.take() {
            return Err(violation);
        }
        if turn % 100 == 0 {
            // Twice in a row, so that it stays so.
            let before = std::mem::replace(&mut last, outside.converged());
            if before.is_ok() && last.is_ok() {
                return Ok(());
            }
        }
    }
    last
}

#[test]
fn whatever_is_lost_fails_or_dies_no_routed_instance_is_stopped_and_all_converges() {
    let only: Option<u64> = std::env::var("SIMULATE").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(1..3_000, |seed| seed..seed + 1) {
        if let Err(violation) = run(seed) {
            panic!("seed {seed}: {violation} (SIMULATE={seed} replays it)");
        }
    }
}

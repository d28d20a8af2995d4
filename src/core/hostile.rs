//! Hostile neighbours, generated: whatever containers, images, app files and services stand beside a well-behaved app,
//! in whatever order they come and go, it is served as it is alone.
//!
//! The real world and plan run against a small engine in which what belongs to the neighbours refuses to start, dies,
//! vanishes and never gets ready. The rules of who may have what are tested by themselves in `grants`; here all of it
//! runs together, and what comes out is given to a real nginx too (`adapters/nginx/tests.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::app::{App, parse_file};
use super::container::{Attachment, Container, ContainerId, RunState};
use super::names::{AppName, Version};
use super::problem::{Problem, ProblemKind};
use super::release::Release;
use super::repository::Index;
use super::routes::Routes;
use super::service::{Endpoint, EndpointId, Service, ServiceUrl};
use super::templates::Templates;
use super::testing::{at, container, planned_and_recorded, platform};
use super::world::{Action, Fact, InstanceSpec, Intent, Subject, Undone, World};
use super::zone::QueryKind;

/// The app that is to notice nothing.
const GOOD: &str = "shop";
const DECLARED: &str = "image = \"shop:1.0\"\nreplicas = 2\nhosts = [\"shop.example\"]\npaths = [\"/\", \"/api\"]";
/// Containers of one neighbour's release that are started in a life, of some minutes.
const MOST_STARTS: usize = 60;

/// How what is started for a neighbour ends.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Runs,
    Refused,
    Dies,
    Vanishes,
    NeverReady,
    /// It runs, and its claim to be ours does not hold.
    Unproven,
}

/// Something that a neighbour does.
#[derive(Debug, Clone)]
enum Move {
    Appear(Box<Container>),
    /// One of the containers there that is not ours.
    Vanish(usize),
    Exit(usize),
    /// A stranger removes what we started for a neighbour.
    Remove(usize),
    Declare(String, String),
    Register(String, Vec<ServiceUrl>),
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(shop|stable\\.shop|candidate\\.shop|secret\\.shop|aaa|evil|db|repository|dns|services|x\\.shop)(\\.platform|\\.localhost|\\.example|)",
        1 => "(localhost|127\\.0\\.0\\.1|127\\.1|10\\.0\\.0\\.5|platform|server\\.corp|\\*\\.platform|shop\\.instances\\.platform)",
        1 => "(default|include|http|true|1\\.0|2\\.0|v1\\.0|80|8080|0|99999|/|/api|/a b|/_platformer/x)",
        1 => "[ -~é\u{7}\u{1b}\u{202e}]{0,40}",
        1 => Just("a".repeat(63) + "." + &"b".repeat(63) + ".platform"),
        1 => Just("x".repeat(9_000)),
    ]
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = "platformer\\.(app|version|port|host|path|route|owner|deployment|proof|hots)";
    let value = prop_oneof![3 => word(), 1 => prop::collection::vec(word(), 2..6).prop_map(|all| all.join(","))];
    prop::collection::btree_map(key, value, 0..7)
}

prop_compose! {
    fn a_container()(
        name in prop_oneof!["(shop|shop-1\\.0-1|shop-1\\.0-2|shop_web_1|repository|db\\.container|aaa|evil-1|0123456789ab_shop-web-1)", "[a-zA-Z0-9_.-]{1,30}"],
        labels in labels(),
        aliases in prop::collection::vec(word(), 0..3),
        address in 2u8..250,
        network in prop_oneof!["platform", "other"],
        running in prop::bool::weighted(0.8),
        host_network in prop::bool::weighted(0.1),
        joined in prop::option::weighted(0.1, "good-[12]"),
        exposed in prop::collection::vec(any::<u16>(), 0..3),
        trouble in prop::option::weighted(0.1, Just("500".to_owned())),
        age in 0i64..2_000,
    ) -> Container {
        let addresses = vec![[172, 30, 9, address].into()];
        Container {
            id: ContainerId(format!("their-{name}-{address}").into()),
            labels,
            ours: false,
            state: if running { RunState::Running } else { RunState::Exited { code: 1, oom: false, at: None } },
            attachments: vec![Attachment {
                network: network.as_str().into(),
                addresses,
                aliases: aliases.iter().map(|alias| alias.as_str().into()).collect(),
            }],
            host_network,
            joined: joined.map(|id| ContainerId(id.as_str().into())),
            exposed,
            trouble,
            created_at: at(age),
            started_at: Some(at(age)),
            ..container(&name, &[])
        }
    }
}

fn a_file() -> impl Strategy<Value = String> {
    let hosts = prop::collection::vec(word(), 0..4);
    (hosts, 0..4u8, prop::collection::vec("(/|/api|/a|/_platformer)", 1..3), any::<bool>()).prop_map(
        |(hosts, replicas, paths, open)| {
            format!("image = \"evil:1.0\"\nreplicas = {replicas}\nhosts = {hosts:?}\npaths = {paths:?}\nopen = {open}")
        },
    )
}

fn a_move() -> impl Strategy<Value = Move> {
    let urls = prop_oneof!["http://192\\.0\\.2\\.[1-9]:8080", "http://127\\.0\\.0\\.1:80", "https://legacy\\.corp"];
    prop_oneof![
        6 => a_container().prop_map(|c| Move::Appear(Box::new(c))),
        1 => (0usize..9).prop_map(Move::Vanish),
        1 => (0usize..9).prop_map(Move::Exit),
        1 => (0usize..9).prop_map(Move::Remove),
        2 => ("(aaa|evil|zzz|stable|x)", a_file()).prop_map(|(app, text)| Move::Declare(app, text)),
        1 => ("(legacy|aaa|shop|repository)", prop::collection::vec(urls, 1..3)).prop_map(|(name, urls)| {
            Move::Register(name, urls.iter().filter_map(|url| ServiceUrl::parse(url).ok()).collect())
        }),
    ]
}

fn a_fate() -> impl Strategy<Value = Fate> {
    use Fate::{Dies, NeverReady, Refused, Runs, Unproven, Vanishes};
    prop_oneof![Just(Runs), Just(Refused), Just(Dies), Just(Vanishes), Just(NeverReady), Just(Unproven)]
}

fn moves() -> impl Strategy<Value = (Vec<Move>, Fate)> {
    (prop::collection::vec(a_move(), 1..24), a_fate())
}

/// One life beside such neighbours.
struct Life {
    world: World,
    fate: Fate,
    there: BTreeMap<ContainerId, Container>,
    /// Starts of each app.
    started: BTreeMap<AppName, usize>,
    index: Index,
    services: BTreeMap<AppName, Service>,
    now: Timestamp,
    /// What was planned last.
    routes: Arc<Routes>,
    problems: Vec<Problem>,
    violation: Option<String>,
}

impl Life {
    fn new(fate: Fate) -> Self {
        let now = at(1_000);
        let mut world = World::new(platform(), Arc::new(Templates::built_in()), now);
        world.apply(Fact::Adopted(None), now);
        let mut life = Self {
            world,
            fate,
            there: BTreeMap::new(),
            started: BTreeMap::new(),
            index: Index::default(),
            services: BTreeMap::new(),
            now,
            routes: Arc::default(),
            problems: Vec::new(),
            violation: None,
        };
        life.declare(GOOD, DECLARED);
        life.list();
        (0..5).for_each(|_| life.turn());
        life
    }

    fn list(&mut self) {
        let containers = self.there.values().cloned().collect();
        let listed = Fact::Listed { containers, networks: Vec::new(), local: Vec::new() };
        self.world.apply(listed, self.now);
    }

    /// An app file that parses becomes an app with a release, as its first deployment would leave it.
    fn declare(&mut self, app: &str, text: &str) {
        let Ok(parsed) = parse_file(&format!("apps/{app}.toml"), text) else { return };
        let parsed: Arc<App> = Arc::new(parsed);
        self.index.apps.insert(parsed.name.clone(), parsed.clone());
        let version = Version::parse("1.0").unwrap();
        let release = Release::draft(&parsed, version.clone(), None, &self.index, self.now);
        let release = Release { image_digest: Some("sha256:1".into()), proven: true, ..release };
        let intent =
            Intent { stable: Some(version.clone()), releases: [(version, release)].into(), ..Intent::new(self.now) };
        self.world.intents.entry(parsed.name.clone()).or_insert(intent);
        self.world.apply(Fact::Indexed(Arc::new(self.index.clone())), self.now);
    }

    /// Whether it would be one of the good app's own instances: whoever may start containers may do that.
    fn joins(&self, container: &Container) -> bool {
        let mut alone = self.world.clone();
        alone.apply(Fact::Seen(Box::new(container.clone())), self.now);
        let known = alone.containers.get(&container.id);
        known.and_then(|known| known.instance()).is_some_and(|(_, instance)| instance.app.as_str() == GOOD)
    }

    fn nth_of(&self, n: usize, is_meant: impl Fn(&Container) -> bool) -> Option<ContainerId> {
        let all: Vec<_> = self.there.values().filter(|c| is_meant(c)).map(|c| c.id.clone()).collect();
        (!all.is_empty()).then(|| all[n % all.len()].clone())
    }

    fn happen(&mut self, happens: Move) {
        let theirs = |c: &Container| !c.id.0.starts_with("good-") && !c.ours;
        match happens {
            Move::Appear(container) => {
                if !self.joins(&container) {
                    self.there.insert(container.id.clone(), (*container).clone());
                    self.world.apply(Fact::Seen(container), self.now);
                }
            }
            Move::Vanish(n) => {
                if let Some(id) = self.nth_of(n, theirs) {
                    self.there.remove(&id);
                    self.world.apply(Fact::Gone(id), self.now);
                }
            }
            Move::Exit(n) => {
                if let Some(id) = self.nth_of(n, theirs) {
                    self.world.apply(Fact::Died { id, code: 1, at: self.now }, self.now);
                }
            }
            Move::Remove(n) => {
                if let Some(id) = self.nth_of(n, |c| c.ours && !c.id.0.starts_with("good-")) {
                    self.there.remove(&id);
                    self.world.apply(Fact::Gone(id), self.now);
                }
            }
            Move::Declare(app, text) => self.declare(&app, &text),
            Move::Register(name, urls) => {
                let Ok(name) = AppName::parse(&name) else { return };
                if name.as_str() == GOOD {
                    return; // Refused where it is registered: an app has this name.
                }
                let endpoint = |url: &ServiceUrl| Endpoint {
                    url: url.clone(),
                    health: None,
                    tags: Vec::new(),
                    at: self.now,
                    by: "them".into(),
                    inside: false,
                };
                let ids = (0..).map(|n| EndpointId::parse(&format!("e{n}")).unwrap());
                let endpoints = ids.zip(urls.iter().map(endpoint)).collect();
                self.services.insert(name, Service { endpoints });
                self.world.apply(Fact::Registered(self.services.clone()), self.now);
            }
        }
    }

    fn turn(&mut self) {
        self.now += Duration::from_secs(1);
        let planned = planned_and_recorded(&mut self.world, self.now);
        (self.routes, self.problems) = (planned.routes.clone(), planned.problems);
        for action in planned.actions {
            self.world.begin(&action, self.now);
            let facts = self.act(action);
            facts.into_iter().for_each(|fact| self.world.apply(fact, self.now));
        }
    }

    fn act(&mut self, action: Action) -> Vec<Fact> {
        match action {
            Action::Start(spec) => self.start(&spec),
            Action::Probe(targets) => {
                let fact = |target: &super::world::ProbeTarget| {
                    let is_bad = match &target.subject {
                        Subject::Container(id) => !id.0.starts_with("good-") && matches!(self.fate, Fate::NeverReady),
                        Subject::Endpoint(..) => false,
                    };
                    let verdict = if is_bad { Err("no answer".into()) } else { Ok(()) };
                    Fact::Probed { subject: target.subject.clone(), started_at: target.started_at, verdict }
                };
                targets.iter().map(fact).collect()
            }
            Action::Switch(switch) => vec![Fact::Reached(switch.generation), Fact::Settled(switch.generation)],
            Action::Drain { id, .. } => vec![Fact::Drained(id)],
            Action::Restart(id) => {
                if !self.there.get(&id).is_some_and(|c| c.ours) {
                    self.violation = Some(format!("{id} was started again and is none of ours"));
                }
                vec![Fact::Restarted { id, result: Ok(()) }]
            }
            Action::Stop { id, .. } => {
                if self.there.remove(&id).is_some_and(|c| !c.ours) {
                    self.violation = Some(format!("{id} was stopped and is none of ours"));
                }
                vec![Fact::Stopped { id, result: Ok(()) }]
            }
            _ => Vec::new(),
        }
    }

    fn start(&mut self, spec: &InstanceSpec) -> Vec<Fact> {
        let is_good = spec.app.as_str() == GOOD;
        let count = self.started.entry(spec.app.clone()).or_default();
        *count += 1;
        let (n, labels) = (*count, spec.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let labels: Vec<(&str, &str)> = labels.collect();
        let kind = if is_good { 200 } else { 201 };
        let id = if is_good { format!("good-{n}") } else { format!("of-{}-{n}", spec.app) };
        let mut made = Container {
            id: ContainerId(id.as_str().into()),
            ours: is_good || !matches!(self.fate, Fate::Unproven),
            created_at: self.now,
            started_at: Some(self.now),
            attachments: vec![Attachment {
                network: "platform".into(),
                addresses: vec![[172, 30, kind, n as u8].into()],
                aliases: Vec::new(),
            }],
            ..container(&spec.name, &labels)
        };
        let told = |result| Fact::Started { name: spec.name.clone(), result };
        match self.fate {
            _ if is_good => {}
            Fate::Refused => return vec![told(Err(Undone::Refused("no such file".into())))],
            Fate::Vanishes => return vec![told(Ok(Box::new(made.clone()))), Fact::Gone(made.id)],
            Fate::Dies => made.state = RunState::Exited { code: 1, oom: false, at: Some(self.now) },
            Fate::Runs | Fate::NeverReady | Fate::Unproven => {}
        }
        self.there.insert(made.id.clone(), made.clone());
        vec![told(Ok(Box::new(made)))]
    }

    /// All that the good app's visitors and neighbours find of it.
    fn seen(&self) -> String {
        let app = AppName::parse(GOOD).unwrap();
        let route = self.routes.apps.get(&app);
        let zone = self.world.published.as_ref().unwrap();
        let names = ["shop", "stable.shop", "candidate.shop", "shop.instances", "repository", "dns", "services"];
        let asked = |name: &str| {
            let asker = [172, 30, 200, 77].into();
            (name.to_owned(), zone.lookup(&format!("{name}.platform"), QueryKind::A, asker).addresses())
        };
        let instances: Vec<_> = self.world.ours().filter(|(_, i)| i.app == app).map(|(c, _)| c.id.clone()).collect();
        let leaving = self.world.retiring.keys().filter(|id| id.0.starts_with("good-")).count();
        format!("{route:#?}\n{:#?}\n{instances:?} {leaving}", names.map(asked))
    }

    fn check(&self, alone: &Life) -> Result<(), String> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        if self.seen() != alone.seen() {
            return Err(format!("alone it is\n{}\nand beside them\n{}", alone.seen(), self.seen()));
        }
        let mut held = BTreeMap::new();
        for (app, route) in &self.routes.apps {
            let whole =
                route.granted.hosts().iter().flat_map(|h| route.granted.paths().iter().map(move |p| (h, Some(p))));
            let single = route.granted.stable().iter().chain(route.granted.candidate()).map(|h| (h, None));
            for place in whole.chain(single) {
                if let Some(other) = held.insert(place, app) {
                    return Err(format!("{place:?} is of {app} and of {other}"));
                }
            }
        }
        if let Some((app, n)) = self.started.iter().find(|(_, n)| **n > MOST_STARTS) {
            return Err(format!("{n} containers of {app} were started"));
        }
        // That somebody else wants what it has is told to both, and names him.
        let blamed =
            self.problems.iter().find(|p| p.subject == format!("app {GOOD}") && p.kind != ProblemKind::Contested);
        if let Some(problem) = blamed.filter(|p| !alone.problems.iter().any(|a| a.kind == p.kind)) {
            return Err(format!("it is blamed: {problem:?}"));
        }
        let control = self
            .problems
            .iter()
            .find(|p| [&p.subject, &p.reason, &p.remedy].iter().any(|t| t.contains(char::is_control)));
        control.map_or(Ok(()), |problem| Err(format!("{problem:?} has control characters")))
    }
}

fn live(moves: Vec<Move>, fate: Fate, mut each: impl FnMut(&Life, &Life) -> Result<(), String>) -> Result<(), String> {
    let (mut life, mut alone) = (Life::new(fate), Life::new(fate));
    for happens in moves {
        life.happen(happens);
        for _ in 0..2 {
            life.turn();
            alone.turn();
        }
        each(&life, &alone)?;
    }
    life.list();
    for _ in 0..120 {
        life.turn();
        alone.turn();
    }
    each(&life, &alone)
}

/// Routes as they come out of such lives, always the same, for a real nginx to read.
pub fn samples(lives: usize) -> Vec<Arc<Routes>> {
    let mut runner = TestRunner::deterministic();
    let mut all = Vec::new();
    for _ in 0..lives {
        let (moves, fate) = moves().new_tree(&mut runner).unwrap().current();
        let mut last = Arc::default();
        live(moves, fate, |life, _| {
            last = life.routes.clone();
            Ok(())
        })
        .unwrap();
        all.push(last);
    }
    all
}

proptest! {
    #[test]
    fn a_well_behaved_app_is_served_beside_any_neighbours_as_it_is_alone((moves, fate) in moves()) {
        live(moves, fate, |life, alone| life.check(alone)).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn each_mistake_of_granting_would_be_noticed() {
    // A neighbour is let into the good app on purpose: the generator's own exception, taken away.
    let (mut life, alone) = (Life::new(Fate::Runs), Life::new(Fate::Runs));
    let labels = [("platformer.app", GOOD), ("platformer.version", "1.0"), ("platformer.port", "80")];
    let joins = Container { ours: false, ..container("intruder", &labels) };
    assert!(life.joins(&joins));
    life.there.insert(joins.id.clone(), joins.clone());
    life.world.apply(Fact::Seen(Box::new(joins)), life.now);
    (0..3).for_each(|_| life.turn());
    assert!(life.check(&alone).unwrap_err().contains("and beside them"));
    // A container that is not ours is taken for ours.
    let mut life = Life::new(Fate::Runs);
    let id = life.there.keys().next().unwrap().clone();
    life.there.get_mut(&id).unwrap().ours = false;
    life.act(Action::Stop { id, grace: Duration::ZERO, log_for: None });
    assert!(life.check(&alone).unwrap_err().contains("none of ours"));
}

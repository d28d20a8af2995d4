//! What is outside: containers, what is live, the ledger, and what is told of it. It goes on while the supervisor is
//! dead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::Mistake;
use crate::core::app::parse_file;
use crate::core::brain::Brain;
use crate::core::container::{Container, ContainerId};
use crate::core::names::{AppName, Version};
use crate::core::notices::Notices;
use crate::core::repository::{File, Index};
use crate::core::routes::Routes;
use crate::core::templates::{self, Templates};
use crate::core::testing::{Random, at, platform};
use crate::core::world::{Fact, Found, Intent, World};

pub(super) const APPS: [(&str, &str); 4] = [
    ("shop", "replicas = 2"),
    ("blog", "replicas = 1\ngate = { image = \"gate:1\" }"),
    ("cart", "replicas = 3\nsticky.mode = \"release\""),
    ("desk", "replicas = 1\nvolumes = [\"desk:/data\"]"),
];
pub(super) const QUICK: &str = "[deploy]\nmonitor = \"400ms\"\nbake = \"600ms\"\nready_timeout = \"20s\"\nretain = 2\n\
                     [canary]\nsteps = [10, 50]\nstep = \"1s\"\nrequests = 20\ndeadline = \"60s\"";
/// Versions in the repository; the first is the one that apps begin with.
pub(super) const VERSIONS: u64 = 9;
/// What a neighbour writes on its containers: our owner, an app's names and releases, and a name that is an app's next.
pub(super) const NEIGHBOURS: [(&str, &[(&str, &str)]); 6] = [
    ("shop-1.0-1", &[("platformer.owner", "me"), ("platformer.app", "cart"), ("platformer.version", "a b")]),
    ("evil-1", &[("platformer.app", "evil"), ("platformer.host", "shop.platform,stable.cart.platform,blog.localhost")]),
    ("evil-2", &[("platformer.app", "evil"), ("platformer.host", "evil.example"), ("platformer.port", "0")]),
    ("repository", &[("platformer.owner", "me"), ("platformer.app", "evil"), ("platformer.deployment", "shop-1")]),
    ("desk", &[("platformer.route", "maybe"), ("platformer.hots", "desk.platform")]),
    ("cart-1.1-1", &[("platformer.app", "aaa"), ("platformer.host", "cart.platform,localhost,10.0.0.1,platform")]),
];

/// What is outside.
pub(super) struct Outside {
    pub(super) random: Random,
    pub(super) mistake: Option<Mistake>,
    /// Deployments whose gate has passed.
    pub(super) passed: BTreeSet<Arc<str>>,
    pub(super) containers: BTreeMap<ContainerId, Container>,
    pub(super) next_id: u32,
    pub(super) live: Option<(u64, Arc<Routes>)>,
    /// Workers of nginx that were replaced, each with the routes that it has connections by, until when.
    pub(super) leaving: Vec<(Arc<Routes>, Timestamp)>,
    /// Whom no worker has a connection to any more, or whose time for that was up, as was told.
    pub(super) drained: BTreeSet<ContainerId>,
    pub(super) facts: VecDeque<Fact>,
    /// What is told once its time has come.
    pub(super) later: Vec<(Timestamp, Fact)>,
    pub(super) ledger: BTreeMap<AppName, Intent>,
    pub(super) troubled: bool,
    pub(super) now: Timestamp,
    pub(super) violation: Option<String>,
    /// Commands that were given, and whether each begins a deployment.
    pub(super) given: Vec<bool>,
    pub(super) began: u64,
}

pub(super) fn name(n: u64) -> AppName {
    AppName::parse(APPS[n as usize % APPS.len()].0).unwrap()
}

pub(super) fn version(n: u64) -> Version {
    Version::parse(&format!("1.{n}")).unwrap()
}

/// 1.3 fails a third of its requests, 1.5 never gets ready, 1.7 is slow to answer probes at all.
pub(super) fn fails(version: &Version) -> bool {
    version.as_str().starts_with("1.3")
}

pub(super) fn never_ready(version: &Version) -> bool {
    version.as_str().starts_with("1.5")
}

pub(super) fn index() -> Arc<Index> {
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
    pub(super) fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        Self {
            random: Random::new(seed),
            mistake,
            passed: BTreeSet::new(),
            containers: BTreeMap::new(),
            next_id: 0,
            live: None,
            leaving: Vec::new(),
            drained: BTreeSet::new(),
            facts: VecDeque::new(),
            later: Vec::new(),
            ledger: BTreeMap::new(),
            troubled: true,
            now: at(1_000_000),
            violation: None,
            given: Vec::new(),
            began: 0,
        }
    }

    pub(super) fn trouble(&mut self, one_in: u64) -> bool {
        self.troubled && self.random.one_in(one_in)
    }

    /// Tells a fact, unless it gets lost; sometimes twice.
    pub(super) fn tell(&mut self, fact: Fact) {
        if self.trouble(6) {
            return;
        }
        if self.trouble(10) {
            self.facts.push_back(fact.clone());
        }
        self.facts.push_back(fact);
    }

    pub(super) fn listed(&self) -> Fact {
        let containers = self.containers.values().cloned().collect();
        Fact::Listed { containers, networks: Vec::new(), local: Vec::new() }
    }

    pub(super) fn boot(&mut self) -> Brain {
        // An operator's own, which nginx may refuse.
        let own = [("platformer.conf.tera".to_owned(), format!("{}\n# own\n", templates::BUILT_IN[0].1))].into();
        let templates = if self.random.one_in(2) { Templates::overridden(&own) } else { Templates::built_in() };
        let mut world = World::new(platform(), Arc::new(templates), self.now);
        self.facts.clear();
        self.later.clear();
        world.apply(Fact::Recalled(self.ledger.clone()), self.now);
        let found = self.live.clone().map(|(generation, routes)| Found {
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
}

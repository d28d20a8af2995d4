//! Everything the platform knows, as one value that one loop owns.
//!
//! In: [`Fact`]s, each applied with the moment it arrived. Out: nothing; `plan` reads the world and says what
//! follows from it. A fact that is lost or comes twice does no harm: listings and snapshots replace.

mod apply;
mod balancer;
mod clock;
mod condition;
mod decided;
mod facts;
mod health;
mod idle;
mod intent;
mod members;
mod moment;
mod notes;
mod refusals;
mod restless;
mod retire;
mod see;
mod services;
mod starts;
mod steering;
mod traffic;

pub use balancer::{Balancer, Refused, Switching};
pub use facts::{
    Action, Culprit, Fact, Found, InstanceSpec, JobSpec, Record, Switch, SwitchError, Undone, Unprepared, Write,
};
pub use health::{Condition, Health, ProbeKind, ProbeTarget, Subject};
pub use idle::Idle;
pub use intent::Intent;
pub use members::{Claimed, Member, by_app};
pub use notes::Notes;
pub use refusals::{Refusals, RefusedApp};
pub use restless::{Debt, REST, RESTLESS};
pub use retire::{Phase, Retiring};
pub use services::Reached;
pub use starts::{Backoff, DEPARTED, is_dead};
pub use traffic::Traffic;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::app::App;
use super::claim::{self, Claim};
use super::container::{Container, ContainerId, Network, Owner};
use super::deploy::GateResult;
use super::disk::Disk;
use super::flaw::Flaws;
use super::grants::{PARTS, own_hosts};
use super::names::{AppName, Domain, HostName, Version};
use super::release::Kept;
use super::repository::Index;
use super::service::{EndpointId, Service};
use super::source::{Look, Wanted, wanted};
use super::templates::Templates;
use super::zone::{DnsOptions, Zone};

/// What does not change while the supervisor runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Platform {
    pub domain: Domain,
    pub owner: Owner,
    /// The engine's network that instances are started on.
    pub network: Arc<str>,
    /// Its gateway: where containers find DNS, repository and balancer.
    pub gateway: IpAddr,
    /// The port on which containers reach the balancer at the gateway.
    pub port: u16,
    /// Where the balancer listens.
    pub http: Vec<SocketAddr>,
    /// Names of this machine itself, and those at which its dashboard is asked: no app has them.
    pub machine: BTreeSet<HostName>,
    /// Every address that we listen on: what leads there would go round in circles.
    pub listeners: Vec<SocketAddr>,
    pub dns: DnsOptions,
    /// Identifies the frame that routes are rendered in: another one makes another text.
    pub frame: u64,
    /// `watch` follows containers but starts none.
    pub follow_only: bool,
    /// The certificates of registered services are checked, against the names they are registered by.
    pub checks_certificates: bool,
}

impl Platform {
    /// The platform's own names with where containers find them.
    pub fn own_hosts(&self) -> Vec<(HostName, IpAddr)> {
        let below = |part: &str| own_hosts(part, &self.domain).into_iter().next();
        PARTS.into_iter().filter_map(below).map(|host| (host, self.gateway)).collect()
    }

    /// The repository as an instance asks for it.
    pub fn repository(&self) -> String {
        match self.port {
            80 => format!("repository.{}", self.domain),
            port => format!("repository.{}:{port}", self.domain),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum EngineState {
    Connected {
        since: Timestamp,
    },
    /// Not answering: what is known of containers is from before.
    Unknown {
        since: Timestamp,
    },
}

/// Contents of a release that could not be secured.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsecured {
    /// The first attempt that failed.
    pub since: Timestamp,
    /// The last one.
    pub tried: Timestamp,
    /// How many there were.
    pub times: u32,
    pub why: Unprepared,
}

impl Unsecured {
    /// When it is tried again: ever more rarely, since a registry counts who asks it, and all apps here are one asker.
    pub fn again(&self) -> Timestamp {
        let longest = match self.why {
            Unprepared::Later(_) => Duration::from_secs(60),
            Unprepared::Never(_) => Duration::from_secs(600),
        };
        self.tried
            + Duration::from_secs(1).saturating_mul(2u32.saturating_pow(self.times.saturating_sub(1))).min(longest)
    }
}

#[derive(Debug, Clone)]
pub struct World {
    pub platform: Platform,
    pub engine: EngineState,
    /// Whether the first listing has come: before it, absence means nothing.
    pub listed: bool,
    pub containers: BTreeMap<ContainerId, Claimed>,
    pub networks: Vec<Network>,
    pub local_addresses: Vec<super::container::Subnet>,
    pub index: Option<Arc<Index>>,
    /// Declared apps: the last good file of each, also where the file has since broken or vanished.
    pub declared: BTreeMap<AppName, Arc<App>>,
    pub intents: BTreeMap<AppName, Intent>,
    pub health: HashMap<ContainerId, Health>,
    /// Registered services, what probes said of their endpoints, and where their hosts are.
    pub services: BTreeMap<AppName, Service>,
    pub endpoint_health: BTreeMap<(AppName, EndpointId), Health>,
    /// Who lost its readiness of late, and who is held out of the routes for it.
    pub restless: BTreeMap<Subject, Debt>,
    /// When each app will have paid for how often it was steered.
    steered: BTreeMap<AppName, Timestamp>,
    /// What was found at the sources of apps.
    pub found: BTreeMap<AppName, Look>,
    pub looked_up: BTreeMap<HostName, Result<IpAddr, String>>,
    pub retiring: BTreeMap<ContainerId, Retiring>,
    pub backoff: BTreeMap<(AppName, Version), Backoff>,
    /// Acts that were begun and have not come back.
    pub starting: BTreeMap<String, (AppName, Version)>,
    pub busy: BTreeSet<ContainerId>,
    /// Containers that were told to join the platform's network, and networks told to go; asked anew with each listing.
    pub joining: BTreeSet<ContainerId>,
    pub leaving: BTreeSet<Arc<str>>,
    /// Containers that a version without proofs started, by their ids; `None` where it was never asked which.
    pub inherited: Option<BTreeSet<ContainerId>>,
    /// Removed by us: what the engine told of them before may still be on its way.
    removed: BTreeSet<ContainerId>,
    /// Releases whose contents are being secured, are, and could not be.
    pub preparing: BTreeSet<(AppName, Version)>,
    pub prepared: BTreeSet<(AppName, Version)>,
    pub unprepared: BTreeMap<(AppName, Version), Unsecured>,
    /// Deployments whose gate runs, and how gates ended that the ledger does not know yet.
    pub gates: BTreeMap<Arc<str>, Option<GateResult>>,
    /// What instances of deployments that did not promote wrote last.
    pub last_lines: BTreeMap<Arc<str>, Vec<String>>,
    pub traffic: BTreeMap<AppName, Traffic>,
    /// The contents that are to be kept, as was last told.
    pub keeping: Option<Arc<Kept>>,
    /// Names that containers have which were not in the last listing.
    pub taken_names: BTreeSet<String>,
    pub balancer: Balancer,
    pub templates: Arc<Templates>,
    pub published: Option<Arc<Zone>>,
    pub probing: Arc<Vec<ProbeTarget>>,
    /// Undeclared apps that had instances, and when the last one went.
    pub departed: BTreeMap<AppName, Timestamp>,
    /// What could not be used of the platform's own state.
    pub flaws: Flaws,
    /// The disks that the platform keeps things on, each with the moment since when it is as short of room as it is.
    pub disks: Vec<(Disk, Timestamp)>,
    /// Set when the platform is going down: every instance of ours retires unless they are to be kept.
    pub closing: Option<Closing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    pub keep_apps: bool,
}

impl World {
    pub fn new(platform: Platform, templates: Arc<Templates>, now: Timestamp) -> Self {
        Self {
            platform,
            engine: EngineState::Unknown { since: now },
            listed: false,
            containers: BTreeMap::new(),
            networks: Vec::new(),
            local_addresses: Vec::new(),
            index: None,
            declared: BTreeMap::new(),
            intents: BTreeMap::new(),
            health: HashMap::new(),
            services: BTreeMap::new(),
            endpoint_health: BTreeMap::new(),
            restless: BTreeMap::new(),
            steered: BTreeMap::new(),
            found: BTreeMap::new(),
            looked_up: BTreeMap::new(),
            retiring: BTreeMap::new(),
            backoff: BTreeMap::new(),
            starting: BTreeMap::new(),
            busy: BTreeSet::new(),
            joining: BTreeSet::new(),
            leaving: BTreeSet::new(),
            inherited: Some(BTreeSet::new()),
            removed: BTreeSet::new(),
            preparing: BTreeSet::new(),
            prepared: BTreeSet::new(),
            unprepared: BTreeMap::new(),
            gates: BTreeMap::new(),
            last_lines: BTreeMap::new(),
            traffic: BTreeMap::new(),
            keeping: None,
            taken_names: BTreeSet::new(),
            balancer: Balancer::default(),
            templates,
            published: None,
            probing: Arc::new(Vec::new()),
            departed: BTreeMap::new(),
            flaws: Flaws::default(),
            disks: Vec::new(),
            closing: None,
        }
    }

    /// Whether enough is known to act: a plan from half the facts would take good routes away.
    pub fn is_informed(&self) -> bool {
        self.listed && (self.index.is_some() || self.platform.follow_only) && self.balancer.is_known()
    }

    /// What a container asks for. It depends on the container, on the networks, and on which apps are declared.
    fn claim_of(&self, container: &Container) -> Claim {
        let is_ours = self.is_ours(container);
        if !is_ours && self.is_on_anothers_network(container) {
            return Claim::Foreign;
        }
        claim::read(container, is_ours, &self.platform.owner, |name| {
            AppName::parse(name).is_ok_and(|name| self.declared.contains_key(&name))
        })
    }

    /// Whether this platform started the container, which it may therefore stop.
    pub fn is_ours(&self, container: &Container) -> bool {
        container.ours || self.inherited.as_ref().is_some_and(|ids| ids.contains(&container.id))
    }

    /// Reads all claims again, since something has changed that they depend on.
    fn claim_anew(&mut self) {
        let mut containers = std::mem::take(&mut self.containers);
        for known in containers.values_mut() {
            known.claim = self.claim_of(&known.container);
        }
        self.containers = containers;
    }

    /// What somebody starts by hand on another platform's network is meant for that one.
    fn is_on_anothers_network(&self, container: &Container) -> bool {
        let is_on = |name: &str| container.attachments.iter().any(|a| &*a.network == name);
        let mut others = self.networks.iter().filter(|n| n.owner.as_ref().is_some_and(|o| *o != self.platform.owner));
        !is_on(&self.platform.network) && others.any(|n| is_on(&n.name))
    }

    /// Networks that this platform made under another name than it uses now.
    pub fn older_networks(&self) -> impl Iterator<Item = &Network> {
        let is_older = |n: &&Network| n.owner.as_ref() == Some(&self.platform.owner) && n.name != self.platform.network;
        self.networks.iter().filter(is_older)
    }

    /// The number of instances an app is to have now.
    pub fn wanted(&self, app: &App) -> u16 {
        match (self.intents.get(&app.name), self.closing) {
            (_, Some(Closing { keep_apps: false })) => 0,
            (Some(intent), _) if intent.stopped || intent.removed => 0,
            _ => self.replicas(app),
        }
    }

    /// The number of instances an app has while it runs: what it was scaled to, else what is declared.
    pub fn replicas(&self, app: &App) -> u16 {
        self.intents.get(&app.name).and_then(|intent| intent.replicas).unwrap_or(app.replicas)
    }

    /// The version that an app's source tells of, or the one that it is held at.
    pub fn wanted_version(&self, app: &App) -> Option<Wanted> {
        let index = self.index.as_ref()?;
        let artefacts = index.versions(&app.name).into_iter().map(|(version, file)| (version, file.sha256.clone()));
        let pin = self.pin(app);
        let source = app.source.clone().unwrap_or_default();
        wanted(&source, self.found.get(&app.name), &artefacts.collect(), pin)
    }

    /// The version that an app is held at, by its file or by somebody.
    pub fn pin<'a>(&'a self, app: &'a App) -> Option<&'a Version> {
        let declared = app.source.as_ref().and_then(|source| source.pin.as_ref());
        declared.or_else(|| self.intents.get(&app.name)?.pin.as_ref())
    }

    pub fn is_engine_unknown(&self) -> bool {
        matches!(self.engine, EngineState::Unknown { .. })
    }

    pub fn stable(&self, app: &AppName) -> Option<&Version> {
        self.intents.get(app)?.stable.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{at, container, platform};

    #[test]
    fn a_container_that_we_removed_does_not_come_back_by_what_was_seen_before() {
        let mut world = World::new(platform(), Arc::new(crate::core::templates::Templates::built_in()), at(0));
        let seen = container("shop-1", &[("platformer.app", "shop")]);
        let id = seen.id.clone();
        world.apply(Fact::Seen(Box::new(seen.clone())), at(0));
        assert!(world.containers.contains_key(&id));
        world.apply(Fact::Stopped { id: id.clone(), result: Ok(()) }, at(1));
        let listed = |containers| Fact::Listed { containers, networks: Vec::new(), local: Vec::new() };
        for late in [Fact::Seen(Box::new(seen.clone())), listed(vec![seen])] {
            world.apply(late, at(2));
            assert!(world.containers.is_empty());
        }
        world.apply(listed(Vec::new()), at(3));
        assert!(world.removed.is_empty(), "it is remembered no longer than it may be told of");
    }

    #[test]
    fn a_container_that_is_renamed_leaves_its_app_as_one_that_died_does() {
        let mut world = World::new(platform(), Arc::new(crate::core::templates::Templates::built_in()), at(0));
        let mut seen = container("shop-web-1", &[("platformer.route", "true")]);
        world.apply(Fact::Seen(Box::new(seen.clone())), at(0));
        seen.name = "0123456789ab_shop-web-1".into();
        world.apply(Fact::Seen(Box::new(seen.clone())), at(5));
        let app = AppName::parse("shop-web").unwrap();
        assert_eq!((world.departed.get(&app), world.instances().len()), (Some(&at(5)), 0));
        seen.name = "shop-web-2".into();
        world.apply(Fact::Seen(Box::new(seen)), at(6));
        assert!(world.departed.is_empty());
    }
}

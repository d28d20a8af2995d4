//! The instances there are: containers that claim an app, joined with what is declared and probed.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Condition, World};
use crate::core::app::App;
use crate::core::claim::{Claim, Instance};
use crate::core::container::{Container, Network};
use crate::core::names::{AppName, ImageRef, Port, Version};

/// A container and what it asks for.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub container: Arc<Container>,
    pub claim: Claim,
    /// When it came to be as it is: started or ended, paused, well or not by its HEALTHCHECK, on networks or on none.
    pub since: Timestamp,
    /// Labels of ours that mean nothing, each with the one that was probably meant.
    pub unknown_labels: Vec<(String, Option<&'static str>)>,
}

impl Claimed {
    pub fn instance(&self) -> Option<(&Arc<Container>, &Instance)> {
        match &self.claim {
            Claim::Instance(instance) => Some((&self.container, instance)),
            Claim::None | Claim::Foreign | Claim::Refused { .. } => None,
        }
    }
}

/// One instance of an app as it is now.
#[derive(Debug, Clone)]
pub struct Member<'w> {
    pub container: &'w Arc<Container>,
    pub claim: &'w Instance,
    /// `None` for an app that only its containers know.
    pub app: Option<&'w Arc<App>>,
    pub version: Version,
    /// Where it is reached, or why nowhere.
    pub address: Result<SocketAddr, Unreachable>,
    pub condition: Condition,
    pub since: Timestamp,
    /// Why it is not ready.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    pub reason: String,
    pub remedy: String,
}

impl Member<'_> {
    pub fn is_ready(&self) -> bool {
        self.condition == Condition::Ready && self.address.is_ok()
    }
}

/// The instances of each app; `members` are in their order.
pub fn by_app<'m, 'w>(members: &'m [Member<'w>]) -> BTreeMap<&'m AppName, &'m [Member<'w>]> {
    let groups = members.chunk_by(|a, b| a.claim.app == b.claim.app);
    groups.filter_map(|group| Some((&group.first()?.claim.app, group))).collect()
}

impl World {
    /// Every instance, ordered by app, then version, then container name.
    pub fn instances(&self) -> Vec<Member<'_>> {
        let mut by_app: HashMap<&AppName, Vec<_>> = HashMap::with_capacity(self.declared.len());
        for (container, claim) in self.containers.values().filter_map(Claimed::instance) {
            by_app.entry(&claim.app).or_default().push((container, claim));
        }
        let mut by_app: Vec<_> = by_app.into_iter().collect();
        by_app.sort_unstable_by_key(|(name, _)| *name);
        let mut all = Vec::with_capacity(self.containers.len());
        for (name, instances) in by_app {
            let app = self.declared_app(name);
            let mut members: Vec<_> = instances.into_iter().map(|(c, claim)| self.member(c, claim, app)).collect();
            members.sort_by(|a, b| (&a.version, &a.container.name).cmp(&(&b.version, &b.container.name)));
            all.append(&mut members);
        }
        all
    }

    fn member<'w>(
        &'w self,
        container: &'w Arc<Container>,
        claim: &'w Instance,
        app: Option<&'w Arc<App>>,
    ) -> Member<'w> {
        let address = self.reach(container, claim, app.map(Arc::as_ref));
        let place = address.clone().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let (condition, since, reason) = self.condition(container, app.map(Arc::as_ref), place);
        let (condition, since) = match address {
            Err(_) if condition == Condition::Ready => (Condition::Unhealthy, self.as_it_is_since(container)),
            _ => (condition, since),
        };
        let version = self.version_of(claim, container, app.is_some());
        Member { container, claim, app, version, address, condition, since, reason }
    }

    /// An app that is declared and has not been removed.
    pub fn declared_app(&self, name: &AppName) -> Option<&Arc<App>> {
        self.declared.get(name).filter(|_| !self.intents.get(name).is_some_and(|i| i.removed))
    }

    /// Where the balancer reaches a container that claims an app.
    pub fn address_of(&self, known: &Claimed) -> Option<SocketAddr> {
        let (container, claim) = known.instance()?;
        self.reach(container, claim, self.declared_app(&claim.app).map(Arc::as_ref)).ok()
    }

    fn reach(&self, container: &Container, claim: &Instance, app: Option<&App>) -> Result<SocketAddr, Unreachable> {
        let port = port_of(container, claim, app)?;
        // Where it was started it is reached, though it may have joined the network of today since.
        let is_on = |network: &&Network| container.attachments.iter().any(|a| a.network == network.name);
        let network = self.older_networks().find(is_on).map_or(&self.platform.network, |older| &older.name);
        let ip = container.address_on(network).ok_or_else(|| self.on_no_network(container))?;
        let address = SocketAddr::new(ip, port.get());
        match self.is_ours_address(address) {
            true => Err(Unreachable {
                reason: format!("port {port} of this machine is the platform's own"),
                remedy: SAY_PORT.into(),
            }),
            false => Ok(address),
        }
    }

    fn on_no_network(&self, container: &Container) -> Unreachable {
        let Some(other) = &container.joined else {
            // The engine connects what was made so to nothing else.
            let is_private = container.attachments.iter().any(|attachment| &*attachment.network == "none");
            let (network, name) = (&self.platform.network, &container.name);
            let remedy = match is_private {
                true => format!("make {name} anew, with --network {network} in place of none"),
                false => format!("docker network connect {network} {name}"),
            };
            return Unreachable { reason: "it is on no network".into(), remedy };
        };
        let Some(known) = self.containers.get(other) else {
            return Unreachable {
                reason: "the container whose network it shares is gone".into(),
                remedy: format!("make {} anew, with --network container:NAME of one that is there", container.name),
            };
        };
        let name = &known.container.name;
        Unreachable {
            reason: format!("it shares the network of {name}, which is on none"),
            remedy: format!("docker start {name}, then docker restart {}", container.name),
        }
    }

    /// The release a container belongs to. One that does not say joins the stable release; where there is
    /// none, its image's tag stands in.
    fn version_of(&self, claim: &Instance, container: &Container, declared: bool) -> Version {
        let intent = self.intents.get(&claim.app).filter(|_| declared);
        let stable = intent.and_then(|intent| intent.stable.as_ref());
        let tag = || ImageRef::parse(&container.image).ok().and_then(|image| image.version());
        match &claim.version {
            // One spelling for one release, whoever started its instances.
            Some(version) => intent.map_or(version, |intent| intent.spelled(version)).clone(),
            None => stable.cloned().or_else(tag).unwrap_or_else(Version::latest),
        }
    }
}

fn port_of(container: &Container, claim: &Instance, app: Option<&App>) -> Result<Port, Unreachable> {
    if let Some(port) = claim.port.or(app.map(|a| a.port)) {
        return Ok(port);
    }
    match container.exposed.as_slice() {
        [only] => {
            Port::try_from(u64::from(*only)).map_err(|e| Unreachable { reason: e.to_string(), remedy: SAY_PORT.into() })
        }
        [] => Err(Unreachable {
            reason: "its image exposes no TCP port and no label names one".into(),
            remedy: SAY_PORT.into(),
        }),
        many => Err(Unreachable {
            reason: format!("its image exposes several ports ({many:?}) and no label says which one serves HTTP"),
            remedy: SAY_PORT.into(),
        }),
    }
}

const SAY_PORT: &str = "start it with --label platformer.port=PORT";

//! What the core is told, and what it answers with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Intent, ProbeTarget, Subject};
use crate::core::app::{Limits, Volume};
use crate::core::container::{Container, ContainerId, Network, Subnet};
use crate::core::deploy::{Counted, Deployment, Entry, GateResult};
use crate::core::disk::Disk;
use crate::core::flaw::Flaw;
use crate::core::names::{AppName, HostName, ImageRef, Version};
use crate::core::release::{Kept, Release};
use crate::core::repository::Index;
use crate::core::routes::{AppRoute, Routes};
use crate::core::service::Service;
use crate::core::source::Look;
use crate::core::templates::Templates;
use crate::core::zone::Zone;

/// Something observed. Results of actions are facts like any other.
#[derive(Debug, Clone)]
pub enum Fact {
    /// Every container and network there is.
    Listed {
        containers: Vec<Container>,
        networks: Vec<Network>,
        local: Vec<Subnet>,
    },
    /// One container as it is now.
    Seen(Box<Container>),
    Gone(ContainerId),
    /// The process of a container ended at this moment; a run that began later is not meant.
    Died {
        id: ContainerId,
        code: i64,
        at: Timestamp,
    },
    EngineLost,
    Indexed(Arc<Index>),
    TemplatesLoaded(Arc<Templates>),
    /// What the ledger kept from earlier runs.
    Recalled(BTreeMap<AppName, Intent>),
    /// What the ledger kept of registered services.
    Registered(BTreeMap<AppName, Service>),
    /// Containers that a version without proofs started; `None` where the ledger was never told which.
    Inherited(Option<BTreeSet<ContainerId>>),
    /// What was found at an app's source.
    Sourced {
        app: AppName,
        look: Look,
    },
    /// Where the hosts of registered services are, or why that is not known.
    LookedUp(BTreeMap<HostName, Result<IpAddr, String>>),
    /// The verdict of a probe on one run of a container, or on an endpoint: `Err` says why it is not ready.
    Probed {
        subject: Subject,
        started_at: Option<Timestamp>,
        verdict: Result<(), String>,
    },
    /// A running nginx was found with this generation, and what it routes; `None` for a fresh one.
    Adopted(Option<Found>),
    /// A worker answers with the generation: requests may reach what it names.
    Reached(u64),
    /// No worker of an older generation accepts any more.
    Settled(u64),
    /// So many old workers had connections yet, and were ended since there were too many of them.
    WorkersEnded(usize),
    Unswitched {
        generation: u64,
        error: SwitchError,
    },
    /// nginx is gone; it has to be started with the current routes.
    BalancerDied {
        reason: String,
    },
    /// An instance was started, and is as given.
    Started {
        name: String,
        result: Result<Box<Container>, Undone>,
    },
    /// A container that we had not seen has the name: another one is tried at once.
    NameTaken(String),
    Restarted {
        id: ContainerId,
        result: Result<(), Undone>,
    },
    /// nginx has no connection left to the instance, or its time to drain is up.
    Drained(ContainerId),
    Stopped {
        id: ContainerId,
        result: Result<(), String>,
    },
    /// What an instance of a deployment wrote last. Told before it is stopped: with it goes its log.
    Wrote {
        deployment: Arc<str>,
        lines: Vec<String>,
    },
    /// The contents of a release are secured; `Ok` has the digest of its image.
    Prepared {
        app: AppName,
        version: Version,
        result: Result<Arc<str>, Unprepared>,
    },
    /// A deployment's gate ended.
    Gated {
        deployment: Arc<str>,
        result: GateResult,
    },
    /// What the balancer saw of each release's requests since it last told.
    Counted(Vec<Counted>),
    /// Something of the platform's own state cannot be used.
    Flawed(Flaw),
    /// How much room is left where things are kept.
    Disks(Vec<Disk>),
    /// The wall clock was set: moments are counted otherwise from now on.
    ClockSet {
        by: SignedDuration,
    },
}

/// Why the engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// It did not answer: nobody's instance is to blame.
    Away(String),
    Refused(String),
}

/// Why a release's contents are not secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unprepared {
    /// The engine or the disk did not answer; it is tried again.
    Later(String),
    /// There is no such image, or the artefact is another one.
    Never(String),
}

/// A running nginx that serves one of our generations.
#[derive(Debug, Clone)]
pub struct Found {
    pub generation: u64,
    pub routes: Arc<Routes>,
    /// Of the templates and the frame that the routes were rendered with.
    pub fingerprint: u64,
    /// The highest number that was given out, also to a generation that is not served.
    pub last: u64,
}

/// Why a generation did not go live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchError {
    /// A template does not render, or nginx refuses what it renders: the template is to blame.
    Template { reason: String },
    /// nginx refuses the text because of these apps.
    Apps(Vec<Culprit>),
    /// nginx or the disk failed; the same generation may succeed later.
    Trouble { reason: String },
}

/// An app whose routes nginx refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit {
    pub app: AppName,
    /// What nginx accepts in their place: the newest without a host, or those from before; `None`: nothing.
    pub instead: Option<Arc<AppRoute>>,
    pub reason: String,
}

/// One generation to go live.
#[derive(Debug, Clone)]
pub struct Switch {
    pub generation: u64,
    pub routes: Arc<Routes>,
    pub templates: Arc<Templates>,
    pub fingerprint: u64,
    /// What is live now: where the new text is refused, what differs from it is suspected first.
    pub live: Arc<Routes>,
    /// Whether templates or frame are others than those of what is live.
    pub is_new_text: bool,
}

/// A decision about one app, as the ledger keeps it.
#[derive(Debug, Clone)]
pub struct Record {
    pub app: AppName,
    pub intent: Box<Intent>,
    /// What failed before is not held against it: it is tried at once.
    pub afresh: bool,
    /// Deployments that ended with it, besides the intent's own.
    pub ended: Vec<Arc<Deployment>>,
    /// What to say of it.
    pub entries: Vec<Entry>,
}

impl Record {
    pub fn new(app: AppName, intent: Intent, entries: Vec<Entry>) -> Self {
        Self { app, intent: Box::new(intent), afresh: false, ended: Vec::new(), entries }
    }
}

/// What the ledger has to keep before anything follows from it.
#[derive(Debug, Clone)]
pub enum Write {
    Decision(Record),
    /// A registered service, or that it is one no more.
    Service {
        name: AppName,
        service: Option<Service>,
        /// What to say of it.
        message: String,
    },
    /// Which containers a version without proofs started; from then on none is taken for ours by labels.
    Inherited(BTreeSet<ContainerId>),
}

/// Something to do. Carrying one out yields facts.
#[derive(Debug, Clone)]
pub enum Action {
    /// Secure what a release is made of: image, artefact, config.
    Prepare {
        app: AppName,
        release: Box<Release>,
    },
    /// Run a container to its end, at most for its time.
    Gate {
        deployment: Arc<str>,
        job: Box<JobSpec>,
    },
    /// Forget all contents but what is kept, and the images that are kept no more.
    Keep {
        kept: Arc<Kept>,
        gone: Vec<ImageRef>,
    },
    Publish(Arc<Zone>),
    Probe(Arc<Vec<ProbeTarget>>),
    Switch(Switch),
    Start(Box<InstanceSpec>),
    Restart(ContainerId),
    /// Connect it to the platform's network too.
    Connect(ContainerId),
    /// Remove a network of ours that nothing is on any more.
    RemoveNetwork(Arc<str>),
    /// Wait until nginx has no connection to the address, at most `limit`.
    Drain {
        id: ContainerId,
        address: Option<SocketAddr>,
        limit: Duration,
    },
    /// SIGTERM, after `grace` SIGKILL, then remove the container.
    Stop {
        id: ContainerId,
        grace: Duration,
        /// The deployment that keeps its last lines: nobody can read them afterwards.
        log_for: Option<Arc<str>>,
    },
}

/// A container that is run to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    pub name: String,
    pub image: ImageRef,
    /// In place of the image's own; empty leaves that.
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Names that it finds without asking DNS.
    pub hosts: Vec<(HostName, IpAddr)>,
    pub timeout: Duration,
}

/// An instance to start.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSpec {
    pub app: AppName,
    pub version: Version,
    pub name: String,
    /// The image's digest, or its name where none is known.
    pub image: String,
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Names that it finds without asking DNS: no alias of a neighbour can stand before them.
    pub hosts: Vec<(HostName, IpAddr)>,
    pub volumes: Vec<Volume>,
    pub limits: Limits,
    pub grace: Duration,
}

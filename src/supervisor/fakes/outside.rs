//! What the supervisor touches, as fakes that do what they are told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;

use crate::core::container::{Container, ContainerId, Owner};
use crate::core::deploy::{Counted, Deployment, Entry, GateResult};
use crate::core::names::{AppName, HostName, ImageRef};
use crate::core::release::ImageNow;
use crate::core::render::Rendered;
use crate::core::service::Service;
use crate::core::testing::container;
use crate::core::world::{Fact, Found, InstanceSpec, Intent, JobSpec, ProbeTarget, Write};
use crate::core::zone::Zone;
use crate::ports::balancer::{Balancer, BalancerError, BalancerStatus, Generation};
use crate::ports::engine::{Engine, EngineError, EngineVersion, Hints, Listing, LogLines, LogQuery, PlatformNetwork};
use crate::ports::inbox::Inbox;
use crate::ports::ledger::{Ledger, LedgerError};
use crate::ports::prober::Prober;
use crate::ports::resolver::Resolver;

/// Starts what it is told to, unless the next answer was set.
#[derive(Default)]
pub(super) struct FakeEngine {
    pub(super) started: Mutex<Vec<String>>,
    pub(super) stopped: Mutex<Vec<ContainerId>>,
    pub(super) answers: Mutex<VecDeque<EngineError>>,
    pub(super) panics: Mutex<bool>,
}

#[async_trait::async_trait]
impl Engine for FakeEngine {
    async fn version(&self) -> Result<EngineVersion, EngineError> {
        Ok(EngineVersion { version: "fake".into(), api: "1.41".into() })
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        Ok(Listing::default())
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Container, EngineError> {
        Err(EngineError::NotFound(id.to_string()))
    }

    async fn hints(&self) -> Result<Hints, EngineError> {
        Ok(Box::pin(stream::pending()))
    }

    async fn ensure_network(&self, _: &str, _: &Owner, _: Option<&str>) -> Result<PlatformNetwork, EngineError> {
        Ok(PlatformNetwork { gateway: [172, 30, 0, 1].into(), older: Vec::new() })
    }

    async fn connect(&self, _: &ContainerId) -> Result<(), EngineError> {
        Ok(())
    }

    async fn remove_network(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Container, EngineError> {
        if std::mem::take(&mut *self.panics.lock().unwrap()) {
            panic!("on purpose");
        }
        if let Some(error) = self.answers.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.started.lock().unwrap().push(spec.name.clone());
        let labels: Vec<(&str, &str)> = spec.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        Ok(container(&spec.name, &labels))
    }

    async fn image_now(&self, _: &ImageRef) -> Result<ImageNow, EngineError> {
        Ok(ImageNow::default())
    }

    async fn image(&self, image: &str, _: Option<&str>) -> Result<Arc<str>, EngineError> {
        Ok(format!("sha256:{image}").into())
    }

    async fn has_image(&self, _: &str) -> Result<bool, EngineError> {
        Ok(false)
    }

    async fn layers_here(&self, _: &[String]) -> Result<usize, EngineError> {
        Ok(0)
    }

    async fn load(&self, _: std::fs::File) -> Result<(), EngineError> {
        Ok(())
    }

    async fn name_image(&self, _: &str, _: &ImageRef) -> Result<(), EngineError> {
        Ok(())
    }

    async fn remove_image(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn job(&self, _: &JobSpec) -> Result<GateResult, EngineError> {
        Ok(GateResult { exit_code: Some(0), error: None, log: Vec::new() })
    }

    async fn restart(&self, _: &ContainerId) -> Result<(), EngineError> {
        Ok(())
    }

    async fn stop(&self, id: &ContainerId, _: Duration) -> Result<(), EngineError> {
        self.stopped.lock().unwrap().push(id.clone());
        Ok(())
    }

    async fn logs(&self, _: &ContainerId, _: LogQuery) -> Result<LogLines, EngineError> {
        Ok(Box::pin(stream::empty()))
    }
}

/// Accepts every generation, unless the next answer was set.
#[derive(Default)]
pub(super) struct FakeBalancer {
    pub(super) reached: Mutex<Vec<u64>>,
    pub(super) answers: Mutex<VecDeque<BalancerError>>,
}

#[async_trait::async_trait]
impl Balancer for FakeBalancer {
    async fn adopt(&self) -> Result<Option<Found>, BalancerError> {
        Ok(None)
    }

    async fn reach(&self, generation: &Generation) -> Result<(), BalancerError> {
        if let Some(error) = self.answers.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.reached.lock().unwrap().push(generation.number);
        Ok(())
    }

    async fn settle(&self, _: u64) -> Result<usize, BalancerError> {
        Ok(0)
    }

    async fn check(&self, rendered: &Rendered) -> Result<(), BalancerError> {
        match rendered.http.contains("app.bad.") {
            true => Err(BalancerError::Refused { reason: "bad".into(), line: None }),
            false => Ok(()),
        }
    }

    async fn drained(&self, _: SocketAddr, _: Duration) {}

    async fn counted(&self) -> Vec<Counted> {
        std::future::pending().await
    }

    async fn watch(&self) -> String {
        std::future::pending().await
    }

    async fn status(&self) -> BalancerStatus {
        BalancerStatus { state: "running", pid: None, version: "fake".into() }
    }

    async fn quit(&self, _: Duration) {}
}

/// Every probe passes at once.
pub(super) struct FakeProber(pub(super) Inbox);

impl Prober for FakeProber {
    fn probe(&self, targets: &[ProbeTarget]) {
        for target in targets {
            self.0.tell(Fact::Probed {
                subject: target.subject.clone(),
                started_at: target.started_at,
                verdict: Ok(()),
            });
        }
    }
}

pub(super) struct FakeResolver;

#[async_trait::async_trait]
impl Resolver for FakeResolver {
    fn publish(&self, _: Arc<Zone>) {}

    async fn look_up(&self, _: &HostName) -> Result<IpAddr, String> {
        Err("nobody is asked".into())
    }
}

#[derive(Default)]
pub(super) struct FakeLedger {
    pub(super) full: Mutex<bool>,
}

impl Ledger for FakeLedger {
    fn recall(&self) -> Result<BTreeMap<AppName, Intent>, LedgerError> {
        Ok(BTreeMap::new())
    }

    fn write(&self, _: &[Write]) -> Result<(), LedgerError> {
        match *self.full.lock().unwrap() {
            true => Err(LedgerError::Broken { path: "ledger".into(), reason: "disk full".into() }),
            false => Ok(()),
        }
    }

    fn services(&self) -> Result<BTreeMap<AppName, Service>, LedgerError> {
        Ok(BTreeMap::new())
    }

    fn inherited(&self) -> Result<Option<BTreeSet<ContainerId>>, LedgerError> {
        Ok(None)
    }

    fn history(&self, _: &AppName, _: usize) -> Result<Vec<Entry>, LedgerError> {
        Ok(Vec::new())
    }

    fn deployments(&self, _: Option<&AppName>, _: usize) -> Result<Vec<Deployment>, LedgerError> {
        Ok(Vec::new())
    }

    fn deployment(&self, _: &str) -> Result<Option<Deployment>, LedgerError> {
        Ok(None)
    }
}

pub(super) fn trouble(reason: &str) -> BalancerError {
    BalancerError::Trouble(reason.into())
}

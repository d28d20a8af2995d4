//! nginx as the balancer: a process of ours, run from a folder of ours, that outlives us.
//!
//! In: generations as text. Out: which one its workers answer with. Only that counts as live: a file that was
//! written, or a signal that was sent, says nothing.

mod access;
mod drain;
mod folder;
mod foreign;
mod log;
mod process;
mod status;
mod switch;
mod version;

pub use foreign::ForeignNginx;
pub use version::{Found, find};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::core::deploy::Counted;
use crate::core::render::Rendered;
use crate::core::world;
use crate::ports::balancer::{Balancer, BalancerError, BalancerStatus, Generation};
use access::AccessLog;
use folder::Folder;
use process::{Master, Process};

const POLL: Duration = Duration::from_millis(100);
const DRAIN_POLL: Duration = Duration::from_millis(50);

pub struct Nginx {
    found: Found,
    folder: Folder,
    /// How many there are of a generation.
    workers: usize,
    /// One switch at a time; what it replaced, until it is settled.
    replaced: Mutex<Vec<Process>>,
    access: Mutex<AccessLog>,
}

impl Nginx {
    /// `folder` is nginx's own folder below the state folder; it is made if missing. `workers` is what the
    /// generations set `worker_processes` to.
    pub fn new(found: Found, folder: PathBuf, workers: usize) -> Result<Self, BalancerError> {
        let folder = Folder::make(folder)?;
        let access = Mutex::new(AccessLog::new(folder.root().join("access.log")));
        Ok(Self { found, folder, workers, replaced: Mutex::default(), access })
    }

    fn master(&self) -> Option<Master> {
        Master::find(&self.folder)
    }
}

#[async_trait::async_trait]
impl Balancer for Nginx {
    async fn adopt(&self) -> Result<Option<world::Found>, BalancerError> {
        let Some(master) = self.master() else { return Ok(None) };
        let Some(generation) = switch::served(&self.folder, master, self.workers).await else { return Ok(None) };
        let told = self.folder.current().map_or(generation, |(number, _)| number);
        Ok(self.folder.memory(generation).map(|m| world::Found {
            generation,
            routes: m.routes,
            fingerprint: m.fingerprint,
            last: generation.max(told),
        }))
    }

    async fn reach(&self, generation: &Generation) -> Result<(), BalancerError> {
        let mut replaced = self.replaced.lock().await;
        *replaced = switch::reach(&self.found, &self.folder, self.master(), generation).await?;
        Ok(())
    }

    async fn settle(&self, generation: u64) -> Result<(), BalancerError> {
        let replaced = self.replaced.lock().await;
        switch::settle(&replaced, self.master(), self.workers).await?;
        self.folder.prune(generation);
        Ok(())
    }

    async fn check(&self, rendered: &Rendered) -> Result<(), BalancerError> {
        switch::check(&self.found, &self.folder, rendered).await
    }

    async fn drained(&self, address: SocketAddr, limit: Duration) {
        let deadline = Instant::now() + limit;
        // Workers of a master that was killed are nobody's children any more.
        let orphans = process::orphans(&self.folder);
        loop {
            let mut leaving = self.master().map(|master| master.leaving_workers()).unwrap_or_default();
            leaving.extend(orphans.iter().filter(|process| !process.stays()));
            if !drain::is_needed(address, &leaving) || Instant::now() >= deadline {
                return;
            }
            sleep(DRAIN_POLL).await;
        }
    }

    async fn counted(&self) -> Vec<Counted> {
        self.access.lock().await.counted(&self.folder).await
    }

    async fn watch(&self) -> String {
        sleep(POLL).await;
        if let Some(master) = self.master() {
            master.process().ended().await;
        }
        "nginx has ended".into()
    }

    async fn status(&self) -> BalancerStatus {
        let master = self.master();
        BalancerStatus {
            state: if master.is_some() { "running" } else { "stopped" },
            pid: master.map(|m| m.pid()),
            version: self.found.version.to_string(),
        }
    }

    async fn quit(&self, limit: Duration) {
        switch::quit(&self.folder, self.master(), limit).await;
    }
}

#[cfg(test)]
mod tests;

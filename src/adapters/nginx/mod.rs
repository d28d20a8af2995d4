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

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::core::deploy::Counted;
use crate::core::render::Rendered;
use crate::core::world;
use crate::ports::balancer::{Balancer, BalancerError, BalancerStatus, Generation};
use crate::ports::limits::{Limits, Resource};
use access::AccessLog;
use folder::Folder;
use process::{Master, Process, Program};
use version::Version;

const POLL: Duration = Duration::from_millis(100);
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// On a machine with many cores one switch leaves many workers: so many switches' may have connections yet, whatever
/// the limit is.
const GENERATIONS_LEAVING: usize = 8;

pub struct Nginx {
    version: Version,
    program: Program,
    folder: Folder,
    /// How many there are of a generation.
    workers: usize,
    /// One switch at a time; what it replaced, until it is settled.
    replaced: Mutex<Vec<Process>>,
    /// How many replaced workers may have connections yet.
    limits: Limits,
    access: Mutex<AccessLog>,
}

impl Nginx {
    /// `folder` is nginx's own folder below the state folder; it is made if missing. `workers` and `connections` are
    /// what the generations set `worker_processes` and `worker_connections` to.
    pub fn new(
        found: Found,
        folder: PathBuf,
        workers: usize,
        connections: u64,
        limits: Limits,
    ) -> Result<Self, BalancerError> {
        let folder = Folder::make(folder)?;
        let access = Mutex::new(AccessLog::new(folder.root().join("access.log")));
        let program = Program::new(found.binary, connections);
        Ok(Self { version: found.version, program, folder, workers, replaced: Mutex::default(), limits, access })
    }

    /// Ends the oldest of the workers that were replaced where there are too many, and says how many those were.
    fn end_oldest(&self) -> usize {
        let Some(master) = self.master() else { return 0 };
        let mut leaving = master.leaving_workers();
        leaving.sort_by_key(|worker| Reverse(worker.started()));
        let most = self.limits.of(Resource::LeavingWorker).total.max(self.workers * GENERATIONS_LEAVING);
        let ended = leaving.iter().skip(most).filter(|worker| worker.signal(Signal::SIGTERM)).count();
        self.limits.measured(Resource::LeavingWorker, leaving.len().min(most), ended);
        ended
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
        *replaced = switch::reach(&self.program, &self.folder, self.master(), generation).await?;
        Ok(())
    }

    async fn settle(&self, generation: u64) -> Result<usize, BalancerError> {
        let replaced = self.replaced.lock().await;
        switch::settle(&replaced, self.master(), self.workers).await?;
        self.folder.prune(generation);
        Ok(self.end_oldest())
    }

    async fn check(&self, rendered: &Rendered) -> Result<(), BalancerError> {
        switch::check(&self.program, &self.folder, rendered).await
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
            version: self.version.to_string(),
        }
    }

    async fn quit(&self, limit: Duration) {
        switch::quit(&self.folder, self.master(), limit).await;
    }
}

#[cfg(test)]
mod tests;

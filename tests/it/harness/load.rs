//! Requests that go on while something happens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{DEADLINE, request};

/// Clients that ask all the time, each request on a fresh connection, and keep what goes wrong.
pub struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU32>,
    /// Each returns what went wrong.
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn begin(address: SocketAddr, host: &str, path: &str, clients: usize) -> Self {
        let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let client = || {
            let (stop, good) = (stop.clone(), good.clone());
            let (host, path) = (host.to_owned(), path.to_owned());
            tokio::spawn(async move {
                let mut bad = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match request(address, &host, &path).await {
                        Ok(answer) if answer.status == 200 => _ = good.fetch_add(1, Ordering::SeqCst),
                        Ok(answer) => bad.push(format!("{} {}", answer.status, answer.body)),
                        Err(error) => bad.push(error.to_string()),
                    }
                }
                bad
            })
        };
        let clients = (0..clients).map(|_| client()).collect();
        Self { stop, good, clients }
    }

    /// Goes on until so many were answered with 200, however slow the machine is, and demands that all were.
    pub async fn end(self, at_least: u32) {
        let deadline = Instant::now() + DEADLINE;
        while self.good.load(Ordering::SeqCst) < at_least && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let good = self.good.load(Ordering::SeqCst);
        let bad = self.failures().await;
        assert!(good >= at_least && bad.is_empty(), "{good} good, {} bad: {:?}", bad.len(), bad.first());
    }

    /// Stops, and returns what went wrong.
    pub async fn failures(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut bad = Vec::new();
        for client in self.clients {
            bad.extend(client.await.unwrap());
        }
        bad
    }
}

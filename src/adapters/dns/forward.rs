//! Everything outside the domain: asked of the upstream servers in the order given.
//!
//! A server that cannot say (SERVFAIL, REFUSED) or says nothing is passed over for the next; that there is no such
//! name is an answer. One that was silent is asked last until it answers again, which is tried beside the questions:
//! nobody waits for it. Answers are kept for their TTL, in bounded memory.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use moka::Expiry;
use moka::sync::Cache;

use super::exchange::{Ask, PATIENCE, Silence, exchange};
use super::relay::{Answer, Verdict};
use super::wire::{self, AD, CD, Question, RD, Transport};
use crate::ports::limits::{Held, Limits, Resource};

/// Octets of answers that are kept.
const CACHE: u64 = 4 << 20;
/// A server that was silent is tried this often, until it answers.
const TRIED: Duration = Duration::from_secs(5);
/// How often all of them are asked, before nobody knows.
const ROUNDS: u32 = 2;

const SERVER_FAILURE: u8 = 2;
const REFUSED: u8 = 5;

/// Record types that are no question about a name, but whole zones and keys of a connection.
const NOT_PASSED_ON: std::ops::RangeInclusive<u16> = 249..=252;

/// Who is asked, and what was answered; cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    servers: Arc<ArcSwap<Vec<Arc<Server>>>>,
    cache: Cache<Arc<[u8]>, Arc<Kept>>,
    limits: Limits,
}

struct Server {
    address: SocketAddr,
    is_silent: AtomicBool,
}

struct Kept {
    answer: Answer,
    since: Instant,
}

impl Forwarder {
    pub fn new(limits: Limits) -> Self {
        let weigh = |key: &Arc<[u8]>, kept: &Arc<Kept>| u32::try_from(key.len() + kept.answer.weight()).unwrap_or(!0);
        let cache = Cache::builder().max_capacity(CACHE).weigher(weigh).expire_after(ByTtl).build();
        Self { servers: Arc::default(), cache, limits }
    }

    /// From now on these are asked. What others said is forgotten: another network, other names. Questions under
    /// way end with those that they began with.
    pub fn ask(&self, servers: &[SocketAddr]) {
        let server = |address: &SocketAddr| Arc::new(Server { address: *address, is_silent: AtomicBool::new(false) });
        self.servers.store(Arc::new(servers.iter().map(server).collect()));
        self.cache.invalidate_all();
    }

    /// Writes what is known already, or why the question is not passed on; or takes room for it to be. That is taken
    /// before anything is made for the question: a flood leaves nothing that waits.
    pub fn answer_at_once(
        &self,
        question: &Question<'_>,
        asker: IpAddr,
        transport: Transport,
        message: &mut Vec<u8>,
    ) -> Option<Held> {
        if question.class() != wire::IN || NOT_PASSED_ON.contains(&question.kind()) || self.servers.load().is_empty() {
            wire::failure(question, REFUSED, message);
            return None;
        }
        if let Some(kept) = self.cache.get(&key(question)[..]) {
            let age = u32::try_from(kept.since.elapsed().as_secs()).unwrap_or(u32::MAX);
            if age < kept.answer.ttl {
                kept.answer.write(question, age, transport, message);
                return None;
            }
        }
        match self.limits.take(Resource::DnsForward, asker) {
            Ok(held) => Some(held),
            Err(full) => {
                tracing::debug!(%full, %asker, "a question is not passed on");
                wire::failure(question, REFUSED, message);
                None
            }
        }
    }

    /// Asks the servers, and writes the response. `_held` is the room that was taken for it.
    pub async fn answer(&self, question: &Question<'_>, _held: Held, transport: Transport, message: &mut Vec<u8>) {
        let [flags, more] = question.flags();
        let dnssec_ok = question.edns.is_some_and(|edns| edns.dnssec_ok);
        let ask = Ask { flags: [flags & RD, more & (AD | CD)], section: question.section().into(), dnssec_ok };
        let Some(answer) = self.resolve(&ask).await else { return wire::failure(question, SERVER_FAILURE, message) };
        answer.write(question, 0, transport, message);
        if answer.ttl > 0 && answer.verdict() == Verdict::Answered {
            self.cache.insert(key(question), Arc::new(Kept { answer, since: Instant::now() }));
        }
    }

    /// What the first server says that can; else the first failure; `None` where all are silent.
    pub async fn resolve(&self, ask: &Ask) -> Option<Answer> {
        let servers = self.servers.load_full();
        let (mut silent, mut order): (Vec<_>, Vec<_>) =
            servers.iter().partition(|server| server.is_silent.load(Relaxed));
        order.append(&mut silent);
        // Where nobody else can be asked, an answer that is late is taken.
        let (rounds, patience) = if servers.len() == 1 { (1, PATIENCE * ROUNDS) } else { (ROUNDS, PATIENCE) };
        let mut failed = None;
        for _ in 0..rounds {
            let mut again = Vec::new();
            for server in order {
                match exchange(server.address, ask, patience).await {
                    Ok(answer) if answer.verdict() == Verdict::Answered => {
                        server.is_silent.store(false, Relaxed);
                        return Some(answer);
                    }
                    Ok(answer) => _ = failed.get_or_insert(answer),
                    Err(Silence) => {
                        if !server.is_silent.swap(true, Relaxed) {
                            tokio::spawn(revive(Arc::downgrade(server)));
                        }
                        again.push(server);
                    }
                }
            }
            order = again;
        }
        failed
    }
}

/// Tries a server that was silent until it answers, whatever it says, or is no longer asked. At once at first: it may
/// only have been slow to find one name, and then it keeps its place.
async fn revive(server: Weak<Server>) {
    let about_the_root = Ask { flags: [RD, 0], section: [0, 0, 2, 0, 1].into(), dnssec_ok: false };
    while let Some(address) = server.upgrade().filter(|s| s.is_silent.load(Relaxed)).map(|server| server.address) {
        if exchange(address, &about_the_root, PATIENCE).await.is_ok() {
            if let Some(server) = server.upgrade() {
                server.is_silent.store(false, Relaxed);
            }
            return;
        }
        tokio::time::sleep(TRIED).await;
    }
}

/// What of a question an answer depends on: the name in whatever case, type, class, and what is asked of DNSSEC.
fn key(question: &Question<'_>) -> Arc<[u8]> {
    let [flags, more] = question.flags();
    let dnssec_ok = u8::from(question.edns.is_some_and(|edns| edns.dnssec_ok));
    let mut key = Vec::with_capacity(question.section().len() + 1);
    key.push(flags & RD | more & (AD | CD) | dnssec_ok << 1);
    key.extend(question.section());
    let name = question.name().len();
    key[1..=name].make_ascii_lowercase();
    key.into()
}

struct ByTtl;

impl Expiry<Arc<[u8]>, Arc<Kept>> for ByTtl {
    fn expire_after_create(&self, _: &Arc<[u8]>, kept: &Arc<Kept>, _: Instant) -> Option<Duration> {
        Some(Duration::from_secs(kept.answer.ttl.into()))
    }
}

//! What reading one archive may cost: one limit of size, ratio, members and time for every kind of archive, and an
//! end as soon as nobody waits for the result any more.

use std::cell::Cell;
use std::error::Error;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What an archive may unpack to, in bytes: more is a mistake or a bomb.
pub const LARGEST: u64 = 16 << 30;
/// How many files, folders and links an archive may hold.
pub const MEMBERS: u64 = 500_000;
/// How many times larger than itself an archive may be unpacked, once it is larger than [`HARMLESS`].
const RATIO: u64 = 100;
const HARMLESS: u64 = 64 << 20;
/// Headers of one member, long names included.
const HEADER: u64 = 1 << 20;
const TIME: Duration = Duration::from_secs(600);

/// Which limit an archive went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    #[error("unpacks to more than {} GiB", LARGEST >> 30)]
    Size,
    #[error("unpacks to more than {RATIO} times its own size, as only a bomb does")]
    Ratio,
    #[error("holds more than {MEMBERS} files and folders")]
    Members,
    #[error("holds a name of more than {} MiB", HEADER >> 20)]
    Header,
    #[error("takes more than {} s to read", TIME.as_secs())]
    Time,
    #[error("is not wanted any more: who sent it has gone")]
    Cancelled,
}

impl Spent {
    /// The limit behind an error that a [`Counted`] reader gave.
    pub fn behind(error: &io::Error) -> Option<Self> {
        let mut cause: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as _);
        while let Some(error) = cause {
            if let Some(spent) = error.downcast_ref() {
                return Some(*spent);
            }
            // An I/O error names as its source what its inner error names, and not that itself.
            cause = match error.downcast_ref::<io::Error>() {
                Some(wrapped) => wrapped.get_ref().map(|inner| inner as _),
                None => error.source(),
            };
        }
        None
    }
}

/// Tells blocking work that nobody waits for it any more. Held by whoever waits.
#[derive(Debug, Default)]
pub struct Waiting(Cancelled);

/// Asked by blocking work.
#[derive(Debug, Clone, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Waiting {
    pub fn cancelled(&self) -> Cancelled {
        self.0.clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Cancelled {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The budget of one archive; shared by its readers.
#[derive(Debug)]
pub struct Budget {
    packed: u64,
    unpacked: Cell<u64>,
    members: Cell<u64>,
    /// Bytes that may still be read before the next member is there.
    header: Cell<u64>,
    until: Instant,
    cancelled: Cancelled,
}

impl Budget {
    /// For an archive of `packed` bytes.
    pub fn new(packed: u64, cancelled: Cancelled) -> Self {
        Self {
            packed,
            unpacked: Cell::new(0),
            members: Cell::new(0),
            header: Cell::new(u64::MAX),
            until: Instant::now() + TIME,
            cancelled,
        }
    }

    /// Counts one more file, folder or link.
    pub fn member(&self) -> Result<(), Spent> {
        self.members.set(self.members.get() + 1);
        self.check(self.members.get() <= MEMBERS, Spent::Members)
    }

    /// What an archive announces is refused before it is unpacked.
    pub fn announced(&self, bytes: u64) -> Result<(), Spent> {
        self.check(bytes <= LARGEST, Spent::Size)?;
        self.check(bytes <= HARMLESS || bytes <= self.packed.saturating_mul(RATIO), Spent::Ratio)
    }

    /// Until [`Self::contents`], headers are read.
    pub fn headers(&self) {
        self.header.set(HEADER);
    }

    /// From now on, contents are read.
    pub fn contents(&self) {
        self.header.set(u64::MAX);
    }

    /// A reader that counts what is read through it.
    pub fn counted<R>(&self, inner: R) -> Counted<'_, R> {
        Counted { inner, budget: self }
    }

    fn spend(&self, bytes: u64) -> Result<(), Spent> {
        self.unpacked.set(self.unpacked.get().saturating_add(bytes));
        self.announced(self.unpacked.get())?;
        let left = self.header.get();
        self.header.set(if left == u64::MAX { left } else { left.saturating_sub(bytes) });
        self.check(left == u64::MAX || bytes <= left, Spent::Header)?;
        self.check(Instant::now() < self.until, Spent::Time)?;
        self.check(!self.cancelled.is_set(), Spent::Cancelled)
    }

    fn check(&self, holds: bool, spent: Spent) -> Result<(), Spent> {
        if holds { Ok(()) } else { Err(spent) }
    }
}

/// Reads on while its budget lasts; then every read is an error that [`Spent::behind`] knows.
pub struct Counted<'a, R> {
    inner: R,
    budget: &'a Budget,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.budget.spend(read as u64).map_err(io::Error::other)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(packed: u64, read: u64) -> Option<Spent> {
        let budget = Budget::new(packed, Cancelled::default());
        let error = io::copy(&mut budget.counted(io::repeat(0).take(read)), &mut io::sink()).err()?;
        Spent::behind(&error)
    }

    #[test]
    fn each_limit_is_reached_and_named() {
        assert_eq!(spent(1, HARMLESS), None, "what is small may be packed as tightly as can be");
        assert_eq!(spent(HARMLESS / RATIO, HARMLESS + 1), Some(Spent::Ratio));
        let budget = Budget::new(u64::MAX, Cancelled::default());
        assert_eq!(budget.announced(LARGEST + 1), Err(Spent::Size));
        assert!((0..MEMBERS).all(|_| budget.member().is_ok()));
        assert_eq!(budget.member(), Err(Spent::Members));
        budget.headers();
        let error = io::copy(&mut budget.counted(io::repeat(0).take(HEADER + 1)), &mut io::sink()).unwrap_err();
        assert_eq!(Spent::behind(&error), Some(Spent::Header));
    }

    #[test]
    fn work_ends_when_nobody_waits_for_it() {
        let waiting = Waiting::default();
        let budget = Budget::new(1, waiting.cancelled());
        let mut endless = budget.counted(io::repeat(0));
        endless.read_exact(&mut [0; 9]).unwrap();
        drop(waiting);
        assert_eq!(Spent::behind(&endless.read_exact(&mut [0; 9]).unwrap_err()), Some(Spent::Cancelled));
    }
}

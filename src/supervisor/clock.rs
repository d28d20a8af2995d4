//! The moments that the loop works with: the wall clock's when it was last right, gone on by the machine's steady one.
//!
//! Waits and pauses are kept as moments. A wall clock that is set would end or stretch them all, so it is not looked
//! at for the time that passes; that it was set is noticed, and told to the world.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// A smaller difference is one of reading two clocks, one after the other, or of a clock that is slewed.
const SET: SignedDuration = SignedDuration::from_secs(2);

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub wall: Timestamp,
    /// Since the machine started, its sleep included.
    pub steady: Duration,
}

#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> Reading + Send + Sync>,
    /// When the wall clock was last believed.
    anchor: Reading,
}

impl Clock {
    /// This machine's.
    pub fn system() -> Self {
        Self::new(|| Reading { wall: Timestamp::now(), steady: steady() })
    }

    pub fn new(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        let anchor = read();
        Self { read: Arc::new(read), anchor }
    }

    pub fn now(&self) -> Timestamp {
        self.at((self.read)())
    }

    /// By how much the wall clock was set since the last look; from now on it is believed as it is.
    pub fn look(&mut self) -> Option<SignedDuration> {
        let reading = (self.read)();
        let by = reading.wall.duration_since(self.at(reading));
        if by.abs() <= SET {
            return None;
        }
        self.anchor = reading;
        Some(by)
    }

    fn at(&self, reading: Reading) -> Timestamp {
        let passed = reading.steady.saturating_sub(self.anchor.steady);
        self.anchor.wall.checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}

fn steady() -> Duration {
    #[cfg(target_os = "linux")]
    const STEADY: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const STEADY: ClockId = ClockId::CLOCK_MONOTONIC;
    // A kernel has had it for longer than it has had containers.
    clock_gettime(STEADY).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn time_passes_by_the_steady_clock_and_a_set_one_is_told_once() {
        let hands = Arc::new(Mutex::new(Reading { wall: Timestamp::UNIX_EPOCH, steady: Duration::ZERO }));
        let seen = hands.clone();
        let mut clock = Clock::new(move || *seen.lock().unwrap());
        let begin = clock.now();
        let turn = |steady: u64, wall: i64| {
            let mut hands = hands.lock().unwrap();
            hands.steady += Duration::from_secs(steady);
            hands.wall += SignedDuration::from_secs(wall);
        };
        let year = 365 * 24 * 3600;
        turn(5, 6);
        assert_eq!((clock.look(), clock.now()), (None, begin + SignedDuration::from_secs(5)));
        turn(5, 5 + year);
        assert_eq!(clock.now(), begin + SignedDuration::from_secs(10), "nobody has waited a year");
        assert_eq!(clock.look(), Some(SignedDuration::from_secs(year + 1)));
        assert_eq!((clock.look(), clock.now()), (None, begin + SignedDuration::from_secs(11 + year)));
        turn(1, 1 - 2 * year);
        assert_eq!(clock.look(), Some(SignedDuration::from_secs(-2 * year)));
        assert_eq!(clock.look(), None);
    }

    #[test]
    fn the_machines_clock_goes_on() {
        let mut clock = Clock::system();
        let before = clock.now();
        assert!(clock.now() >= before && clock.look().is_none());
    }
}

//! What each running test has for itself.

use std::net::TcpListener;

use super::leftovers::remove_network;

/// A subnet and ports that no other running test has, in whichever process: Docker's own pools are small.
pub struct Slot {
    pub number: u8,
    _lock: nix::fcntl::Flock<std::fs::File>,
}

impl Slot {
    pub fn take() -> Self {
        let folder = std::env::temp_dir().join("platformer-test-subnets");
        std::fs::create_dir_all(&folder).unwrap();
        for number in 1..250 {
            let file = std::fs::File::create(folder.join(number.to_string())).unwrap();
            if let Ok(lock) = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock) {
                let slot = Self { number, _lock: lock };
                if (0..8).any(|n| TcpListener::bind(("127.0.0.1", slot.port(n))).is_err()) {
                    continue;
                }
                // A test that was killed could not clean up.
                remove_network(&format!("pf-{number}"));
                return slot;
            }
        }
        panic!("250 tests run at once?");
    }

    /// One of the slot's own ports: below the range that outgoing connections take theirs from.
    pub fn port(&self, n: u16) -> u16 {
        12_000 + u16::from(self.number) * 8 + n
    }
}

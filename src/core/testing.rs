//! Builders for the core's own tests.

use jiff::Timestamp;

use super::container::{Attachment, Container, ContainerId, Owner, RunState};
use super::names::Domain;
use super::world::Platform;
use super::zone::DnsOptions;

/// A running container on network `platform`; its address is made from its name, so that it is stable.
pub fn container(name: &str, labels: &[(&str, &str)]) -> Container {
    let sum = name.bytes().fold(0u16, |sum, b| sum.wrapping_mul(31).wrapping_add(u16::from(b)));
    let [high, low] = sum.to_be_bytes();
    Container {
        id: ContainerId(name.into()),
        name: name.into(),
        image: "demo:1.0.0".into(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        state: RunState::Running,
        health: None,
        attachments: vec![Attachment { network: "platform".into(), addresses: vec![[172, 30, high, low].into()] }],
        host_network: false,
        exposed: vec![8080],
        created_at: Timestamp::UNIX_EPOCH,
        started_at: Some(Timestamp::UNIX_EPOCH),
    }
}

/// The platform that tests of core and supervisor run in.
pub fn platform() -> Platform {
    Platform {
        domain: Domain::platform(),
        owner: Owner("me".into()),
        network: "platform".into(),
        gateway: [172, 30, 0, 1].into(),
        port: 80,
        dns: DnsOptions::default(),
        frame: 1,
        follow_only: false,
    }
}

/// The moment `seconds` after the epoch.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// xorshift64*, so that a seed means the same on every machine (Vigna 2016).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.draw().is_multiple_of(n)
    }

    /// At least 0, less than 1.
    pub fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

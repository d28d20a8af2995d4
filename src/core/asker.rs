//! Who asks: where a question comes from, told by its address alone.
//!
//! The one notion for whatever others can reach: the repository, the registry, DNS, the API, pages. What each of them
//! answers to whom is said in its own table, as an [`Askers`].

use std::net::IpAddr;

use super::container::{Network, Subnet};

/// Where a question comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// This machine: loopback, or one of its own addresses.
    Loopback,
    /// Somebody on the platform's network.
    Container,
    /// Anybody else. Containers on other networks are among them.
    Stranger,
}

impl Asker {
    /// Tells who has this address. `networks` are the engine's: the platform's own is the one that has the `gateway`.
    /// `local` are this machine's addresses. `None` while the platform's network is not known, so that nobody but
    /// this machine can be told from a stranger.
    pub fn of(address: IpAddr, networks: &[Network], gateway: IpAddr, local: &[Subnet]) -> Option<Self> {
        let address = address.to_canonical();
        // The kernel lets no packet in from outside that has one of our own addresses as its source.
        if address.is_loopback() || local.iter().any(|own| own.base == address) {
            return Some(Self::Loopback);
        }
        let own = networks.iter().find(|n| n.subnets.iter().any(|subnet| subnet.contains(gateway)))?;
        // Those that the platform made under another name are its own as well, for as long as somebody is on them.
        let is_own = |n: &&Network| n.name == own.name || (n.owner.is_some() && n.owner == own.owner);
        let is_near = networks.iter().filter(is_own).flat_map(|n| &n.subnets).any(|subnet| subnet.contains(address));
        Some(if is_near { Self::Container } else { Self::Stranger })
    }
}

/// Of whom something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Askers {
    Nobody,
    /// This machine alone.
    Loopback,
    /// This machine and the platform's network.
    Near,
    Anyone,
}

impl Askers {
    /// Whether he is among them; `None` where that turns on what is not known yet, see [`Asker::of`].
    pub fn include(self, asker: Option<Asker>) -> Option<bool> {
        match (self, asker) {
            (Self::Anyone, _) => Some(true),
            (Self::Nobody, _) => Some(false),
            (Self::Loopback, asker) => Some(asker == Some(Asker::Loopback)),
            (Self::Near, asker) => asker.map(|asker| asker != Asker::Stranger),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, subnets: &[&str]) -> Network {
        let subnets = subnets.iter().map(|text| Subnet::parse(text).unwrap()).collect();
        Network { name: name.into(), owner: None, subnets }
    }

    fn asker(address: &str) -> Option<Asker> {
        let networks = [network("platform", &["172.18.0.0/16", "fd00:1::/64"]), network("bridge", &["172.17.0.0/16"])];
        let local = ["172.18.0.1/16", "192.0.2.7/24", "2001:db8::7/64"].map(|text| Subnet::parse(text).unwrap());
        Asker::of(address.parse().unwrap(), &networks, [172, 18, 0, 1].into(), &local)
    }

    #[test]
    fn an_address_tells_this_machine_our_containers_and_strangers_apart() {
        for (address, expected) in [
            ("127.0.0.1", Asker::Loopback),
            ("127.9.9.9", Asker::Loopback),
            ("::1", Asker::Loopback),
            ("::ffff:127.0.0.1", Asker::Loopback),
            ("172.18.0.1", Asker::Loopback),
            ("192.0.2.7", Asker::Loopback),
            ("2001:db8::7", Asker::Loopback),
            ("172.18.0.9", Asker::Container),
            ("::ffff:172.18.0.9", Asker::Container),
            ("fd00:1::9", Asker::Container),
            ("172.17.0.9", Asker::Stranger),
            ("192.0.2.8", Asker::Stranger),
            ("0.0.0.0", Asker::Stranger),
            ("2001:db8::8", Asker::Stranger),
        ] {
            assert_eq!(asker(address), Some(expected), "{address}");
        }
    }

    #[test]
    fn while_our_network_is_not_known_only_this_machine_is() {
        let of = |address: [u8; 4]| Asker::of(address.into(), &[], [172, 18, 0, 1].into(), &[]);
        assert_eq!((of([127, 0, 0, 1]), of([172, 18, 0, 9])), (Some(Asker::Loopback), None));
        assert_eq!(Askers::Near.include(of([127, 0, 0, 1])), Some(true));
        assert_eq!((Askers::Near.include(None), Askers::Loopback.include(None)), (None, Some(false)));
        assert_eq!((Askers::Anyone.include(None), Askers::Nobody.include(None)), (Some(true), Some(false)));
    }
}

//! Answering one question from a [`Zone`], depending on who asks. Pure: no socket, no wire format.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::asker::Asker;
use super::{Pointer, THIS_MACHINE, Target, Wildcard, Zone};

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The record types the zone has; everything else is NODATA where the name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKind {
    A,
    Aaaa,
    Ptr,
    Srv,
    Soa,
    Ns,
    Any,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Address(IpAddr),
    /// A host name without the trailing dot.
    Pointer(String),
    Service {
        target: String,
        port: u16,
    },
    Soa,
    NameServer(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `extra` are the addresses of the services, for the additional section.
    Answers {
        answers: Vec<Answer>,
        extra: Vec<(String, IpAddr)>,
    },
    /// The name exists, nothing of the kind does.
    NoData,
    NoName,
    /// Not in the zone: to be forwarded.
    NotOurs,
}

impl Reply {
    /// The addresses among the answers.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let Self::Answers { answers, .. } = self else { return Vec::new() };
        let address = |answer: &Answer| match answer {
            Answer::Address(ip) => Some(*ip),
            Answer::Pointer(_) | Answer::Service { .. } | Answer::Soa | Answer::NameServer(_) => None,
        };
        answers.iter().filter_map(address).collect()
    }
}

impl Zone {
    /// Looks up a name in lower case without the trailing dot.
    pub fn lookup(&self, name: &str, kind: QueryKind, asker: IpAddr) -> Reply {
        if let Some(address) = reverse_address(name) {
            return self.reverse_lookup(address, kind);
        }
        let domain = self.domain.as_str();
        if name == domain {
            return match kind {
                QueryKind::Soa | QueryKind::Any => one(Answer::Soa),
                QueryKind::Ns => one(Answer::NameServer(format!("dns.{domain}"))),
                QueryKind::A | QueryKind::Aaaa | QueryKind::Ptr | QueryKind::Srv | QueryKind::Other => Reply::NoData,
            };
        }
        let ours = self.below(name).is_some();
        match self.target(name) {
            Some(target) => self.answer(&target, kind, asker),
            None if ours => match self.wildcard {
                Wildcard::Off => Reply::NoName,
                Wildcard::Balancer => self.answer(&Target::Balancer, kind, asker),
                Wildcard::Address(address) => self.answer(&Target::Fixed(address), kind, asker),
            },
            None if name == "localhost" => addresses(LOOPBACK, kind),
            None if name.ends_with(".localhost") => {
                let found: Vec<_> = LOOPBACK.into_iter().filter(|ip| self.listens_at(*ip)).collect();
                addresses(if found.is_empty() { LOOPBACK[..1].to_vec() } else { found }, kind)
            }
            None => Reply::NotOurs,
        }
    }

    /// The addresses at which an asker reaches the balancer: only those at which it listens.
    fn balancer_for(&self, asker: IpAddr) -> Vec<IpAddr> {
        let machine = self.machine_for(asker);
        let places = if machine.is_loopback() { LOOPBACK.to_vec() } else { vec![machine] };
        let found: Vec<_> = places.into_iter().filter(|place| self.listens_at(*place)).collect();
        if !found.is_empty() {
            return found;
        }
        let reaches = |ip: &IpAddr| !ip.is_unspecified() && (machine.is_loopback() || !ip.is_loopback());
        self.balancer.iter().map(SocketAddr::ip).find(reaches).into_iter().collect()
    }

    fn listens_at(&self, place: IpAddr) -> bool {
        let covers = |ip: IpAddr| ip == place || (ip.is_unspecified() && ip.is_ipv4() == place.is_ipv4());
        self.balancer.iter().any(|listener| covers(listener.ip()))
    }

    /// The address at which an asker reaches this machine: loopback for this machine, the platform's gateway
    /// for containers, and for others the address of ours that is on their network.
    fn machine_for(&self, asker: IpAddr) -> IpAddr {
        let asker = asker.to_canonical();
        if self.asker(asker) == Some(Asker::Loopback) {
            return IpAddr::V4(Ipv4Addr::LOCALHOST);
        }
        let neighbour = self.local.iter().find(|own| own.contains(asker));
        match neighbour {
            Some(own) if !self.is_of_engine(asker) => own.base,
            _ => self.gateway,
        }
    }

    fn answer(&self, target: &Target, kind: QueryKind, asker: IpAddr) -> Reply {
        match target {
            Target::Balancer => addresses(self.balancer_for(asker), kind),
            Target::Fixed(address) => addresses([*address], kind),
            Target::Containers(all) => addresses(self.shared_with(asker, all), kind),
            Target::Services(services) if matches!(kind, QueryKind::Srv | QueryKind::Any) => Reply::Answers {
                answers: services
                    .iter()
                    .map(|(label, port)| Answer::Service { target: self.name_of_container(label), port: *port })
                    .collect(),
                extra: services.iter().flat_map(|(label, _)| self.addresses_of(label, asker)).collect(),
            },
            Target::Services(_) | Target::Empty => Reply::NoData,
        }
    }

    fn addresses_of(&self, label: &str, asker: IpAddr) -> Vec<(String, IpAddr)> {
        let all = self.containers.get(label).map_or(&[][..], |located| &located.addresses);
        self.shared_with(asker, all).into_iter().map(|ip| (self.name_of_container(label), ip)).collect()
    }

    /// Only the addresses on networks that the asker is on too; all of them where there are none such.
    fn shared_with(&self, asker: IpAddr, all: &[IpAddr]) -> Vec<IpAddr> {
        let mut shared = Vec::new();
        for subnet in self.networks.iter().flat_map(|n| &n.subnets).filter(|s| s.contains(asker)) {
            shared.extend(all.iter().copied().filter(|address| subnet.contains(*address)));
        }
        if shared.is_empty() {
            shared.extend(all);
        }
        for address in shared.iter_mut().filter(|address| **address == THIS_MACHINE) {
            *address = self.machine_for(asker);
        }
        shared
    }

    fn reverse_lookup(&self, address: IpAddr, kind: QueryKind) -> Reply {
        match self.reverse.get(&address) {
            Some(name) if matches!(kind, QueryKind::Ptr | QueryKind::Any) => one(Answer::Pointer(match name {
                Pointer::Below(label) => format!("{label}.{}", self.domain),
                Pointer::Full(name) => name.clone(),
            })),
            Some(_) => Reply::NoData,
            // An engine's address without a container is nobody else's either.
            None if self.is_of_engine(address) => Reply::NoName,
            None => Reply::NotOurs,
        }
    }
}

fn one(answer: Answer) -> Reply {
    Reply::Answers { answers: vec![answer], extra: Vec::new() }
}

fn addresses(all: impl IntoIterator<Item = IpAddr>, kind: QueryKind) -> Reply {
    let wanted = |address: &IpAddr| match kind {
        QueryKind::A => address.is_ipv4(),
        QueryKind::Aaaa => address.is_ipv6(),
        QueryKind::Any => true,
        QueryKind::Ptr | QueryKind::Srv | QueryKind::Soa | QueryKind::Ns | QueryKind::Other => false,
    };
    let answers: Vec<_> = all.into_iter().filter(wanted).map(Answer::Address).collect();
    if answers.is_empty() { Reply::NoData } else { Reply::Answers { answers, extra: Vec::new() } }
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse_address(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<u8> = labels.split('.').map(|l| l.parse().ok()).collect::<Option<_>>()?;
        let [d, c, b, a]: [u8; 4] = octets.try_into().ok()?;
        return Some(Ipv4Addr::new(a, b, c, d).into());
    }
    let nibbles = name.strip_suffix(".ip6.arpa")?;
    let mut bits: u128 = 0;
    let labels: Vec<&str> = nibbles.split('.').collect();
    if labels.len() != 32 {
        return None;
    }
    for label in labels.iter().rev() {
        bits = bits << 4 | u128::from(u8::from_str_radix(label, 16).ok().filter(|_| label.len() == 1)?);
    }
    Some(Ipv6Addr::from_bits(bits).into())
}

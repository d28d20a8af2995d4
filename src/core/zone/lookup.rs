//! Answering one question from a [`Zone`], depending on who asks. Pure: no socket, no wire format.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::asker::Asker;
use super::{Pointer, Target, Wildcard, Zone};

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
        let ours = name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        match self.target(name) {
            Some(target) => self.answer(&target, kind, asker),
            None if ours => match self.wildcard {
                Wildcard::Off => Reply::NoName,
                Wildcard::Balancer => self.answer(&Target::Balancer, kind, asker),
                Wildcard::Address(address) => self.answer(&Target::Fixed(address), kind, asker),
            },
            None if name == "localhost" || name.ends_with(".localhost") => {
                addresses([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)], kind)
            }
            None => Reply::NotOurs,
        }
    }

    /// The address at which an asker reaches the balancer: loopback for this machine, the platform's gateway
    /// for containers, and for others the address of ours that is on their network.
    pub fn balancer_for(&self, asker: IpAddr) -> IpAddr {
        let asker = asker.to_canonical();
        if self.asker(asker) == Some(Asker::Loopback) {
            return IpAddr::V4(Ipv4Addr::LOCALHOST);
        }
        let in_engine = self.networks.iter().any(|n| n.subnets.iter().any(|s| s.contains(asker)));
        let neighbour = self.local.iter().find(|own| own.contains(asker));
        match neighbour {
            Some(own) if !in_engine => own.base,
            _ => self.gateway,
        }
    }

    fn answer(&self, target: &Target, kind: QueryKind, asker: IpAddr) -> Reply {
        match target {
            Target::Balancer => addresses([self.balancer_for(asker)], kind),
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
        if shared.is_empty() { all.to_vec() } else { shared }
    }

    fn reverse_lookup(&self, address: IpAddr, kind: QueryKind) -> Reply {
        match self.reverse.get(&address) {
            Some(name) if matches!(kind, QueryKind::Ptr | QueryKind::Any) => one(Answer::Pointer(match name {
                Pointer::Below(label) => format!("{label}.{}", self.domain),
                Pointer::Full(name) => name.clone(),
            })),
            Some(_) => Reply::NoData,
            // An engine's address without a container is nobody else's either.
            None if self.networks.iter().any(|n| n.subnets.iter().any(|s| s.contains(address))) => Reply::NoName,
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

//! A zone, and questions as clients write them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::adapters::dns::wire::RD;
use crate::core::grants::GrantedName;
use crate::core::names::Domain;
use crate::core::zone::{Located, Target, Wildcard, Zone};

pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// Response codes.
pub(super) const NO_ERROR: u8 = 0;
pub(super) const SERVER_FAILURE: u8 = 2;
pub(super) const NO_NAME: u8 = 3;
pub(super) const REFUSED: u8 = 5;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A container of each kind of address, an app, a service of `instances` instances.
pub(super) fn zone(domain: &str, instances: usize) -> Zone {
    let located = |addresses: &[&str]| Located {
        container: "c".into(),
        started_at: None,
        is_exact: true,
        is_plain: true,
        addresses: addresses.iter().map(|a| ip(a)).collect(),
    };
    let mut containers = HashMap::from([
        ("db".into(), located(&["172.30.0.5", "fd00::5"])),
        ("six".into(), located(&["fd00::6"])),
        (
            "many".into(),
            located(
                &(1..120)
                    .map(|n| format!("172.30.1.{n}"))
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>(),
            ),
        ),
    ]);
    let label = |n: usize| Arc::<str>::from(format!("instance-of-the-shop-{n}"));
    containers
        .extend((0..instances).map(|n| (label(n), located(&[&format!("172.30.2.{n}"), &format!("fd00::2:{n}")]))));
    let service = (0..instances).map(|n| (label(n), 8080)).collect();
    let names = [
        (format!("shop.{domain}"), Target::Balancer),
        (format!("deep.{domain}"), Target::Empty),
        (format!("_http._tcp.shop.{domain}"), Target::Services(service)),
        ("literal.corp".to_owned(), Target::Fixed(ip("10.0.0.5"))),
    ];
    let names = names.into_iter().map(|(name, target)| (GrantedName::of(&name), target)).collect();
    Zone {
        domain: Domain::parse(domain).unwrap(),
        ttl: Duration::from_secs(7),
        wildcard: Wildcard::Off,
        names,
        containers,
        reverse: HashMap::new(),
        networks: Vec::new(),
        local: Vec::new(),
        gateway: ip("172.30.0.1"),
        balancer: vec!["0.0.0.0:80".parse().unwrap()],
    }
}

/// A question as a client writes it. A label is what stands between dots.
pub(super) fn question(id: u16, name: &[u8], kind: u16, class: u16, edns: Option<u16>) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[RD, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]].concat();
    for label in name.split(|octet| *octet == b'.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label);
    }
    message.push(0);
    message.extend([kind, class].map(u16::to_be_bytes).concat());
    if let Some(payload) = edns {
        message.extend([0, 0, 41]);
        message.extend(payload.to_be_bytes());
        message.extend([0; 6]);
    }
    message
}

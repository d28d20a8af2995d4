//! Addresses of the zone, written as they go out: what nearly every question is about.
//!
//! The same answers as `answer` gives by way of hickory's types, without them; a test compares the two.

use std::net::IpAddr;

use super::wire::{self, AA, CD, OPT_LENGTH, QR, Question, RA, RD, Transport, labels};
use crate::core::names::Domain;
use crate::core::zone::{Answer, QueryKind, Reply, Zone};

/// Where the question's name is in every message.
const POINTER_TO_QUESTION: u16 = 0xc000 | wire::HEADER as u16;

/// Writes the response into `message`, which is cleared first. `false` if it is none of ours to write: not a reply of
/// addresses or about none, or longer than the asker takes.
pub fn write(zone: &Zone, question: &Question<'_>, reply: &Reply, transport: Transport, message: &mut Vec<u8>) -> bool {
    if !matches!(super::answer::query_kind(question.kind()), QueryKind::A | QueryKind::Aaaa) {
        return false;
    }
    let (code, answers) = match reply {
        Reply::Answers { answers, extra } if extra.is_empty() => (0, &answers[..]),
        Reply::NoData => (0, &[][..]),
        Reply::NoName => (3, &[][..]),
        Reply::Answers { .. } | Reply::NotOurs => return false,
    };
    let flags = question.flags();
    message.clear();
    message.extend(question.id());
    message.extend([QR | AA | flags[0] & RD, RA | flags[1] & CD | code]);
    message.extend([0, 1]);
    let Ok(count) = u16::try_from(answers.len()) else { return false };
    message.extend(count.to_be_bytes());
    message.extend([0, u8::from(answers.is_empty()), 0, u8::from(question.edns.is_some())]);
    message.extend(question.section());
    let ttl = u32::try_from(zone.ttl.as_secs()).unwrap_or(0);
    for answer in answers {
        let Answer::Address(address) = answer else { return false };
        message.extend(POINTER_TO_QUESTION.to_be_bytes());
        write_address(*address, ttl, message);
    }
    if answers.is_empty() {
        write_soa(&zone.domain, question, message);
    }
    if let Some(edns) = question.edns {
        wire::write_opt(message, edns.dnssec_ok);
    }
    debug_assert!(question.edns.is_none() || message.len() > OPT_LENGTH);
    message.len() <= question.limit(transport)
}

fn write_address(address: IpAddr, ttl: u32, message: &mut Vec<u8>) {
    let (kind, length): (u16, u16) = if address.is_ipv4() { (1, 4) } else { (28, 16) };
    message.extend(kind.to_be_bytes());
    message.extend(wire::IN.to_be_bytes());
    message.extend(ttl.to_be_bytes());
    message.extend(length.to_be_bytes());
    match address {
        IpAddr::V4(ip) => message.extend(ip.octets()),
        IpAddr::V6(ip) => message.extend(ip.octets()),
    }
}

/// The zone's own record, by which a resolver knows how long a name may be taken for missing.
fn write_soa(domain: &Domain, question: &Question<'_>, message: &mut Vec<u8>) {
    let apex = write_apex(domain, question, message);
    for field in [wire::SOA, wire::IN, 0, super::answer::NEGATIVE_TTL as u16] {
        message.extend(field.to_be_bytes());
    }
    let length_at = message.len();
    message.extend([0, 0]);
    for label in ["dns", "hostmaster"] {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
        message.extend(apex.to_be_bytes());
    }
    for field in super::answer::SOA_NUMBERS {
        message.extend(field.to_be_bytes());
    }
    let length = (message.len() - length_at - 2) as u16;
    message[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

/// Writes the domain as an owner, and returns a pointer to it: the question's end, if it is asked about a name below.
fn write_apex(domain: &Domain, question: &Question<'_>, message: &mut Vec<u8>) -> u16 {
    let name = question.name();
    let length = domain.as_str().len() + 2;
    let is_below = name.len() >= length && {
        let (count, of_domain) = (labels(name).count(), domain.as_str().split('.').count());
        let mut last = labels(name).skip(count.saturating_sub(of_domain));
        domain.as_str().split('.').all(|label| last.next().is_some_and(|l| l.eq_ignore_ascii_case(label.as_bytes())))
    };
    if is_below {
        let pointer = 0xc000 | (wire::HEADER + name.len() - length) as u16;
        message.extend(pointer.to_be_bytes());
        return pointer;
    }
    let pointer = 0xc000 | message.len() as u16;
    for label in domain.as_str().split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    pointer
}

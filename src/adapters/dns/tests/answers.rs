//! What one message is answered, without a socket.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_server::proto::op::{Message, ResponseCode};
use proptest::prelude::*;

use super::samples::{ip, question, zone};
use crate::adapters::dns::desk::Done;
use crate::adapters::dns::wire::{self, Question, Transport};
use crate::adapters::dns::{Names, answer, quick};
use crate::ports::limits::Limits;
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;

fn asker() -> SocketAddr {
    "172.30.0.9:5353".parse().unwrap()
}

proptest! {
    #[test]
    fn plain_questions_have_the_same_answer_with_and_without_hickory(
        name in prop_oneof![
            "(db|SIX|many|shop|deep|nobody|a\\.db)(\\.container)?\\.(platform|Two\\.Labels|localhost)",
            "[a-z]{0,3}\\.?(localhost|platform|labels|literal\\.corp)",
            proptest::collection::vec(1u8..=255, 1..20).prop_map(|bytes| {
                let label: String = bytes.into_iter().map(char::from).filter(|c| *c != '.').collect();
                format!("x{}.platform", &label.chars().take(20).collect::<String>())
            }),
        ],
        domain in prop_oneof![Just("platform"), Just("two.labels")],
        kind in prop_oneof![Just(1u16), Just(28), Just(1), 0u16..300],
        edns in proptest::option::of(prop_oneof![Just(512u16), Just(1232), Just(4096), any::<u16>()]),
        flags in any::<[bool; 2]>(),
        from in prop_oneof![Just("127.0.0.1:9"), Just("172.30.0.9:9"), Just("[fd00::9]:9")],
        transport in prop_oneof![Just(Transport::Udp), Just(Transport::Tcp)],
    ) {
        let name: Vec<u8> = name.trim_matches('.').chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        let mut message = question(77, &name, kind, 1, edns);
        message[2] = u8::from(flags[0]);
        message[3] = if flags[1] { wire::CD } else { 0 };
        let asked = Question::plain(&message).unwrap();
        let (zone, from) = (zone(domain, 2), from.parse::<SocketAddr>().unwrap());
        let (mut text, mut quickly) = (String::new(), Vec::new());
        wire::spell(wire::labels(asked.name()), &mut text);
        let reply = zone.lookup(&text, answer::query_kind(kind), from.ip());
        let whole = answer::respond(Some(&zone), &message, from, transport).unwrap();
        let read = Message::from_vec(&whole).unwrap();
        prop_assert!(whole.len() <= asked.limit(transport));
        if quick::write(&zone, &asked, &reply, transport, &mut quickly) {
            let quickly = Message::from_vec(&quickly).unwrap();
            // Names are equal in whatever case, and are told so.
            prop_assert_eq!(quickly.to_string().to_lowercase(), read.to_string().to_lowercase());
            prop_assert_eq!(quickly.metadata, read.metadata);
            prop_assert_eq!(quickly.queries, read.queries);
            prop_assert_eq!(quickly.answers, read.answers);
            prop_assert_eq!(quickly.authorities, read.authorities);
            prop_assert_eq!(quickly.additionals, read.additionals);
            prop_assert_eq!(quickly.edns, read.edns);
        } else if matches!(kind, 1 | 28) && reply != crate::core::zone::Reply::NotOurs {
            prop_assert!(read.metadata.truncation, "it is left to hickory without need");
        }
    }

    #[test]
    fn whatever_comes_is_answered_by_something_well_formed_or_not_at_all(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        at in any::<proptest::sample::Index>(),
        edns in proptest::option::of(any::<u16>()),
        is_mended in any::<bool>(),
    ) {
        let mut message = bytes;
        if is_mended {
            let good = question(7, b"_http._tcp.shop.platform", 33, 1, edns);
            let at = at.index(good.len());
            let end = (at + message.len().min(3)).min(good.len());
            message = [&good[..at], &message[..end - at], &good[end..]].concat();
        }
        let names = Names::new(Meters::default(), Limits::default());
        names.publish(Arc::new(zone("platform", 3)));
        let mut response = Vec::new();
        let done = names.answer_at_once(&message, asker(), ip("127.0.0.1"), Transport::Udp, &mut String::new(), &mut response);
        if matches!(done, Done::Answered) {
            let read = Message::from_vec(&response).unwrap();
            prop_assert_eq!(read.metadata.id.to_be_bytes(), [message[0], message[1]]);
            prop_assert!(response.len() <= 1232);
        }
    }
}

#[test]
fn services_are_well_formed_and_cut_only_where_one_is_missing() {
    let mut cut = Vec::new();
    for instances in [0, 1, 8, 50, 250] {
        let zone = zone("platform", instances);
        for edns in [None, Some(512), Some(700), Some(1232), Some(4096)] {
            for transport in [Transport::Udp, Transport::Tcp] {
                let message = question(7, b"_http._tcp.shop.platform", 33, 1, edns);
                let written = answer::respond(Some(&zone), &message, asker(), transport).unwrap();
                let read = Message::from_vec(&written).unwrap();
                let limit = Question::plain(&message).unwrap().limit(transport);
                assert!(written.len() <= limit, "{instances} {edns:?} {transport:?}: {}", written.len());
                assert_eq!(
                    read.metadata.truncation,
                    read.answers.len() < instances,
                    "{instances} {edns:?} {transport:?}"
                );
                assert_eq!(read.edns.is_some(), edns.is_some());
                if transport == Transport::Tcp {
                    assert_eq!((read.answers.len(), read.additionals.len()), (instances, instances * 2));
                } else if read.metadata.truncation {
                    cut.push((instances, edns.unwrap_or(0)));
                } else {
                    let room = limit - written.len();
                    assert!(read.additionals.len() == instances * 2 || room < 80, "{room} octets are left");
                }
            }
        }
    }
    assert!(cut.contains(&(50, 0)) && !cut.contains(&(8, 700)), "{cut:?}");
}

#[test]
fn a_stranger_at_the_gateway_is_refused_whatever_he_asks() {
    let names = Names::new(Meters::default(), Limits::default());
    let mut response = Vec::new();
    let mut answered = |names: &Names, message: &[u8], at: &str| {
        let stranger = "192.0.2.9:5353".parse().unwrap();
        let done = names.answer_at_once(message, stranger, ip(at), Transport::Udp, &mut String::new(), &mut response);
        matches!(done, Done::Answered).then(|| Message::from_vec(&response).unwrap())
    };
    let ours = question(7, b"shop.platform", 1, 1, Some(1232));
    assert!(answered(&names, &ours, "127.0.0.1").is_none(), "nobody knows yet who he is");
    names.publish(Arc::new(zone("platform", 2)));
    for (name, kind, class) in
        [("shop.platform", 1, 1), ("platform", 6, 1), ("outside.example", 1, 1), ("version.bind", 16, 3)]
    {
        let message = answered(&names, &question(7, name.as_bytes(), kind, class, None), "172.30.0.1").unwrap();
        assert_eq!((message.metadata.id, message.metadata.response_code), (7, ResponseCode::Refused), "{name}");
        assert!(message.answers.is_empty() && message.authorities.is_empty());
    }
    let odd = [&ours[..2], &[0x28, 0], &ours[4..]].concat();
    assert_eq!(answered(&names, &odd, "172.30.0.1").unwrap().metadata.response_code, ResponseCode::Refused);
    // What an operator opened answers him.
    assert_eq!(answered(&names, &ours, "192.0.2.1").unwrap().answers.len(), 1);
}

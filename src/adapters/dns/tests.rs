//! The server as its askers see it: real sockets, upstream servers of our own making, and hickory to read the answers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_server::proto::op::{Message, ResponseCode};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::wire::{self, HEADER, QR, Question, RD, TC, Transport};
use super::{Names, Sockets, answer, bind, quick, serve};
use crate::core::grants::GrantedName;
use crate::core::names::Domain;
use crate::core::zone::{Located, Target, Wildcard, Zone};
use crate::ports::limits::{Limits, Resource};
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;

const DEADLINE: Duration = Duration::from_secs(30);
/// Response codes.
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_NAME: u8 = 3;
const REFUSED: u8 = 5;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A container of each kind of address, an app, a service of `instances` instances.
fn zone(domain: &str, instances: usize) -> Zone {
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
fn question(id: u16, name: &[u8], kind: u16, class: u16, edns: Option<u16>) -> Vec<u8> {
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
        let done = names.answer_at_once(&message, asker(), Transport::Udp, &mut String::new(), &mut response);
        if matches!(done, super::desk::Done::Answered) {
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

/// A server that answers as told, and how often it was asked over UDP.
async fn upstream(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let (counted, answer_udp) = (asked.clone(), answer.clone());
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            if let Some(mut answer) = answer_udp(&buffer[..length]) {
                if answer.len() > 1232 {
                    answer.truncate(HEADER + 4);
                    answer[2] |= TC;
                    let question = &buffer[HEADER..];
                    let end = wire::name_end(&buffer, HEADER).unwrap() + 4 - HEADER;
                    answer = [&answer[..4], &[0, 1, 0, 0, 0, 0, 0, 0], &question[..end]].concat();
                }
                udp.send_to(&answer, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut question).await.unwrap();
            if let Some(answer) = answer(&question) {
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length, &answer[..]].concat()).await.unwrap();
            }
        }
    });
    (address, asked)
}

/// A response of this code, with an address if one is given.
fn says(question: &[u8], code: u8, address: Option<[u8; 4]>) -> Option<Vec<u8>> {
    let end = wire::name_end(question, HEADER)? + 4;
    let mut answer = question[..end].to_vec();
    answer[2] |= QR;
    answer[3] = wire::RA | code;
    answer[6..12].copy_from_slice(&[0, u8::from(address.is_some()), 0, 0, 0, 0]);
    if let Some(address) = address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address);
    }
    Some(answer)
}

/// A server of ours, and where it listens.
async fn ours(upstreams: &[SocketAddr]) -> (SocketAddr, Names, Limits) {
    let limits = Limits::default();
    let names = Names::new(Meters::default(), limits.clone());
    names.publish(Arc::new(zone("platform", 2)));
    names.ask(upstreams);
    let sockets: Sockets = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = sockets.addresses[0];
    tokio::spawn(serve(sockets, names.clone()));
    (address, names, limits)
}

async fn ask(server: SocketAddr, message: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(message, server).await.unwrap();
    let mut buffer = [0; 4096];
    let length = timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("no answer").unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

async fn code(server: SocketAddr, name: &[u8]) -> u8 {
    ask(server, &question(9, name, 1, 1, None)).await.metadata.response_code.low()
}

#[tokio::test]
async fn odd_names_below_our_domain_are_ours_and_other_classes_are_refused() {
    let (other, asked) = upstream(|question| says(question, NO_ERROR, Some([9; 4]))).await;
    let (server, ..) = ours(&[other]).await;
    for name in ["caf\u{e9}.platform", "a b.platform", "a\0b.platform", "\u{1f}.db.platform", "a\\b.PLATFORM"] {
        assert_eq!(code(server, name.as_bytes()).await, NO_NAME, "{name:?}");
        let message = ask(server, &question(9, name.as_bytes(), 33, 1, Some(1232))).await;
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain, "{name:?}");
    }
    for name in ["db.platform", "outside.example", "version.bind"] {
        for class in [3, 4, 255] {
            let message = ask(server, &question(9, name.as_bytes(), 16, class, None)).await;
            assert_eq!(message.metadata.response_code, ResponseCode::Refused, "{name} in class {class}");
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "somebody else was asked about our names");
    // A dot inside a label ends no label.
    let mut inside = question(9, b"x-platform", 1, 1, None);
    inside[HEADER + 2] = b'.';
    assert_eq!(ask(server, &inside).await.metadata.response_code, ResponseCode::NoError);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn servers_are_asked_in_turn_and_the_first_that_can_say_is_believed() {
    let (knowing, knowing_asked) = upstream(|question| says(question, NO_ERROR, Some([1; 4]))).await;
    let (denying, denying_asked) = upstream(|question| says(question, NO_NAME, None)).await;
    let (failing, _) = upstream(|question| says(question, SERVER_FAILURE, None)).await;
    let (refusing, _) = upstream(|question| says(question, REFUSED, None)).await;
    let (deaf, deaf_asked) = upstream(|_| None).await;
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();

    let (server, ..) = ours(&[knowing, denying]).await;
    assert_eq!(code(server, b"a.example").await, NO_ERROR);
    assert_eq!(denying_asked.load(Ordering::SeqCst), 0, "only the first is asked");
    let (server, ..) = ours(&[denying, knowing]).await;
    assert_eq!(code(server, b"b.example").await, NO_NAME, "that there is none is an answer");
    assert_eq!(knowing_asked.load(Ordering::SeqCst), 1);
    let (server, ..) = ours(&[failing, refusing, nobody, knowing]).await;
    assert_eq!(code(server, b"c.example").await, NO_ERROR);
    let (server, ..) = ours(&[failing, refusing]).await;
    assert_eq!(code(server, b"d.example").await, SERVER_FAILURE, "the first failure, where nobody can say");
    let (server, ..) = ours(&[deaf, knowing]).await;
    assert_eq!(code(server, b"e.example").await, NO_ERROR);
    let asked = deaf_asked.load(Ordering::SeqCst);
    assert!(asked > 1, "what the network may have lost is sent again");
    for n in 0..50 {
        assert_eq!(code(server, format!("{n}.example").as_bytes()).await, NO_ERROR);
    }
    let more = deaf_asked.load(Ordering::SeqCst) - asked;
    assert!(more < 50, "it is asked last from now on, and yet was asked {more} times more");
    let (server, ..) = ours(&[]).await;
    assert_eq!(code(server, b"f.example").await, REFUSED);
}

#[tokio::test]
async fn a_server_that_answers_again_has_its_place_again() {
    let (heard, hears) = watch::channel(false);
    let (first, first_asked) =
        upstream(move |question| says(question, NO_ERROR, Some([1; 4])).filter(|_| *hears.borrow())).await;
    let (second, _) = upstream(|question| says(question, NO_ERROR, Some([2; 4]))).await;
    let (server, ..) = ours(&[first, second]).await;
    let address = async |n: usize| {
        let answers = ask(server, &question(9, format!("{n}.example").as_bytes(), 1, 1, None)).await.answers;
        answers[0].data.ip_addr().unwrap()
    };
    assert_eq!(address(0).await, ip("2.2.2.2"));
    heard.send(true).unwrap();
    let mut n = 1;
    timeout(DEADLINE, async {
        while address(n).await != ip("1.1.1.1") {
            n += 1;
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the first server never has its place again");
    assert!(first_asked.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn other_servers_are_asked_at_once_and_what_was_kept_is_forgotten() {
    let (old, old_asked) = upstream(|question| says(question, NO_ERROR, Some([1; 4]))).await;
    let (new, _) = upstream(|question| says(question, NO_ERROR, Some([2; 4]))).await;
    let (server, names, _) = ours(&[old]).await;
    let address = async || {
        let answers = ask(server, &question(9, b"Vpn.example", 1, 1, Some(1232))).await.answers;
        answers[0].data.ip_addr().unwrap()
    };
    assert_eq!((address().await, address().await), (ip("1.1.1.1"), ip("1.1.1.1")));
    assert_eq!(old_asked.load(Ordering::SeqCst), 1, "it is kept");
    names.ask(&[new]);
    assert_eq!(address().await, ip("2.2.2.2"));
}

#[tokio::test]
async fn what_does_not_fit_is_fetched_over_tcp_and_given_in_full_to_who_asks_so() {
    let (other, _) = upstream(|question| {
        let mut answer = says(question, NO_ERROR, None)?;
        answer[7] = 200;
        (0..200u8).for_each(|n| answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, n]));
        Some(answer)
    })
    .await;
    let (server, ..) = ours(&[other]).await;
    let message = question(9, b"many.example", 1, 1, Some(4096));
    let short = ask(server, &message).await;
    assert!(short.metadata.truncation && short.answers.is_empty());
    let mut stream = TcpStream::connect(server).await.unwrap();
    // Two questions at once, each answered in turn.
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, &message[..], &length, &message[..]].concat()).await.unwrap();
    for _ in 0..2 {
        let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        let read = Message::from_vec(&answer).unwrap();
        assert_eq!((read.answers.len(), read.metadata.truncation), (200, false));
    }
}

#[tokio::test]
async fn silent_connections_are_limited_and_given_back() {
    let (server, _, limits) = ours(&[]).await;
    let level = || limits.levels().into_iter().find(|l| l.limit.name == "dns_connections").unwrap();
    let limit = Resource::DnsConnection.limit().each;
    let mut held = Vec::new();
    for n in 0..limit * 3 {
        let mut stream = TcpStream::connect(server).await.unwrap();
        if n < limit {
            // Half a question.
            stream.write_all(&[0]).await.unwrap();
            timeout(DEADLINE, async {
                while level().held <= n {
                    sleep(Duration::from_millis(2)).await
                }
            })
            .await
            .unwrap();
        } else {
            let end = timeout(DEADLINE, stream.read(&mut [0])).await.expect("it is not let go");
            assert!(!matches!(end, Ok(1..)));
        }
        held.push(stream);
    }
    assert_eq!(level().held, limit);
    assert!(level().refused >= (limit * 2) as u64);
    assert_eq!(code(server, b"db.platform").await, NO_ERROR, "UDP is answered meanwhile");
    drop(held);
    timeout(DEADLINE, async {
        while level().held > 0 {
            sleep(Duration::from_millis(10)).await
        }
    })
    .await
    .unwrap();
    let message = question(9, b"db.platform", 1, 1, None);
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(&[&[0, message.len() as u8], &message[..]].concat()).await.unwrap();
    assert!(timeout(DEADLINE, stream.read_u16()).await.unwrap().unwrap() > 0);
}

#[tokio::test]
async fn questions_that_wait_for_others_are_limited_and_given_back() {
    let (go, gone) = watch::channel(false);
    let (other, _) = upstream(move |question| says(question, NO_ERROR, Some([1; 4])).filter(|_| *gone.borrow())).await;
    let (server, names, limits) = ours(&[other]).await;
    let level = || limits.levels().into_iter().find(|l| l.limit.name == "dns_forwards").unwrap();
    let limit = Resource::DnsForward.limit().each;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0..limit {
        let message = question(n as u16, format!("{n}.example").as_bytes(), 1, 1, None);
        socket.send_to(&message, server).await.unwrap();
        timeout(DEADLINE, async {
            while level().held <= n {
                sleep(Duration::from_millis(1)).await
            }
        })
        .await
        .unwrap();
    }
    assert_eq!(code(server, b"one.too.many.example").await, REFUSED);
    assert_eq!(code(server, b"db.platform").await, NO_ERROR);
    go.send(true).unwrap();
    timeout(DEADLINE, async {
        while level().held > 0 {
            sleep(Duration::from_millis(10)).await
        }
    })
    .await
    .unwrap();
    assert_eq!(code(server, b"one.more.example").await, NO_ERROR);
    assert_eq!(names.look_up(&"service.example".parse().unwrap()).await, Ok(ip("1.1.1.1")));
}

#[tokio::test]
async fn a_server_that_is_dropped_gives_its_address_back() {
    let names = Names::new(Meters::default(), Limits::default());
    let sockets = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = sockets.addresses[0];
    let serving = tokio::spawn(serve(sockets, names.clone()));
    assert_eq!(code(address, b"outside.example").await, REFUSED);
    serving.abort();
    timeout(DEADLINE, async {
        while bind(&[address]).is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("its threads hold the address");
}

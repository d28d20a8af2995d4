//! The server as its askers see it: real sockets, and upstream servers of our own making.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_server::proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::samples::{DEADLINE, NO_ERROR, NO_NAME, REFUSED, SERVER_FAILURE, ip, question, zone};
use crate::adapters::dns::wire::{self, HEADER, QR, TC};
use crate::adapters::dns::{Names, Sockets, bind, serve};
use crate::ports::limits::{Limits, Resource};
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;

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
async fn the_only_server_there_is_may_take_its_time() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let slow = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
        // Longer than one of several is waited for.
        sleep(Duration::from_millis(2500)).await;
        udp.send_to(&says(&buffer[..length], NO_ERROR, Some([1; 4])).unwrap(), from).await.unwrap();
        let mut again = 0;
        while udp.try_recv(&mut buffer).is_ok() {
            again += 1;
        }
        again
    });
    let (server, ..) = ours(&[address]).await;
    assert_eq!(code(server, b"slow.example").await, NO_ERROR);
    assert!(slow.await.unwrap() <= 2, "it is asked over and over");
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

//! What may be under way at the balancer, and what is refused beyond it.

use std::time::{Duration, Instant};

use futures_util::future::select_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ask, with_raw, with_settings};
use crate::harness::{DEADLINE, Platform, docker, docker_or_skip, request};

#[tokio::test]
async fn one_address_holds_a_bounded_number_of_requests_and_no_half_of_one_for_long() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_settings(&[("proxy.per_address", "3")], "").await;
    let mut half = TcpStream::connect(platform.http_address()).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: raw.localhost\r\nX-Half").await.unwrap();
    let asker = platform.instance("raw", 0).await;
    let url = format!("http://raw.{}:{}/slow", platform.domain(), platform.internal);
    let many = format!("for i in 1 2 3 4 5; do curl -s -o /dev/null -w '%{{http_code}} ' {url} & done; wait");
    let seen = docker(&["exec", &asker, "sh", "-c", &many]);
    assert_eq!((seen.matches("200").count(), seen.matches("429").count()), (3, 2), "{seen}");
    let mut rest = Vec::new();
    // Reset or closed, whichever comes first.
    let _ = tokio::time::timeout(DEADLINE, half.read_to_end(&mut rest)).await.expect("it is held for ever");
}

/// A request's head, sent; its body and its answer are left open.
async fn begun(platform: &Platform, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(platform.http_address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Begins as many as there may be and one more. Returns the others once one of them, whichever came last, is refused.
async fn all_but_one_refused(platform: &Platform, head: &str, most: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..=most {
        open.push(begun(platform, head).await);
    }
    let (line, which) = {
        let answers = open.iter_mut().map(|stream| {
            Box::pin(async {
                let mut line = [0; 12];
                stream.read_exact(&mut line).await.map(|_| line)
            })
        });
        let (line, which, _) = tokio::time::timeout(DEADLINE, select_all(answers)).await.expect("none is refused");
        (line.unwrap(), which)
    };
    assert_eq!(&line, b"HTTP/1.1 429");
    open.swap_remove(which);
    open
}

#[tokio::test]
async fn large_bodies_that_are_on_their_way_are_bounded_and_no_other_request_is_refused() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("").await;
    for length in ["Content-Length: 2000000", "Transfer-Encoding: chunked"] {
        let head = format!("POST / HTTP/1.1\r\nHost: raw.localhost\r\n{length}\r\n\r\n");
        let open = all_but_one_refused(&platform, &head, 256).await;
        assert_eq!(ask(&platform, "POST", "/", "", "small").await.status, 200, "{length}");
        drop(open);
        let end = Instant::now() + DEADLINE;
        while ask(&platform, "POST", "/", "", &"x".repeat(1_500_000)).await.status != 200 {
            assert!(Instant::now() < end, "{length}: what was held is not given back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // From a container, which is one asker.
    let many = "import socket, sys
host, port = sys.argv[1:]
head = f'POST / HTTP/1.1\\r\\nHost: {host}\\r\\nContent-Length: 2000000\\r\\n\\r\\n'.encode()
all = [socket.create_connection((host, int(port))) for _ in range(65)]
for s in all[:64]: s.sendall(head)
all[64].sendall(head)
import select
print(select.select(all, [], [], 30)[0][0].recv(12).decode())";
    let asker = platform.instance("raw", 0).await;
    let host = format!("raw.{}", platform.domain());
    let said = docker(&["exec", &asker, "python3", "-c", many, &host, &platform.internal.to_string()]);
    assert_eq!(said.trim(), "HTTP/1.1 429");
}

#[tokio::test]
async fn a_host_that_hangs_leaves_room_for_all_others() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_settings(&[("nginx.connections", "128"), ("nginx.workers", "1")], "").await;
    // Three quarters of 128, of which each takes two.
    let hanging = "GET /hang HTTP/1.1\r\nHost: raw.localhost\r\n\r\n";
    let open = all_but_one_refused(&platform, hanging, 48).await;
    let other = request(platform.http_address(), "services.localhost", "/").await.unwrap();
    assert_eq!(other.status, 200, "{other:?}");
    drop(open);
    platform.until_status("raw.localhost", "/", 200).await;
}

#[tokio::test]
async fn an_ipv6_network_is_one_address_and_small_requests_are_never_taken_for_large_ones() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_settings(&[("proxy.per_address", "80"), ("proxy.trusted", "127.0.0.1/32")], "").await;
    let hanging = |from: &str| format!("GET /hang HTTP/1.1\r\nHost: raw.localhost\r\nX-Forwarded-For: {from}\r\n\r\n");
    let asked = async |from: &str| ask(&platform, "GET", "/", &format!("X-Forwarded-For: {from}\r\n"), "").await.status;
    // Of an address whose first byte is the character 1, more than it may have with large bodies.
    let mut open = Vec::new();
    for _ in 0..70 {
        open.push(begun(&platform, &hanging("49.1.2.3")).await);
    }
    assert_eq!(asked("49.1.2.3").await, 200);
    let _held = all_but_one_refused(&platform, &hanging("2001:db8:1:2::1"), 80).await;
    let network = [asked("2001:db8:1:2:3::4").await, asked("2001:db8:1:3::1").await];
    assert_eq!(network, [429, 200], "the same network, and another");
}

//! Each limit is reached: others are served meanwhile, and what was held is given back.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{DEADLINE, Platform, docker_or_skip, request, request_with};

/// How much of a resource is held, as `/metrics` tells it.
async fn held(platform: &Platform, resource: &str) -> f64 {
    number(platform, &format!("platformer_held{{resource=\"{resource}\"}} ")).await
}

async fn number(platform: &Platform, line: &str) -> f64 {
    let headers = format!("Authorization: Bearer {}\r\nAccept: text/plain\r\n", platform.token().unwrap());
    let answer = request_with(platform.api_address(), "GET", "localhost", "/metrics", &headers, b"").await.unwrap();
    assert!(answer.header("content-type").unwrap().starts_with("text/plain"), "{answer:?}");
    answer
        .body
        .lines()
        .find_map(|l| l.strip_prefix(line))
        .unwrap_or_else(|| panic!("no {line}: {}", answer.body))
        .parse()
        .unwrap()
}

pub async fn until_held(platform: &Platform, resource: &str, expected: f64) {
    let end = Instant::now() + DEADLINE;
    loop {
        let now = held(platform, resource).await;
        if now == expected {
            return;
        }
        assert!(Instant::now() < end, "{resource}: {now} are held, {expected} should be");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A request whose answer, or whose end, is left open.
async fn begin(platform: &Platform, method: &str, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(platform.api_address()).await.unwrap();
    let token = platform.token().unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The status of what was answered to it.
async fn status(stream: &mut TcpStream) -> u16 {
    let mut line = [0; 12];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut line)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&line[9..]).parse().unwrap()
}

#[tokio::test]
async fn thousands_of_half_read_heads_keep_nobody_out() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let mut half = Vec::new();
    for _ in 0..3000 {
        let mut stream = TcpStream::connect(platform.api_address()).await.unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nX-Half").await.unwrap();
        half.push(stream);
    }
    assert_eq!(request(platform.api_address(), "localhost", "/healthz").await.unwrap().status, 200);
    assert!(held(&platform, "api_connections").await <= 256.0);
    assert!(platform.ok(&["status"]).contains("hello"), "and the app is served on");
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200);
    drop(half);
    until_held(&platform, "api_connections", 1.0).await;
}

#[tokio::test]
async fn streams_polls_logs_and_bodies_have_their_limits() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let body = "Content-Length: 500000\r\n";
    for (resource, method, path, headers, each) in [
        ("streams", "GET", "/v1/events", "", 128),
        ("long_polls", "GET", "/v1/kv/nothing?index=999999&wait=5m", "", 192),
        ("followed_logs", "GET", "/v1/apps/hello/logs?follow=true", "", 32),
        ("large_bodies", "PUT", "/v1/kv/large", body, 32),
        ("uploads", "PUT", "/v1/repository/hello/9.9.9/hello.tgz", body, 16),
    ] {
        let mut open = Vec::new();
        for _ in 0..each {
            open.push(begin(&platform, method, path, headers).await);
        }
        until_held(&platform, resource, f64::from(each)).await;
        let mut next =
            begin(&platform, method, path, &format!("{headers}Expect: 100-continue\r\nConnection: close\r\n")).await;
        assert_eq!(status(&mut next).await, 429, "{resource}");
        // Everybody who asks for something else is answered.
        let token = format!("Authorization: Bearer {}\r\n", platform.token().unwrap());
        let put = request_with(platform.api_address(), "PUT", "localhost", "/v1/kv/small", &token, b"x").await.unwrap();
        assert_eq!((put.status, put.body.as_str()), (200, "true"), "{resource}");
        assert_eq!(platform.get("hello.localhost", "/").await.status, 200, "{resource}");
        assert!(number(&platform, &format!("platformer_refused_total{{resource=\"{resource}\"}} ")).await >= 1.0);
        drop(open);
        until_held(&platform, resource, 0.0).await;
    }
}

#[tokio::test]
async fn slow_readers_of_the_repository_have_their_limit() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let file = platform.path("repository/files/large/large.tgz");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::File::create(&file).unwrap().set_len(64 << 20).unwrap();
    let host = format!("repository.{}", platform.domain());
    let path = "/files/large/large.tgz";
    let end = Instant::now() + DEADLINE;
    let known = async || {
        let headers = "Range: bytes=0-0\r\n";
        request_with(platform.http_address(), "GET", &host, path, headers, b"").await.is_ok_and(|a| a.status == 206)
    };
    while !known().await {
        assert!(Instant::now() < end, "the file is not served");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(platform.http_address()).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(status(&mut stream).await, 200);
        slow.push(stream);
    }
    let full = request(platform.http_address(), &host, "/config/hello/hello.config").await.unwrap();
    assert!(full.status == 503 && full.body.contains("downloads"), "{full:?}");
    // Another address is served on, and so is the app.
    let asker = platform.instance("hello", 0).await;
    let url = format!("http://{}/config/hello/hello.config", platform.repository());
    let body = crate::harness::docker(&["exec", &asker, "curl", "-s", &url]);
    assert!(body.contains("STARTUP_COMMAND"), "{body}");
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200);
    drop(slow);
    until_held(&platform, "downloads", 0.0).await;
    assert_eq!(request(platform.http_address(), &host, "/config/hello/hello.config").await.unwrap().status, 200);
}

#[tokio::test]
async fn bodies_that_never_end_make_room_for_the_next() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let mut half = Vec::new();
    for _ in 0..2 {
        let token = platform.create_token(&["--scope", "deploy:hello"])["token"].as_str().unwrap().to_owned();
        for n in 0..16 {
            let mut stream = TcpStream::connect(platform.api_address()).await.unwrap();
            let head = format!(
                "PUT /v1/repository/hello/9.9.{n}/hello.tgz HTTP/1.1\r\nHost: localhost\r\n\
                 Authorization: Bearer {token}\r\nContent-Length: 500000\r\n\r\nhalf"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            half.push(stream);
        }
    }
    until_held(&platform, "uploads", 32.0).await;
    let archive = platform.path("demo.tgz");
    platform.ok(&["repository", "push", "hello", "2.0.0", archive.to_str().unwrap()]);
    drop(half);
    until_held(&platform, "uploads", 0.0).await;
}

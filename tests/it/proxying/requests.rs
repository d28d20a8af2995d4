//! What of a request arrives at an app, and what becomes of it.

use std::time::Duration;

use super::{ask, with_raw, with_settings};
use crate::harness::{Load, Platform, docker, docker_or_skip, request_with};

#[tokio::test]
async fn the_rest_of_a_path_arrives_byte_for_byte() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("paths = [\"/rabbit.mq\", \"/a/b\"]\nstrip_prefix = true").await;
    for (path, expected) in [
        ("/rabbit.mq/api/queues/%2F/task", "/api/queues/%2F/task"),
        ("/rabbit.mq//double//slash", "//double//slash"),
        ("/rabbit.mq/a%3Bb=c;d?x=%2F&y=//", "/a%3Bb=c;d?x=%2F&y=//"),
        ("/rabbit.mq/%E2%82%AC/%0D%0Ax", "/%E2%82%AC/%0D%0Ax"),
        ("/rabbit.mq?a=b", "/?a=b"),
        ("/rabbit.mq", "/"),
        ("/a/b/c/../d", "/c/../d"),
        // Spelt in another way: as nginx reads it.
        ("//rabbit.mq/x", "/x"),
        ("/x/../a/%62/c%20d", "/c%20d"),
    ] {
        let answer = ask(&platform, "GET", path, "", "").await;
        assert_eq!(answer.body.split(' ').nth(1), Some(expected), "{path}: {answer:?}");
    }
    assert_eq!(ask(&platform, "GET", "/rabbitXmq/x", "", "").await.status, 404);
}

#[tokio::test]
async fn only_a_websocket_is_an_upgrade_and_no_app_sees_the_dashboards_session() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("").await;
    for upgrade in ["h2c", "websocket, h2c", "TLS/1.0"] {
        let headers =
            format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABk\r\n");
        let answer = ask(&platform, "POST", "/x", &headers, "the body").await;
        let seen = answer.body.to_ascii_lowercase();
        assert!(answer.status == 200 && seen.ends_with("the body"), "{answer:?}");
        assert!(!seen.contains("upgrade") && !seen.contains("http2-settings"), "{seen}");
    }
    let seen = ask(&platform, "GET", "/x", "Connection: Upgrade\r\nUpgrade: WebSocket\r\n", "").await.body;
    assert!(seen.contains("Upgrade: websocket\r\n") && seen.contains("Connection: upgrade\r\n"), "{seen}");
    for (cookie, expected) in [
        ("platformer_session=s", None),
        ("a=1; platformer_session=s", Some("a=1")),
        ("platformer_session=s; b=2", Some("b=2")),
        ("a=1; platformer_session=s; b=2", Some("a=1; b=2")),
        ("a=1; my_platformer_session=s", Some("a=1; my_platformer_session=s")),
        ("platformer_session=s; a=1; platformer_session=t", None),
    ] {
        let seen = ask(&platform, "GET", "/x", &format!("Cookie: {cookie}\r\n"), "").await.body;
        let found = seen.lines().find_map(|line| line.strip_prefix("Cookie: "));
        assert_eq!(found, expected, "{cookie}: {seen}");
    }
}

#[tokio::test]
async fn heads_of_thirty_kilobytes_pass_both_ways() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("").await;
    let answer = ask(&platform, "GET", "/big", "", "").await;
    assert_eq!((answer.status, answer.header("X-Big").map(str::len)), (200, Some(30_000)));
    let answer = ask(&platform, "GET", "/x", &format!("X-Large: {}\r\n", "y".repeat(30_000)), "").await;
    assert!(answer.status == 200 && answer.body.contains(&"y".repeat(30_000)), "{}", answer.status);
}

#[tokio::test]
async fn the_host_in_the_request_line_comes_before_the_header() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("").await;
    for (line, expected) in [
        ("http://raw.localhost:8123/x?y", "raw.localhost:8123"),
        ("http://RAW.localhost/x", "raw.localhost"),
        ("HTTP://raw.localhost?x", "raw.localhost"),
    ] {
        let answer = request_with(platform.http_address(), "GET", "other.localhost", line, "", b"").await.unwrap();
        let host = answer.body.lines().find_map(|line| line.strip_prefix("Host: ")).map(str::to_ascii_lowercase);
        assert_eq!(host.as_deref(), Some(expected), "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn a_request_that_fails_takes_no_instance_away_from_others() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("replicas = 2").await;
    let load = Load::begin(platform.http_address(), "raw.localhost", "/x", 4);
    for n in 0..40 {
        let method = if n % 2 == 0 { "GET" } else { "POST" };
        let answer = ask(&platform, method, "/crash", "", "").await;
        assert_eq!(answer.status, 502, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    load.end(200).await;
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_has_a_page_from_its_first_request_on() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    platform.ok(&["services", "set", "late", &url]);
    platform.until_settled().await;
    drop(listener);
    let host = format!("late.{}", platform.domain());
    let answer = platform.get(&host, "/").await;
    assert!(answer.status == 503 && answer.body.contains("late is not available"), "{answer:?}");
    assert!(answer.header("Retry-After").is_some());
}

#[tokio::test]
async fn what_became_of_a_request_is_told_however_large_it_is() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("[proxy]\nread_timeout = \"1s\"").await;
    let large = "x".repeat(2 << 20);
    assert_eq!(ask(&platform, "POST", "/crash", "", &large).await.status, 502);
    for method in ["GET", "POST"] {
        let late = ask(&platform, method, "/slow", "", &large).await;
        assert_eq!((late.status, &*late.body), (504, "The app did not answer in time.\n"), "{method}");
    }
    platform.ok(&["stop", "raw"]);
    platform.until_status("raw.localhost", "/", 503).await;
    let away = ask(&platform, "POST", "/x", "", &large).await;
    assert!(away.status == 503 && away.header("retry-after").is_some(), "{away:?}");
}

#[tokio::test]
async fn an_app_chooses_no_page_of_ours_by_what_it_answers() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("").await;
    let answer = ask(&platform, "GET", "/accel", "", "").await;
    assert!(answer.status == 200 && answer.body.starts_with("GET /accel "), "{answer:?}");
}

#[tokio::test]
async fn proxies_in_front_are_believed_where_that_is_set() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_settings(&[("proxy.trusted", "127.0.0.0/8")], "").await;
    let told = "X-Forwarded-Proto: WSS\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Host: shop.example\r\nX-Real-IP: 6.6.6.6\r\n\
        X-Forwarded-Ssl: told\r\nX-Scheme: told\r\nX-Forwarded-Port: told\r\nX-Original-URL: told\r\n";
    let seen = ask(&platform, "GET", "/x", told, "").await.body;
    for expected in [
        "X-Forwarded-Proto: https\r\n",
        "X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n",
        "X-Forwarded-Host: shop.example\r\n",
        "X-Real-IP: 9.9.9.9\r\n",
    ] {
        assert!(seen.contains(expected), "{expected} {seen}");
    }
    assert!(!seen.contains("told"), "what says the same in other words is nobody's to say: {seen}");
    // A container is no such proxy.
    let asker = platform.instance("raw", 0).await;
    let url = format!("http://raw.{}:{}/x", platform.domain(), platform.internal);
    let seen = docker(&[
        "exec",
        &asker,
        "curl",
        "-s",
        "-H",
        "X-Forwarded-Proto: https",
        "-H",
        "X-Forwarded-For: 9.9.9.9",
        &url,
    ]);
    assert!(seen.contains("X-Forwarded-Proto: http") && !seen.contains("9.9.9.9") && !seen.contains("https"), "{seen}");
}

#[tokio::test]
async fn the_balancer_listens_at_every_address_of_a_list() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let port = platform.http;
    platform.set("listen.http", &format!("127.0.0.1:{port},[::1]:{port}"));
    platform.add_demo("hello", "1.0.0", "");
    platform.up();
    platform.until_ready("hello", 1).await;
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let answer = request_with(address.parse().unwrap(), "GET", "hello.localhost", "/", "", b"").await.unwrap();
        assert_eq!(answer.status, 200, "{address}");
    }
}

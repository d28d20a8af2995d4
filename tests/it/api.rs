//! The control API: who may call what, and how it refuses.

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::{Answer, Platform, app_of, bearer, docker_or_skip, request_with};

/// A request to the API with further header lines, each ending in a line break.
async fn call(platform: &Platform, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    request_with(platform.api_address(), method, "localhost", path, headers, body.as_bytes()).await.unwrap()
}

#[tokio::test]
async fn no_route_is_open_that_is_not_said_to_be() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let document = call(&platform, "GET", "/openapi.json", "", "").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let reader = bearer(platform.create_token(&["--scope", "read"])["token"].as_str().unwrap());
    let root = bearer(&platform.token().unwrap());
    let before = platform.status().await.unwrap()["apps"].clone();
    let mut seen = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{app}", "hello").replace(['{', '}'], "");
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            let is_open = operation["security"].as_array().unwrap().is_empty();
            let answer = call(&platform, &method, &concrete, "", "{}").await;
            assert_eq!(
                answer.status == 401,
                !is_open || (path == "/login" && method == "POST"),
                "{method} {path}: {answer:?}"
            );
            assert!(answer.status < 400 || answer.json()["code"].is_string(), "{method} {path}: {answer:?}");
            // A link that logs its maker in opens nothing that he could not open before.
            if !is_open && method != "GET" && path != "/v1/login-links" {
                let answer = call(&platform, &method, &concrete, &reader, "{}").await;
                assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("wrong-scope")), "{method} {path}");
            }
            seen += 1;
        }
    }
    let apps = call(&platform, "GET", "/v1/apps?q=ell&limit=1&offset=0", &reader, "").await.json();
    assert_eq!((&apps["total"], &apps["apps"][0]["name"]), (&json!(1), &json!("hello")));
    assert_eq!(call(&platform, "GET", "/v1/apps?offset=1", &reader, "").await.json()["apps"], json!([]));
    assert!(seen > 40, "{seen}");
    assert_eq!(platform.status().await.unwrap()["apps"], before, "nothing was changed");
    for (method, path, headers, status, code) in [
        ("GET", "/nothing", "", 401, "no-token"),
        ("GET", "/nothing", reader.as_str(), 404, "no-route"),
        ("PATCH", "/v1/apps/hello", root.as_str(), 405, "method-not-allowed"),
        ("GET", "/v1/apps/hello/history?limit=x", reader.as_str(), 400, "bad-request"),
    ] {
        let answer = call(&platform, method, path, headers, "").await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_token_does_what_its_scope_says_until_it_is_revoked() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    platform.add_version("hello", "1.0.1");
    platform.until_listed("artefacts/hello/1.0.1/hello.tgz").await;
    let made = platform.create_token(&["--scope", "deploy:hello", "--expires", "1h"]);
    let id = made["id"].as_str().unwrap();
    let token = bearer(made["token"].as_str().unwrap()) + "Content-Type: application/json\r\n";
    assert!(made["expires_at"].is_string() && made["scopes"] == json!(["deploy:hello"]), "{made}");
    let scale = |app: &str| format!("/v1/apps/{app}/scale");
    let wanted = r#"{"replicas":2}"#;
    assert_eq!(call(&platform, "PUT", &scale("hello"), &token, wanted).await.status, 200);
    assert_eq!(call(&platform, "PUT", &scale("other"), &token, wanted).await.status, 403);
    assert_eq!(call(&platform, "POST", "/v1/tokens", &token, r#"{"scopes":["admin"]}"#).await.status, 403);
    assert_eq!(call(&platform, "GET", "/v1/status", &token, "").await.status, 200);
    let history = platform.ok(&["history", "hello"]);
    assert!(history.contains(&format!("token {id}")), "{history}");
    // The state folder has no token's text.
    let ledger = std::fs::read(platform.path("state/ledger.sqlite")).unwrap();
    let text = made["token"].as_str().unwrap();
    assert!(!ledger.windows(text.len()).any(|window| window == text.as_bytes()));
    assert!(platform.ok(&["token", "list"]).contains(id));
    platform.kill();
    platform.up();
    platform.until_ready("hello", 2).await;
    assert_eq!(call(&platform, "GET", "/v1/status", &token, "").await.status, 200, "tokens survive");
    platform.ok(&["token", "revoke", id]);
    assert_eq!(call(&platform, "GET", "/v1/status", &token, "").await.status, 401);
    for (arguments, code) in [
        (&["token", "create", "--scope", "deploy:../x"][..], 2),
        (&["token", "create", "--scope", "root"], 2),
        (&["token", "create", "--scope", "read", "--expires", "soon"], 2),
        (&["token", "revoke", "nobody"], 1),
    ] {
        assert_eq!(platform.run(arguments).0, code, "{arguments:?}");
    }
}

/// The events that come until one says this, each as its kind, id and data.
async fn events_until(platform: &Platform, last: Option<u64>, text: &str) -> Vec<(String, u64, String)> {
    let token = platform.token().unwrap();
    let mut stream = TcpStream::connect(platform.api_address()).await.unwrap();
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    let head = format!("GET /v1/events HTTP/1.1\r\nHost: localhost\r\n{}{last}\r\n", bearer(token.trim()));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let (mut events, mut kind, mut id) = (Vec::new(), String::new(), 0);
    loop {
        let line =
            tokio::time::timeout(crate::harness::DEADLINE, lines.next_line()).await.expect(text).unwrap().unwrap();
        let line = line.trim_end();
        match line.split_once(": ") {
            Some(("event", value)) => kind = value.to_owned(),
            Some(("id", value)) => id = value.parse().unwrap(),
            Some(("data", value)) => {
                events.push((std::mem::take(&mut kind), std::mem::take(&mut id), value.to_owned()));
                if value.contains(text) {
                    return events;
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_client_that_comes_back_misses_no_event_also_after_a_kill() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    platform.ok(&["maintenance", "hello", "on"]);
    let before = events_until(&platform, None, "maintenance of hello is on").await;
    let seen = before.last().unwrap().1;
    platform.ok(&["maintenance", "hello", "off"]);
    platform.kill();
    platform.up();
    platform.until_ready("hello", 1).await;
    platform.ok(&["maintenance", "hello", "on"]);
    let after = events_until(&platform, Some(seen), "maintenance of hello is on").await;
    let ids: Vec<u64> = after.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(ids, (seen + 1..=seen + ids.len() as u64).collect::<Vec<_>>(), "each once, in order");
    assert!(after.iter().any(|(kind, _, data)| kind == "decision" && data.contains("hello is off")), "{after:?}");
    let lost = events_until(&platform, Some(1_000_000), "maintenance of hello is on").await;
    assert_eq!((lost[0].0.as_str(), lost[1].1), ("gap", before[0].1), "{lost:?}");
}

#[tokio::test]
async fn prometheus_reads_totals_of_each_release() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    for _ in 0..7 {
        platform.get("hello.localhost", "/").await;
    }
    let reader = bearer(platform.create_token(&["--scope", "read"])["token"].as_str().unwrap());
    let end = std::time::Instant::now() + crate::harness::DEADLINE;
    loop {
        let text = call(&platform, "GET", "/metrics", &reader, "").await.body;
        let has = |line: &str| text.lines().any(|l| l == line);
        if has(r#"platformer_requests_total{app="hello",release="1.0.0"} 7.0"#) {
            assert!(has(r#"platformer_request_duration_seconds_count{app="hello",release="1.0.0"} 7"#), "{text}");
            assert!(has(r#"platformer_instances{app="hello",release="1.0.0",state="ready"} 1.0"#), "{text}");
            break;
        }
        assert!(std::time::Instant::now() < end, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_browser_logs_in_with_a_cookie_that_no_other_page_can_use() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let token = platform.token().unwrap();
    let form = "Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://localhost\r\n";
    assert_eq!(call(&platform, "POST", "/login", form, "token=wrong").await.status, 401);
    let answer = call(&platform, "POST", "/login", form, &format!("token={}", token.trim())).await;
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(answer.status == 303 && cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{answer:?}");
    assert!(!cookie.contains(token.trim()));
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(call(&platform, "GET", "/v1/status", &cookie, "").await.status, 200);
    for (origin, status) in [
        ("Origin: http://localhost\r\n", 200),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("", 403),
    ] {
        let answer = call(&platform, "POST", "/v1/apps/hello/start", &format!("{cookie}{origin}"), "").await;
        assert_eq!(answer.status, status, "{origin:?} {answer:?}");
    }
    let own = format!("{cookie}Origin: http://localhost\r\n");
    assert_eq!(call(&platform, "POST", "/logout", &own, "").await.status, 303);
    assert_eq!(call(&platform, "GET", "/v1/status", &cookie, "").await.status, 401);
    let mut last = 0;
    for _ in 0..25 {
        last = call(&platform, "GET", "/v1/status", &bearer("guess"), "").await.status;
    }
    assert_eq!(last, 429);
    let right = bearer(token.trim());
    assert_eq!(call(&platform, "GET", "/v1/status", &right, "").await.status, 200, "a right token is let in at once");
}

#[tokio::test]
async fn a_request_sent_twice_is_done_once_and_two_writers_are_told() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    platform.add_version("hello", "1.0.1");
    platform.until_listed("artefacts/hello/1.0.1/hello.tgz").await;
    let token = bearer(&platform.token().unwrap());
    let keyed = format!("{token}Idempotency-Key: build-17\r\n");
    let deploy = |body: &'static str| call(&platform, "POST", "/v1/apps/hello/deployments", &keyed, body);
    let body = r#"{"version":"1.0.1","strategy":"manual"}"#;
    let (first, second) = tokio::join!(deploy(body), deploy(body));
    assert_eq!((first.status, first.json()["id"].as_str()), (201, Some("hello-1")), "{first:?}");
    assert_eq!((second.status, second.json()), (201, first.json()));
    assert_eq!(deploy(r#"{"version":"1.0.0"}"#).await.json()["code"], "key-reused");
    let status = platform.status().await.unwrap();
    assert_eq!(app_of(&status, "hello").unwrap()["deployment"]["id"], "hello-1");
    let read = call(&platform, "GET", "/v1/config/hello", &token, "").await;
    let tagged = format!("{token}Content-Type: application/json\r\nIf-Match: {}\r\n", read.header("etag").unwrap());
    let set = |value: &'static str| call(&platform, "PUT", "/v1/config/hello/GREETING", &tagged, value);
    assert_eq!(set(r#"{"value":"first"}"#).await.status, 200);
    let late = set(r#"{"value":"second"}"#).await;
    assert_eq!((late.status, &late.json()["code"]), (412, &json!("changed-meanwhile")));
    assert_eq!(platform.ok(&["config", "get", "hello", "GREETING"]), "first\n");
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_a_problem_and_changes_nothing() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let before = platform.status().await.unwrap()["apps"].clone();
    let token = bearer(&platform.token().unwrap());
    let zipped = format!("{token}Content-Encoding: gzip\r\n");
    let deep = "[".repeat(100_000);
    let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(2 << 20));
    for (headers, body, status) in [
        (&token, deep.as_str(), 400),
        (&token, r#"{"version":"1.0.0","version":"1.0.1"}"#, 400),
        (&token, r#"{"version":"1.0.0"} {}"#, 400),
        (&token, r#"{"verison":"1.0.0"}"#, 400),
        (&token, "", 400),
        (&token, "\u{0}", 400),
        (&zipped, "\u{1f}\u{8b}", 400),
        (&token, large.as_str(), 413),
    ] {
        let answer = call(&platform, "POST", "/v1/apps/hello/deployments", headers, body).await;
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(answer.status == status && kind == "application/problem+json", "{:.60}: {answer:?}", body);
        assert!(answer.json()["code"].is_string() && answer.body.len() < 1_000, "{answer:?}");
    }
    for app in ["..%2F..%2Fetc", "%00", "A", &"a".repeat(64)] {
        let answer = call(&platform, "GET", &format!("/v1/apps/{app}"), &token, "").await;
        assert!((400..500).contains(&answer.status) && answer.json()["code"].is_string(), "{app}: {answer:?}");
    }
    assert_eq!(platform.status().await.unwrap()["apps"], before);
}

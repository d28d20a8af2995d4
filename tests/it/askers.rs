//! Who asks: this machine, our own containers, a stranger; and what each is answered.

use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Answer, DEADLINE, Platform, bearer, docker, docker_or_skip, request, request_with};
use crate::limits::until_held;

/// Asks from a container: the status, and the body.
fn ask(container: &str, host: &str, url: &str, more: &[&str]) -> (u16, String) {
    let header = format!("Host: {host}");
    let fixed = ["exec", container, "curl", "-s", "-m", "10", "-w", "\n%{http_code}", "-H", &header];
    let output = docker(&[&fixed[..], more, &[url]].concat());
    let (body, status) = output.trim_end().rsplit_once('\n').unwrap_or(("", output.trim_end()));
    (status.parse().unwrap(), body.to_owned())
}

/// A container that is on this machine, and on none of our networks.
fn stranger(platform: &Platform) -> String {
    let (name, label) = (format!("{}-stranger", platform.id), format!("test={}", platform.id));
    docker(&["run", "-d", "--name", &name, "--label", &label, "--entrypoint", "sleep", "platformer/app-base", "300"]);
    name
}

async fn call(platform: &Platform, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let headers = format!("Content-Type: application/json\r\n{headers}");
    request_with(platform.api_address(), method, "localhost", path, &headers, body.as_bytes()).await.unwrap()
}

#[tokio::test]
async fn a_stranger_reaches_apps_and_nothing_of_the_platforms_own() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    let (domain, stranger) = (platform.domain(), stranger(&platform));
    let base = format!("http://{}:{}", platform.gateway(), platform.internal);
    let own = platform.instance("hello", 0).await;
    let (repository, services) = (format!("repository.{domain}"), format!("services.{domain}"));
    platform.docker_run(
        "broken",
        &["--label", "platformer.app=broken", "--entrypoint", "sleep"],
        &["platformer/app-base", "300"],
    );
    platform.until("the broken app is routed", |s| crate::harness::app_of(s, "broken").is_some()).await;
    platform.until_status("broken.localhost", "/", 503).await;
    // What he is answered, and a word that is not in it.
    for (host, path, status, has, lacks) in [
        (format!("hello.{domain}"), "/", 200, "", "\u{0}"),
        (repository.clone(), "/", 403, "only those are answered here", "config"),
        (repository.clone(), "/config/hello/hello.config", 403, "platform's network", "STARTUP"),
        (repository.clone(), "/files/hello/hello.tgz", 403, "platform's network", "\u{0}"),
        (repository.clone(), "/artefacts/hello/1.0.0/hello.tgz", 403, "platform's network", "\u{0}"),
        (services.clone(), "/services", 403, "platform's network", "endpoints"),
        (services.clone(), "/services/x", 403, "platform's network", "endpoints"),
        (services.clone(), "/", 200, "here", "0."),
        (services.clone(), "/nobody", 404, "nobody", "hello"),
        (format!("dashboard.{domain}"), "/", 200, "here", "0."),
        ("who.example".into(), "/", 404, "who.example", "hello"),
        ("localhost".into(), "/", 404, "localhost", "hello"),
        (format!("broken.{domain}"), "/", 503, "broken", "172."),
    ] {
        let (answered, body) = ask(&stranger, &host, &format!("{base}{path}"), &[]);
        assert!(answered == status && body.contains(has) && !body.contains(lacks), "{host}{path}: {answered} {body}");
    }
    // Not by saying that he is somebody else either, nor with a token of the wrong kind.
    for header in ["X-Real-IP: 127.0.0.1", "X-Forwarded-For: 127.0.0.1", "Authorization: Bearer boot.hello@1.0.0.00"] {
        for (host, path) in [(&repository, "/config/hello/hello.config"), (&services, "/services")] {
            let (answered, body) = ask(&stranger, host, &format!("{base}{path}"), &["-H", header]);
            assert!(matches!(answered, 401 | 403), "{host} {header}: {answered} {body}");
        }
        let (_, body) = ask(&stranger, &format!("broken.{domain}"), &format!("{base}/"), &["-H", header]);
        assert!(!body.contains("172."), "{header}: {body}");
        let (_, body) = ask(&stranger, "localhost", &format!("{base}/"), &["-H", header]);
        assert!(!body.contains("hello"), "{header}: {body}");
    }
    // Our own containers, and this machine, are answered as ever.
    for (host, path, status, has) in [
        (&repository, "/config/hello/hello.config", 200, "STARTUP"),
        (&services, "/services", 200, "services"),
        (&services, "/nobody", 404, "nobody"),
    ] {
        let (answered, body) = ask(&own, host, &format!("{base}{path}"), &[]);
        assert!(answered == status && body.contains(has), "{host}{path}: {answered} {body}");
        let answer = platform.get(host, path).await;
        assert!(answer.status == status && answer.body.contains(has), "{host}{path}: {answer:?}");
    }
    assert!(platform.get("broken.localhost", "/").await.body.contains("172."), "this machine is told why");
    // Nobody sends the repository more than a question.
    let body = "x".repeat(2000);
    let answer = request_with(platform.http_address(), "POST", &repository, "/config/x/y", "", body.as_bytes()).await;
    assert_eq!(answer.unwrap().status, 413);
    platform.ok(&["down", "--keep-apps"]);
    let table = format!("[repository]\npath = {:?}\nopen = true\n", platform.path("repository").display().to_string());
    std::fs::write(platform.path("platformer.toml"), table).unwrap();
    platform.settings.retain(|(key, _)| key != "repository");
    platform.up();
    platform.until_ready("hello", 1).await;
    assert_eq!(ask(&stranger, &repository, &format!("{base}/config/hello/hello.config"), &[]).0, 200);
}

#[tokio::test]
async fn a_repository_that_wants_a_token_serves_instances_and_readers() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.set("repository.require_token", "true");
    platform.add_demo("hello", "1.0.0", "");
    platform.add_demo("other", "1.0.0", "");
    platform.up();
    // They boot: what startup.sh shows is enough for their own.
    platform.until_ready("hello", 1).await;
    platform.until_ready("other", 1).await;
    let host = format!("repository.{}", platform.domain());
    let path = "/config/hello/hello.config";
    assert_eq!(platform.get(&host, path).await.status, 401);
    let reader = bearer(platform.create_token(&["--scope", "read"])["token"].as_str().unwrap());
    let shown = request_with(platform.http_address(), "GET", &host, path, &reader, b"").await.unwrap();
    assert!(shown.status == 200 && shown.body.contains("STARTUP"), "{shown:?}");
    let wrong = request_with(platform.http_address(), "GET", &host, path, &bearer("guess"), b"").await.unwrap();
    assert_eq!(wrong.status, 401);
    // An instance reads what its own app consists of, and no other's.
    let (own, other) = (platform.instance("hello", 0).await, platform.instance("other", 0).await);
    let base = format!("http://{}", platform.repository());
    let with_token = |container: &str, path: &str| {
        let script = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' -H \"Authorization: Bearer $PLATFORMER_TOKEN\" {base}{path}"
        );
        docker(&["exec", container, "sh", "-c", &script])
    };
    assert_eq!((with_token(&own, path), with_token(&other, path)), ("200".into(), "403".into()));
    assert_eq!(with_token(&own, "/files/hello/hello.tgz"), "200");
}

#[tokio::test]
async fn hosts_are_listed_under_a_host_of_our_own_only() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    for (host, lists) in [
        ("localhost".to_owned(), true),
        ("127.0.0.1".into(), true),
        (format!("nobody.{}", platform.domain()), true),
        ("nobody.localhost".into(), true),
        ("evil.example".into(), false),
        ("127.0.0.1.evil.example".into(), false),
        (format!("{}.evil.example", platform.domain()), false),
    ] {
        let answer = request(platform.http_address(), &host, "/").await.unwrap();
        assert!(answer.status == 404 && answer.body.contains("http://hello") == lists, "{host}: {answer:?}");
    }
}

#[tokio::test]
async fn what_hangs_on_a_token_ends_with_it_and_cannot_multiply_it() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://localhost\r\n";
    let login = async |field: String| {
        let answer =
            request_with(platform.api_address(), "POST", "localhost", "/login", form, field.as_bytes()).await.unwrap();
        answer.header("set-cookie").map(|c| c.split(';').next().unwrap().split_once('=').unwrap().1.to_owned())
    };
    let cookie = |session: &str| format!("Cookie: platformer_session={session}\r\nOrigin: http://localhost\r\n");
    let status = async |headers: &str| call(&platform, "GET", "/v1/status", headers, "").await.status;
    let made = platform.create_token(&["--scope", "admin"]);
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let session = login(format!("token={token}")).await.unwrap();
    assert_eq!(status(&cookie(&session)).await, 200);
    // A session opens no other: not as a token, not by a link.
    assert_eq!(login(format!("token={session}")).await, None);
    let link = call(&platform, "POST", "/v1/login-links", &cookie(&session), "").await;
    assert_eq!((link.status, &link.json()["code"]), (403, &json!("is-session")));
    let link = call(&platform, "POST", "/v1/login-links", &bearer(token), "").await.json();
    let code = link["path"].as_str().unwrap().split_once("code=").unwrap().1.to_owned();
    // Listed, with what they hang on; and ended one by one.
    let second = login(format!("token={token}")).await.unwrap();
    let listed: Value = serde_json::from_str(&platform.ok(&["token", "list", "--sessions", "--json"])).unwrap();
    let own: Vec<&str> =
        listed.as_array().unwrap().iter().filter(|s| s["token"] == id).map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(own.len(), 2, "{listed}");
    assert!(!platform.ok(&["token", "list"]).contains(own[0]));
    platform.ok(&["token", "revoke", own[0]]);
    assert_eq!((status(&cookie(&session)).await, status(&cookie(&second)).await), (401, 200));
    // Twenty at once, and the oldest makes room.
    for _ in 0..20 {
        login(format!("token={token}")).await.unwrap();
    }
    assert_eq!(status(&cookie(&second)).await, 401);
    let last = login(format!("token={token}")).await.unwrap();
    assert_eq!(status(&cookie(&last)).await, 200);
    platform.ok(&["token", "revoke", id]);
    assert_eq!((status(&cookie(&last)).await, login(format!("code={code}")).await), (401, None));
    let listed: Value = serde_json::from_str(&platform.ok(&["token", "list", "--sessions", "--json"])).unwrap();
    assert_eq!(listed, json!([]));
    // By time as well; and what such a token makes ends no later.
    let short = platform.create_token(&["--scope", "admin", "--expires", "3s"]);
    let session = login(format!("token={}", short["token"].as_str().unwrap())).await.unwrap();
    let made =
        call(&platform, "POST", "/v1/tokens", &cookie(&session), r#"{"scopes":["admin"],"expires":"90d"}"#).await;
    assert!(made.status == 201 && made.json()["expires_at"] == short["expires_at"], "{made:?} {short}");
    let end = std::time::Instant::now() + DEADLINE;
    while status(&cookie(&session)).await != 401 {
        assert!(std::time::Instant::now() < end, "the session outlives its token");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_is_still_being_answered_ends_with_the_token_it_was_asked_with() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let made = platform.create_token(&["--scope", "read"]);
    let headers = bearer(made["token"].as_str().unwrap());
    let index = call(&platform, "GET", "/v1/catalog/services", &headers, "").await;
    let waiting = format!("/v1/kv/nothing?index={}&wait=10m", index.header("x-consul-index").unwrap());
    let mut open = Vec::new();
    for path in ["/v1/events", "/live", "/v1/apps/hello/logs?follow=true", &waiting] {
        let mut stream = TcpStream::connect(platform.api_address()).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        open.push((path.to_owned(), stream));
    }
    for resource in ["streams", "followed_logs", "long_polls"] {
        until_held(&platform, resource, if resource == "streams" { 2.0 } else { 1.0 }).await;
    }
    platform.ok(&["token", "revoke", made["id"].as_str().unwrap()]);
    for (path, mut stream) in open {
        let mut all = String::new();
        let read = timeout(DEADLINE, stream.read_to_string(&mut all)).await;
        read.unwrap_or_else(|_| panic!("{path} goes on: {all}")).unwrap();
        let expected = if path == waiting { "HTTP/1.1 401" } else { "HTTP/1.1 200" };
        assert!(all.starts_with(expected), "{path}: {all}");
    }
}

#[tokio::test]
async fn what_was_not_sent_to_its_end_when_its_token_was_revoked_changes_nothing() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let made = platform.create_token(&["--scope", "admin"]);
    let headers = bearer(made["token"].as_str().unwrap());
    // Large enough to be counted: so it is known when the head has been read.
    let body = format!("{{\"scopes\":[\"admin\"]{}}}", " ".repeat(1 << 17));
    let mut stream = TcpStream::connect(platform.api_address()).await.unwrap();
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{}",
        body.len(),
        &body[..body.len() - 1]
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    until_held(&platform, "large_bodies", 1.0).await;
    platform.ok(&["token", "revoke", made["id"].as_str().unwrap()]);
    stream.write_all(&body.as_bytes()[body.len() - 1..]).await.unwrap();
    let mut all = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut all)).await.expect("an answer").unwrap();
    assert!(all.starts_with("HTTP/1.1 401"), "{all}");
    assert_eq!(platform.ok(&["token", "list", "--json"]).matches("\"admin\"").count(), 0, "it made another one");
}

#[tokio::test]
async fn a_deploy_token_leads_nobody_to_this_machine() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.add_demo("hello", "1.0.0", "");
    platform.set("dns.extra", "inside.corp=127.0.0.1");
    platform.up();
    platform.until_ready("hello", 1).await;
    let made = platform.create_token(&["--scope", "deploy:x", "--new"]);
    let token = bearer(made["token"].as_str().unwrap());
    let root = bearer(&platform.token().unwrap());
    let put = async |headers: &str, url: &str| {
        call(&platform, "PUT", "/services/x", headers, &json!({ "url": url }).to_string()).await
    };
    for url in [
        "http://127.0.0.1:9999".to_owned(),
        "http://localhost:9999".into(),
        "http://x.localhost:9999".into(),
        "http://2130706433:9999".into(),
        "http://[::ffff:127.0.0.1]:9999".into(),
        "http://[::1]:9999".into(),
        "http://0.0.0.0:9999".into(),
        "http://169.254.169.254".into(),
        "http://[fe80::1]:9999".into(),
        format!("http://{}:9999", platform.gateway()),
        "http://inside.corp:9999".into(),
        format!("http://hello.{}:9999", platform.domain()),
    ] {
        let answer = put(&token, &url).await;
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 400 && detail.contains("admin"), "{url}: {answer:?}");
        let path = format!("/services/x/{}", url.replace(':', "%3A").replace('/', "%2F"));
        assert_eq!(call(&platform, "POST", &path, &token, "").await.status, 400, "{url}");
    }
    for address in [json!({}), json!({ "Address": "127.0.0.1" }), json!({ "Address": "localhost" })] {
        let mut body = json!({ "Name": "x", "Port": 9999 });
        body.as_object_mut().unwrap().extend(address.as_object().unwrap().clone());
        let answer = call(&platform, "PUT", "/v1/agent/service/register", &token, &body.to_string()).await;
        assert!(answer.status == 400 && answer.body.contains("admin"), "{body}: {answer:?}");
    }
    for bad in ["http%3A%2F%2Fx%2F%0D%0AX%3A%20y", "http%3A%2F%2Fx%20y", "http%3A%5C%5Cx", "http%3Ax"] {
        let answer = call(&platform, "POST", &format!("/services/x/{bad}"), &root, "").await;
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
    assert_eq!(put(&token, "http://10.255.255.1:9999").await.status, 200);
    assert_eq!(put(&root, "http://127.0.0.1:9999").await.status, 200);
    platform.ok(&["services", "remove", "x"]);
}

#[tokio::test]
async fn the_state_is_closed_to_others_and_nginx_reaches_what_it_needs() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    platform.ok(&["kv", "put", "team/secret", "x"]);
    // As an older version left it.
    let open = platform.path("state/kv.sqlite");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    platform.kill();
    platform.up();
    platform.until_ready("hello", 1).await;
    let mut seen = Vec::new();
    for folder in [platform.path("state"), platform.path("state/nginx")] {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode();
            // nginx itself gives its own socket to everybody, in a folder that only its workers' group passes.
            let is_closed =
                mode & 0o007 == 0 || entry.metadata().unwrap().is_symlink() || entry.file_name() == "status.sock";
            assert!(is_closed || folder.ends_with("nginx"), "{}: {mode:o}", entry.path().display());
            seen.push(entry.file_name().into_string().unwrap());
        }
    }
    assert!(
        ["ledger.sqlite", "kv.sqlite", "supervisor.sock", "nginx.pid"].iter().all(|n| seen.iter().any(|s| s == n)),
        "{seen:?}"
    );
    let mode = |name: &str| std::fs::metadata(platform.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state/nginx"), mode("state/supervisor.sock")), (0o710, 0o660));
    // The pages and the repository still come through nginx's workers.
    assert_eq!(platform.get("nobody.localhost", "/").await.status, 404);
    let config = platform.get(&format!("repository.{}", platform.domain()), "/config/hello/hello.config").await;
    assert_eq!(config.status, 200);
}

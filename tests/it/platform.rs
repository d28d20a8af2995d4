//! Boot, names and routes of a running platform, and going down.

use std::process::Command;

use crate::harness::{DEADLINE, Platform, app_of, docker, docker_or_skip, request, request_with};

#[tokio::test]
async fn it_boots_and_the_app_answers_by_every_name_from_host_and_container() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let domain = platform.domain();
    for host in ["hello.localhost".to_owned(), format!("hello.{domain}"), format!("stable.hello.{domain}")] {
        let answer = platform.get(&host, "/greeting").await;
        assert_eq!((answer.status, answer.json()["version"].as_str()), (200, Some("1.0.0")), "{host}: {answer:?}");
    }
    assert_eq!(platform.get(&format!("candidate.hello.{domain}"), "/").await.status, 404);
    // The host gets loopback, a container the gateway; there port 80 serves although http is moved.
    for name in ["hello", "repository", "loadbalancer", "stable.hello"] {
        assert_eq!(platform.resolve(&format!("{name}.{domain}")).await, (0, vec!["127.0.0.1".into()]), "{name}");
    }
    let instance = platform.instance("hello", 0).await;
    let container = format!("{instance}.{domain}");
    let (code, addresses) = platform.resolve(&container).await;
    assert!(code == 0 && addresses.len() == 1 && addresses[0].starts_with("172.30."), "{code} {addresses:?}");
    assert_eq!(platform.resolve(&format!("hello.instances.{domain}")).await.1, addresses);
    assert_eq!(platform.resolve(&format!("nobody.{domain}")).await, (3, vec![]));
    assert_eq!(platform.resolve(&format!("instances.{domain}")).await, (0, vec![]));
    let inside =
        docker(&["exec", &instance, "curl", "-s", &format!("http://hello.{domain}:{}/greeting", platform.internal)]);
    assert!(inside.contains("\"1.0.0\""), "{inside}");
    let repository = docker(&[
        "exec",
        &instance,
        "curl",
        "-s",
        &format!("http://repository.{domain}:{}/config/hello/hello.config", platform.internal),
    ]);
    assert_eq!(repository, "STARTUP_COMMAND=\"python3 app.py\"");
}

#[tokio::test]
async fn requests_arrive_with_their_forwarding_headers_and_stripped_prefix() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.add_demo("hello", "1.0.0", "hosts = [\"shop.example\"]\npaths = [\"/api\"]\nstrip_prefix = true\n");
    platform.up();
    platform.until_ready("hello", 1).await;
    let answer = request_with(
        platform.http_address(),
        "GET",
        "shop.example",
        "/api/echo?a=1",
        "X-Forwarded-For: 9.9.9.9\r\nProxy: evil\r\n",
        b"",
    )
    .await
    .unwrap();
    let seen = answer.json();
    assert_eq!(seen["path"], "/echo?a=1");
    assert_eq!(platform.get("shop.example", "/%61pi/echo?a=%20").await.json()["path"], "/echo?a=%20");
    let headers = &seen["headers"];
    assert_eq!(headers["Host"], "shop.example");
    assert_eq!(headers["X-Real-IP"], "127.0.0.1");
    assert_eq!(headers["X-Forwarded-For"], "9.9.9.9, 127.0.0.1");
    assert_eq!((&headers["X-Forwarded-Proto"], &headers["X-Forwarded-Host"]), (&"http".into(), &"shop.example".into()));
    assert!(headers["Proxy"].is_null(), "{headers}");
    // Whole segments only, and the prefix alone is the root.
    assert_eq!(platform.get("shop.example", "/apish").await.status, 404);
    assert_eq!(platform.get("shop.example", "/api").await.json()["version"], "1.0.0");
}

#[tokio::test]
async fn streams_and_upgrades_pass_through() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let exchange = |head: &'static str, end: &'static str| async move {
        let mut stream = tokio::net::TcpStream::connect(platform_address(head)).await.unwrap();
        stream.write_all(head.split_once('|').unwrap().1.as_bytes()).await.unwrap();
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        while !seen.contains(end) {
            let n = tokio::time::timeout(DEADLINE, stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(n > 0, "closed after {seen:?}");
            seen += &String::from_utf8_lossy(&buffer[..n]);
        }
        stream
    };
    fn platform_address(head: &str) -> String {
        format!("127.0.0.1:{}", head.split_once('|').unwrap().0)
    }
    // The first event arrives while the answer goes on.
    let head: &'static str =
        Box::leak(format!("{}|GET /events HTTP/1.1\r\nHost: hello.localhost\r\n\r\n", platform.http).into_boxed_str());
    exchange(head, "data: 1.0.0").await;
    let head: &'static str = Box::leak(
        format!("{}|GET /ws HTTP/1.1\r\nHost: hello.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", platform.http)
            .into_boxed_str(),
    );
    let mut socket = exchange(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=").await;
    // A masked text frame "hi" (RFC 6455 §5.2), echoed unmasked.
    socket.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    let mut echo = [0; 4];
    tokio::time::timeout(DEADLINE, socket.read_exact(&mut echo)).await.unwrap().unwrap();
    assert_eq!(&echo, &[0x81, 2, b'h', b'i']);
}

#[tokio::test]
async fn an_app_without_a_ready_instance_answers_503_and_says_why() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    platform.ok(&["stop", "hello"]);
    let answer = platform.until_status("hello.localhost", "/", 503).await;
    assert!(answer.header("Retry-After").is_some() && answer.body.contains("hello is not available"), "{answer:?}");
    platform.ok(&["start", "hello"]);
    platform.until_status("hello.localhost", "/", 200).await;
}

#[tokio::test]
async fn an_unknown_host_is_a_404_that_names_the_hosts_to_this_machine_only() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let local = platform.get("nobody.localhost", "/x").await;
    assert!(local.status == 404 && local.body.contains("http://hello.localhost/"), "{local:?}");
    let instance = platform.instance("hello", 0).await;
    let url = format!("http://{}:{}/", platform.gateway(), platform.internal);
    let inside = docker(&["exec", &instance, "curl", "-s", &url]);
    assert!(inside.contains("No app answers") && !inside.contains("hello.localhost"), "{inside}");
}

#[tokio::test]
async fn going_down_leaves_nothing_or_with_keep_apps_the_instances() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    let instances =
        |p: &Platform| docker(&["ps", "-q", "--filter", &format!("network={}", p.network())]).lines().count();
    platform.ok(&["down", "--keep-apps"]);
    assert_eq!(instances(&platform), 1);
    assert!(request(platform.http_address(), "hello.localhost", "/").await.is_err(), "nginx is still there");
    platform.up();
    platform.until_ready("hello", 1).await;
    assert_eq!(instances(&platform), 1, "the instance that was kept is taken over");
    platform.ok(&["down"]);
    assert_eq!(instances(&platform), 0);
    assert!(platform.cli(&["status"]).status.code() == Some(1));
}

#[tokio::test]
async fn a_second_up_is_refused_and_a_taken_port_names_its_holder() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let second = platform.cli(&["up"]);
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && text.contains(&format!("supervisor {}", platform.pid())), "{text}");
    for (setting, taken) in [("listen.http", platform.http), ("listen.api", platform.api), ("listen.dns", platform.dns)]
    {
        let mut other = Platform::new();
        other.set(setting, &format!("127.0.0.1:{taken}"));
        let output = other.cli(&["up"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let holder = if setting == "listen.http" { "nginx (pid" } else { "platformer (pid" };
        assert!(text.contains(holder) && text.contains(setting), "{setting}: {text}");
    }
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200);
}

#[tokio::test]
async fn two_platforms_live_side_by_side_and_leave_each_others_containers_alone() {
    if !docker_or_skip() {
        return;
    }
    let (one, two) = tokio::join!(Platform::with_demo(), Platform::with_demo());
    assert_eq!(one.get("hello.localhost", "/").await.status, 200);
    assert_eq!(two.get("hello.localhost", "/").await.status, 200);
    let names = |p: &Platform| p.ok(&["status", "hello", "--json"]);
    assert_ne!(names(&one), names(&two));
    one.ok(&["down"]);
    assert_eq!(two.get("hello.localhost", "/").await.status, 200);
    two.until_ready("hello", 1).await;
}

#[tokio::test]
async fn without_docker_the_error_says_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(crate::harness::BINARY)
        .args([
            "--set",
            &format!("state={}", folder.path().display()),
            "--set",
            "docker.host=unix:///nowhere/docker.sock",
            "up",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("Docker does not answer at unix:///nowhere/docker.sock") && text.contains("what helps"),
        "{text}"
    );
}

#[tokio::test]
async fn why_finds_where_a_chain_breaks() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let chain = platform.ok(&["why", &format!("http://hello.{}/greeting", platform.domain())]);
    assert!(chain.contains("belong to app hello") && chain.contains("instance hello-1.0.0-"), "{chain}");
    let broken = platform.cli(&["why", "helo.localhost"]);
    let text = String::from_utf8_lossy(&broken.stdout).into_owned();
    assert!(broken.status.code() == Some(1) && text.contains("did you mean hello.localhost?"), "{text}");
    platform.ok(&["stop", "hello"]);
    platform
        .until("nothing is left", |s| app_of(s, "hello").is_some_and(|a| a["instances"] == serde_json::json!([])))
        .await;
    let text = String::from_utf8_lossy(&platform.cli(&["why", "hello.localhost"]).stdout).into_owned();
    assert!(text.contains("platformer start hello"), "{text}");
}

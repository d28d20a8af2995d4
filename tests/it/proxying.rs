//! What of a request arrives at an app, byte for byte, and what a bad request, app or container does to others.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, DEADLINE, Load, Platform, app_of, docker, docker_or_skip, request_with};

/// An app that answers with the request as it came, but for some paths.
const RAW: &str = r#"
import os, socket, threading, time
def serve(c):
    data = b''
    while True:
        while b'\r\n\r\n' not in data:
            more = c.recv(65536)
            if not more: return c.close()
            data += more
        head, data = data.split(b'\r\n\r\n', 1)
        lines = head.split(b'\r\n')
        names = {l.split(b':')[0].lower(): l.split(b':', 1)[1].strip() for l in lines[1:]}
        length = int(names.get(b'content-length', b'0'))
        while len(data) < length: data += c.recv(65536)
        body, data = head + b'\r\n\r\n' + data[:length], data[length:]
        path, extra, status = lines[0].split()[1], b'', b'200 OK'
        if path.startswith(b'/crash'): return c.close()
        if path.startswith(b'/slow'): time.sleep(3)
        if path.startswith(b'/accel'): extra = b'X-Accel-Redirect: /_platformer/failed/\r\n'
        if path.startswith(b'/garbage'): c.sendall(b'no head at all\n'); return c.close()
        if path.startswith(b'/big'): extra = b'X-Big: ' + b'x' * 30000 + b'\r\n'
        if path == b'/health' and names.get(b'host', b'').decode() != os.environ['ALLOWED']: status = b'400 No'
        c.sendall(b'HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s' % (status, len(body), extra, body))
server = socket.create_server(('', 8080), backlog=512)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"#;

/// Declares `raw`, whose probes are answered under `allowed` only.
fn add_raw(platform: &Platform, declaration: &str, allowed: &str) {
    let folder = platform.path("raw");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("app.py"), RAW).unwrap();
    let archive = platform.path("raw.tgz");
    let packed =
        std::process::Command::new("tar").arg("-C").arg(&folder).arg("-czf").arg(&archive).arg("app.py").status();
    assert!(packed.unwrap().success());
    platform.put("artefacts/raw/1.0.0/raw.tgz", std::fs::read(archive).unwrap());
    platform.put_config("raw", &[("ALLOWED", allowed)]);
    platform.put("apps/raw.toml", format!("{declaration}\n[health]\npath = \"/health\"\n"));
}

async fn with_raw(declaration: &str) -> Platform {
    let mut platform = Platform::new();
    add_raw(&platform, declaration, &format!("raw.{}", platform.domain()));
    platform.up();
    let replicas = if declaration.contains("replicas = 2") { 2 } else { 1 };
    platform.until_ready("raw", replicas).await;
    platform
}

async fn ask(platform: &Platform, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    request_with(platform.http_address(), method, "raw.localhost", path, headers, body.as_bytes()).await.unwrap()
}

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
    let mut platform = Platform::new();
    platform.set("proxy.trusted", "127.0.0.0/8");
    add_raw(&platform, "", &format!("raw.{}", platform.domain()));
    platform.up();
    platform.until_ready("raw", 1).await;
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
async fn one_address_holds_a_bounded_number_of_requests_and_no_half_of_one_for_long() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.set("proxy.per_address", "3");
    add_raw(&platform, "", &format!("raw.{}", platform.domain()));
    platform.up();
    platform.until_ready("raw", 1).await;
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

#[tokio::test]
async fn what_clients_write_is_never_taken_for_a_verdict() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("").await;
    let address = platform.http_address();
    let attack = tokio::spawn(async move {
        let long = "x".repeat(1700);
        loop {
            for referer in ["[emerg] 1#1: pwned in /s/platformer.conf:21", "\u{fffd}\n [emerg]", long.as_str()] {
                let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                let referer = referer.replace('\n', "");
                let mut head =
                    b"POST / HTTP/1.1\r\nHost: raw.localhost\r\nContent-Length: 99999999999\r\nReferer: \xff".to_vec();
                head.extend(format!("{referer}\r\n\r\n").bytes());
                // nginx may close before all is written.
                let _ = stream.write_all(&head).await;
                let _ = stream.read(&mut [0; 64]).await;
            }
        }
    });
    let error_log = platform.path("state/nginx/error.log");
    let end = Instant::now() + DEADLINE;
    while !String::from_utf8_lossy(&std::fs::read(&error_log).unwrap()).contains("pwned") {
        assert!(Instant::now() < end, "nothing was logged");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for replicas in ["2", "1", "2"] {
        platform.ok(&["scale", "raw", replicas]);
        let status = platform.until_ready("raw", replicas.parse().unwrap()).await;
        assert_eq!(status["problems"], serde_json::json!([]));
    }
    attack.abort();
    let verdicts = std::fs::read_to_string(platform.path("state/nginx/verdicts.log")).unwrap();
    assert!(!verdicts.contains("pwned") && !verdicts.contains("Referer"), "{verdicts}");
}

#[tokio::test]
async fn what_nginx_refuses_is_named_and_left_out_while_all_others_have_their_newest_routes() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let templates = platform.path("templates");
    std::fs::create_dir(&templates).unwrap();
    platform.set("templates", templates.to_str().unwrap());
    let built_in =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/nginx/platformer.conf.tera")).unwrap();
    // An nginx that cannot have one host, and does not say in which line.
    let refusing = built_in.replace(
        "    server_name {{ server.hosts | join(sep=\" \") }};\n",
        "    server_name {{ server.hosts | join(sep=\" \") }};\n{%- for host in server.hosts %}{% if host == \"refused.example\" %}\n    ssl_certificate /none; listen 127.0.0.1:1 ssl;{% endif %}{% endfor %}\n",
    );
    assert_ne!(refusing, built_in);
    std::fs::write(templates.join("platformer.conf.tera"), refusing).unwrap();
    add_raw(&platform, "", &format!("raw.{}", platform.domain()));
    platform.up();
    platform.until_ready("raw", 1).await;
    let serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=9000)";
    let run = |name: &str, host: &str| {
        let (app, host) = (format!("platformer.app={name}"), format!("platformer.host={host}"));
        let options = ["--entrypoint", "python3", "--label", &app, "--label", &host, "--label", "platformer.port=9000"];
        platform.docker_run(name, &options, &["platformer/app-base", "-c", serve])
    };
    let evil = run("evil", "refused.example,fine.example");
    platform.until_problem("app evil", "refused.example").await;
    // What of it can be had is had.
    platform.until_status("fine.example", "/", 200).await;
    assert_eq!(platform.get("refused.example", "/").await.status, 404);
    run("good", "good.example");
    platform.until_status("good.example", "/", 200).await;
    platform.ok(&["scale", "raw", "2"]);
    let status = platform.until_ready("raw", 2).await;
    assert!(app_of(&status, "raw").is_some_and(|app| app["ready"] == 2));
    let before = status["generation"]["live"].as_u64().unwrap();
    // It backs off: nothing changes, so nothing is tried.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = platform.status().await.unwrap()["generation"]["live"].as_u64().unwrap();
    assert!(after - before <= 1, "{before} to {after}");
    docker(&["rm", "-f", &evil]);
    platform.until("the refusal goes with it", |s| s["problems"] == serde_json::json!([])).await;
    run("evil", "fine.example");
    platform.until_status("fine.example", "/", 200).await;
}

#[tokio::test]
async fn a_release_goes_live_at_once_beside_a_container_that_flaps() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_raw("").await;
    let serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=9000)";
    let options = ["--entrypoint", "python3", "--label", "platformer.app=flap", "--label", "platformer.port=9000"];
    let flapping = platform.docker_run("flap", &options, &["platformer/app-base", "-c", serve]);
    platform.until_status("flap.localhost", "/", 200).await;
    let flap = tokio::task::spawn_blocking({
        let flapping = flapping.clone();
        move || {
            for _ in 0..40 {
                for act in ["pause", "unpause"] {
                    docker(&[act, &flapping]);
                }
            }
        }
    });
    let first = platform.status().await.unwrap()["generation"]["live"].as_u64().unwrap();
    let began = Instant::now();
    for replicas in ["2", "1"] {
        platform.ok(&["scale", "raw", replicas]);
        platform
            .until(&format!("{replicas} are ready"), |s| {
                app_of(s, "raw").is_some_and(|a| a["ready"] == replicas.parse::<u64>().unwrap())
            })
            .await;
    }
    flap.await.unwrap();
    platform.until_settled().await;
    let last = platform.status().await.unwrap()["generation"]["live"].as_u64().unwrap();
    let most = 20 + u64::try_from(began.elapsed().as_millis() / 100).unwrap();
    assert!(last - first <= most, "{} switches, {most} are the most", last - first);
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

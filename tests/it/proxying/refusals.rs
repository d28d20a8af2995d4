//! What nginx refuses, and what makes it switch again and again.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{add_raw, with_raw};
use crate::harness::{DEADLINE, Platform, app_of, docker, docker_or_skip};

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
    let (file, built_in) = platform.own_templates();
    // An nginx that cannot have one host, and does not say in which line.
    let refusing = built_in.replace(
        "    server_name {{ server.hosts | join(sep=\" \") }};\n",
        "    server_name {{ server.hosts | join(sep=\" \") }};\n{%- for host in server.hosts %}{% if host == \"refused.example\" %}\n    ssl_certificate /none; listen 127.0.0.1:1 ssl;{% endif %}{% endfor %}\n",
    );
    assert_ne!(refusing, built_in);
    std::fs::write(file, refusing).unwrap();
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
    for replicas in ["2", "1"] {
        platform.ok(&["scale", "raw", replicas]);
        platform
            .until(&format!("{replicas} are ready"), |s| {
                app_of(s, "raw").is_some_and(|a| a["ready"] == replicas.parse::<u64>().unwrap())
            })
            .await;
    }
    flap.await.unwrap();
    platform.until_problem(&flapping, "ready and not ready in turn").await;
    platform.until_settled().await;
    let last = platform.status().await.unwrap()["generation"]["live"].as_u64().unwrap();
    // Eight times out and in, or nine where it takes long, and what the app itself needs.
    assert!(last - first <= 2 * 9 + 6, "{} switches", last - first);
}

//! Containers that somebody starts by hand: they join and leave by themselves.

use crate::harness::{Load, Platform, app_of, docker, docker_or_skip};

#[tokio::test]
async fn a_container_of_the_base_image_joins_the_app_of_its_name_and_leaves() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let by_hand = platform.run_demo("two", "hello", &[]);
    let status = platform.until_ready("hello", 2).await;
    let instances = app_of(&status, "hello").unwrap()["instances"].as_array().unwrap().clone();
    let mine = instances.iter().find(|i| i["name"] == by_hand.as_str()).unwrap();
    assert_eq!((&mine["managed"], &mine["release"]), (&false.into(), &"1.0.0".into()));
    assert_eq!(platform.resolve(&format!("{by_hand}.{}", platform.domain())).await.1.len(), 1);
    docker(&["rm", "-f", &by_hand]);
    platform.until_ready("hello", 1).await;
    platform.until_no_name(&format!("{by_hand}.{}", platform.domain())).await;
}

#[tokio::test]
async fn another_version_by_hand_is_a_candidate_at_zero_percent() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    platform.run_demo(
        "next",
        "hello",
        &["--label", "platformer.version=1.0.1", "-e", "PLATFORMER_RELEASE=hello@1.0.1"],
    );
    let status = platform.until("a candidate", |s| app_of(s, "hello").is_some_and(|a| a["candidate"] == "1.0.1")).await;
    assert_eq!(app_of(&status, "hello").unwrap()["split"], serde_json::json!({ "1.0.0": 100, "1.0.1": 0 }));
    platform.until_status("candidate.hello.localhost", "/", 200).await;
    platform.until_settled().await;
    assert_eq!(platform.get("candidate.hello.localhost", "/").await.json()["version"], "1.0.1");
    for _ in 0..20 {
        assert_eq!(platform.get("hello.localhost", "/").await.json()["version"], "1.0.0");
    }
}

#[tokio::test]
async fn a_foreign_image_with_labels_is_routed_and_answers_503_after_it_left() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=9000)";
    let options = [
        "--entrypoint",
        "python3",
        "--label",
        "platformer.app=files",
        "--label",
        "platformer.port=9000",
        "--label",
        "platformer.host=files.example",
    ];
    let name = platform.docker_run("web", &options, &["platformer/app-base", "-c", serve]);
    platform.until_status("files.example", "/", 200).await;
    platform.until_status("files.localhost", "/", 200).await;
    docker(&["rm", "-f", &name]);
    let answer = platform.until_status("files.example", "/", 503).await;
    assert!(answer.body.contains("files is not available"), "{answer:?}");
}

#[tokio::test]
async fn every_change_of_a_container_is_followed() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let domain = platform.domain();
    platform.put_files("web").await;
    let name = platform.run_demo("x", "web", &[]);
    platform.until_ready("web", 1).await;
    let route_is = |ready: usize| platform.until_ready("web", ready);

    docker(&["pause", &name]);
    route_is(0).await;
    docker(&["unpause", &name]);
    route_is(1).await;
    docker(&["restart", "-t", "1", &name]);
    route_is(1).await;
    docker(&["stop", "-t", "1", &name]);
    route_is(0).await;
    platform.until_no_name(&format!("{name}.{domain}")).await;
    docker(&["start", &name]);
    route_is(1).await;
    docker(&["network", "disconnect", &platform.network(), &name]);
    route_is(0).await;
    platform.until_problem(&name, "on no network").await;
    docker(&["network", "connect", &platform.network(), &name]);
    route_is(1).await;
    let renamed = format!("{}-renamed", platform.id);
    docker(&["rename", &name, &renamed]);
    platform.until("the new name", |s| s.to_string().contains(&renamed)).await;
    platform.until_no_name(&format!("{name}.{domain}")).await;
    assert_eq!(platform.resolve(&format!("{renamed}.{domain}")).await.1.len(), 1);
    docker(&["kill", &renamed]);
    route_is(0).await;
}

#[tokio::test]
async fn the_docker_healthcheck_decides_where_an_image_has_one() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let health = ["--health-cmd", "test -e /tmp/ok", "--health-interval", "200ms", "--health-retries", "1"];
    platform.put_files("checked").await;
    let name = platform.run_demo("checked", "checked", &health);
    platform
        .until("not ready yet", |s| app_of(s, "checked").is_some_and(|a| a["instances"][0]["state"] != "ready"))
        .await;
    docker(&["exec", &name, "touch", "/tmp/ok"]);
    platform.until_ready("checked", 1).await;
    docker(&["exec", &name, "rm", "/tmp/ok"]);
    platform.until_ready("checked", 0).await;
}

#[tokio::test]
async fn thirty_containers_at_once_give_thirty_routes_and_few_reloads() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let before = platform.status().await.unwrap()["generation"]["live"].as_u64().unwrap();
    let load = Load::begin(platform.http_address(), "hello.localhost", "/", 2);
    let serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=9000)";
    std::thread::scope(|scope| {
        for n in 0..30 {
            let platform = &platform;
            scope.spawn(move || {
                let label = format!("platformer.app=app{n}");
                let options = ["--entrypoint", "python3", "--label", &label, "--label", "platformer.port=9000"];
                platform.docker_run(&format!("n{n}"), &options, &["platformer/app-base", "-c", serve]);
            });
        }
    });
    let status = platform
        .until("30 apps ready", |s| {
            (0..30).all(|n| app_of(s, &format!("app{n}")).is_some_and(|a| a["ready"] == 1))
                && s["generation"]["live"] == s["generation"]["wanted"]
        })
        .await;
    for n in 0..30 {
        assert_eq!(platform.get(&format!("app{n}.localhost"), "/").await.status, 200, "app{n}");
    }
    let reloads = status["generation"]["live"].as_u64().unwrap() - before;
    // Each container is first unknown, then starting, then ready: without coalescing that were 60 and more.
    assert!(reloads <= 60, "{reloads} reloads for 30 containers");
    load.end(1).await;
}

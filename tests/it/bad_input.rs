//! Bad input breaks only itself, and is named where people look.

use crate::harness::{Platform, docker, docker_or_skip};

#[tokio::test]
async fn a_bad_label_is_a_problem_of_its_container_alone() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let mega = "a".repeat(100_000);
    for (n, (label, value)) in [
        ("app", ""),
        ("app", "Shop"),
        ("app", "a;b"),
        ("app", "a\nb"),
        ("app", "repository"),
        ("app", "{}"),
        ("app", "-x"),
        ("port", "0"),
        ("port", "65536"),
        ("port", "80;"),
        ("host", "a b"),
        ("host", "x;}"),
        ("host", mega.as_str()),
        ("path", "/a{"),
        ("version", "../x"),
    ]
    .into_iter()
    .enumerate()
    {
        let labels = [format!("platformer.app=bad{n}"), format!("platformer.{label}={value}")];
        let mut options = vec!["--entrypoint", "sleep"];
        for l in labels.iter().skip(usize::from(label == "app")) {
            options.extend(["--label", l.as_str()]);
        }
        platform.docker_run(&format!("bad{n}"), &options, &["platformer/app-base", "600"]);
        platform.until_problem(&format!("bad{n}"), &format!("label platformer.{label}")).await;
    }
    let rendered = platform.ok(&["render"]);
    assert!(!rendered.contains("bad") && !rendered.contains("aaaaaaaa"), "{rendered}");
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200);
    platform.docker_run(
        "typo",
        &["--entrypoint", "sleep", "--label", "platformer.prot=80"],
        &["platformer/app-base", "600"],
    );
    let status = platform.until_problem("typo", "platformer.prot means nothing").await;
    assert!(status.to_string().contains("did you mean platformer.port?"));
}

#[tokio::test]
async fn a_template_that_does_not_render_or_that_nginx_refuses_leaves_the_last_good_one_in_use() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let (file, built_in) = platform.own_templates();
    platform.add_demo("hello", "1.0.0", "");
    platform.up();
    platform.until_ready("hello", 1).await;

    std::fs::write(&file, built_in.replace("proxy_redirect off;", "proxy_redirect off;\n    add_header X-Mine yes;"))
        .unwrap();
    platform
        .until("the override is live", |s| {
            s["problems"] == serde_json::json!([]) && s["generation"]["live"] == s["generation"]["wanted"]
        })
        .await;
    let end = std::time::Instant::now() + crate::harness::DEADLINE;
    while platform.get("hello.localhost", "/").await.header("X-Mine") != Some("yes") {
        assert!(std::time::Instant::now() < end, "{}", platform.log());
    }
    for (text, reason) in
        [("{% if %}", "template"), ("{{ nothing.at.all }}", "nothing"), ("bogus_directive on;", "bogus_directive")]
    {
        std::fs::write(&file, text).unwrap();
        platform.until_problem("template platformer.conf.tera", reason).await;
        assert_eq!(
            platform.get("hello.localhost", "/").await.header("X-Mine"),
            Some("yes"),
            "the last good one is in use"
        );
    }
    // Other changes go on meanwhile.
    platform.ok(&["scale", "hello", "2"]);
    platform.until("two in the routes", |s| crate::harness::app_of(s, "hello").is_some_and(|a| a["ready"] == 2)).await;
    platform.until_status("hello.localhost", "/", 200).await;
    std::fs::remove_file(&file).unwrap();
    platform
        .until("healed", |s| {
            s["problems"] == serde_json::json!([]) && s["generation"]["live"] == s["generation"]["wanted"]
        })
        .await;
    assert_eq!(platform.get("hello.localhost", "/").await.header("X-Mine"), None);
}

#[tokio::test]
async fn a_config_folder_that_cannot_be_written_keeps_the_live_routes_and_heals() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    // Root may write anywhere, so the folder is made unusable by a file in its place.
    let generations = platform.path("state/nginx/generations");
    let aside = platform.path("aside");
    std::fs::rename(&generations, &aside).unwrap();
    std::fs::write(&generations, "").unwrap();
    let by_hand = platform.run_demo("two", "hello", &[]);
    platform.until_problem("nginx", "cannot write").await;
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200);
    std::fs::remove_file(&generations).unwrap();
    std::fs::rename(&aside, &generations).unwrap();
    platform.until_ready("hello", 2).await;
    docker(&["rm", "-f", &by_hand]);
}

#[tokio::test]
async fn a_full_disk_changes_nothing_that_serves_and_is_made_up_for_once_there_is_space() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.mount_small_state();
    platform.add_demo("hello", "1.0.0", "replicas = 1\n");
    platform.up();
    platform.until_ready("hello", 1).await;
    platform.put_files("late").await;
    let filler = platform.path("state/filler");
    let filled = std::fs::write(&filler, vec![0; 8 << 20]);
    assert!(filled.is_err(), "the disk took it all");
    platform.run_demo("late", "late", &[]);
    platform.until_problem("nginx", "No space left").await;
    let refused = platform.cli(&["scale", "hello", "2"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && text.contains("could not be recorded"), "{refused:?}");
    assert_eq!(platform.status().await.unwrap()["apps"][0]["wanted"], 1);
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200);
    std::fs::remove_file(&filler).unwrap();
    platform.until_status("late.localhost", "/", 200).await;
    platform.ok(&["scale", "hello", "2"]);
    platform.until_ready("hello", 2).await;
}

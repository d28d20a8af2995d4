//! Declared apps: scaled, stopped, restarted, removed; declarations that change, break and vanish.

use crate::harness::{Load, Platform, app_of, docker, docker_or_skip};

#[tokio::test]
async fn scaling_and_restarting_lose_no_request() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_instances(2).await;
    let load = Load::begin(platform.http_address(), "hello.localhost", "/", 4);
    platform.ok(&["scale", "hello", "3"]);
    platform.until_ready("hello", 3).await;
    platform.ok(&["scale", "hello", "1"]);
    platform
        .until("one is left", |s| app_of(s, "hello").is_some_and(|a| a["instances"].as_array().unwrap().len() == 1))
        .await;
    let ids = |s: &serde_json::Value| {
        app_of(s, "hello").unwrap()["instances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["id"].to_string())
            .collect::<Vec<_>>()
    };
    let before = ids(&platform.status().await.unwrap());
    platform.ok(&["restart", "hello"]);
    let fresh =
        |s: &serde_json::Value| ids(s).len() == 1 && ids(s) != before && app_of(s, "hello").unwrap()["ready"] == 1;
    platform.until("only a new instance", fresh).await;
    load.end(101).await;
}

#[tokio::test]
async fn a_decision_survives_a_restart_of_the_supervisor() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    platform.ok(&["scale", "hello", "2"]);
    platform.until_ready("hello", 2).await;
    platform.kill();
    platform.up();
    platform.until_ready("hello", 2).await;
    platform.ok(&["stop", "hello"]);
    platform.until("stopped", |s| app_of(s, "hello").is_some_and(|a| a["instances"] == serde_json::json!([]))).await;
    platform.kill();
    platform.up();
    platform.until("still stopped", |s| app_of(s, "hello").is_some_and(|a| a["wanted"] == 0 && a["ready"] == 0)).await;
}

#[tokio::test]
async fn an_app_file_brings_an_app_and_remove_takes_it() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    platform.add_demo("late", "2.0.0", "replicas = 1\n");
    platform.until_ready("late", 1).await;
    platform.until_status("late.localhost", "/", 200).await;
    platform.ok(&["remove", "late"]);
    platform.until("gone", |s| app_of(s, "late").is_none()).await;
    platform.until_status("late.localhost", "/", 404).await;
    assert!(platform.path("repository/apps/late.toml").exists(), "remove keeps the files");
    let file = platform.path("late.toml");
    std::fs::write(&file, "replicas = 1\n[health]\npath = \"/health\"\n").unwrap();
    platform.ok(&["apply", file.to_str().unwrap()]);
    platform.until_ready("late", 1).await;
    platform.ok(&["remove", "late", "--files"]);
    platform.until("gone for good", |s| app_of(s, "late").is_none()).await;
    assert!(
        !platform.path("repository/apps/late.toml").exists() && !platform.path("repository/artefacts/late").exists()
    );
}

#[tokio::test]
async fn a_declaration_that_breaks_or_vanishes_leaves_the_app_running_and_is_a_problem() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    platform.put("apps/hello.toml", "replcas = 2\n");
    platform.until_problem("file apps/hello.toml", "did you mean `replicas`?").await;
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200);
    std::fs::remove_file(platform.path("repository/apps/hello.toml")).unwrap();
    platform.until_problem("app hello", "is gone").await;
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200);
    platform.put("apps/hello.toml", "replicas = 2\n[health]\npath = \"/health\"\n");
    platform.until_ready("hello", 2).await;
    platform.until("no problem is left", |s| s["problems"] == serde_json::json!([])).await;
}

#[tokio::test]
async fn two_apps_that_claim_a_host_are_both_told_and_the_first_keeps_it() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.add_demo("zed", "1.0.0", "hosts = [\"shop.example\"]\n");
    platform.up();
    platform.until_ready("zed", 1).await;
    platform.add_demo("alpha", "2.0.0", "hosts = [\"shop.example\"]\n");
    platform.until_ready("alpha", 1).await;
    platform.until_problem("app alpha", "already held by app zed").await;
    platform.until_problem("app zed", "app alpha also claims").await;
    assert_eq!(platform.get("shop.example", "/").await.json()["version"], "1.0.0");
    assert_eq!(platform.get("alpha.localhost", "/").await.json()["version"], "2.0.0");
}

#[tokio::test]
async fn an_app_with_an_image_of_its_own_needs_no_artefact() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    docker(&["tag", "platformer/app-base", &format!("{}:1.2.3", platform.id)]);
    let declaration = format!(
        "image = \"{}:1.2.3\"\ncommand = [\"own\", \"{}\"]\nport = 8080\n[env]\nGREETING = \"two words\"\n[limits]\nmemory = \"64m\"\ncpus = 0.5\n",
        platform.id,
        platform.repository()
    );
    platform.add_demo("own", "9.9.9", "");
    platform.put("apps/own.toml", declaration);
    std::fs::remove_dir_all(platform.path("repository/artefacts")).unwrap();
    platform.put("files/own/own.tgz", std::fs::read(platform.path("demo.tgz")).unwrap());
    platform.up();
    let status = platform.until_ready("own", 1).await;
    assert_eq!(app_of(&status, "own").unwrap()["stable"], "1.2.3");
    assert_eq!(platform.get("own.localhost", "/").await.json()["content"], "two words");
    let limits = docker(&[
        "inspect",
        &platform.instance("own", 0).await,
        "--format",
        "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}",
    ]);
    assert_eq!(limits, "67108864 500000000");
    platform.ok(&["down"]);
    docker(&["rmi", &format!("{}:1.2.3", platform.id)]);
}

#[tokio::test]
async fn logs_are_shown_and_followed() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    assert!(platform.ok(&["logs", "hello"]).contains("hello-world 1.0.0 listens on port 8080"));
    assert_eq!(platform.cli(&["logs", "nobody"]).status.code(), Some(1));
}

#[tokio::test]
async fn an_app_whose_file_went_while_nobody_looked_runs_on_and_can_be_removed() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    platform.kill();
    std::fs::remove_file(platform.path("repository/apps/hello.toml")).unwrap();
    platform.up();
    platform.until_problem("hello", "not declared any more").await;
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200);
    platform.ok(&["remove", "hello"]);
    platform
        .until("its instances are gone", |s| {
            app_of(s, "hello").is_none_or(|a| a["instances"].as_array().unwrap().is_empty())
        })
        .await;
}

//! What an older version left behind is taken over: its state, its network, and what it started.

use serde_json::Value;

use crate::harness::{Load, Platform, app_of, docker, docker_or_skip};
use crate::networks::Network;

/// A container as the version before proofs started it: the same but for what proves that it is ours.
fn started_as_before(platform: &Platform, model: &str) -> String {
    let described: Value = serde_json::from_str(&docker(&["inspect", model])).unwrap();
    let (config, name) = (&described[0]["Config"], format!("{model}-before"));
    let labels = config["Labels"].as_object().unwrap();
    let known = ["platformer.app", "platformer.version", "platformer.owner", "platformer.deployment"];
    let labels = labels.iter().filter(|(label, _)| known.contains(&label.as_str()));
    let labels: Vec<String> = labels.map(|(k, v)| format!("{k}={}", v.as_str().unwrap())).collect();
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    // A boot token is another container's: it counts from its own address only.
    let env: Vec<String> = texts(&config["Env"]).into_iter().filter(|text| !text.contains("TOKEN")).collect();
    let command = texts(&config["Cmd"]);
    let options = labels.iter().flat_map(|l| ["--label", l]).chain(env.iter().flat_map(|e| ["--env", e]));
    let image = config["Image"].as_str().unwrap();
    let run: Vec<&str> = std::iter::once(image).chain(command.iter().map(String::as_str)).collect();
    platform.docker_run(&name, &options.collect::<Vec<_>>(), &run)
}

#[tokio::test]
async fn what_an_older_version_started_is_taken_over_with_its_network_and_no_request_is_lost() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    let (old, new) = (platform.network(), format!("{}-new", platform.network()));
    let model = platform.instance("hello", 0).await;
    let before = started_as_before(&platform, &model);
    platform.until_ready("hello", 2).await;
    let is_ours = |status: &Value| {
        let instances = app_of(status, "hello").and_then(|app| app["instances"].as_array());
        let is_it = |i: &Value| before.ends_with(i["name"].as_str().unwrap()) && i["managed"] == true;
        instances.is_some_and(|all| all.iter().any(is_it))
    };
    assert!(!is_ours(&platform.status().await.unwrap()), "whoever knows our owner label is not ours by that");

    // The ledger as the older version left it, which knew of no proofs.
    platform.kill();
    docker(&["rm", "-f", "-v", &model]);
    let ledger = rusqlite::Connection::open(platform.path("state").join("ledger.sqlite")).unwrap();
    ledger.execute_batch("DROP TABLE inherited; PRAGMA user_version = 4;").unwrap();
    drop(ledger);
    let host = format!("hello.{}", platform.domain());
    let load = Load::begin(platform.http_address(), &host, "/greeting", 4);
    let _new = Network(new.clone());
    platform.set("docker.network", &new);
    platform.up();
    platform.until("it is ours", |s| is_ours(s) && app_of(s, "hello").unwrap()["ready"] == 1).await;
    let problems = platform.status().await.unwrap()["problems"].to_string();
    assert!(!problems.contains(&before), "{problems}");
    // What is ours can be replaced by us.
    platform.ok(&["restart", "hello"]);
    platform.until("it was replaced", |s| !is_ours(s) && app_of(s, "hello").unwrap()["ready"] == 1).await;
    load.end(50).await;
    platform.until("it is gone", |s| app_of(s, "hello").unwrap()["instances"].as_array().unwrap().len() == 1).await;
    let networks = docker(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(networks.lines().any(|name| name == new), "{networks}");
    platform.ok(&["down"]);
    let left = docker(&["ps", "-aq", "--filter", &format!("network={old}"), "--filter", &format!("network={new}")]);
    assert_eq!(left, "");
}

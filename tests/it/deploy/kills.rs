//! A supervisor that is killed while a deployment is under way.

use serde_json::Value;

use super::{deployment, with_versions};
use crate::harness::{Load, Platform, app_of, docker, docker_or_skip};

/// Kills per strategy.
const KILLS: u32 = 20;

/// Deploys version after version by a strategy, and kills the supervisor over and over meanwhile.
async fn kill_through(platform: &mut Platform, strategy: &str, version: &mut u32) {
    let (mut kills, mut pause) = (0, u64::from(*version) + 1);
    while kills < KILLS {
        *version += 1;
        let next = format!("2.{version}.0");
        platform.add_version("hello", &next);
        platform.ok(&["deploy", &format!("hello@{next}"), "--strategy", strategy]);
        loop {
            // Spread over the life of a deployment, the same each time (a linear congruential sequence).
            pause = (pause * 73 + 41) % 701;
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
            platform.kill();
            platform.up();
            kills += 1;
            let known = |s: &Value| deployment(s)["release"] == next.as_str();
            let state = deployment(&platform.until("it is back", known).await)["state"].clone();
            match state.as_str().unwrap() {
                "paused" if strategy == "manual" => _ = platform.run(&["promote", "hello"]),
                "done" => break,
                _ if kills >= KILLS => break,
                _ => {}
            }
        }
        let is_done = |s: &Value| {
            if deployment(s)["state"] == "paused" {
                platform.run(&["promote", "hello"]);
            }
            deployment(s)["state"] == "done" && app_of(s, "hello").unwrap()["stable"] == next.as_str()
        };
        platform.until(&format!("{strategy} to {next} is done"), is_done).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_killed_at_any_moment_of_a_deployment_finishes_it_and_loses_no_request() {
    if !docker_or_skip() {
        return;
    }
    let canary = "replicas = 2\n[canary]\nsteps = [50]\nstep = \"1s\"\nrequests = 5\n[deploy]\nbake = \"0s\"";
    let mut platform = with_versions(canary).await;
    let load = Load::begin(platform.http_address(), "hello.localhost", "/", 3);
    let mut version = 0;
    for strategy in ["rolling", "blue-green", "canary", "manual"] {
        kill_through(&mut platform, strategy, &mut version).await;
    }
    load.end(101).await;
    kill_through(&mut platform, "recreate", &mut version).await;
    platform.until_ready("hello", 2).await;
    let names = docker(&["ps", "-a", "--format", "{{.Names}}", "--filter", &format!("network={}", platform.network())]);
    assert!(names.lines().count() == 2, "no orphans: {names}");
}

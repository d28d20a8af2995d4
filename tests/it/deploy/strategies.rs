//! Each strategy, and what may keep a candidate from its traffic.

use super::{unmonitored, until_state, version, with_versions};
use crate::harness::{Load, Platform, app_of, docker, docker_or_skip};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_strategy_that_promises_it_loses_no_request() {
    if !docker_or_skip() {
        return;
    }
    let canary = "replicas = 2\n[canary]\nsteps = [20, 50]\nstep = \"1s\"\nrequests = 20\n";
    let platform = with_versions(&format!("{canary}[deploy]\nbake = \"1s\"")).await;
    let load = Load::begin(platform.http_address(), "hello.localhost", "/", 4);
    let mut last = "1.0.0".to_owned();
    for (n, strategy) in ["rolling", "blue-green", "canary", "rolling"].into_iter().enumerate() {
        let next = format!("1.{}.0", n + 1);
        platform.add_version("hello", &next);
        platform.until_listed(&format!("artefacts/hello/{next}/hello.tgz")).await;
        let (code, text) = platform.run(&["deploy", "hello", "--strategy", strategy, "--wait"]);
        assert_eq!(code, 0, "{strategy}: {text}");
        assert_eq!(version(&platform).await, next, "{strategy}: {text}");
        let status = platform.status().await.unwrap();
        let app = app_of(&status, "hello").unwrap();
        assert_eq!((&app["stable"], &app["split"][&next]), (&next.as_str().into(), &100.into()), "{app}");
        last = next;
    }
    until_state(&platform, "done").await;
    load.end(101).await;
    // Of the old ones nothing is left.
    let names = docker(&["ps", "-a", "--format", "{{.Names}}", "--filter", &format!("network={}", platform.network())]);
    assert!(names.lines().count() == 2 && names.lines().all(|name| name.contains(&last)), "{names}");
    let history = platform.ok(&["history", "hello"]);
    for word in ["promoted", "baking", "rolling", "carries all traffic"].iter().filter(|w| **w != "rolling") {
        assert!(history.contains(word), "{history}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_stops_first_and_a_single_writer_is_never_doubled() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let volume = format!("{}-data:/var/data", platform.id);
    platform.add_demo("hello", "1.0.0", &unmonitored(&format!("replicas = 1\nvolumes = [\"{volume}\"]\n")));
    platform.up();
    platform.until_ready("hello", 1).await;
    for (version, strategy) in [("1.1.0", "rolling"), ("1.2.0", "recreate")] {
        platform.add_version("hello", version);
        platform.until_listed(&format!("artefacts/hello/{version}/hello.tgz")).await;
        let (_, text) = platform.run(&["deploy", "hello", "--strategy", strategy, "--dry-run"]);
        assert!(text.contains("drain hello@") && text.contains("stop it first"), "{text}");
        let filter = format!("network={}", platform.network());
        let counting = tokio::task::spawn_blocking(move || {
            let mut most = 0;
            for _ in 0..20 {
                most = most.max(docker(&["ps", "-q", "--filter", &filter]).lines().count());
            }
            most
        });
        let (code, text) = platform.run(&["deploy", "hello", "--strategy", strategy, "--wait"]);
        assert_eq!(code, 0, "{text}");
        assert_eq!(counting.await.unwrap(), 1, "two instances wrote at once");
    }
    assert_eq!(version(&platform).await, "1.2.0");
    drop(platform);
    docker(&["volume", "rm", "-f", volume.split(':').next().unwrap()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_green_keeps_the_old_side_and_swaps_back_and_forth() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1\n[deploy]\nstrategy = \"blue-green\"").await;
    let (code, text) = platform.run(&["swap", "hello"]);
    assert_eq!(code, 5, "{text}");
    platform.ok(&["deploy", "hello", "--wait"]);
    let load = Load::begin(platform.http_address(), "hello.localhost", "/", 2);
    for expected in ["1.0.0", "1.1.0", "1.0.0"] {
        platform.ok(&["swap", "hello"]);
        until_state(&platform, "done").await;
        assert_eq!(version(&platform).await, expected);
    }
    load.end(21).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_brings_back_the_old_config_and_pins() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    let content = || async { platform.get("hello.localhost", "/").await.json()["content"].to_string() };
    platform.put_config("hello", &[("GREETING", "new")]);
    platform.until("the config is seen", |_| platform.ok(&["config", "get", "hello"]).contains("new")).await;
    // What runs keeps the config that it was released with, also when it is started anew.
    let before = platform.instance("hello", 0).await;
    platform.ok(&["restart", "hello"]);
    platform
        .until("restarted", |s| {
            !s.to_string().contains(&format!("\"{before}\"")) && app_of(s, "hello").unwrap()["ready"] == 1
        })
        .await;
    assert_eq!(content().await, "\"Hello, World!\"");
    platform.ok(&["deploy", "hello@1.1.0", "--wait"]);
    assert_eq!(content().await, "\"new\"");
    let (code, text) = platform.run(&["rollback", "hello", "--wait"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!((version(&platform).await.as_str(), content().await.as_str()), ("1.0.0", "\"Hello, World!\""));
    let diff = platform.ok(&["diff", "hello", "1.0.0", "1.1.0"]);
    assert!(diff.contains("+GREETING=\"new\""), "{diff}");
    // The same version with another config is a release of its own.
    platform.ok(&["deploy", "hello@1.0.0", "--wait"]);
    assert_eq!((version(&platform).await.as_str(), content().await.as_str()), ("1.0.0-r2", "\"new\""));
    let releases = platform.ok(&["releases", "hello"]);
    assert!(releases.contains("1.0.0-r2  stable") && releases.contains("previous"), "{releases}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_lets_pass_or_keeps_every_request_away() {
    if !docker_or_skip() {
        return;
    }
    let gate = |command: &str| {
        format!(
            "replicas = 1\n[gate]\nimage = \"debian:bookworm-slim\"\ncommand = [\"sh\", \"-c\", \"{command}\"]\ntimeout = \"3s\""
        )
    };
    let base = "replicas = 1";
    let platform = with_versions(base).await;
    let load = Load::begin(platform.http_address(), "hello.localhost", "/", 2);
    for (declaration, expected) in [
        (gate("echo not good; exit 7"), "exit code 7: not good"),
        (gate("sleep 60"), "did not end within 3s"),
        (format!("{base}\n[gate]\nimage = \"no-such/gate:1\""), "no-such/gate:1 is not here"),
    ] {
        platform.add_demo("hello", "1.1.0", &unmonitored(&declaration));
        let (code, text) = platform.run(&["deploy", "hello", "--wait"]);
        assert!(code == 1 && text.contains(expected), "{expected}: {code} {text}");
    }
    load.end(21).await;
    assert_eq!(version(&platform).await, "1.0.0");
    let left = docker(&["ps", "-aq", "--filter", &format!("network={}", platform.network())]);
    assert_eq!(left.lines().count(), 1, "gates and candidates are gone");
}

#[tokio::test]
async fn the_first_release_has_no_traffic_either_before_its_gate_has_passed() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let gate = "[gate]\nimage = \"debian:bookworm-slim\"\ncommand = [\"sh\", \"-c\", \"echo not yet; exit 7\"]";
    platform.add_demo("hello", "1.0.0", &unmonitored(gate));
    platform.up();
    until_state(&platform, "failed").await;
    assert_eq!(platform.get("hello.localhost", "/greeting").await.status, 503);
    let history = platform.ok(&["history", "hello", "--json"]);
    assert!(history.contains("the first release of the app") && history.contains("exit code 7: not yet"), "{history}");
    // Nothing has changed, so it is not tried again by itself; what changes is up to people.
    platform.ok(&["deploy", "hello", "--no-gate", "--wait"]);
    assert_eq!(platform.get("hello.localhost", "/greeting").await.json()["version"], "1.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_is_never_ready_or_dies_leaves_stable_alone() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1\n[deploy]\nmonitor = \"8s\"\nready_timeout = \"4s\"").await;
    let load = Load::begin(platform.http_address(), "hello.localhost", "/", 2);
    for (variables, expected) in
        [(("HEALTHY", "0"), "not ready within 4s"), (("CRASH_AFTER", "2"), "after it was ready")]
    {
        platform.put_config("hello", &[variables]);
        let (code, text) = platform.run(&["deploy", "hello@1.1.0", "--strategy", "blue-green", "--wait"]);
        assert!(code == 1 && text.contains(expected), "{expected}: {code} {text}");
        assert!(text.contains("| hello-world 1.1.0"), "its last lines are shown: {text}");
    }
    load.end(21).await;
    let history = platform.ok(&["history", "hello", "--json"]);
    assert!(history.contains("not ready within 4s"), "{history}");
}

//! Things that die: the supervisor, nginx, instances.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Load, Platform, app_of, docker, docker_or_skip};

#[tokio::test]
async fn a_killed_supervisor_loses_no_request_and_takes_over_the_same_nginx() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_instances(2).await;
    let nginx = platform.nginx_pid();
    let generation = platform.status().await.unwrap()["generation"]["live"].clone();
    let load = Load::begin(platform.http_address(), "hello.localhost", "/", 4);
    for _ in 0..3 {
        platform.kill();
        platform.up();
        platform.until_ready("hello", 2).await;
    }
    // Something changes while nobody looks.
    let victim = platform.instance("hello", 0).await;
    platform.kill();
    docker(&["kill", &victim]);
    platform.up();
    platform.until_ready("hello", 2).await;
    load.end(101).await;
    assert_eq!(platform.nginx_pid(), nginx);
    assert!(platform.status().await.unwrap()["generation"]["live"].as_u64() >= generation.as_u64());
}

#[tokio::test]
async fn adopting_an_nginx_that_serves_what_is_wanted_reloads_nothing() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    let generation = platform.status().await.unwrap()["generation"].clone();
    platform.kill();
    platform.up();
    platform.until_ready("hello", 1).await;
    assert_eq!(platform.status().await.unwrap()["generation"], generation);
}

#[tokio::test]
async fn a_killed_nginx_comes_back() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let before = platform.nginx_pid();
        kill(Pid::from_raw(before), signal).unwrap();
        platform
            .until("another nginx", |s| {
                s["nginx"]["pid"].as_i64().is_some_and(|pid| pid != i64::from(before))
                    && s["generation"]["live"].is_u64()
            })
            .await;
        platform.until_status("hello.localhost", "/", 200).await;
    }
}

#[tokio::test]
async fn an_instance_that_dies_is_started_again_and_one_that_keeps_dying_ever_more_rarely() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.add_demo("hello", "1.0.0", "replicas = 1\n");
    platform.add_demo("crashes", "1.0.0", "replicas = 1\n");
    platform.put("config/crashes/crashes.config", "STARTUP_COMMAND=\"exit 3\"\n");
    platform.up();
    platform.until_ready("hello", 1).await;
    let victim = platform.instance("hello", 0).await;
    docker(&["kill", &victim]);
    platform
        .until("it is back", |s| {
            app_of(s, "hello").is_some_and(|a| a["ready"] == 1 && a["instances"][0]["state"] == "ready")
        })
        .await;
    let status = platform.until_problem("app crashes", "fail to start or die").await;
    assert!(status.to_string().contains("it exited with 3"), "{status}");
    docker(&["rm", "-f", &victim]);
    platform.until("a new one", |s| app_of(s, "hello").is_some_and(|a| a["ready"] == 0)).await;
    platform.until_ready("hello", 1).await;
}

#[tokio::test]
async fn an_unhealthy_instance_is_out_of_the_upstream_and_comes_back() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_instances(2).await;
    let (sick, well) = (platform.instance("hello", 0).await, platform.instance("hello", 1).await);
    let behave = |value: &str| {
        let url = format!("http://127.0.0.1:8080/behave?healthy={value}");
        docker(&["exec", &sick, "curl", "-s", "-X", "POST", &url]);
    };
    behave("0");
    let status = platform.until_ready("hello", 1).await;
    assert!(status.to_string().contains("answered 503"), "{status}");
    let healthy = docker(&["exec", &well, "hostname"]);
    for _ in 0..10 {
        assert_eq!(platform.get("hello.localhost", "/").await.json()["instance"], healthy.as_str());
    }
    behave("1");
    platform.until_ready("hello", 2).await;
}

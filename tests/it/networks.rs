//! The engine's network: an older one is moved over under load, and nobody on it stands before the platform.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Load, Platform, app_of, docker, docker_or_skip};

/// A network that is removed with everything on it.
pub struct Network(pub String);

impl Drop for Network {
    fn drop(&mut self) {
        let list = Command::new("docker").args(["ps", "-aq", "--filter", &format!("network={}", self.0)]).output();
        let ids = list.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        for id in ids.split_whitespace() {
            let _ = Command::new("docker").args(["rm", "-f", "-v", id]).output();
        }
        let _ = Command::new("docker").args(["network", "rm", &self.0]).output();
    }
}

fn networks_of(container: &str) -> String {
    docker(&["inspect", "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", container])
}

async fn until(what: &str, check: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !check() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_older_network_is_moved_over_under_load_and_removed_once_nobody_is_on_it() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    let (old, new) = (platform.network(), format!("{}-new", platform.network()));
    let instance = platform.instance("hello", 0).await;
    let started = || docker(&["inspect", "-f", "{{.State.StartedAt}}", &instance]);
    let (before, old_gateway) = (started(), platform.gateway());
    let by_hand = platform.docker_run("db", &["--entrypoint", "sleep"], &["platformer/app-base", "600"]);
    let host = format!("hello.{}", platform.domain());
    let load = Load::begin(platform.http_address(), &host, "/greeting", 4);

    platform.kill();
    let _new = Network(new.clone());
    platform.set("docker.network", &new);
    platform.up();
    platform.until_ready("hello", 1).await;
    until("both are on the new network", || [&instance, &by_hand].iter().all(|c| networks_of(c).contains(&new))).await;
    assert_ne!(platform.gateway(), old_gateway);
    assert_eq!(started(), before, "it was not restarted");
    for server in [&old_gateway, &platform.gateway()] {
        let name = format!("repository.{}", platform.domain());
        let asked = "import socket,struct,sys\n\
            q=b'\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0'+b''.join(bytes([len(l)])+l.encode() for l in sys.argv[2].split('.'))+b'\\0\\0\\1\\0\\1'\n\
            s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(5); s.sendto(q,(sys.argv[1],53))\n\
            print(s.recv(512)[3]&15)";
        assert_eq!(docker(&["exec", &by_hand, "python3", "-c", asked, server, &name]), "0", "{server} answers");
    }
    platform.ok(&["restart", "hello"]);
    platform
        .until("the new instance is on the new network alone", |s| {
            let app = app_of(s, "hello").unwrap();
            let all = app["instances"].as_array().unwrap();
            all.len() == 1 && app["ready"] == 1 && all[0]["name"] != instance.as_str()
        })
        .await;
    let instance = platform.instance("hello", 0).await;
    assert_eq!(networks_of(&instance).trim(), new);
    load.end(50).await;
    assert!(networks_of(&by_hand).contains(&old), "who was started there stays there");
    docker(&["rm", "-f", &by_hand]);
    let is_there = || Command::new("docker").args(["network", "inspect", &old]).output().unwrap().status.success();
    until("the older network is gone", || !is_there()).await;
    assert_eq!(platform.get(&host, "/greeting").await.status, 200);
    platform.ok(&["down"]);
}

#[tokio::test]
async fn an_alias_that_is_called_like_the_repository_gets_no_instances_questions_and_is_told() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let name = format!("repository.{}", platform.domain());
    let options = ["--network-alias", &name, "--entrypoint", "sleep"];
    platform.docker_run("thief", &options, &["platformer/app-base", "600"]);
    platform.until_problem("thief", "the platform's own repository").await;
    platform.ok(&["scale", "hello", "2"]);
    platform.until_ready("hello", 2).await;
    let instance = platform.instance("hello", 1).await;
    let found = docker(&["exec", &instance, "getent", "hosts", &name]);
    assert!(found.starts_with(&platform.gateway()), "{found}");
}

#[tokio::test]
async fn a_hostile_label_beside_an_app_gets_none_of_its_addresses_and_causes_no_reload() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let domain = platform.domain();
    let hosts = format!("platformer.host=stable.hello.{domain},localhost,127.0.0.1,{domain},hello.{domain},x.{domain}");
    let serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=9000)";
    let labels = ["--label", "platformer.app=aaa", "--label", "platformer.port=9000", "--label", &hosts];
    let options = [&labels[..], &["--label", "platformer.path=/greeting", "--entrypoint", "python3"]].concat();
    platform.docker_run("evil", &options, &["platformer/app-base", "-c", serve]);
    for reason in ["single release of app hello", "is this machine itself", "an address and no name", "is declared"] {
        platform.until_problem("evil", reason).await;
    }
    platform.until_status(&format!("x.{domain}"), "/greeting", 404).await;
    platform.until_settled().await;
    for host in [format!("stable.hello.{domain}"), format!("hello.{domain}")] {
        let answer = platform.get(&host, "/greeting").await;
        assert!(answer.status == 200 && answer.body.contains("Hello"), "{host}: {answer:?}");
    }
    for host in ["localhost".to_owned(), "127.0.0.1".to_owned(), domain] {
        assert!(platform.get(&host, "/greeting").await.body.contains("No app answers"), "{host}");
    }
}

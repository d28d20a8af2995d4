//! Releases: every strategy under load, gates, rollbacks, and what goes wrong in each.
//!
//! Commands block the thread they run on, so the clients beside them need another.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Load, Platform, app_of, docker, docker_or_skip};

/// A running platform with `hello` at 1.0.0 and 1.1.0 in the repository.
async fn with_versions(declaration: &str) -> Platform {
    let mut platform = Platform::new();
    platform.add_demo("hello", "1.0.0", &unmonitored(declaration));
    platform.up();
    let count = declaration.lines().find_map(|l| l.strip_prefix("replicas = ")).map_or(1, |n| n.parse().unwrap());
    platform.until_ready("hello", count).await;
    platform.add_version("hello", "1.1.0");
    platform.until_listed("artefacts/hello/1.1.0/hello.tgz").await;
    platform
}

/// A declaration whose releases get traffic as soon as they are ready.
fn unmonitored(declaration: &str) -> String {
    match declaration.contains("[deploy]") {
        true if declaration.contains("monitor") => declaration.to_owned(),
        true => declaration.replace("[deploy]", "[deploy]\nmonitor = \"0s\""),
        false => format!("{declaration}\n[deploy]\nmonitor = \"0s\""),
    }
}

async fn version(platform: &Platform) -> String {
    platform.get("hello.localhost", "/").await.json()["version"].as_str().unwrap_or_default().to_owned()
}

/// The app's last deployment; null while the platform boots.
fn deployment(status: &Value) -> Value {
    app_of(status, "hello").map(|app| app["deployment"].clone()).unwrap_or_default()
}

async fn until_state(platform: &Platform, state: &str) -> Value {
    deployment(&platform.until(state, |s| deployment(s)["state"] == state).await)
}

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
        assert!(text.contains("stop hello@") && text.contains("first"), "{text}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    let before = platform.status().await.unwrap()["apps"].clone();
    for (arguments, code, why) in [
        (vec!["deploy", "nobody"], 1, "there is no app nobody"),
        (vec!["deploy", "hello@9.9.9"], 5, "there is no version 9.9.9: the repository has 1.0.0, 1.1.0"),
        (vec!["deploy", "hello@1.0.0"], 5, "1.0.0 is stable already"),
        (vec!["deploy", "hello@../x"], 2, "version"),
        (vec!["deploy", "hello", "--strategy", "yolo"], 2, "yolo"),
        (vec!["promote", "hello"], 5, "nothing is being deployed"),
        (vec!["abort", "hello"], 5, "nothing is being deployed"),
        (vec!["resume", "hello"], 5, "nothing is being deployed"),
        (vec!["rollback", "hello"], 5, "no earlier release"),
        (vec!["rollback", "hello", "0.9"], 5, "not kept"),
        (vec!["split", "hello", "1.0.0=67", "1.1.0=34"], 2, "add up to 101"),
        (vec!["split", "hello", "1.0.0=-1", "1.1.0=101"], 2, "share"),
        (vec!["split", "hello", "1.0.0=66.667", "1.1.0=33.333"], 2, "two decimals"),
        (vec!["split", "hello", "1.0.0=50", "1.1.0=50"], 5, "no instance of it is ready"),
    ] {
        let (found, text) = platform.run(&arguments);
        assert!(found == code && text.contains(why), "{arguments:?}: {found} {text}");
    }
    assert_eq!(platform.status().await.unwrap()["apps"], before);
    // An artefact that was altered since it was released, and a config that no longer parses.
    platform.put("config/hello/hello.config", "STARTUP_COMMAND=\"python3 app.py\"\nGREETING=\"half\n");
    platform.until_problem("hello.config", "").await;
    let (code, text) = platform.run(&["deploy", "hello@1.1.0"]);
    assert!(code == 5 && text.contains("config/hello/hello.config"), "{code} {text}");
    platform.put_config("hello", &[]);
    platform.until("the config is good", |s| s["problems"].as_array().unwrap().is_empty()).await;
    platform.ok(&["deploy", "hello@1.1.0", "--wait"]);
    platform.put(
        "artefacts/hello/1.0.0/hello.tgz",
        std::fs::read(platform.path("repository/artefacts/hello/1.1.0/hello.tgz")).unwrap().split_last().unwrap().1,
    );
    let altered = || platform.run(&["deploy", "hello@1.0.0"]);
    platform
        .until("the change is seen", |_| {
            let (code, text) = altered();
            code == 5 && text.contains("altered") || text.contains("1.0.0/hello.tgz")
        })
        .await;
    // What is kept does not care.
    platform.ok(&["rollback", "hello", "--wait"]);
    assert_eq!(version(&platform).await, "1.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_deployment_is_refused_with_the_firsts_id_or_takes_its_place() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1\n[deploy]\nstrategy = \"manual\"").await;
    let (code, text) = platform.run(&["deploy", "hello@1.1.0", "--wait"]);
    assert!(code == 0 && text.contains("paused"), "{code} {text}");
    platform.ok(&["split", "hello", "1.0.0=50", "1.1.0=50"]);
    platform.add_version("hello", "1.2.0");
    platform.until_listed("artefacts/hello/1.2.0/hello.tgz").await;
    let (code, text) = platform.run(&["deploy", "hello"]);
    assert!(code == 5 && text.contains("hello-1"), "{code} {text}");
    let (code, text) = platform.run(&["deploy", "hello", "--replace", "--wait"]);
    assert_eq!(code, 0, "{text}");
    let status = platform.status().await.unwrap();
    let app = app_of(&status, "hello").unwrap();
    assert_eq!((&app["stable"], &app["candidate"]), (&"1.0.0".into(), &"1.2.0".into()));
    assert_eq!(app["split"]["1.2.0"], 0, "a new candidate never inherits an old share");
    platform.ok(&["abort", "hello"]);
    until_state(&platform, "rolled-back").await;
    assert_eq!(version(&platform).await, "1.0.0");
    let history = platform.ok(&["history", "hello"]);
    assert!(history.contains("superseded") && history.contains("hello-2 takes its place"), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_is_deployed_by_itself_once_and_not_again_after_an_abort() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1\n[deploy]\nauto = true").await;
    let is_stable = |s: &Value, v: &str| app_of(s, "hello").unwrap()["stable"] == v && deployment(s)["state"] == "done";
    platform.until("1.1.0 came by itself", |s| is_stable(s, "1.1.0")).await;
    platform.put_config("hello", &[("HEALTHY", "0")]);
    platform.add_version("hello", "1.2.0");
    platform.until("1.2.0 is tried", |s| deployment(s)["release"] == "1.2.0").await;
    platform.ok(&["abort", "hello"]);
    let cancelled = until_state(&platform, "cancelled").await;
    platform.add_version("hello", "1.0.5");
    platform.until_listed("artefacts/hello/1.0.5/hello.tgz").await;
    assert_eq!(deployment(&platform.status().await.unwrap())["id"], cancelled["id"]);
    platform.put_config("hello", &[]);
    platform.add_version("hello", "1.3.0");
    platform.until("1.3.0 came by itself", |s| is_stable(s, "1.3.0")).await;
    assert_eq!(deployment(&platform.status().await.unwrap())["by"], "auto");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_finished_by_the_instance_that_goes() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    let slow = "GET /?slow=20000 HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n";
    let slow = tokio::spawn(answer(open(&platform, slow).await));
    platform.ok(&["deploy", "hello", "--wait"]);
    assert_eq!(version(&platform).await, "1.1.0");
    let text = slow.await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("\"1.0.0\""), "{text}");
    until_state(&platform, "done").await;
}

/// nginx passes a request on once it has its headers: until then it has no connection to the instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hesitates_in_the_middle_of_its_request_is_served() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    let mut hesitant = open(&platform, "GET / HTTP/1.1\r\nHost: hello.localhost\r\n").await;
    platform.ok(&["deploy", "hello", "--wait"]);
    assert_eq!(version(&platform).await, "1.1.0");
    // Starting another instance takes longer than stopping one that nobody needs.
    platform.ok(&["scale", "hello", "2"]);
    platform.until_ready("hello", 2).await;
    hesitant.write_all(b"Connection: close\r\n\r\n").await.unwrap();
    let text = answer(hesitant).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("\"1.0.0\""), "{text}");
    until_state(&platform, "done").await;
}

async fn open(platform: &Platform, text: &str) -> TcpStream {
    let mut client = TcpStream::connect(platform.http_address()).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    client
}

async fn answer(mut client: TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_answers_with_a_page_while_a_release_is_made() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    platform.ok(&["maintenance", "hello", "on"]);
    let page = platform.until_status("hello.localhost", "/", 503).await;
    assert!(page.body.contains("being worked on") && page.header("retry-after").is_some(), "{page:?}");
    assert_eq!(platform.get("stable.hello.localhost", "/").await.status, 200);
    platform.ok(&["deploy", "hello", "--wait"]);
    platform.ok(&["maintenance", "hello", "off"]);
    platform.until_status("hello.localhost", "/", 200).await;
    platform.until_settled().await;
    assert_eq!(version(&platform).await, "1.1.0");
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_started_by_hand_holds_no_deployment_up() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    platform.put_files("hello").await;
    platform.run_demo("hello-2", "hello", &[]);
    platform.until_ready("hello", 2).await;
    let (code, text) = platform.run(&["deploy", "hello", "--wait"]);
    assert_eq!(code, 0, "{text}");
    until_state(&platform, "done").await;
    platform.until_ready("hello", 2).await;
}

/// An image made on this machine, whose only page is as given.
fn build(platform: &Platform, image: &str, page: &str) {
    let root = platform.path("image");
    for folder in ["www", "bin"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static; scripts/test installs it");
    std::fs::write(root.join("www/index.html"), page).unwrap();
    let layer = platform.path("layer.tar");
    let tar = std::process::Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&layer).arg(".").status();
    assert!(tar.unwrap().success());
    let entry = r#"ENTRYPOINT ["/bin/busybox","httpd","-f","-p","8080","-h","/www"]"#;
    docker(&["import", "-c", entry, "-c", "EXPOSE 8080", &layer.display().to_string(), image]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_built_again_is_another_release_and_the_old_one_stays_itself() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let image = format!("{}/ret:latest", platform.id);
    build(&platform, &image, "first");
    let first = docker(&["inspect", "-f", "{{.Id}}", &image]);
    platform.put("apps/hello.toml", unmonitored(&format!("image = \"{image}\"\nreplicas = 1\n")));
    platform.up();
    platform.until_ready("hello", 1).await;
    let page = || async { platform.get("hello.localhost", "/").await.body };
    assert_eq!(page().await, "first");
    assert_eq!(platform.run(&["deploy", "hello"]).0, 5, "nothing has changed");
    build(&platform, &image, "second");
    platform.ok(&["deploy", "hello", "--wait"]);
    assert_eq!(page().await, "second");
    platform.ok(&["rollback", "hello", "--wait"]);
    assert_eq!(page().await, "first");
    platform.ok(&["deploy", "hello", "--wait"]);
    assert_eq!(page().await, "second");
    until_state(&platform, "done").await;
    docker(&["rmi", "-f", first.trim()]);
    let (code, said) = platform.run(&["rollback", "hello", "--wait"]);
    assert!(code == 1 && said.contains("is gone from this machine"), "{said}");
    assert_eq!(page().await, "second");
    // Its end is the end of what was wrong with it.
    until_state(&platform, "failed").await;
    let status = platform.status().await.unwrap();
    assert!(!status["problems"].to_string().contains("is gone"), "{status}");
    drop(platform);
    docker(&["rmi", "-f", &image]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_that_is_set_with_deploy_is_what_runs() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    let said = platform.ok(&["config", "set", "hello", "GREETING=kept"]);
    assert!(said.contains("what runs keeps the config it was released with"), "{said}");
    platform.ok(&["config", "set", "hello", "GREETING=now", "--deploy", "--wait"]);
    let answer = platform.get("hello.localhost", "/").await.json();
    assert_eq!((&answer["version"], &answer["content"]), (&"1.0.0-r2".into(), &"now".into()), "{answer}");
}

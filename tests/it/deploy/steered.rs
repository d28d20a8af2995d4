//! What people and files ask for while there is a deployment, or instead of one.

use serde_json::Value;

use super::{deployment, unmonitored, until_state, version, with_versions};
use crate::harness::{Platform, app_of, docker, docker_or_skip};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    platform.until_settled().await;
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
        (vec!["rollback", "hello", "0.9"], 5, "there was no release 0.9"),
        (vec!["split", "hello", "1.0.0=67", "1.1.0=34"], 2, "add up to 101"),
        (vec!["split", "hello", "1.0.0=-1", "1.1.0=101"], 2, "share"),
        (vec!["split", "hello", "1.0.0=66.667", "1.1.0=33.333"], 2, "two decimals"),
        (vec!["split", "hello", "1.0.0=50", "1.1.0=50"], 5, "there is no release 1.1.0; those there are: 1.0.0"),
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

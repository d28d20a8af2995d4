//! What people are told: slips, refusals, times, the boot, and an end that is heard.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::Instant;

use serde_json::Value;

use crate::harness::{BINARY, DEADLINE, Platform, docker_or_skip};

/// What a verb printed on standard output, as JSON, and its exit code.
fn refused(platform: &Platform, arguments: &[&str]) -> (i32, Value) {
    let output = platform.cli(arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments:?}: {text:?} is no document"));
    (output.status.code().unwrap_or(-1), document)
}

#[tokio::test]
async fn a_slip_is_refused_with_the_nearest_name_and_what_was_made_goes_again() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let archive = platform.path("demo.tgz").display().to_string();
    for (arguments, expected) in [
        (vec!["config", "set", "helo", "A=b"], "did you mean hello?"),
        (vec!["repository", "push", "helo", "1.0.0", &archive], "did you mean hello?"),
        (vec!["token", "create", "--scope", "deploy:helo"], "did you mean hello?"),
        (vec!["pin", "hello", "8.8.8"], "has no version 8.8.8"),
        (vec!["pin", "hello", "1.0.1"], "did you mean 1.0.0?"),
        (vec!["status", "helo"], "did you mean hello?"),
        (vec!["history", "helo"], "did you mean hello?"),
        (vec!["releases", "helo"], "did you mean hello?"),
        (vec!["scale", "helo", "2"], "did you mean hello?"),
        (vec!["deploy", "helo"], "did you mean hello?"),
        (vec!["logs", "helo"], "did you mean hello?"),
        (vec!["diff", "helo", "1.0.0", "1.0.1"], "did you mean hello?"),
        (vec!["config", "get", "helo"], "did you mean hello?"),
        (vec!["config", "get", "hello", "STARTUP_COMAND"], "did you mean STARTUP_COMMAND?"),
        (vec!["repository", "push", "quite-another", "1.0.0", &archive], "--new makes something of that name"),
        (vec!["repository", "remove", "hello", "1.0.0"], "is stable"),
        (vec!["repository", "remove", "hello", "7.7.7"], "the repository has no hello@7.7.7"),
    ] {
        let (code, text) = platform.run(&arguments);
        assert!(matches!(code, 1 | 5) && text.contains(expected), "{arguments:?}: {code} {text}");
    }
    // Something new in the order in which one needs it, and away again.
    platform.ok(&["repository", "push", "--new", "shop", "1.0.0", &archive]);
    platform.ok(&["config", "set", "shop", "STARTUP_COMMAND=python3 app.py"]);
    platform.ok(&["token", "create", "--scope", "deploy:later", "--new"]);
    platform.ok(&["repository", "remove", "shop", "1.0.0"]);
    platform.ok(&["config", "remove", "shop"]);
    let left = platform.ok(&["repository", "list"]);
    assert!(!left.contains("shop") && left.contains("hello"), "{left}");
    assert!(!platform.path("repository/artefacts/shop").exists());
}

#[tokio::test]
async fn a_declaration_that_takes_what_another_has_says_so_and_fails() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let file = platform.path("shop.toml");
    std::fs::write(&file, format!("hosts = [\"hello.{}\"]\n", platform.domain())).unwrap();
    let (code, text) = platform.run(&["apply", file.to_str().unwrap()]);
    assert!(code == 1 && text.contains("shop is declared") && text.contains("app hello"), "{code} {text}");
    std::fs::write(&file, "").unwrap();
    let (code, text) = platform.run(&["apply", file.to_str().unwrap()]);
    assert!(code == 0, "a version may still come: {text}");
}

#[tokio::test]
async fn a_refusal_is_a_document_for_programs_and_names_its_file_for_people() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let (code, document) = refused(&platform, &["deploy", "hello@1.0.0", "--wait", "--json"]);
    assert_eq!((code, &document["code"], &document["status"]), (5, &"not-now".into(), &409.into()), "{document}");
    let (code, document) = refused(&platform, &["status", "helo", "--json"]);
    assert_eq!((code, &document["code"]), (1, &"unknown-app".into()), "{document}");
    let (code, document) = refused(&platform, &["repository", "push", "hello", "1.0.1", "/no/such.tgz", "--json"]);
    assert_eq!((code, &document["detail"]), (1, &"there is no file /no/such.tgz".into()), "{document}");
    for missing in [vec!["apply", "/no/such.toml"], vec!["repository", "push", "hello", "1.0.1", "/no/such.tgz"]] {
        let (code, text) = platform.run(&missing);
        assert!(code == 1 && text.contains("there is no file /no/such.t") && !text.contains("os error"), "{text}");
    }
    // Nobody answers, and what would start it again is said.
    std::fs::write(platform.path("state/start-with"), "docker start some-name\n").unwrap();
    let mut command = platform.command();
    let output = command.args(["--set", "listen.api=127.0.0.1:1", "status", "--json"]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let remedy = document["remedy"].as_str().unwrap();
    assert!(
        document["code"] == "unreachable" && remedy.starts_with("`docker start some-name` starts it"),
        "{document}"
    );
    // Somebody without a token is told how to come by one.
    let output = platform.command().env("PLATFORMER_TOKEN", "wrong").arg("status").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("PLATFORMER_TOKEN opens nothing here") && text.contains("state/token"), "{text}");
}

#[tokio::test]
async fn people_read_ages_and_programs_moments() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let year = jiff::Timestamp::now().to_string()[..5].to_owned();
    for arguments in
        [&["status", "hello"][..], &["history", "hello"], &["releases", "hello"], &["why", "hello.localhost"]]
    {
        let text = platform.ok(arguments);
        assert!(!text.contains(&year), "{text}");
        let iso = platform.ok(&[arguments, &["--time=iso"]].concat());
        assert!(iso.contains(&year), "{iso}");
        let json = platform.ok(&[arguments, &["--json"]].concat());
        assert!(json.contains(&year), "{json}");
    }
}

#[tokio::test]
async fn the_doctor_asks_the_platform_that_runs() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    // Another folder, an nginx that is not there: what it says is about the platform, and not about these.
    let mut command = platform.command();
    command.env("PLATFORMER_TOKEN", platform.token().unwrap());
    let settings = ["--set", "nginx.binary=/nowhere/nginx", "--set", "state=/nowhere/state"];
    let output = command.args(settings).args(["doctor", "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let checks: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(output.status.success() && checks.iter().all(|check| check["verdict"] != "failed"), "{text}");
    assert!(text.contains("/state") && !text.contains("/nowhere"), "{text}");
}

#[tokio::test]
async fn an_app_that_fails_holds_up_no_other_and_is_named() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.add_demo("good", "1.0.0", "replicas = 1\n");
    platform.put("apps/bad.toml", "image = \"platformer/app-base\"\ncommand = [\"no-such-program\"]\nreplicas = 1\n");
    platform.add_version("bad", "1.0.0");
    platform.up();
    let end = Instant::now() + DEADLINE;
    while !platform.log().contains("ready  ") {
        assert!(Instant::now() < end, "{}", platform.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let log = platform.log();
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text:?} is not in {log}"));
    assert!(place("app good ") < place("1 of 2 apps; not ready: bad"), "{log}");
    assert!(log.contains("! app bad "), "{log}");
    assert!(!log.contains('\u{1b}'), "colours are for terminals: {log}");
}

/// Ends with the test, and all that runs in its process namespace with it.
struct Namespace {
    child: Child,
    /// Numbers in there are of that namespace: outside they are somebody else's.
    nginx_pid: std::path::PathBuf,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.nginx_pid);
    }
}

#[tokio::test]
async fn the_first_process_of_a_container_passes_on_that_it_is_to_end() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.add_demo("hello", "1.0.0", "replicas = 1\n");
    platform.set("nginx.workers", "1");
    let log = std::fs::File::create(platform.path("log")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", BINARY]);
    command.args(platform.command().get_args()).arg("up").current_dir(platform.folder.path());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let nginx_pid = platform.path("state/nginx/nginx.pid");
    let mut namespace = Namespace { child: command.spawn().unwrap(), nginx_pid };
    platform.until_ready("hello", 1).await;
    let outer = namespace.child.id();
    let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    let init = nix::unistd::Pid::from_raw(children.trim().parse().unwrap());
    nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGTERM).unwrap();
    let end = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = namespace.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < end, "it does not hear that it is to end: {}", platform.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    // As a shell has it: Docker then knows that it was no `down`, and starts it again after a reboot.
    assert!(status.code() == Some(143) || status.signal() == Some(15), "{status} {}", platform.log());
    assert!(platform.log().contains("stopping"), "{}", platform.log());
}

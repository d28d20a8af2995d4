//! Secret config keys: only the app's own instances ever see them.

use std::process::Stdio;

use crate::harness::{Platform, app_of, docker, docker_or_skip, request_with};

/// Every byte of it has to arrive.
const VALUE: &str = "p'w \"$HOME`id`\\ ünd\n#x";

#[tokio::test]
async fn a_secret_reaches_the_app_byte_for_byte_and_nobody_else() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let mut set = platform.command();
    set.args(["config", "set", "hello", "GREETING", "--secret"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut set = set.spawn().unwrap();
    std::io::Write::write_all(&mut set.stdin.take().unwrap(), VALUE.as_bytes()).unwrap();
    assert!(set.wait().unwrap().success());
    platform.add_version("hello", "1.1.0");
    platform.until_listed("artefacts/hello/1.1.0/hello.tgz").await;
    platform.ok(&["deploy", "hello@1.1.0", "--wait"]);
    assert_eq!(platform.get("hello.localhost", "/").await.json()["content"], VALUE);

    assert_eq!(platform.ok(&["config", "get", "hello", "GREETING"]), "(secret)\n");
    let diff = platform.ok(&["diff", "hello", "1.0.0", "1.1.0"]);
    assert!(diff.contains("+GREETING=(secret)"), "{diff}");
    let host = format!("repository.{}", platform.domain());
    let path = "/config/hello/hello.config?as=sh";
    let open = platform.get(&host, path).await;
    assert!(open.status == 200 && open.body.contains("STARTUP_COMMAND") && !open.body.contains("GREETING"), "{open:?}");

    let network = format!("network={}", platform.network());
    let container = docker(&["ps", "-q", "--filter", &network, "--filter", "label=platformer.version=1.1.0"]);
    let environment = docker(&["inspect", "-f", "{{join .Config.Env \"\\n\"}}", container.trim()]);
    let token = environment.lines().find_map(|line| line.strip_prefix("PLATFORMER_TOKEN=")).unwrap();
    let container = container.trim().to_owned();
    let repository = docker(&["inspect", "-f", "{{join .Args \" \"}}", &container]);
    let repository = repository.split_whitespace().last().unwrap().to_owned();
    // From inside a container, as startup.sh asks; the status is the last line.
    let ask = |container: &str, path: &str, token: &str| {
        let (header, url) = (format!("Authorization: Bearer {token}"), format!("http://{repository}{path}"));
        let answer = docker(&["exec", container, "curl", "-s", "-w", "\n%{http_code}", "-H", &header, &url]);
        let (body, status) = answer.trim_end().rsplit_once('\n').unwrap();
        (status.parse::<u16>().unwrap(), body.to_owned())
    };
    assert!(ask(&container, path, token).1.contains("export GREETING='p'\\''w"));
    platform.add_demo("other", "1.0.0", "");
    platform.until("the other app runs", |s| app_of(s, "other").is_some_and(|a| a["ready"] == 1)).await;
    for (path, token) in [
        ("/config/other/other.config?as=sh", token.to_owned()),
        (path, token.replace("1.1.0", "1.0.0")),
        (path, "boot.hello@1.1.0.00".to_owned()),
    ] {
        assert_eq!(ask(&container, path, &token).0, 403, "{path} {token}");
    }
    // The right token from another place: another app's instance, a container of somebody's, this machine.
    let other = docker(&["ps", "-q", "--filter", &network, "--filter", "label=platformer.app=other"]);
    let refused = ask(other.trim(), path, token);
    assert!(refused.0 == 403 && refused.1.contains("is no instance of hello@1.1.0"), "{refused:?}");
    let headers = format!("Authorization: Bearer {token}\r\n");
    let from_here = request_with(platform.http_address(), "GET", &host, path, &headers, b"").await.unwrap();
    assert_eq!(from_here.status, 403, "{from_here:?}");
    // Nowhere at rest, nor in what is logged or told.
    let mut seen = vec![environment.clone(), platform.log(), platform.ok(&["history", "hello", "--json"])];
    for folder in ["state", "repository"] {
        for entry in walk(&platform.path(folder)) {
            seen.push(String::from_utf8_lossy(&std::fs::read(entry).unwrap_or_default()).into_owned());
        }
    }
    assert!(seen.len() > 10 && seen.iter().all(|text| !text.contains("$HOME`id`")), "the value is at rest somewhere");
    let (code, text) = platform.run(&["config", "set", "hello", "GREETING=plain"]);
    assert!(code == 2 && text.contains("GREETING of hello is secret; set it with --secret"), "{code} {text}");
    let (code, text) = platform.run(&["config", "set", "hello", "GREETING=secret:v1:AAAA"]);
    assert!(code == 2 && text.contains("cannot begin with"), "{text}");
    // A secret of another platform is named, and stops only who needs it.
    platform.put_config("hello", &[("GREETING", "secret:v1:AAAA")]);
    platform.until("the change is seen", |_| platform.ok(&["config", "get", "hello"]).contains("(secret)")).await;
    let foreign = ask(&container, path, token);
    assert!(foreign.0 == 422 && foreign.1.contains("key GREETING: its secret was made by"), "{foreign:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { walk(&path) } else { vec![path] }
        })
        .filter(|path| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file()))
        .collect()
}

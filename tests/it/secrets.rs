//! Secret config keys: only the app's own instances ever see them.

use std::process::Stdio;

use crate::harness::{Platform, docker, docker_or_skip, request_with};

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
    let ask = |path: &'static str, token: String| {
        let (address, host) = (platform.http_address(), host.clone());
        async move {
            let headers = format!("Authorization: Bearer {token}\r\n");
            request_with(address, "GET", &host, path, &headers, b"").await.unwrap()
        }
    };
    assert!(ask(path, token.to_owned()).await.body.contains("export GREETING='p'\\''w"));
    platform.put_files("other").await;
    for (path, token, status) in [
        ("/config/other/other.config?as=sh", token.to_owned(), 403),
        (path, token.replace("1.1.0", "1.0.0"), 403),
        (path, "boot.hello@1.1.0.00".to_owned(), 403),
    ] {
        assert_eq!(ask(path, token.clone()).await.status, status, "{path} {token}");
    }
    // Nowhere at rest, nor in what is logged or told.
    let mut seen = vec![environment.clone(), platform.log(), platform.ok(&["history", "hello", "--json"])];
    for folder in ["state", "repository"] {
        for entry in walk(&platform.path(folder)) {
            seen.push(String::from_utf8_lossy(&std::fs::read(entry).unwrap_or_default()).into_owned());
        }
    }
    assert!(seen.len() > 10 && seen.iter().all(|text| !text.contains("$HOME`id`")), "the value is at rest somewhere");
    let (code, text) = platform.run(&["config", "set", "hello", "GREETING=secret:v1:AAAA"]);
    assert!(code == 2 && text.contains("cannot begin with"), "{text}");
    // A secret of another platform is named, and stops only who needs it.
    platform.put_config("hello", &[("GREETING", "secret:v1:AAAA")]);
    platform.until("the change is seen", |_| platform.ok(&["config", "get", "hello"]).contains("(secret)")).await;
    let foreign = ask(path, token.to_owned()).await;
    assert!(foreign.status == 422 && foreign.body.contains("key GREETING: its secret was made by"), "{foreign:?}");
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

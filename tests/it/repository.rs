//! The repository over HTTP and over the API.

use crate::harness::{Platform, docker_or_skip, request_with};

#[tokio::test]
async fn files_have_etags_ranges_and_conditions() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let host = format!("repository.{}", platform.domain());
    let path = "/config/hello/hello.config";
    let ask = |method: &'static str, headers: String| {
        let (host, address) = (host.clone(), platform.http_address());
        async move { request_with(address, method, &host, path, &headers, b"").await.unwrap() }
    };
    let whole = ask("GET", String::new()).await;
    let etag = whole.header("ETag").unwrap().to_owned();
    assert_eq!((whole.status, whole.body.as_str(), etag.len()), (200, "STARTUP_COMMAND=\"python3 app.py\"\n", 66));
    assert_eq!(whole.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(ask("GET", format!("If-None-Match: {etag}\r\n")).await.status, 304);
    assert_eq!(ask("GET", "If-None-Match: \"other\"\r\n".into()).await.status, 200);
    let modified = whole.header("Last-Modified").unwrap();
    assert_eq!(ask("GET", format!("If-Modified-Since: {modified}\r\n")).await.status, 304);
    let head = ask("HEAD", String::new()).await;
    assert_eq!((head.status, head.body.as_str(), head.header("Content-Length")), (200, "", Some("33")));
    let part = ask("GET", "Range: bytes=0-14\r\n".into()).await;
    assert_eq!(
        (part.status, part.body.as_str(), part.header("Content-Range")),
        (206, "STARTUP_COMMAND", Some("bytes 0-14/33"))
    );
    assert_eq!(ask("GET", "Range: bytes=-2\r\n".into()).await.body, "\"\n");
    assert_eq!(ask("GET", "Range: bytes=99-\r\n".into()).await.status, 416);
    assert_eq!(ask("GET", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n".into()).await.status, 200);
    let missing = platform.get(&host, "/config/nobody/nobody.config").await;
    assert_eq!((missing.status, missing.body.as_str()), (404, "Not in the repository.\n"));
}

#[tokio::test]
async fn no_path_leads_out_of_the_tree() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let host = format!("repository.{}", platform.domain());
    std::os::unix::fs::symlink("/etc/passwd", platform.path("repository/files/out").with_file_name("")).ok();
    platform.put("files/x/x.tgz", "x");
    std::os::unix::fs::symlink("/etc/passwd", platform.path("repository/files/x/link")).unwrap();
    std::os::unix::fs::symlink("/etc", platform.path("repository/files/etc")).unwrap();
    nix::unistd::mkfifo(&platform.path("repository/files/x/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    platform.until_problem("file files/x/link", "symbolic link").await;
    let tops = [
        "/etc/passwd",
        "/files/../../../../../../etc/passwd",
        "/files/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/files/..%2f..%2f..%2fetc%2fpasswd",
    ];
    let more = [
        "/files/%252e%252e/%252e%252e/etc/passwd",
        "//etc/passwd",
        "/files//etc/passwd",
        "/files/\\..\\..\\etc\\passwd",
        "/files/%00/etc/passwd",
        "/files/x/link",
        "/files/etc/passwd",
        "/files/x/fifo",
        "/files/x",
        "/files/",
        "/files",
        "/apps/hello.toml",
        "/files/x/./../../../etc/passwd",
        "/%2F%2F%2F%2Fetc/passwd",
        "/files/x/x.tgz%00.txt",
        "/config/hello/../../../../etc/passwd",
        "/artefacts/..;/etc/passwd",
        "/.platformer-incoming/0",
        "/files/%c0%ae%c0%ae/etc/passwd",
        "/files/....//....//etc/passwd",
        "/files/%2e%2e%5c%2e%2e%5cetc/passwd",
    ];
    for path in tops.into_iter().chain(more) {
        let answer = platform.get(&host, path).await;
        assert!(!answer.body.contains("root:") && answer.status >= 300 && answer.status < 500, "{path}: {answer:?}");
    }
    assert_eq!(platform.get(&host, "/files/x/x.tgz").await.body, "x");
}

#[tokio::test]
async fn a_pushed_version_never_changes() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let archive = platform.path("demo.tgz");
    let archive = archive.to_str().unwrap();
    assert!(platform.ok(&["repository", "push", "hello", "1.0.1", archive]).contains("is in the repository: "));
    assert!(platform.ok(&["repository", "push", "hello", "1.0.1", archive]).contains("already, byte for byte"));
    let served = platform.get(&format!("repository.{}", platform.domain()), "/artefacts/hello/1.0.1/demo.tgz").await;
    assert_eq!(served.status, 200);
    let other = platform.path("other/demo.tgz");
    std::fs::create_dir(other.parent().unwrap()).unwrap();
    std::process::Command::new("tar")
        .args(["-czf", other.to_str().unwrap(), "-C", "/etc", "hostname"])
        .status()
        .unwrap();
    let refused = platform.cli(&["repository", "push", "hello", "1.0.1", other.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let whole = std::fs::read(archive).unwrap();
    std::fs::write(&other, &whole[..whole.len() / 2]).unwrap();
    let damaged = platform.cli(&["repository", "push", "hello", "1.0.2", other.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&damaged.stderr).contains("damaged or cut off"), "{damaged:?}");
    assert_eq!(platform.cli(&["repository", "push", "hello", "../x", archive]).status.code(), Some(2));
    // More than the connection takes in: whoever is refused early is still told why.
    let large = platform.path("other/large.tgz");
    std::fs::write(&large, vec![7; 12 << 20]).unwrap();
    let refused = platform.cli(&["repository", "push", "hello", "../x", large.to_str().unwrap()]);
    assert!(
        refused.status.code() == Some(2) && String::from_utf8_lossy(&refused.stderr).contains("../x"),
        "{refused:?}"
    );
    assert!(!platform.path("repository/artefacts/hello/1.0.2").exists());
    assert!(platform.ok(&["repository", "verify"]).contains("everything is as it was stored"));
    platform.put("artefacts/hello/1.0.1/demo.tgz", &whole[..whole.len() / 2]);
    assert_eq!(platform.cli(&["repository", "verify"]).status.code(), Some(1));
    platform.until_problem("file artefacts/hello/1.0.1/demo.tgz", "differs from its SHA256SUMS").await;
}

#[tokio::test]
async fn config_is_set_key_by_key_and_served_at_once() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let host = format!("repository.{}", platform.domain());
    platform.ok(&["config", "set", "hello", "GREETING=it's \"so\" $5"]);
    assert_eq!(platform.ok(&["config", "get", "hello", "GREETING"]), "it's \"so\" $5\n");
    let lines = platform.get(&host, "/config/hello/hello.config?as=sh").await.body;
    assert_eq!(lines, "export STARTUP_COMMAND='python3 app.py'\nexport GREETING='it'\\''s \"so\" $5'\n");
    assert_eq!(platform.cli(&["config", "set", "hello", "LD_PRELOAD=x"]).status.code(), Some(2));
    platform.ok(&["config", "unset", "hello", "GREETING"]);
    assert_eq!(platform.cli(&["config", "get", "hello", "GREETING"]).status.code(), Some(1));
    platform.put("config/hello/hello.config", "OK=\"1\"\nBAD=$(id)\n");
    let answer = platform.until_status(&host, "/config/hello/hello.config?as=sh", 422).await;
    assert!(answer.body.contains("config/hello/hello.config: line 2, key BAD"), "{answer:?}");
    platform.until_problem("file config/hello/hello.config", "line 2, key BAD").await;
}

#[tokio::test]
async fn the_api_wants_its_token_and_a_host_of_its_own() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let api = platform.api_address();
    for (path, status) in
        [("/healthz", 200), ("/v1/status", 401), ("/v1/apps", 401), ("/v1/render", 401), ("/nothing", 401)]
    {
        let answer = request_with(api, "GET", "localhost", path, "", b"").await.unwrap();
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    let token = platform.token().unwrap();
    let headers = format!("Authorization: Bearer {}\r\n", token.trim());
    assert_eq!(request_with(api, "GET", "evil.example", "/v1/status", &headers, b"").await.unwrap().status, 421);
    assert_eq!(request_with(api, "GET", "localhost", "/v1/status", &headers, b"").await.unwrap().status, 200);
    // The listener that containers reach has no control routes.
    let through = format!("repository.{}", platform.domain());
    assert_eq!(
        request_with(platform.http_address(), "GET", &through, "/v1/status", &headers, b"").await.unwrap().status,
        404
    );
}

//! Versions that come from elsewhere: tags of images in a real registry, tags and commits of git repositories, and
//! the webhooks that tell of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use ring::hmac;
use serde_json::{Value, json};

use crate::harness::{Answer, DEADLINE, Platform, Running, app_of, docker, docker_or_skip, request_with};

/// Debian's own registry, on a port of the test's.
struct Registry {
    port: u16,
    _server: Running,
    folder: PathBuf,
}

impl Registry {
    /// Starts it, and with `user:password` for nobody else.
    async fn start(platform: &Platform, login: Option<&str>) -> Self {
        let (port, folder) = (platform.registry_port(), platform.path("registry"));
        std::fs::create_dir_all(&folder).unwrap();
        let auth = login.map_or(String::new(), |login| {
            let file = folder.join("users");
            std::fs::write(&file, format!("{login}\n")).unwrap();
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display())
        });
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{auth}",
            folder.join("data").display()
        );
        std::fs::write(folder.join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        let child = command.arg("serve").arg(folder.join("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = child.spawn().expect("docker-registry; scripts/test installs it");
        until_open(port).await;
        Self { port, _server: Running(child), folder }
    }

    fn image(&self) -> String {
        format!("127.0.0.1:{}/org/shop", self.port)
    }

    /// Pushes an image whose only page is its own version.
    fn push(&self, version: &str) {
        self.push_as(&self.folder, version, version);
    }

    /// An image with this page as who logged in with this configuration of Docker's.
    fn push_as(&self, login: &Path, version: &str, page: &str) {
        let root = self.folder.join("root");
        std::fs::create_dir_all(root.join("www")).unwrap();
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static; scripts/test installs it");
        std::fs::write(root.join("www/index.html"), page).unwrap();
        let layer = self.folder.join("layer.tar");
        assert!(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&layer).arg(".").status().unwrap().success());
        let tagged = format!("{}:{version}", self.image());
        let entry = r#"ENTRYPOINT ["/bin/busybox","httpd","-f","-p","8080","-h","/www"]"#;
        docker(&["import", "-c", entry, "-c", "EXPOSE 8080", &layer.display().to_string(), &tagged]);
        docker(&["--config", &login.display().to_string(), "push", "-q", &tagged]);
        docker(&["rmi", &tagged]);
    }
}

async fn until_open(port: u16) {
    let end = Instant::now() + DEADLINE;
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < end, "nobody listens on {port}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A git repository with commits and tags.
struct Origin(PathBuf);

impl Origin {
    fn new(platform: &Platform) -> Self {
        let origin = Self(platform.path("origin.git"));
        origin.git(&["init", "-q", "--bare", "-b", "trunk"]);
        origin
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.env("GIT_DIR", &self.0);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "test").env(format!("GIT_{who}_EMAIL"), "test@localhost");
        }
        let output = command.args(arguments).output().expect("git");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn commit(&self, message: &str) {
        let tree = self.git(&["write-tree"]);
        let parent = self.git(&["for-each-ref", "--format=%(objectname)", "refs/heads/trunk"]);
        let parents = if parent.is_empty() { vec![] } else { vec!["-p", parent.as_str()] };
        let commit = self.git(&[&["commit-tree", tree.as_str(), "-m", message], parents.as_slice()].concat());
        self.git(&["update-ref", "refs/heads/trunk", &commit]);
    }

    fn tag(&self, version: &str) {
        self.git(&["tag", version, "trunk"]);
    }
}

async fn call(platform: &Platform, method: &str, path: &str, body: &str) -> Answer {
    let token = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", platform.token().unwrap());
    request_with(platform.api_address(), method, "localhost", path, &token, body.as_bytes()).await.unwrap()
}

async fn hook(platform: &Platform, path: &str, headers: &str, body: &str) -> Answer {
    request_with(platform.api_address(), "POST", "localhost", path, headers, body.as_bytes()).await.unwrap()
}

/// Declares the app `shop` with this source.
fn declare(platform: &Platform, source: &str) {
    let text = format!(
        "[source]\nauto = \"newest\"\npoll = \"1h\"\n{source}\n[deploy]\ngrace = \"100ms\"\nmonitor = \"0s\"\n"
    );
    platform.put("apps/shop.toml", text);
}

async fn until_stable(platform: &Platform, version: &str) -> Value {
    let is_there = |s: &Value| {
        app_of(s, "shop").is_some_and(|a| a["stable"] == version && a["ready"] == 1 && a["candidate"].is_null())
    };
    platform.until(&format!("shop is {version}"), is_there).await
}

async fn shop(platform: &Platform) -> Value {
    app_of(&platform.status().await.unwrap(), "shop").unwrap().clone()
}

#[tokio::test]
async fn tags_that_arrive_are_deployed_and_a_pin_outlives_the_next_look() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let registry = Registry::start(&platform, None).await;
    declare(&platform, &format!("image = \"{}\"", registry.image()));
    platform.up();
    platform
        .until("the empty registry was looked at", |s| {
            app_of(s, "shop")
                .is_some_and(|a| a["source"]["looked_at"].is_string() && a["source"]["errors"] == json!([]))
        })
        .await;
    registry.push("0.0.4");
    call(&platform, "POST", "/v1/apps/shop/sync", "").await;
    until_stable(&platform, "0.0.4").await;
    assert_eq!(platform.until_status("shop.localhost", "/", 200).await.body, "0.0.4");
    let found = shop(&platform).await;
    assert_eq!(found["summary"], "Running 0.0.4 (1)");
    assert_eq!((&found["desired"], &found["last"]), (&found["last"], &json!([{ "version": "0.0.4", "instances": 1 }])));
    // Three more at once are one deployment, of the newest release.
    for version in ["0.0.5", "0.0.10", "0.0.6", "0.1.0-rc1", "nightly"] {
        registry.push(version);
    }
    let looked = call(&platform, "POST", "/v1/apps/shop/sync", "").await.json();
    assert_eq!(looked["deployment"], "shop-1", "{looked}");
    until_stable(&platform, "0.0.10").await;
    assert_eq!(platform.get("shop.localhost", "/").await.body, "0.0.10");
    platform.ok(&["rollback", "shop", "--wait"]);
    until_stable(&platform, "0.0.4").await;
    registry.push("0.0.11");
    call(&platform, "POST", "/v1/apps/shop/sync", "").await;
    let held = shop(&platform).await;
    assert_eq!((&held["pin"], &held["stable"], &held["candidate"]), (&json!("0.0.4"), &json!("0.0.4"), &Value::Null));
    assert_eq!(held["source"]["newest_image"], "0.0.11");
    platform.ok(&["pin", "shop", "0.0.5"]);
    until_stable(&platform, "0.0.5").await;
    assert!(platform.ok(&["status", "shop"]).contains("held at 0.0.5"));
    platform.ok(&["unpin", "shop"]);
    until_stable(&platform, "0.0.11").await;
    assert_eq!(platform.run(&["unpin", "shop"]).0, 5);
}

#[tokio::test]
async fn a_tag_that_is_pushed_again_is_followed_and_what_it_was_can_be_gone_back_to() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let registry = Registry::start(&platform, None).await;
    registry.push("v1.1.0");
    declare(&platform, &format!("image = \"{}\"", registry.image()));
    platform.up();
    until_stable(&platform, "v1.1.0").await;
    registry.push_as(&registry.folder, "v1.1.0", "the same tag");
    call(&platform, "POST", "/v1/apps/shop/sync", "").await;
    until_stable(&platform, "v1.1.0-r2").await;
    assert_eq!(platform.get("shop.localhost", "/").await.body, "the same tag");
    let (code, said) = platform.run(&["deploy", "shop"]);
    assert!(code == 5 && said.contains("nothing has changed"), "{said}");
    platform.ok(&["rollback", "shop", "--wait"]);
    until_stable(&platform, "v1.1.0").await;
    assert_eq!(platform.get("shop.localhost", "/").await.body, "v1.1.0", "its own image, not its tag's");
    // By hand the registry is asked too, whatever the spelling.
    registry.push_as(&registry.folder, "v1.1.0", "once more");
    let (code, said) = platform.run(&["deploy", "shop@1.1.0", "--wait"]);
    assert_eq!(code, 0, "{said}");
    until_stable(&platform, "v1.1.0-r3").await;
    assert_eq!(platform.get("shop.localhost", "/").await.body, "once more");
}

#[tokio::test]
async fn tags_told_one_by_one_are_one_deployment_and_the_newest_queued() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let registry = Registry::start(&platform, None).await;
    registry.push("1.0.0");
    let image = registry.image();
    let text = format!(
        "[source]\nauto = \"newest\"\npoll = \"1h\"\nimage = \"{image}\"\n[deploy]\nstrategy = \"manual\"\ngrace = \"100ms\"\nmonitor = \"0s\"\n"
    );
    platform.put("apps/shop.toml", text);
    platform.up();
    until_stable(&platform, "1.0.0").await;
    let hooks = call(&platform, "GET", "/v1/apps/shop/webhooks", "").await.json();
    let path = hooks["dockerhub"]["path"].as_str().unwrap();
    for number in 1..=30 {
        let version = format!("1.0.{number}");
        registry.push(&version);
        let body = json!({ "push_data": { "tag": version }, "repository": { "repo_name": image } }).to_string();
        let told = hook(&platform, path, "", &body).await;
        assert_eq!(told.status, 200, "{told:?}");
        let expected = match number {
            1 => json!({ "app": "shop", "deployment": "shop-1", "queued": null }),
            _ => json!({ "app": "shop", "deployment": null, "queued": version }),
        };
        assert_eq!(told.json(), expected);
    }
    assert!(platform.ok(&["status", "shop"]).contains("1.0.30 is queued behind shop-1"));
    platform
        .until("the first is ready", |s| app_of(s, "shop").is_some_and(|a| a["deployment"]["state"] == "paused"))
        .await;
    platform.ok(&["promote", "shop"]);
    let is_second = |s: &Value| app_of(s, "shop").is_some_and(|a| a["deployment"]["id"] == "shop-2");
    let found = platform.until("the newest is next", is_second).await;
    let found = app_of(&found, "shop").unwrap();
    assert_eq!((&found["stable"], &found["deployment"]["release"]), (&json!("1.0.1"), &json!("1.0.30")));
    assert_eq!(found["queued"], Value::Null);
}

/// How a git repository is served over http.
enum Web {
    /// By git's own protocol, through its CGI.
    Smart,
    /// As plain files.
    Dumb,
}

impl Web {
    /// Serves the folder that the origin is in. Returns the server, and the origin's URL.
    async fn serve(&self, platform: &Platform) -> (Running, String) {
        let (port, root) = (platform.slot_port(6), platform.folder.path());
        let (mut server, path) = match self {
            Self::Smart => {
                let script = root.join("cgi-bin/git");
                std::fs::create_dir_all(script.parent().unwrap()).unwrap();
                let text = format!(
                    "#!/bin/sh\nGIT_PROJECT_ROOT={} GIT_HTTP_EXPORT_ALL=1 exec git http-backend\n",
                    root.display()
                );
                std::fs::write(&script, text).unwrap();
                assert!(Command::new("chmod").arg("+x").arg(&script).status().unwrap().success());
                let mut server = Command::new("busybox");
                server.args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"]).arg(root);
                (server, "cgi-bin/git/")
            }
            Self::Dumb => {
                let mut server = Command::new("python3");
                server.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"]).arg(root);
                (server, "")
            }
        };
        let server = Running(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until_open(port).await;
        (server, format!("http://127.0.0.1:{port}/{path}origin.git"))
    }
}

#[tokio::test]
async fn a_git_tag_waits_for_its_image_and_commits_wait_for_a_tag() {
    git_is_followed(&Web::Smart).await;
}

#[tokio::test]
async fn a_git_repository_of_plain_files_is_followed_too() {
    git_is_followed(&Web::Dumb).await;
}

async fn git_is_followed(web: &Web) {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let registry = Registry::start(&platform, None).await;
    let origin = Origin::new(&platform);
    origin.commit("one");
    origin.tag("0.0.4");
    registry.push("0.0.4");
    origin.git(&["update-server-info"]);
    let (server, git) = web.serve(&platform).await;
    declare(&platform, &format!("image = \"{}\"\ngit = \"{git}\"", registry.image()));
    platform.up();
    until_stable(&platform, "0.0.4").await;
    origin.commit("two");
    origin.tag("0.0.5");
    origin.commit("three");
    origin.commit("four");
    origin.git(&["update-server-info"]);
    call(&platform, "POST", "/v1/apps/shop/sync", "").await;
    let waiting = shop(&platform).await;
    assert_eq!(waiting["source"]["notes"], json!(["waiting for image 0.0.5", "2 commits on main not tagged"]));
    assert_eq!((&waiting["stable"], &waiting["deployment"]), (&json!("0.0.4"), &Value::Null));
    registry.push("0.0.5");
    call(&platform, "POST", "/v1/apps/shop/sync", "").await;
    until_stable(&platform, "0.0.5").await;
    drop(server);
    call(&platform, "POST", "/v1/apps/shop/sync", "").await;
    let status = platform.until_problem("app shop", "git:").await;
    assert_eq!(app_of(&status, "shop").unwrap()["stable"], "0.0.5", "what runs stays");
}

#[tokio::test]
async fn a_private_registry_is_asked_as_docker_login_left_it() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    // The password is `hunter2`, as bcrypt keeps it.
    let users = "ci:$2y$04$zM6Tn5jK5jhtEuJzjTcQ0.sv9KT34cdQ32O7A6OsMmGSvgB7IIO2y";
    let registry = Registry::start(&platform, Some(users)).await;
    let login = platform.path("docker");
    std::fs::create_dir(&login).unwrap();
    platform.environment("DOCKER_CONFIG", &login.display().to_string());
    declare(&platform, &format!("image = \"{}\"\npin = \"1.0.0\"", registry.image()));
    platform.up();
    platform.until_problem("app shop", "docker login").await;
    // As `docker login` writes it: base64 of `ci:hunter2`.
    let auths = json!({ "auths": { format!("127.0.0.1:{}", registry.port): { "auth": "Y2k6aHVudGVyMg==" } } });
    std::fs::write(login.join("config.json"), auths.to_string()).unwrap();
    registry.push_as(&login, "1.0.0", "1.0.0");
    call(&platform, "POST", "/v1/apps/shop/sync", "").await;
    until_stable(&platform, "1.0.0").await;
    assert!(!platform.log().contains("hunter2"));
}

#[tokio::test]
async fn webhooks_prove_themselves_and_a_copy_does_nothing_again() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let registry = Registry::start(&platform, None).await;
    let origin = Origin::new(&platform);
    origin.commit("one");
    origin.tag("1.0.0");
    registry.push("1.0.0");
    declare(&platform, &format!("image = \"{}\"\ngit = \"{}\"", registry.image(), origin.0.display()));
    platform.up();
    until_stable(&platform, "1.0.0").await;
    let hooks = call(&platform, "GET", "/v1/apps/shop/webhooks", "").await.json();
    let secret = hooks["github"]["secret"].as_str().unwrap();
    let sign = |secret: &str, body: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let push = |url: &str| json!({ "repository": { "clone_url": url } }).to_string();
    let own = push(&origin.0.display().to_string());
    let github = |signature: &str, delivery: &str| {
        format!("X-Hub-Signature-256: sha256={signature}\r\nX-GitHub-Delivery: {delivery}\r\n")
    };
    origin.tag("1.0.1");
    registry.push("1.0.1");
    let (good, other) = (sign(secret, &own), push("https://evil.example/org/shop"));
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = r#"{"repository":{"clone_url":"a"},"repository":{"clone_url":"b"}}"#;
    let sha1 = "X-Hub-Signature: sha1=0000\r\nX-GitHub-Delivery: 1\r\n".to_owned();
    for (what, headers, body, status, code) in [
        ("unsigned", String::new(), own.as_str(), 403, "bad-webhook"),
        ("sha1 only", sha1, own.as_str(), 403, "bad-webhook"),
        ("forged", github(&sign("guess", &own), "1"), own.as_str(), 403, "bad-webhook"),
        ("cut", github(&good[..10], "1"), own.as_str(), 403, "bad-webhook"),
        ("of another body", github(&good, "1"), &other, 403, "bad-webhook"),
        ("deep", github(&sign(secret, &nested), "3"), &nested, 400, "bad-request"),
        ("doubled key", github(&sign(secret, twice), "4"), twice, 400, "bad-request"),
        ("compressed", github(&sign(secret, "\u{1f}\u{8b}x"), "5"), "\u{1f}\u{8b}x", 400, "bad-request"),
    ] {
        let answer = hook(&platform, "/webhooks/github/shop", &headers, body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{what}: {answer:?}");
        assert!(!answer.body.contains(secret), "{what}");
    }
    // What is well-formed and not for us is taken, or its sender would try it again for ever.
    let ping = json!({ "zen": "x", "hook": { "type": "Organization" }, "organization": {} }).to_string();
    for (body, delivery) in [(&other, "2"), (&ping, "6")] {
        let answer = hook(&platform, "/webhooks/github/shop", &github(&sign(secret, body), delivery), body).await;
        let json = answer.json();
        assert!(answer.status == 200 && json["deployment"].is_null() && json["ignored"].is_string(), "{answer:?}");
    }
    assert_eq!(shop(&platform).await["stable"], "1.0.0", "none of them has done anything");
    // Ten copies of one delivery are one deployment; the same id with another body is a mistake.
    let copies = (0..10).map(|_| {
        let (headers, own, platform) = (github(&good, "delivery-1"), own.clone(), &platform);
        async move { hook(platform, "/webhooks/github/shop", &headers, &own).await }
    });
    for answer in futures_util::future::join_all(copies).await {
        assert_eq!((answer.status, &answer.json()["deployment"]), (200, &json!("shop-1")), "{answer:?}");
    }
    until_stable(&platform, "1.0.1").await;
    let changed = own.replace('{', "{ ");
    let reused =
        hook(&platform, "/webhooks/github/shop", &github(&sign(secret, &changed), "delivery-1"), &changed).await;
    assert_eq!((reused.status, &reused.json()["code"]), (409, &json!("delivery-reused")));
    assert_eq!(shop(&platform).await["deployment"]["id"], "shop-1");
    // The others: GitLab's token, Gitea's signature, Docker Hub's and a registry's secret path.
    origin.tag("1.0.2");
    registry.push("1.0.2");
    let project = json!({ "project": { "git_http_url": origin.0.display().to_string() } }).to_string();
    assert_eq!(hook(&platform, "/webhooks/gitlab/shop", "X-Gitlab-Token: guess\r\n", &project).await.status, 403);
    let told = hook(&platform, "/webhooks/gitlab/shop", &format!("X-Gitlab-Token: {secret}\r\n"), &project).await;
    assert_eq!((told.status, &told.json()["deployment"]), (200, &json!("shop-2")), "{told:?}");
    for name in ["Gitea", "Forgejo"] {
        let headers = format!("X-{name}-Signature: {good}\r\nX-{name}-Delivery: {name}-1\r\n");
        assert_eq!(hook(&platform, "/webhooks/gitea/shop", &headers, &own).await.status, 200, "{name}");
    }
    // GitHub's default is a form, and it is the form that is signed.
    let form: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &own).finish();
    let headers = github(&sign(secret, &form), "form-1") + "Content-Type: application/x-www-form-urlencoded\r\n";
    let told = hook(&platform, "/webhooks/github/shop", &headers, &form).await;
    assert_eq!((told.status, &told.json()["deployment"]), (200, &json!("shop-2")), "{told:?}");
    let hub = |repository: &str, tag: &str| {
        json!({ "push_data": { "tag": tag }, "repository": { "repo_name": repository },
            "callback_url": format!("http://127.0.0.1:{}/", platform.slot_port(7)) })
        .to_string()
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", platform.slot_port(7))).await.unwrap();
    let path = hooks["dockerhub"]["path"].as_str().unwrap().to_owned();
    let image = registry.image();
    for (path, body, status) in [
        (path.as_str(), hub(&image, "1.0.2"), 200),
        (path.as_str(), hub(&image, "../../x"), 200),
        (path.as_str(), hub("org/other", "1.0.2"), 200),
        (path.as_str(), "{\"push_data\":".into(), 400),
        ("/webhooks/dockerhub/shop/guess", hub(&image, "1.0.2"), 403),
        ("/webhooks/dockerhub/nobody/guess", hub(&image, "1.0.2"), 403),
    ] {
        let answer = hook(&platform, path, "", &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
    }
    let called = tokio::time::timeout(std::time::Duration::from_millis(300), listener.accept()).await;
    assert!(called.is_err(), "callback_url is never called");
    let event = |repository: &str| {
        json!({ "events": [{ "id": "e1", "action": "push", "target": { "repository": repository, "tag": "1.0.2" } }] })
            .to_string()
    };
    let path = hooks["registry"]["path"].as_str().unwrap();
    assert_eq!(hook(&platform, path, "", &event("org/shop")).await.status, 200);
    let other = hook(&platform, path, "", &event("org/other")).await;
    assert!(other.status == 200 && other.json()["ignored"].is_string(), "{other:?}");
    // A signature's tag, one that is no version, and an event that is none, beside one of ours.
    origin.tag("1.0.3");
    registry.push("1.0.3");
    let target = |tag: &str| json!({ "repository": "org/shop", "tag": tag });
    let events = json!({ "events": [
        { "id": "e2", "action": "push", "target": target("sha256-0123456789abcdef.sig") },
        { "id": "e3", "action": "push", "target": target(&"x".repeat(100)) },
        { "id": 4, "action": ["push"] },
        { "id": "e5", "action": "push", "target": target("1.0.3") },
    ] });
    let told = hook(&platform, path, "", &events.to_string()).await;
    assert_eq!((told.status, &told.json()["deployment"]), (200, &json!("shop-3")), "{told:?}");
}

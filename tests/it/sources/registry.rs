//! Tags of images in a real registry.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{call, declare, hook, shop, until_open, until_stable};
use crate::harness::{Platform, Running, app_of, docker, docker_or_skip};

/// Debian's own registry, on a port of the test's.
pub struct Registry {
    port: u16,
    _server: Running,
    folder: PathBuf,
}

impl Registry {
    /// Starts it, and with `user:password` for nobody else.
    pub async fn start(platform: &Platform, login: Option<&str>) -> Self {
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

    pub fn image(&self) -> String {
        format!("127.0.0.1:{}/org/shop", self.port)
    }

    /// Pushes an image whose only page is its own version.
    pub fn push(&self, version: &str) {
        self.push_as(&self.folder, version, version);
    }

    /// An image with this page as who logged in with this configuration of Docker's.
    pub fn push_as(&self, login: &Path, version: &str, page: &str) {
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

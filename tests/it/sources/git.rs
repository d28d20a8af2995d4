//! Tags and commits of git repositories.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::registry::Registry;
use super::{call, declare, shop, until_open, until_stable};
use crate::harness::{Platform, Running, app_of, docker_or_skip};

/// A git repository with commits and tags.
pub struct Origin(pub PathBuf);

impl Origin {
    pub fn new(platform: &Platform) -> Self {
        let origin = Self(platform.path("origin.git"));
        origin.git(&["init", "-q", "--bare", "-b", "trunk"]);
        origin
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.env("GIT_DIR", &self.0);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "test").env(format!("GIT_{who}_EMAIL"), "test@localhost");
        }
        let output = command.args(arguments).output().expect("git");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn commit(&self, message: &str) {
        let tree = self.git(&["write-tree"]);
        let parent = self.git(&["for-each-ref", "--format=%(objectname)", "refs/heads/trunk"]);
        let parents = if parent.is_empty() { vec![] } else { vec!["-p", parent.as_str()] };
        let commit = self.git(&[&["commit-tree", tree.as_str(), "-m", message], parents.as_slice()].concat());
        self.git(&["update-ref", "refs/heads/trunk", &commit]);
    }

    pub fn tag(&self, version: &str) {
        self.git(&["tag", version, "trunk"]);
    }
}

/// A registry and a git repository that have a version.
pub async fn released(platform: &Platform, version: &str) -> (Registry, Origin) {
    let (registry, origin) = (Registry::start(platform, None).await, Origin::new(platform));
    origin.commit("one");
    origin.tag(version);
    registry.push(version);
    (registry, origin)
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
    let (registry, origin) = released(&platform, "0.0.4").await;
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

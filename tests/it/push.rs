//! An image from a laptop to the platform without a registry.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Platform, app_of, docker, docker_or_skip, request_with};

/// Makes an image of two layers whose only page is its version, and keeps what `docker` says of it: the laptop has
/// it, the platform's engine does not. Returns the folder with a `docker` that answers so.
fn laptop(platform: &Platform, name: &str, version: &str) -> String {
    let folder = platform.path(&format!("laptop-{version}"));
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static; scripts/test installs it");
    // Bytes that no other image has, so that there is something to send.
    let noise = Command::new("head").args(["-c", "3000000", "/dev/urandom"]).output().unwrap().stdout;
    std::fs::write(root.join("noise"), noise).unwrap();
    let layer = folder.join("layer.tar");
    assert!(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&layer).arg(".").status().unwrap().success());
    let base = format!("{name}-base");
    docker(&["import", &layer.display().to_string(), &base]);
    let text = format!(
        "FROM {base}\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"busybox mkdir /www; echo {version} > /www/index.html\"]\nENTRYPOINT [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\nEXPOSE 8080\n"
    );
    std::fs::create_dir(folder.join("context")).unwrap();
    std::fs::write(folder.join("context/Dockerfile"), text).unwrap();
    let mut build = Command::new("docker");
    let built = build.env("DOCKER_BUILDKIT", "0").args(["build", "-q", "-t", name]).arg(folder.join("context"));
    let built = built.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let saved = folder.join("saved.tar").display().to_string();
    docker(&["image", "save", "-o", &saved, name]);
    let layers = docker(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", name]);
    docker(&["rmi", "-f", name, &base]);
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script =
        format!("#!/bin/sh\ncase \"$2\" in\n  inspect) echo '{layers}' ;;\n  save) cp {saved} \"$4\" ;;\nesac\n");
    std::fs::write(bin.join("docker"), script).unwrap();
    std::fs::set_permissions(bin.join("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

/// A way to the API that is cut after so many bytes of each of the first uploads.
async fn bad_line(platform: &Platform, cuts: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, api) = (listener.local_addr().unwrap().port(), platform.api_address());
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(api).await.unwrap();
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let up = async {
                    let (mut sent, mut buffer) = (0, vec![0; 1 << 14]);
                    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                        if to_server.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                        sent += read;
                        if sent > 1_000_000 && counted.fetch_add(1, Ordering::SeqCst) < cuts {
                            return;
                        }
                    }
                };
                let down = async { _ = tokio::io::copy(&mut from_server, &mut to_client).await };
                tokio::select! {
                    () = up => {}
                    () = down => {}
                }
            });
        }
    });
    (port, made)
}

async fn call(platform: &Platform, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
    call_with(platform, &platform.token().unwrap(), method, path, body).await
}

async fn call_with(platform: &Platform, token: &str, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
    let token = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let answer = request_with(platform.api_address(), method, "localhost", path, &token, body).await.unwrap();
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

#[tokio::test]
async fn an_image_arrives_over_a_line_that_is_cut_and_only_what_is_missing_is_sent() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.put(
        "apps/shop.toml",
        "image = \"platformer-push/shop\"\n[deploy]\ngrace = \"100ms\"\nretain = 0\nmonitor = \"0s\"\n",
    );
    platform.up();
    platform.until("it is up", |s| s["generation"]["live"].is_number()).await;
    let name = format!("{}-local", platform.id);
    let path = laptop(&platform, &name, "1.0.0");
    let (port, cuts) = bad_line(&platform, 2).await;
    let mut command = platform.command();
    command.env("PATH", &path).env("PLATFORMER_API", format!("http://127.0.0.1:{port}"));
    command.args(["push", &name, "--to", "shop@1.0.0"]);
    let pushed = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&pushed.stdout).into_owned() + &String::from_utf8_lossy(&pushed.stderr);
    assert!(pushed.status.success() && said.contains("0 of its 2 layers"), "{said}");
    assert!(cuts.load(Ordering::SeqCst) >= 2, "the line was not cut");
    let image = "platformer-push/shop:1.0.0";
    docker(&["image", "inspect", image]);
    platform.ok(&["deploy", "shop@1.0.0", "--wait"]);
    platform.until("it runs", |s| app_of(s, "shop").is_some_and(|app| app["ready"] == 1)).await;
    assert_eq!(platform.until_status("shop.localhost", "/", 200).await.body.trim(), "1.0.0");
    // A dry run says what would be sent, and sends nothing.
    let mut dry = platform.command();
    dry.env("PATH", &path).args(["deploy", "shop@1.0.1", "--image", &name, "--push", "--dry-run"]);
    let planned = tokio::task::spawn_blocking(move || dry.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&planned.stdout).into_owned() + &String::from_utf8_lossy(&planned.stderr);
    assert!(planned.status.success() && said.contains("as platformer-push/shop:1.0.1: 0 of its 2 layers"), "{said}");
    assert!(!docker(&["images", "--format", "{{.Tag}}", "platformer-push/shop"]).contains("1.0.1"), "it was sent");
    // What is there already is not sent again.
    let mut again = platform.command();
    again.env("PATH", &path).args(["push", &name, "--to", "shop@1.0.1"]);
    let pushed = tokio::task::spawn_blocking(move || again.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&pushed.stdout).into_owned() + &String::from_utf8_lossy(&pushed.stderr);
    assert!(pushed.status.success() && said.contains("2 of its 2 layers"), "{said}");
    assert_eq!(std::fs::read_dir(platform.path("state/uploads")).unwrap().count(), 0, "nothing is left over");
    // An image goes with its release: stable and previous stay.
    docker(&["tag", "platformer-push/shop:1.0.1", "platformer-push/shop:1.0.2"]);
    for version in ["1.0.1", "1.0.2"] {
        platform.ok(&["deploy", &format!("shop@{version}"), "--wait"]);
    }
    let left = || docker(&["images", "--format", "{{.Tag}}", "platformer-push/shop"]);
    platform.until("the first image is gone", |_| !left().contains("1.0.0")).await;
    assert!(left().contains("1.0.1") && left().contains("1.0.2"), "{}", left());
    platform.ok(&["remove", "shop"]);
    platform.until("it is gone", |s| app_of(s, "shop").is_none()).await;
    docker(&["rmi", "-f", "platformer-push/shop:1.0.1", "platformer-push/shop:1.0.2"]);
}

fn sha(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn packed(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut packed = tar::Builder::new(Vec::new());
    for (path, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        packed.append(&header, *bytes).unwrap();
    }
    packed.into_inner().unwrap()
}

/// An image of one file, as an engine would save it under this name.
fn image(name: &str, contents: &str) -> Vec<u8> {
    let layer = packed(&[("file", contents.as_bytes())]);
    let config = json!({ "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha(&layer))] } });
    let list = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]).to_string();
    packed(&[("config.json", config.to_string().as_bytes()), ("layer.tar", &layer), ("manifest.json", list.as_bytes())])
}

async fn send(platform: &Platform, token: &str, place: &str, bytes: &[u8]) -> (u16, Value) {
    let url = format!("/v1/apps/{place}/{}", sha(bytes));
    let (status, answer) = call_with(platform, token, "PUT", &format!("{url}?offset=0"), bytes).await;
    if status != 200 {
        return (status, answer);
    }
    call_with(platform, token, "POST", &url, b"").await
}

#[tokio::test]
async fn a_deploy_token_replaces_no_other_image_and_runs_no_other_apps() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let made = platform.ok(&["token", "create", "--scope", "deploy:hello", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let token = made["token"].as_str().unwrap();
    let (victim, folder) = (format!("{}-victim:latest", platform.id), platform.path("victim"));
    std::fs::write(&folder, packed(&[("file", b"victim")])).unwrap();
    docker(&["import", &folder.display().to_string(), &victim]);
    let id = |name: &str| docker(&["image", "inspect", "--format", "{{.Id}}", name]).trim().to_owned();
    let before = id(&victim);
    let version = format!("9.{}", platform.id.bytes().map(u64::from).fold(7, |n, b| (n * 31 + b) % 1_000_000));
    let (place, own) = (format!("hello/images/{version}"), format!("platformer-push/hello:{version}"));
    let evil = |name: &str| {
        let list = json!([{ "Config": "config.json", "RepoTags": [victim], "Layers": ["layer.tar"] }]).to_string();
        let good = image(&own, "evil");
        [&good[..good.len() - 1024], &packed(&[(name, list.as_bytes())])].concat()
    };
    for name in ["./manifest.json", "manifest.json", "x/../manifest.json"] {
        let (status, answer) = send(&platform, token, &place, &evil(name)).await;
        assert_eq!(status, 422, "{name}: {answer}");
    }
    assert_eq!(id(&victim), before);
    // A version is one image for ever.
    let (status, answer) = send(&platform, token, &place, &image(&own, "one")).await;
    assert_eq!((status, answer["digest"].as_str().unwrap()), (200, id(&own).as_str()), "{answer}");
    let first = id(&own);
    assert_eq!(send(&platform, token, &place, &image(&own, "one")).await.0, 200, "the same again is no other one");
    let (status, answer) = send(&platform, token, &place, &image(&own, "two")).await;
    let detail = answer["detail"].as_str().unwrap();
    assert!(status == 409 && detail.contains(&first) && detail.matches("sha256:").count() == 2, "{status} {answer}");
    assert_eq!(id(&own), first);
    assert_eq!(docker(&["images", "-q", "platformer-loading/*"]), "", "no name of the loading stays");
    let (status, answer) = call(&platform, "POST", "/v1/apps/helo/layers", br#"{"layers":[]}"#).await;
    assert!(status == 404 && answer["detail"].as_str().unwrap().contains("did you mean hello?"), "{answer}");
    // Nor does it run what was pushed for another app, or any other image of this machine.
    for field in ["image", "gate"] {
        for other in ["platformer-push/other:1", "platformer/platformer", &victim] {
            let asked = json!({ "version": "9.9", field: other }).to_string();
            let answer = call_with(&platform, token, "POST", "/v1/apps/hello/deployments", asked.as_bytes()).await;
            assert!(answer.0 == 403 && answer.1["detail"].as_str().unwrap().contains(other), "{field}: {answer:?}");
        }
    }
    docker(&["rmi", "-f", &victim, &own]);
}

#[tokio::test]
async fn what_is_no_image_or_another_one_is_refused_and_nothing_is_kept() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let archive = |names: Value, more: Option<&str>| {
        let mut packed = tar::Builder::new(Vec::new());
        let list = json!([{ "Config": "c.json", "RepoTags": names, "Layers": [] }]).to_string();
        for (path, text) in [("manifest.json", list.as_str())].into_iter().chain(more.map(|path| (path, "{}"))) {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            packed.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        packed.into_inner().unwrap()
    };
    let own = "platformer-push/hello:9";
    for (what, bytes) in [
        ("no archive", b"nothing of the kind".to_vec()),
        ("another name", archive(json!(["platformer/app-base:latest"]), None)),
        ("one name more", archive(json!([own, "platformer/app-base:latest"]), None)),
        ("an older list of names", archive(json!([own]), Some("repositories"))),
        ("a newer list of names", archive(json!([own]), Some("index.json"))),
        ("no image inside", archive(json!([own]), None)),
    ] {
        let url = format!("/v1/apps/hello/images/9/{}", sha(&bytes));
        assert_eq!(call(&platform, "PUT", &format!("{url}?offset=0"), &bytes).await.0, 200, "{what}");
        let (status, answer) = call(&platform, "POST", &url, b"").await;
        assert!((400..503).contains(&status) && answer["code"].is_string(), "{what}: {status} {answer}");
    }
    let url = format!("/v1/apps/hello/images/9/{}", "0".repeat(64));
    assert_eq!(call(&platform, "PUT", &format!("{url}?offset=0"), b"abc").await.0, 200);
    assert_eq!(call(&platform, "PUT", &format!("{url}?offset=0"), b"abc").await.0, 409, "three bytes have come");
    assert_eq!(call(&platform, "GET", &format!("{url}?size=9"), b"").await.1["offset"], 3);
    let (status, answer) = call(&platform, "POST", &url, b"").await;
    assert!(status == 422 && answer["detail"].as_str().unwrap().contains("SHA-256"), "{answer}");
    let (status, answer) = call(&platform, "GET", &format!("{url}?size={}", 1u64 << 50), b"").await;
    assert!(status == 507 && answer["detail"].as_str().unwrap().contains("MiB free"), "{answer}");
    assert_eq!(call(&platform, "GET", "/v1/apps/hello/images/9/..%2f..%2fx?size=1", b"").await.0, 400);
    assert_eq!(std::fs::read_dir(platform.path("state/uploads")).unwrap().count(), 0, "nothing is left over");
}

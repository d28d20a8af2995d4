//! What is ours is known by what we alone can write: no label of an image or a stranger changes that.

use std::time::{Duration, Instant};

use crate::harness::{Platform, app_of, docker, docker_or_skip};

/// An image as `platformer/app-base`, with changes; its container and name end with the value.
struct Image(String);

impl Image {
    fn new(platform: &Platform, name: &str, changes: &[&str]) -> Self {
        let image = format!("{}-{name}:1.0", platform.network());
        let made = docker(&["create", "platformer/app-base"]);
        let mut commit = vec!["commit"];
        changes.iter().for_each(|change| commit.extend(["--change", *change]));
        docker(&[&commit[..], &[made.trim(), &image]].concat());
        docker(&["rm", "-f", made.trim()]);
        Self(image)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.0]);
    }
}

fn of_app(platform: &Platform, app: &str) -> Vec<String> {
    let network = format!("network={}", platform.network());
    let name = format!("name={app}-1.0");
    docker(&["ps", "-aq", "--filter", &network, "--filter", &name]).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn labels_of_an_image_start_no_container_too_many_and_hide_none() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let labels = ["LABEL platformer.port=http", "LABEL platformer.host=a;b", "LABEL platformer.owner=x"];
    let image = Image::new(&platform, "evil", &labels);
    platform.put_files("evil").await;
    let files = platform.repository();
    let declaration = format!(
        "image = \"{}\"\nport = 8080\nreplicas = 3\ncommand = [\"evil\", \"{files}\"]\n[deploy]\nready_timeout = \"30s\"",
        image.0
    );
    platform.put("apps/evil.toml", declaration);
    platform.until_ready("evil", 3).await;
    let there = of_app(&platform, "evil");
    assert_eq!(there.len(), 3);
    let port = docker(&["inspect", "--format", "{{index .Config.Labels \"platformer.port\"}}", &there[0]]);
    assert_eq!(port.trim(), "", "what its image says is written over");
    platform.ok(&["remove", "evil"]);
    platform.until("none is left", |_| of_app(&platform, "evil").is_empty()).await;
}

#[tokio::test]
async fn a_stranger_with_our_owner_label_is_neither_counted_nor_stopped() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let ours = platform.instance("hello", 0).await;
    let label = |name: &str| {
        let format = format!("{{{{index .Config.Labels \"platformer.{name}\"}}}}");
        format!("platformer.{name}={}", docker(&["inspect", "--format", &format, &ours]).trim())
    };
    let labels = ["app", "version", "owner", "deployment"].map(label);
    let options: Vec<&str> = labels.iter().flat_map(|label| ["--label", label]).collect();
    let options = [&options[..], &["--entrypoint", "sleep"]].concat();
    let stranger = platform.docker_run("stranger", &options, &["platformer/app-base", "600"]);
    platform.until_problem(&stranger, "did not start it").await;
    platform.ok(&["remove", "hello"]);
    let is_gone = |name: &str| docker(&["ps", "-aq", "--filter", &format!("name={name}")]).trim().is_empty();
    platform.until("ours is gone", |_| is_gone(&ours)).await;
    assert!(!is_gone(&stranger));
}

#[tokio::test]
async fn an_image_joins_no_app_by_what_it_says() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let image = Image::new(&platform, "joiner", &["LABEL platformer.app=hello", "ENTRYPOINT [\"sleep\"]"]);
    let name = platform.docker_run("joiner", &[], &[&image.0, "600"]);
    let status = platform.until_problem(&name, "platformer.app comes from its image").await;
    assert_eq!(app_of(&status, "hello").unwrap()["instances"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_container_in_the_network_of_another_is_routed_and_named_there() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    // The image asks for a route, which this one does not want.
    let options = ["--entrypoint", "sleep", "--label", "platformer.route=false"];
    let vpn = platform.docker_run("vpn", &options, &["platformer/app-base", "600"]);
    let id = vpn.strip_suffix("-vpn").unwrap();
    let (name, mode, test) = (format!("{id}-torrent"), format!("container:{vpn}"), format!("test={id}"));
    let serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=9000)";
    let run = ["run", "-d", "--name", &name, "--network", &mode, "--label", &test, "--entrypoint", "python3"];
    let labels = ["--label", "platformer.app=torrent", "--label", "platformer.port=9000"];
    docker(&[&run[..], &labels, &["platformer/app-base", "-c", serve]].concat());
    platform.until_status("torrent.localhost", "/", 200).await;
    let address = docker(&["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &vpn]);
    let there = (0, vec![address.trim().to_owned()]);
    let end = Instant::now() + Duration::from_secs(30);
    for name in [name, vpn].map(|name| format!("{name}.{}", platform.domain())) {
        while platform.resolve(&name).await != there {
            assert!(Instant::now() < end, "{name}: {:?}", platform.resolve(&name).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_start_that_the_engine_refuses_is_told_in_its_words() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let image = Image::new(&platform, "broken", &["ENTRYPOINT [\"/no/such/program\"]"]);
    platform.put("apps/broken.toml", format!("image = \"{}\"", image.0));
    let told = |status: &serde_json::Value| {
        let deployment = app_of(status, "broken").map(|app| app["deployment"].clone()).unwrap_or_default();
        deployment["ended_at"].is_string() || deployment["reason"].to_string().contains("/no/such/program")
    };
    let status =
        platform.until("the reason", |s| told(s) || s["problems"].to_string().contains("/no/such/program")).await;
    assert!(status.to_string().contains("/no/such/program"), "{status}");
    assert!(!status.to_string().contains("marked for removal"), "{status}");
}

//! Watch mode: an nginx of somebody else follows the containers.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Platform, Running, docker, docker_or_skip, request};

#[tokio::test]
async fn somebody_elses_nginx_follows_the_containers() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::new();
    let (out, own) = (platform.path("out"), platform.path("own"));
    std::fs::create_dir_all(&own).unwrap();
    let config = own.join("nginx.conf");
    let text = format!(
        "pid {o}/pid;\nerror_log {o}/log;\nevents {{}}\nhttp {{\n access_log off;\n server {{ listen 127.0.0.1:{p} default_server; return 418; }}\n include {out}/*.conf;\n}}\n",
        o = own.display(),
        p = platform.http,
        out = out.display()
    );
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(&config, text).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(&own).arg("-e").arg(own.join("log")).arg("-c").arg(&config).args(["-g", "daemon off;"]);
    let _nginx = Running(nginx.stdin(Stdio::null()).spawn().unwrap());
    let mut watch = platform.command();
    watch.args(["watch", "--out", out.to_str().unwrap(), "--pid", own.join("pid").to_str().unwrap()]);
    let log = std::fs::File::create(platform.path("log")).unwrap();
    let _watch = Running(watch.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());

    docker(&["network", "create", "--subnet", &platform.setting("docker.subnet"), &platform.network()]);
    let serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=9000)";
    let run = |app: &str, host: &str| {
        let name = format!("{}-{app}", platform.id);
        let labels =
            [format!("test={}", platform.id), format!("platformer.app={app}"), format!("platformer.host={host}")];
        let network = platform.network();
        let mut arguments =
            vec!["run", "-d", "--name", &name, "--network", &network, "--label", "platformer.port=9000"];
        labels.iter().for_each(|label| arguments.extend(["--label", label]));
        docker(&[&arguments[..], &["--entrypoint", "python3", "platformer/app-base", "-c", serve]].concat());
        name
    };
    let address = platform.http_address();
    // nginx's own tables take no such name, and it does not say in which line it is.
    let long = format!("{}.{}.example", "a".repeat(38), "b".repeat(38));
    run("long", &format!("{long},short.example"));
    until_of(address, "short.example", 200).await;
    assert_eq!(request(address, &long, "/").await.unwrap().status, 418);
    let end = Instant::now() + DEADLINE;
    while !platform.log().contains(&format!("{long}: could not build server_names_hash")) {
        assert!(Instant::now() < end, "{}", platform.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let name = run("web", "web.example");
    until(address, 200).await;
    assert_eq!(
        request(address, "other.example", "/").await.unwrap().status,
        418,
        "the owner's own server still answers"
    );
    docker(&["rm", "-f", &name]);
    until(address, 503).await;
}

async fn until(address: SocketAddr, status: u16) {
    until_of(address, "web.localhost", status).await;
}

async fn until_of(address: SocketAddr, host: &str, status: u16) {
    let end = Instant::now() + DEADLINE;
    loop {
        let last = request(address, host, "/").await;
        match last {
            Ok(answer) if answer.status == status => return,
            _ if Instant::now() < end => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => panic!("no {status} from {host}, last {last:?}"),
        }
    }
}

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
    let name = format!("{}-web", platform.id);
    let label = format!("test={}", platform.id);
    docker(&[
        "run",
        "-d",
        "--name",
        &name,
        "--network",
        &platform.network(),
        "--label",
        &label,
        "--label",
        "platformer.app=web",
        "--label",
        "platformer.port=9000",
        "--entrypoint",
        "python3",
        "platformer/app-base",
        "-c",
        serve,
    ]);
    let address = platform.http_address();
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
    let end = Instant::now() + DEADLINE;
    loop {
        let last = request(address, "web.localhost", "/").await;
        match last {
            Ok(answer) if answer.status == status => return,
            _ if Instant::now() < end => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => panic!("no {status} from web.localhost, last {last:?}"),
        }
    }
}

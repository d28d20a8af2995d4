//! A Docker that is far, slow, locked behind TLS, or goes away: asked through a proxy that does it on demand.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::certificates;
use crate::harness::{Platform, app_of, docker, docker_or_skip};

/// How the way to Docker is at the moment.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Every answer comes this much later.
    Open(Duration),
    /// Connections are cut, and new ones closed at once.
    Cut,
}

/// Passes connections on to Docker's socket. Returns its port.
async fn proxy(way: watch::Receiver<Way>, tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (way, tls) = (way.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    // A client that fails the handshake is what the test looks at from the other side.
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => pass(stream, way).await,
                        Err(error) => eprintln!("handshake: {error}"),
                    },
                    None => pass(stream, way).await,
                }
            });
        }
    });
    port
}

async fn pass(client: impl AsyncRead + AsyncWrite, mut way: watch::Receiver<Way>) {
    let Way::Open(delay) = *way.borrow() else { return };
    let docker = UnixStream::connect("/var/run/docker.sock").await.unwrap();
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_docker, mut to_docker) = docker.into_split();
    let answers = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(n @ 1..) = tokio::io::AsyncReadExt::read(&mut from_docker, &mut buffer).await {
            tokio::time::sleep(delay).await;
            if to_client.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = answers => {}
        () = async { _ = tokio::io::copy(&mut from_client, &mut to_docker).await; std::future::pending().await } => {}
        _ = way.wait_for(|way| *way == Way::Cut) => {}
    }
}

#[tokio::test]
async fn a_slow_docker_over_tcp_is_waited_for_and_one_that_goes_away_is_unknown_since() {
    if !docker_or_skip() {
        return;
    }
    let (way, state) = watch::channel(Way::Open(Duration::from_millis(150)));
    let port = proxy(state, None).await;
    let mut platform = Platform::new();
    platform.set("docker.host", &format!("tcp://127.0.0.1:{port}"));
    platform.add_demo("hello", "1.0.0", "replicas = 1\n");
    platform.up();
    platform.until_ready("hello", 1).await;
    way.send(Way::Cut).unwrap();
    let status = platform.until("unknown since", |s| s["engine"]["state"] == "unknown").await;
    assert!(status["engine"]["since"].is_string());
    platform.until_problem("docker", "does not answer").await;
    assert_eq!(platform.get("hello.localhost", "/").await.status, 200, "what ran goes on");
    // What happens meanwhile is found afterwards.
    let gone = platform.instance("hello", 0).await;
    docker(&["rm", "-f", &gone]);
    way.send(Way::Open(Duration::ZERO)).unwrap();
    platform.until("connected again", |s| s["engine"]["state"] == "connected").await;
    platform.until_ready("hello", 1).await;
    platform.until_status("hello.localhost", "/", 200).await;
}

#[tokio::test]
async fn a_docker_that_dies_in_the_middle_of_the_boot_delays_it() {
    if !docker_or_skip() {
        return;
    }
    let (way, state) = watch::channel(Way::Open(Duration::ZERO));
    let port = proxy(state, None).await;
    let mut platform = Platform::new();
    platform.set("docker.host", &format!("tcp://127.0.0.1:{port}"));
    platform.add_demo("hello", "1.0.0", "replicas = 3\n");
    platform.up();
    platform
        .until("the first instance is there", |s| {
            app_of(s, "hello").is_some_and(|a| a["instances"].as_array().is_some_and(|i| !i.is_empty()))
        })
        .await;
    way.send(Way::Cut).unwrap();
    platform.until("unknown since", |s| s["engine"]["state"] == "unknown").await;
    way.send(Way::Open(Duration::ZERO)).unwrap();
    platform.until_ready("hello", 3).await;
    let ours = docker(&["ps", "-aq", "--filter", &format!("network={}", platform.network())]);
    assert_eq!(ours.lines().count(), 3, "nothing was started twice");
}

#[tokio::test]
async fn docker_behind_tls_is_reached_with_the_clients_certificate() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let folder = platform.path("tls");
    certificates::make(&folder);
    let (_way, state) = watch::channel(Way::Open(Duration::ZERO));
    let port = proxy(state, Some(certificates::acceptor(&folder, true))).await;
    platform.set("docker.host", &format!("tcp://127.0.0.1:{port}"));
    platform.environment("DOCKER_TLS_VERIFY", "1");
    platform.environment("DOCKER_CERT_PATH", &folder.display().to_string());
    platform.add_demo("hello", "1.0.0", "replicas = 1\n");
    platform.up();
    platform.until_ready("hello", 1).await;
}

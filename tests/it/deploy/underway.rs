//! Requests that are under way when their instance goes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{until_state, version, with_versions};
use crate::harness::{Platform, docker_or_skip};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_finished_by_the_instance_that_goes() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    let slow = "GET /?slow=20000 HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n";
    let slow = tokio::spawn(answer(open(&platform, slow).await));
    platform.ok(&["deploy", "hello", "--wait"]);
    assert_eq!(version(&platform).await, "1.1.0");
    let text = slow.await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("\"1.0.0\""), "{text}");
    until_state(&platform, "done").await;
}

/// nginx passes a request on once it has its headers: until then it has no connection to the instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hesitates_in_the_middle_of_its_request_is_served() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_versions("replicas = 1").await;
    let mut hesitant = open(&platform, "GET / HTTP/1.1\r\nHost: hello.localhost\r\n").await;
    platform.ok(&["deploy", "hello", "--wait"]);
    assert_eq!(version(&platform).await, "1.1.0");
    // Starting another instance takes longer than stopping one that nobody needs.
    platform.ok(&["scale", "hello", "2"]);
    platform.until_ready("hello", 2).await;
    hesitant.write_all(b"Connection: close\r\n\r\n").await.unwrap();
    let text = answer(hesitant).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("\"1.0.0\""), "{text}");
    until_state(&platform, "done").await;
}

async fn open(platform: &Platform, text: &str) -> TcpStream {
    let mut client = TcpStream::connect(platform.http_address()).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    client
}

async fn answer(mut client: TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    text
}

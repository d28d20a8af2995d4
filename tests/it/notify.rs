//! Messages to other servers.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::{DEADLINE, Platform, docker_or_skip};

/// A server that answers the first message with 500 and the others with 200, and hands on what it was sent.
async fn receiver() -> (u16, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (sender, messages) = mpsc::unbounded_channel();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut is_first = true;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let body = loop {
                let mut chunk = [0; 4096];
                let read = stream.read(&mut chunk).await.unwrap();
                bytes.extend(&chunk[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some((_, body)) = text.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str::<Value>(body)
                {
                    break body;
                }
                assert!(read > 0, "{text}");
            };
            let status = if std::mem::take(&mut is_first) { "500 No" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            sender.send(body).unwrap();
        }
    });
    (port, messages)
}

async fn next(messages: &mut mpsc::UnboundedReceiver<Value>) -> Value {
    tokio::time::timeout(DEADLINE, messages.recv()).await.expect("no message came").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transition_is_told_once_in_order_and_again_if_it_was_not_taken() {
    if !docker_or_skip() {
        return;
    }
    let (port, mut messages) = receiver().await;
    let mut platform = Platform::new();
    platform.add_demo("hello", "1.0.0", "replicas = 1\n[deploy]\nmonitor = \"0s\"\n");
    let settings = format!(
        "[[notify]]\nurl = \"http://127.0.0.1:{port}/all\"\n\n[[notify]]\nurl = \"http://127.0.0.1:1/secret-path\"\nformat = \"slack\"\nlevel = \"error\"\n"
    );
    std::fs::write(platform.path("platformer.toml"), settings).unwrap();
    platform.up();
    platform.until_ready("hello", 1).await;
    platform.ok(&["maintenance", "hello", "on"]);
    let mut first = next(&mut messages).await;
    // What was refused with 500 comes again, the same.
    let again = next(&mut messages).await;
    assert_eq!(first, again);
    while !first["message"].as_str().unwrap().contains("maintenance of hello is on") {
        first = next(&mut messages).await;
    }
    assert_eq!(
        (&first["kind"], &first["level"], &first["subject"]),
        (&Value::from("decision"), &Value::from("info"), &Value::from("app hello"))
    );
    platform.add_version("hello", "1.1.0");
    platform.until_listed("artefacts/hello/1.1.0/hello.tgz").await;
    platform.ok(&["deploy", "hello", "--wait"]);
    let mut states = Vec::new();
    while states.last().is_none_or(|state| state != "promoted") {
        let message = next(&mut messages).await["message"].as_str().unwrap().to_owned();
        let state = message.split(" is ").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default();
        states.push(state.to_owned());
    }
    let expected = ["queued", "fetching", "starting", "healthy", "routing", "promoted"];
    assert_eq!(states.iter().filter(|s| expected.contains(&s.as_str())).collect::<Vec<_>>(), expected);
    assert!(!platform.log().contains("secret-path"), "an address is a secret");
}

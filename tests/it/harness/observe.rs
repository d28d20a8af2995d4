//! Looking at a platform, and waiting for what is to be seen.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::UdpSocket;

use super::{Answer, DEADLINE, Platform, bearer, request, request_with};

impl Platform {
    pub async fn status(&self) -> Option<Value> {
        let request = bearer(&self.token()?);
        let answer = request_with(self.api_address(), "GET", "localhost", "/v1/status", &request, b"").await.ok()?;
        serde_json::from_str(&answer.body).ok()
    }

    /// Waits until the status satisfies the check, and returns it.
    pub async fn until(&self, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        let mut last = None;
        while Instant::now() < end {
            if let Some(status) = self.status().await {
                if check(&status) {
                    return status;
                }
                last = Some(status);
            }
            if self.log().lines().any(|line| line.starts_with("error:")) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let last = last.map(|s| serde_json::to_string_pretty(&s).unwrap()).unwrap_or_default();
        panic!("{what}: not within {DEADLINE:?}\n{last}\n{}", self.log());
    }

    /// The container name of the app's n-th instance: the number in it depends on what runs beside us.
    pub async fn instance(&self, app: &str, n: usize) -> String {
        let status = self.status().await.unwrap();
        app_of(&status, app).unwrap()["instances"][n]["name"].as_str().unwrap().to_owned()
    }

    /// Waits until the app has exactly `count` ready instances and nginx serves them.
    pub async fn until_ready(&self, app: &str, count: usize) -> Value {
        self.until(&format!("{app} has {count} ready"), |s| {
            app_of(s, app).is_some_and(|a| a["ready"] == count) && is_settled(s)
        })
        .await
    }

    /// Until no worker of an older generation takes requests: before that, two requests may see two of them.
    pub async fn until_settled(&self) {
        self.until("nginx is settled", is_settled).await;
    }

    pub async fn until_problem(&self, subject: &str, reason: &str) -> Value {
        self.until(&format!("problem of {subject}: {reason}"), |s| {
            s["problems"].as_array().unwrap().iter().any(|p| {
                p["subject"].as_str().unwrap().contains(subject) && p["reason"].as_str().unwrap().contains(reason)
            })
        })
        .await
    }

    pub fn http_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.http))
    }

    pub fn api_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.api))
    }

    /// GET through the balancer.
    pub async fn get(&self, host: &str, path: &str) -> Answer {
        request(self.http_address(), host, path).await.unwrap()
    }

    /// Waits until GET answers with the status.
    pub async fn until_status(&self, host: &str, path: &str, status: u16) -> Answer {
        let end = Instant::now() + DEADLINE;
        loop {
            let last = request(self.http_address(), host, path).await;
            match last {
                Ok(answer) if answer.status == status => return answer,
                _ if Instant::now() < end => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => panic!("{host}{path}: no {status} within {DEADLINE:?}, last {last:?}\n{}", self.log()),
            }
        }
    }

    /// Starts a container by hand on the platform's network; its name gets the test's id in front.
    pub fn docker_run(&self, name: &str, options: &[&str], image_and_command: &[&str]) -> String {
        let full = format!("{}-{name}", self.id);
        let mut command = Command::new("docker");
        command.args([
            "run",
            "-d",
            "--name",
            &full,
            "--network",
            &self.network(),
            "--dns",
            &self.gateway(),
            "--label",
            &format!("test={}", self.id),
        ]);
        let output = command.args(options).args(image_and_command).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        full
    }

    /// Starts the demo app by hand as an instance of `app`.
    pub fn run_demo(&self, name: &str, app: &str, options: &[&str]) -> String {
        let label = format!("platformer.app={app}");
        let mut all = vec!["--label", label.as_str()];
        all.extend(options);
        let repository = self.repository();
        self.docker_run(name, &all, &["platformer/app-base", app, &repository])
    }

    /// Waits until the name does not exist.
    pub async fn until_no_name(&self, name: &str) {
        let end = Instant::now() + DEADLINE;
        while self.resolve(name).await.0 != 3 {
            assert!(Instant::now() < end, "{name} still resolves");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A query to the platform's DNS over UDP: the response code and the A addresses.
    pub async fn resolve(&self, name: &str) -> (u8, Vec<String>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(("127.0.0.1", self.dns)).await.unwrap();
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.bytes());
        }
        query.extend([0, 0, 1, 0, 1]);
        socket.send(&query).await.unwrap();
        let mut answer = [0; 1232];
        let length = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut answer)).await.unwrap().unwrap();
        let count = usize::from(answer[7]);
        let mut at = query.len();
        let mut addresses = Vec::new();
        for _ in 0..count {
            // Name (a pointer, or labels), type, class, ttl, length, data.
            while answer[at] != 0 && answer[at] < 192 {
                at += usize::from(answer[at]) + 1;
            }
            at += if answer[at] >= 192 { 2 } else { 1 };
            let size = usize::from(answer[at + 9]);
            let data = &answer[at + 10..at + 10 + size];
            if size == 4 {
                addresses.push(format!("{}.{}.{}.{}", data[0], data[1], data[2], data[3]));
            }
            at += 10 + size;
        }
        assert!(at <= length);
        (answer[3] & 15, addresses)
    }
}

pub fn app_of<'a>(status: &'a Value, app: &str) -> Option<&'a Value> {
    status["apps"].as_array()?.iter().find(|a| a["name"] == app)
}

fn is_settled(status: &Value) -> bool {
    status["generation"]["live"].is_u64() && status["generation"]["live"] == status["generation"]["wanted"]
}

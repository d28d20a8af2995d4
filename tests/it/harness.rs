//! A platform to test with, and small clients to ask it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

pub const BINARY: &str = env!("CARGO_BIN_EXE_platformer");
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Whether Docker can be used. In CI it must be there; on a laptop the test skips, visibly.
pub fn docker_or_skip() -> bool {
    let answers = Command::new("docker")
        .args(["image", "inspect", "platformer/app-base"])
        .output()
        .is_ok_and(|o| o.status.success());
    let root = nix::unistd::Uid::effective().is_root();
    if answers && root {
        return true;
    }
    let missing = if root { "Docker, or the image platformer/app-base" } else { "root" };
    assert!(std::env::var_os("CI").is_none(), "this test needs {missing}; scripts/test provides it");
    eprintln!("SKIPPED: this test needs {missing}; scripts/test provides it");
    false
}

/// A process that ends, with those that it started, when the test does.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

pub struct Platform {
    pub id: String,
    pub folder: tempfile::TempDir,
    pub http: u16,
    pub api: u16,
    pub dns: u16,
    /// Where containers reach the balancer: not port 80, which a platform beside us may hold everywhere.
    pub internal: u16,
    pub settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    mounted: bool,
    child: Option<Child>,
    slot: Option<Slot>,
}

/// A subnet and ports that no other running test has, in whichever process: Docker's own pools are small.
struct Slot {
    number: u8,
    _lock: nix::fcntl::Flock<std::fs::File>,
}

impl Slot {
    fn take() -> Self {
        let folder = std::env::temp_dir().join("platformer-test-subnets");
        std::fs::create_dir_all(&folder).unwrap();
        for number in 1..250 {
            let file = std::fs::File::create(folder.join(number.to_string())).unwrap();
            if let Ok(lock) = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock) {
                let slot = Self { number, _lock: lock };
                if (0..8).any(|n| TcpListener::bind(("127.0.0.1", slot.port(n))).is_err()) {
                    continue;
                }
                // A test that was killed could not clean up.
                remove_network(&format!("pf-{number}"));
                return slot;
            }
        }
        panic!("250 tests run at once?");
    }

    /// One of the slot's own ports: below the range that outgoing connections take theirs from.
    fn port(&self, n: u16) -> u16 {
        12_000 + u16::from(self.number) * 8 + n
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Platform {
    /// Prepares a platform with an empty repository.
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let id = format!("t{}x{number}", std::process::id());
        let folder = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
        // nginx's workers are another user and must get through.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(folder.path().join("repository")).unwrap();
        let slot = Slot::take();
        let subnet = format!("172.30.{}.0/24", slot.number);
        let mut platform = Self {
            id,
            folder,
            http: slot.port(0),
            api: slot.port(1),
            dns: slot.port(2),
            internal: slot.port(3),
            settings: Vec::new(),
            environment: Vec::new(),
            mounted: false,
            child: None,
            slot: Some(slot),
        };
        for (key, value) in [
            ("domain", platform.domain()),
            ("state", platform.path("state").display().to_string()),
            ("repository", platform.path("repository").display().to_string()),
            ("listen.http", format!("127.0.0.1:{}", platform.http)),
            ("listen.internal", format!("network:{}", platform.internal)),
            ("listen.api", format!("127.0.0.1:{}", platform.api)),
            ("listen.dns", format!("127.0.0.1:{},network:53", platform.dns)),
            ("docker.network", platform.network()),
            ("docker.subnet", subnet),
            ("nginx.workers", "2".into()),
        ] {
            platform.set(key, &value);
        }
        platform
    }

    /// A platform that runs, with the demo app at 1.0.0 and one instance ready.
    pub async fn with_demo() -> Self {
        Self::with_instances(1).await
    }

    /// The same with `count` instances.
    pub async fn with_instances(count: usize) -> Self {
        let mut platform = Self::new();
        platform.add_demo("hello", "1.0.0", &format!("replicas = {count}\n"));
        platform.up();
        platform.until_ready("hello", count).await;
        platform
    }

    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(k, _)| k != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Sets a variable for every command of this platform.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Gives the state folder a disk of its own, of a few MiB.
    pub fn mount_small_state(&mut self) {
        let state = self.path("state");
        std::fs::create_dir(&state).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m,mode=755", "none"]).arg(&state).status();
        assert!(mount.unwrap().success());
        self.mounted = true;
    }

    pub fn setting(&self, key: &str) -> String {
        self.settings.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap_or_default()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn network(&self) -> String {
        format!("pf-{}", self.slot.as_ref().map_or(0, |slot| slot.number))
    }

    pub fn domain(&self) -> String {
        self.id.clone()
    }

    /// The repository as a container asks for it.
    pub fn repository(&self) -> String {
        format!("repository.{}:{}", self.domain(), self.internal)
    }

    pub fn gateway(&self) -> String {
        std::fs::read_to_string(self.path("state/gateway")).unwrap().trim().to_owned()
    }

    /// Another port that no other running test has.
    pub fn slot_port(&self, n: u16) -> u16 {
        self.slot.as_ref().map_or(0, |slot| slot.port(n))
    }

    /// Where a test's own image registry listens; what came from there is removed with the platform.
    pub fn registry_port(&self) -> u16 {
        self.slot_port(5)
    }

    /// Writes a file into the repository.
    pub fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let file = self.path("repository").join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// Puts the demo app into the repository under a name and version.
    pub fn add_demo(&self, app: &str, version: &str, declaration: &str) {
        self.add_version(app, version);
        self.put(&format!("config/{app}/{app}.config"), "STARTUP_COMMAND=\"python3 app.py\"\n");
        self.put(&format!("apps/{app}.toml"), format!("{declaration}\n[health]\npath = \"/health\"\n"));
    }

    /// Puts another version of the demo app there.
    pub fn add_version(&self, app: &str, version: &str) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/hello-world/app.py");
        let archive = self.path("demo.tgz");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(source.parent().unwrap())
            .arg("-czf")
            .arg(&archive)
            .arg("app.py")
            .status()
            .unwrap();
        assert!(packed.success());
        self.put(&format!("artefacts/{app}/{version}/{app}.tgz"), std::fs::read(archive).unwrap());
    }

    /// Writes the app's config: how to start the demo, and these variables.
    pub fn put_config(&self, app: &str, variables: &[(&str, &str)]) {
        let lines: String = variables.iter().map(|(key, value)| format!("{key}=\"{value}\"\n")).collect();
        self.put(&format!("config/{app}/{app}.config"), format!("STARTUP_COMMAND=\"python3 app.py\"\n{lines}"));
    }

    /// Runs a verb to its end, and returns its exit code and all that it printed.
    pub fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.cli(arguments);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), text)
    }

    /// Waits until the repository lists the file.
    pub async fn until_listed(&self, path: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.ok(&["repository", "list"]).contains(path) {
            assert!(Instant::now() < end, "{path} is not listed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts the demo's files there without declaring an app, and waits until they are served.
    pub async fn put_files(&self, app: &str) {
        self.put(&format!("files/{app}/{app}.tgz"), std::fs::read(self.path("demo.tgz")).unwrap());
        self.put(&format!("config/{app}/{app}.config"), "STARTUP_COMMAND=\"python3 app.py\"\n");
        let host = format!("repository.{}", self.domain());
        self.until_status(&host, &format!("/files/{app}/{app}.tgz"), 200).await;
        self.until_status(&host, &format!("/config/{app}/{app}.config"), 200).await;
    }

    pub fn up(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command();
        let child = command.arg("up").stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
    }

    /// The command line of this platform, without a verb.
    pub fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PLATFORMER_")) {
            command.env_remove(name);
        }
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.envs(self.environment.iter().cloned());
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs a verb to its end.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Runs a verb that must succeed and returns what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?} ended with {}: {text}\n{}", output.status, self.log());
        text
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> i32 {
        std::fs::read_to_string(self.path("state/supervisor.pid")).unwrap().trim().parse().unwrap()
    }

    pub fn nginx_pid(&self) -> i32 {
        std::fs::read_to_string(self.path("state/nginx/nginx.pid")).unwrap().trim().parse().unwrap()
    }

    /// Kills the supervisor with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The token in the state folder, once there is one.
    pub fn token(&self) -> Option<String> {
        Some(std::fs::read_to_string(self.path("state/token")).ok()?.trim().to_owned())
    }

    /// A new token as `token create --json` tells of it.
    pub fn create_token(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[&["token", "create", "--json"], arguments].concat())).unwrap()
    }

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

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.id, self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(child.id() as i32),
                nix::sys::signal::Signal::SIGKILL,
            );
            let _ = child.wait();
        }
        remove_containers(&[&format!("label=test={}", self.id), &format!("name=^/{}-", self.id)]);
        remove_network(&self.network());
        remove_images(&format!("127.0.0.1:{}/org/shop", self.registry_port()));
        if let Ok(pid) = std::fs::read_to_string(self.path("state/nginx/nginx.pid")) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.trim().parse().unwrap_or(i32::MAX)),
                nix::sys::signal::Signal::SIGTERM,
            );
        }
        end_orphans(&self.path("state/nginx/error.log"));
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(self.path("state")).status();
        }
    }
}

fn remove_containers(filters: &[&str]) {
    let list = |filter: &&str| {
        let output = Command::new("docker").args(["ps", "-aq", "--filter", filter]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let containers: Vec<String> = filters.iter().flat_map(list).collect();
    if !containers.is_empty() {
        let _ = Command::new("docker").args(["rm", "-f", "-v"]).args(containers).output();
    }
}

/// What was pulled from a test's own registry, by tag or by digest, is left with the engine under its address.
fn remove_images(repository: &str) {
    let output = Command::new("docker").args(["images", "-q", repository]).output().unwrap();
    let images = String::from_utf8_lossy(&output.stdout).into_owned();
    if !images.is_empty() {
        let _ = Command::new("docker").args(["rmi", "-f"]).args(images.split_whitespace()).output();
    }
}

/// Takes down a network with everything on it.
fn remove_network(name: &str) {
    remove_containers(&[&format!("network={name}")]);
    let _ = Command::new("docker").args(["network", "rm", name]).output();
}

/// Ends the workers of an nginx whose master was killed: they hold its log, and nobody else ends them.
fn end_orphans(log: &Path) {
    let holds_log = |pid: i32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|f| std::fs::read_link(f.path()).ok()).any(|target| target == log)
    };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|pid| holds_log(*pid)) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

/// The header line that a token is sent in.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub fn app_of<'a>(status: &'a Value, app: &str) -> Option<&'a Value> {
    status["apps"].as_array()?.iter().find(|a| a["name"] == app)
}

pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
}

/// One GET on a connection of its own, the path sent as it is.
pub async fn request(address: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    request_with(address, "GET", host, path, "", b"").await
}

pub async fn request_with(
    address: SocketAddr,
    method: &str,
    host: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut bytes = Vec::new();
        // Some keep the connection open whatever they are asked.
        while !is_whole(&bytes) && stream.read_buf(&mut bytes).await? > 0 {}
        Ok::<_, io::Error>(bytes)
    };
    let bytes = tokio::time::timeout(Duration::from_secs(30), exchange).await??;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(format!("no answer: {text:?}")))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no status: {head:?}")))?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { dechunk(body) } else { body.to_owned() };
    Ok(Answer { status, head: head.to_owned(), body })
}

/// Whether as much has come as the answer's head announces.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= end + 4 + length)
}

fn dechunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || after.len() < size {
            break;
        }
        body += &after[..size];
        rest = after[size..].trim_start_matches("\r\n");
    }
    body
}

/// Clients that ask all the time, each request on a fresh connection, and keep what goes wrong.
pub struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU32>,
    /// Each returns what went wrong.
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn begin(address: SocketAddr, host: &str, path: &str, clients: usize) -> Self {
        let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let client = || {
            let (stop, good) = (stop.clone(), good.clone());
            let (host, path) = (host.to_owned(), path.to_owned());
            tokio::spawn(async move {
                let mut bad = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match request(address, &host, &path).await {
                        Ok(answer) if answer.status == 200 => _ = good.fetch_add(1, Ordering::SeqCst),
                        Ok(answer) => bad.push(format!("{} {}", answer.status, answer.body)),
                        Err(error) => bad.push(error.to_string()),
                    }
                }
                bad
            })
        };
        let clients = (0..clients).map(|_| client()).collect();
        Self { stop, good, clients }
    }

    /// Goes on until so many were answered with 200, however slow the machine is, and demands that all were.
    pub async fn end(self, at_least: u32) {
        let deadline = Instant::now() + DEADLINE;
        while self.good.load(Ordering::SeqCst) < at_least && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let good = self.good.load(Ordering::SeqCst);
        let bad = self.failures().await;
        assert!(good >= at_least && bad.is_empty(), "{good} good, {} bad: {:?}", bad.len(), bad.first());
    }

    /// Stops, and returns what went wrong.
    pub async fn failures(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut bad = Vec::new();
        for client in self.clients {
            bad.extend(client.await.unwrap());
        }
        bad
    }
}

fn is_settled(status: &Value) -> bool {
    status["generation"]["live"].is_u64() && status["generation"]["live"] == status["generation"]["wanted"]
}

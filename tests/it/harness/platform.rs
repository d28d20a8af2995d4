//! A platform of a test's own: what it is made of, its commands, its life.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::leftovers::{end_orphans, remove_containers, remove_images, remove_network};
use super::slot::Slot;
use super::{BINARY, DEADLINE};

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

    /// Has the platform read a folder of the test's own for templates. Returns where the balancer's is to be written, and the
    /// text of the one that is built in.
    pub fn own_templates(&mut self) -> (PathBuf, String) {
        let folder = self.path("templates");
        std::fs::create_dir(&folder).unwrap();
        self.set("templates", folder.to_str().unwrap());
        let built_in = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/nginx/platformer.conf.tera");
        (folder.join("platformer.conf.tera"), std::fs::read_to_string(built_in).unwrap())
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

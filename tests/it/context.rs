//! Platforms on other machines: through the system's ssh, with a real server at the other end.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::harness::{BINARY, DEADLINE, Platform, Running, docker_or_skip};

/// Somebody's laptop: a home of its own, and an `ssh` that knows the server's key.
struct Laptop {
    home: PathBuf,
    path: String,
}

impl Laptop {
    async fn new(platform: &Platform) -> (Self, Running) {
        let home = platform.path("laptop");
        std::fs::create_dir_all(&home).unwrap();
        let file = |name: &str| home.join(name).display().to_string();
        for key in ["host", "own"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]).status();
            assert!(made.unwrap().success());
        }
        std::fs::copy(file("own.pub"), file("authorized")).unwrap();
        let port = platform.slot_port(6);
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n",
            file("host"),
            file("authorized")
        );
        std::fs::write(file("sshd"), config).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let server =
            Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f", &file("sshd")]).stderr(Stdio::null()).spawn();
        let server = Running(server.expect("sshd; scripts/test installs it"));
        let end = Instant::now() + DEADLINE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < end, "sshd does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let bin = home.join("bin");
        std::fs::create_dir(&bin).unwrap();
        let options = format!("-F none -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null", file("own"));
        std::fs::write(bin.join("ssh"), format!("#!/bin/sh\nexec /usr/bin/ssh {options} -o LogLevel=ERROR \"$@\"\n"))
            .unwrap();
        std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        (Self { home, path }, server)
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
        let mut command = Command::new(BINARY);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PLATFORMER_")) {
            command.env_remove(name);
        }
        command
            .env("PATH", &self.path)
            .env("XDG_CONFIG_HOME", self.home.join("config"))
            .envs(variables.iter().copied());
        let output = command.args(arguments).current_dir(&self.home).stdin(Stdio::null()).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), text)
    }
}

#[tokio::test]
async fn a_platform_behind_ssh_is_talked_to_by_its_name() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let (laptop, server) = Laptop::new(&platform).await;
    let (port, api) = (platform.slot_port(6), platform.api_address());
    let url = format!("ssh://root@127.0.0.1:{port}?api={api}&state={}", platform.path("state").display());
    assert_eq!(laptop.run(&["context", "add", "prod", &url], &[]).0, 0);
    let (code, text) = laptop.run(&["--context", "prod", "status"], &[]);
    assert!(code == 0 && text.contains("hello"), "{code} {text}");
    assert_eq!(laptop.run(&["context", "use", "prod"], &[]).0, 0);
    let (_, text) = laptop.run(&["scale", "hello", "2"], &[]);
    assert!(text.contains("2 instances"), "{text}");
    // Not this machine, which has no platform at all.
    let (_, checks) = laptop.run(&["doctor", "--json"], &[]);
    assert!(checks.contains("DNS answers") && checks.contains(&format!("{api} is held by")), "{checks}");
    let (_, listed) = laptop.run(&["context", "list", "--json"], &[]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[1]["name"], &listed[1]["current"]), (&"prod".into(), &true.into()));
    // Its own token may do less than the one that ssh could read.
    let reader: Value = serde_json::from_str(&platform.ok(&["token", "create", "--scope", "read", "--json"])).unwrap();
    let token = [("PLATFORMER_TOKEN", reader["token"].as_str().unwrap())];
    assert_eq!(laptop.run(&["context", "add", "looking", &url], &token).0, 0);
    let (code, text) = laptop.run(&["--context", "looking", "scale", "hello", "1"], &[]);
    assert!(code == 1 && text.contains("scope read"), "{code} {text}");
    // A variable that names the API wins over the current context, a named context over both.
    let here = [("PLATFORMER_API", "http://127.0.0.1:1")];
    assert!(laptop.run(&["status"], &here).1.contains("127.0.0.1:1"));
    let (code, text) = laptop.run(&["--context", "prod", "status"], &here);
    assert_eq!(code, 0, "{text}");
    for (arguments, code, said) in [
        (&["--context", "pord", "status"][..], 2, "did you mean prod?"),
        (&["context", "add", "web", "https://127.0.0.1:1"], 2, "needs a token"),
        (&["context", "add", "web", "http://example.org"], 2, "in the clear"),
        (&["context", "remove", "nobody"], 2, "there is no context"),
    ] {
        let (got, text) = laptop.run(arguments, &[]);
        assert!(got == code && text.contains(said), "{arguments:?}: {got} {text}");
    }
    drop(server);
    let (code, text) = laptop.run(&["status"], &[]);
    assert!(code == 1 && text.contains("ssh root@127.0.0.1"), "{code} {text}");
    assert_eq!(laptop.run(&["context", "remove", "prod"], &[]).0, 0);
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let sockets = left.filter(|e| e.file_name().to_string_lossy().ends_with(&format!("-{port}")));
    assert_eq!(sockets.filter(|e| e.file_name().to_string_lossy().starts_with("platformer-")).count(), 0);
}

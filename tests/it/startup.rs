//! `startup.sh` in the base image: what it does with a repository that is wrong, and with commands that are odd.

use std::process::Command;

use crate::harness::{Platform, docker_or_skip};

/// Runs the base image to its end and returns exit code and output.
fn run(platform: &Platform, app: &str, options: &[&str]) -> (i32, String) {
    let repository = platform.repository();
    let mut command = Command::new("docker");
    command.args([
        "run",
        "--rm",
        "--network",
        &platform.network(),
        "--dns",
        &platform.gateway(),
        "-e",
        "STARTUP_TIMEOUT=5",
    ]);
    let output = command.args(options).args(["platformer/app-base", app, &repository]).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

#[tokio::test]
async fn what_is_wrong_is_one_line_and_nothing_is_started() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let archive = std::fs::read(platform.path("demo.tgz")).unwrap();
    platform.put("config/half/half.config", "STARTUP_COMMAND=\"echo started\"\nSECRET=\"hunter2\"\n");
    platform.put("files/half/half.tgz", &archive[..archive.len() / 2]);
    platform.put("config/html/html.config", "STARTUP_COMMAND=\"echo started\"\nSECRET=\"hunter2\"\n");
    platform.put("files/html/html.tgz", "<html>not an archive</html>");
    platform.put("config/bad/bad.config", "SECRET=\"hunter2\"\nSTARTUP_COMMAND=\"echo started $(id)\"\n");
    platform.put("config/none/none.config", "SECRET=\"hunter2\"\n");
    platform.put("files/none/none.tgz", &archive);
    platform.put("config/only/only.config", "STARTUP_COMMAND=\"echo started\"\n");
    platform.until_problem("file config/bad/bad.config", "key STARTUP_COMMAND").await;
    for (app, expected) in [
        ("nobody", "has no config of nobody"),
        ("only", "has no artefact of only"),
        ("half", "cannot be unpacked"),
        ("html", "cannot be unpacked: tar: This does not look like a tar archive"),
        ("bad", "the config of bad is broken: config/bad/bad.config: line 2, key STARTUP_COMMAND"),
        ("none", "has no STARTUP_COMMAND"),
        ("No;App", "is no app name"),
    ] {
        let (code, text) = run(&platform, app, &[]);
        assert!(code != 0 && text.contains(expected), "{app}: {code} {text}");
        assert!(
            text.trim().lines().count() == 1 && !text.contains("started") && !text.contains("hunter2"),
            "{app}: {text}"
        );
    }
}

#[tokio::test]
async fn an_unreachable_repository_is_waited_for_and_then_given_up() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let output = Command::new("docker")
        .args([
            "run",
            "--rm",
            "--network",
            &platform.network(),
            "-e",
            "STARTUP_TIMEOUT=1",
            "platformer/app-base",
            "x",
            "127.0.0.1:9",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(69) && text.contains("within 1 s"), "{text}");
}

#[tokio::test]
async fn values_arrive_byte_by_byte_and_commands_with_quotes_and_operators_run() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let archive = std::fs::read(platform.path("demo.tgz")).unwrap();
    platform.put("files/odd/odd.tgz", &archive);
    let config =
        "ODD='a  b\"c'\\''$d`e`\\\\ é;&|<>*?'\nSTARTUP_COMMAND='ls app.py && printf \"[%s]\" \"$ODD\" \"two words\"'\n";
    platform.put("config/odd/odd.config", config);
    platform.until("the config is indexed", |_| true).await;
    platform.until_status(&format!("repository.{}", platform.domain()), "/config/odd/odd.config?as=sh", 200).await;
    let (code, text) = run(&platform, "odd", &[]);
    assert_eq!((code, text.as_str()), (0, "app.py\n[a  b\"c'$d`e`\\\\ é;&|<>*?][two words]"));
    let (code, text) =
        run(&platform, "", &["-e", "APP_NAME=odd", "-e", &format!("REPO_BASE_URL=http://{}", platform.repository())]);
    assert_eq!(code, 0, "{text}");
}

#[tokio::test]
async fn every_kind_of_archive_is_unpacked() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/hello-world");
    let pack = platform.path("pack");
    std::fs::create_dir(&pack).unwrap();
    let script = format!(
        "cd {} && tar -cf {p}/a.tar app.py && gzip -k {p}/a.tar && zstd -q {p}/a.tar && python3 -m zipfile -c {p}/a.zip app.py",
        source.display(),
        p = pack.display()
    );
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    for ending in ["tar", "tar.gz", "tar.zst", "zip"] {
        let app = format!("kind-{}", ending.replace('.', "-"));
        platform.put(&format!("config/{app}/{app}.config"), "STARTUP_COMMAND=\"python3 app.py\"\n");
        platform.put(
            &format!("artefacts/{app}/1.0.0/{app}.{ending}"),
            std::fs::read(pack.join(format!("a.{ending}"))).unwrap(),
        );
        platform.put(&format!("apps/{app}.toml"), "");
        platform.until_ready(&app, 1).await;
    }
    assert!(platform.ok(&["repository", "verify"]).contains("everything is as it was stored"));
}

#[tokio::test]
async fn signals_reach_the_app() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    platform.put("files/slow/slow.tgz", std::fs::read(platform.path("demo.tgz")).unwrap());
    platform.put("config/slow/slow.config", "STARTUP_COMMAND=\"true && python3 app.py\"\n");
    let name = platform.run_demo("slow", "slow", &[]);
    platform.until_ready("slow", 1).await;
    crate::harness::docker(&["stop", "-t", "20", &name]);
    let code = crate::harness::docker(&["inspect", "-f", "{{.State.ExitCode}}", &name]);
    assert_ne!(code, "137", "it had to be killed");
}

#[tokio::test]
async fn the_old_tutorials_tree_and_command_work_unchanged() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.add_demo("other", "1", "");
    let demo = std::fs::read(platform.path("demo.tgz")).unwrap();
    std::fs::remove_dir_all(platform.path("repository")).unwrap();
    platform.put("nginx/config/hello-world/hello-world.config", "STARTUP_COMMAND=\"python3 app.py\"\n");
    platform.put("nginx/files/hello-world/hello-world.tgz", demo);
    platform.put("nginx/index.html", "");
    platform.up();
    platform.until("booted", |s| s["generation"]["live"].is_u64()).await;
    // The container's name carries the version, as the tutorial's zero-downtime recipe has it.
    let repository = platform.repository();
    platform.docker_run(
        "hello-world-1.0.0",
        &["--label", "platformer.app=hello-world"],
        &["platformer/app-base", "hello-world", &repository],
    );
    platform.until_status("hello-world.localhost", "/greeting", 200).await;
    let files = platform.get(&format!("repository.{}", platform.domain()), "/files/hello-world/hello-world.tgz").await;
    assert_eq!(files.status, 200);
    assert_eq!(
        platform.get(&format!("repository.{}", platform.domain()), "/config/hello-world/hello-world.config").await.body,
        "STARTUP_COMMAND=\"python3 app.py\"\n"
    );
}

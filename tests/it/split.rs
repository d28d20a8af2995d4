//! The split between two releases: exact, sticky, previewed, judged.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Answer, Load, Platform, app_of, bearer, docker_or_skip, request_with};

/// `hello` with 1.0.0 stable and 1.1.0 ready beside it at 0 %.
async fn with_candidate(declaration: &str) -> Platform {
    let mut platform = Platform::new();
    platform.add_demo(
        "hello",
        "1.0.0",
        &format!("replicas = 1\n{declaration}\n[deploy]\nmonitor = \"0s\"\nstrategy = \"manual\""),
    );
    platform.up();
    platform.until_ready("hello", 1).await;
    platform.add_version("hello", "1.1.0");
    platform.until_listed("artefacts/hello/1.1.0/hello.tgz").await;
    platform.ok(&["deploy", "hello", "--wait"]);
    platform
}

async fn ask(platform: &Platform, headers: &str) -> Answer {
    request_with(platform.http_address(), "GET", "hello.localhost", "/", headers, b"").await.unwrap()
}

fn version(answer: &Answer) -> String {
    answer.json()["version"].as_str().unwrap().to_owned()
}

async fn set(platform: &Platform, candidate: &str) {
    let rest = 100.0 - candidate.parse::<f64>().unwrap();
    platform.ok(&["split", "hello", &format!("1.0.0={rest}"), &format!("1.1.0={candidate}")]);
    platform.until("the split is live", |s| s["generation"]["live"] == s["generation"]["wanted"]).await;
}

#[tokio::test]
async fn an_abort_is_answered_once_nobody_gets_the_candidate() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_candidate("").await;
    set(&platform, "50").await;
    platform.ok(&["abort", "hello"]);
    for _ in 0..50 {
        assert_eq!(version(&ask(&platform, "").await), "1.0.0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_exact_over_fresh_visitors_and_measured() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_candidate("").await;
    assert!(!ask(&platform, "").await.head.to_lowercase().contains("set-cookie"), "no cookie while one carries all");
    set(&platform, "33.33").await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..1500 {
        *counts.entry(version(&ask(&platform, "").await)).or_default() += 1;
    }
    let share = f64::from(counts["1.1.0"]) / 15.0;
    // Four standard deviations of 1,500 draws.
    assert!((28.4..38.2).contains(&share), "{counts:?}");
    let measured = platform
        .until("it is measured", |s| {
            app_of(s, "hello").unwrap()["measured"]["1.1.0"].as_f64().is_some_and(|m| (m - share).abs() < 3.0)
        })
        .await;
    assert_eq!(app_of(&measured, "hello").unwrap()["split"], serde_json::json!({"1.0.0": 66.67, "1.1.0": 33.33}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_visitor_moves_back_while_the_share_grows_and_all_do_after_an_abort() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_candidate("").await;
    let mut on_candidate: Vec<usize> = Vec::new();
    let jar = |n: usize| {
        format!(
            "Cookie: platformer_visitor={:032x}\r\n",
            (n as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835) % (1 << 120)
        )
    };
    for share in ["10", "25", "50"] {
        set(&platform, share).await;
        let mut now = Vec::new();
        for n in 0..300 {
            let answer = ask(&platform, &jar(n)).await;
            assert!(!answer.head.to_lowercase().contains("set-cookie"), "a known visitor keeps his cookie");
            if version(&answer) == "1.1.0" {
                now.push(n);
            }
        }
        assert!(on_candidate.iter().all(|n| now.contains(n)), "somebody moved back at {share} %");
        let expected = share.parse::<f64>().unwrap() * 3.0;
        assert!((now.len() as f64 - expected).abs() < 35.0, "{} of 300 at {share} %", now.len());
        on_candidate = now;
    }
    platform.ok(&["abort", "hello"]);
    platform
        .until("everybody is back", |s| {
            app_of(s, "hello").unwrap()["split"] == serde_json::json!({"1.0.0": 100})
                && s["generation"]["live"] == s["generation"]["wanted"]
        })
        .await;
    for n in 0..50 {
        assert_eq!(version(&ask(&platform, &jar(n)).await), "1.0.0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_mode_keeps_a_visitor_where_his_cookie_says() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_candidate("[sticky]\nmode = \"release\"").await;
    set(&platform, "50").await;
    let first = ask(&platform, "").await;
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(cookie, format!("platformer_release={}", version(&first)));
    for _ in 0..20 {
        assert_eq!(version(&ask(&platform, &format!("Cookie: {cookie}\r\n")).await), version(&first));
    }
    let foreign = ask(&platform, "Cookie: platformer_release=9.9\r\n").await;
    assert!(["1.0.0", "1.1.0"].contains(&version(&foreign).as_str()) && foreign.header("set-cookie").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preview_secret_picks_the_candidate_before_it_has_traffic() {
    if !docker_or_skip() {
        return;
    }
    let platform = with_candidate("paths = [\"/\", \"/api\"]\nstrip_prefix = true\n").await;
    let token = platform.token().unwrap();
    let authorised = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", token.trim());
    let body = br#"{"version": "1.1.0", "replace": true}"#;
    let begun =
        request_with(platform.api_address(), "POST", "localhost", "/v1/apps/hello/deployments", &authorised, body)
            .await
            .unwrap();
    assert_eq!(begun.status, 201, "{begun:?}");
    let secret = begun.json()["preview"].as_str().unwrap().to_owned();
    platform
        .until("ready at 0 %", |s| {
            app_of(s, "hello").unwrap()["deployment"]["state"] == "paused"
                && s["generation"]["live"] == s["generation"]["wanted"]
        })
        .await;
    assert_eq!(version(&ask(&platform, "").await), "1.0.0");
    assert_eq!(version(&ask(&platform, "X-Platformer-Preview: guess\r\n").await), "1.0.0");
    assert_eq!(version(&ask(&platform, &format!("X-Platformer-Preview: {secret}\r\n")).await), "1.1.0");
    assert_eq!(version(&ask(&platform, &format!("Cookie: platformer_preview={secret}\r\n")).await), "1.1.0");
    assert_eq!(version(&platform.get("candidate.hello.localhost", "/").await), "1.1.0");
    // A prefix is cut off in the same way as without a choice of releases.
    assert_eq!(platform.get("hello.localhost", "/%61pi/echo?c=1").await.json()["path"], "/echo?c=1");
    assert!(!platform.ok(&["status", "--json"]).contains(&secret), "who only looks does not see it");
    for (scope, shows) in [("read", false), ("deploy:hello", true), ("admin", true)] {
        let token = platform.create_token(&["--scope", scope]);
        let token = bearer(token["token"].as_str().unwrap());
        for path in ["/v1/render", "/routes?text=1"] {
            let text = request_with(platform.api_address(), "GET", "localhost", path, &token, b"").await.unwrap();
            assert!(text.body.contains("platformer_chosen"), "{path}: {text:?}");
            assert_eq!(text.body.contains(&secret), shows, "{scope} {path}");
        }
    }
}

/// Deploys 1.1.0 as a canary in short steps, with these variables for it, and returns how it ended.
async fn canary(
    variables: &[(&str, &str)],
    stable: &[(&str, &str)],
    requests: u32,
    load: bool,
) -> (Platform, i32, String, u32) {
    let mut platform = Platform::new();
    let steps = format!("[canary]\nsteps = [30, 60]\nstep = \"1s\"\nrequests = {requests}\ndeadline = \"4s\"\n");
    platform.add_demo(
        "hello",
        "1.0.0",
        &format!("replicas = 1\n{steps}[deploy]\nmonitor = \"0s\"\nstrategy = \"canary\"\nbake = \"1s\""),
    );
    platform.put_config("hello", stable);
    platform.up();
    platform.until_ready("hello", 1).await;
    platform.put_config("hello", variables);
    platform.add_version("hello", "1.1.0");
    platform.until_listed("artefacts/hello/1.1.0/hello.tgz").await;
    let clients = load.then(|| Load::begin(platform.http_address(), "hello.localhost", "/", 2));
    let waiting =
        platform.command().args(["deploy", "hello", "--wait"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let output = tokio::task::spawn_blocking(move || waiting.wait_with_output().unwrap()).await.unwrap();
    let bad = match clients {
        Some(clients) => clients.failures().await.len() as u32,
        None => 0,
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (platform, output.status.code().unwrap(), text, bad)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_canary_is_promoted_step_by_step() {
    if !docker_or_skip() {
        return;
    }
    let (platform, code, text, bad) = canary(&[], &[], 30, true).await;
    assert_eq!((code, bad), (0, 0), "{text}");
    for state in ["30 % of the traffic", "60 % of the traffic", "100 % of the traffic", "baking"] {
        assert!(text.contains(state), "{state} in {text}");
    }
    assert_eq!(version(&platform.get("hello.localhost", "/").await), "1.1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_fails_is_rolled_back_with_both_rates() {
    if !docker_or_skip() {
        return;
    }
    let (platform, code, text, bad) = canary(&[("FAIL", "20")], &[], 100_000, true).await;
    assert!(
        code == 3 && text.contains("fails more often than stable") && text.contains("against 0 of"),
        "{code} {text}"
    );
    assert!(bad > 2, "{bad}");
    assert_eq!(version(&platform.get("hello.localhost", "/").await), "1.0.0");
    let history: Value = serde_json::from_str(&platform.ok(&["history", "hello", "--json"])).unwrap();
    let entry = history.as_array().unwrap().iter().find(|e| e["state"] == "aborting").unwrap();
    assert!(entry["numbers"]["candidate_failures"].as_f64().unwrap() > 2.0, "{entry}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_nobody_asks_is_held_and_one_beside_an_equally_bad_stable_too() {
    if !docker_or_skip() {
        return;
    }
    let (platform, code, text, _) = canary(&[], &[], 100, false).await;
    assert!(code == 4 && text.contains("0 of 100 requests seen at 30 %"), "{code} {text}");
    platform.until_problem("hello", "is held").await;
    platform.ok(&["promote", "hello"]);
    platform.until("promoted by hand", |s| app_of(s, "hello").unwrap()["stable"] == "1.1.0").await;
    let (platform, code, text, _) = canary(&[("FAIL", "40")], &[("FAIL", "40"), ("GREETING", "x")], 60, true).await;
    assert!(code == 4 && text.contains("stable is equally bad"), "{code} {text}");
    platform.ok(&["abort", "hello"]);
}

//! The dashboard as people use it, in a real browser: by mouse, by keyboard, without JavaScript, left open.

use std::path::Path;

use serde_json::{Value, json};

use crate::browser::{Browser, browser_or_skip};
use crate::harness::{Platform, app_of, docker_or_skip, request_with};

/// A platform with a candidate at 0 % that a person has to move on.
async fn with_candidate() -> Platform {
    let mut platform = Platform::new();
    platform.add_demo("shop", "1.0.0", "replicas = 1\n[deploy]\nstrategy = \"manual\"\nmonitor = \"0s\"\n");
    platform.up();
    platform.until_ready("shop", 1).await;
    platform.add_version("shop", "1.0.1");
    platform.until_listed("artefacts/shop/1.0.1/shop.tgz").await;
    platform.ok(&["deploy", "shop", "--wait"]);
    platform
}

async fn until_stable(platform: &Platform, version: &str) {
    let is_there = |s: &Value| app_of(s, "shop").is_some_and(|app| app["stable"] == version);
    platform.until(&format!("{version} is stable"), is_there).await;
}

#[tokio::test]
async fn a_candidate_is_promoted_by_mouse_with_its_plan_shown_first() {
    if !(docker_or_skip() && browser_or_skip()) {
        return;
    }
    let platform = with_candidate().await;
    let browser = Browser::start(&platform).await;
    browser.open("/").await;
    assert_eq!(browser.path().await, "/login", "nothing is shown to who has not logged in");
    browser.log_in(&platform).await;
    browser.until_text("#app-shop", "paused").await;
    browser.click("#app-shop th a").await;
    browser.until_text("#sentence", "Manual 1.0.1 at 0 %").await;
    browser.click("button[value=promote]").await;
    browser.until_text(".plan", "give shop@1.0.1 all traffic now").await;
    assert_eq!(app_of(&platform.status().await.unwrap(), "shop").unwrap()["stable"], "1.0.0", "only shown so far");
    browser.click("button[name=confirm]").await;
    until_stable(&platform, "1.0.1").await;
    browser.until_text("#sentence", "Running 1.0.1 (1)").await;
    browser.until_text("#history", "promote").await;
    // What is refused says why.
    browser.fill("input[list=known]", "9.9.9").await;
    browser.click("button[value=deploy]").await;
    browser.until_text(".notice.bad", "there is no version 9.9.9").await;
}

#[tokio::test]
async fn the_same_goes_by_keyboard_alone() {
    if !(docker_or_skip() && browser_or_skip()) {
        return;
    }
    let platform = with_candidate().await;
    let browser = Browser::start(&platform).await;
    browser.log_in(&platform).await;
    browser.tab_to("shop").await;
    browser.press(&["\u{e007}"]).await;
    browser.until_text("#sentence", "1.0.1").await;
    browser.tab_to("Promote").await;
    browser.press(&["\u{e007}"]).await;
    browser.until_text(".plan", "all traffic").await;
    browser.tab_to("Confirm").await;
    browser.press(&["\u{e007}"]).await;
    until_stable(&platform, "1.0.1").await;
}

#[tokio::test]
async fn without_javascript_everything_is_read_and_done() {
    if !(docker_or_skip() && browser_or_skip()) {
        return;
    }
    let platform = with_candidate().await;
    let browser = Browser::without_scripts(&platform).await;
    browser.log_in(&platform).await;
    for (path, text) in [
        ("/deployments", "shop-1"),
        ("/routes", "shop.localhost"),
        ("/repository", "artefacts/shop/1.0.1/shop.tgz"),
        ("/registry", "Services"),
        ("/events", "decision"),
        ("/settings", "Tokens"),
    ] {
        browser.open(path).await;
        browser.until_text("main", text).await;
    }
    browser.open("/apps/shop").await;
    browser.click("button[value=promote]").await;
    browser.click("button[name=confirm]").await;
    until_stable(&platform, "1.0.1").await;
    browser.open("/apps/shop").await;
    browser.click("button[value=rollback]").await;
    browser.until_text(".plan", "hold the app there").await;
    browser.click("button[name=confirm]").await;
    until_stable(&platform, "1.0.0").await;
    browser.open("/registry").await;
    browser.fill("form.row input[name=name]", "legacy").await;
    browser.fill("input[placeholder^=http]", "http://127.0.0.1:9").await;
    browser.click("button[value=set]").await;
    browser.until_text("#services", "http://127.0.0.1:9").await;
}

#[tokio::test]
async fn an_open_page_follows_what_happens_and_comes_back_after_a_kill() {
    if !(docker_or_skip() && browser_or_skip()) {
        return;
    }
    let mut platform = with_candidate().await;
    let browser = Browser::start(&platform).await;
    browser.log_in(&platform).await;
    browser.open("/apps/shop").await;
    browser.until_text("#connection", "live").await;
    // Somebody types while the page changes around him.
    browser.click("input[list=known]").await;
    browser.fill("input[list=known]", "1.0").await;
    platform.ok(&["split", "shop", "1.0.0=75", "1.0.1=25"]);
    browser.until_text("#sentence", "at 25 %").await;
    browser.until_text("#traffic", "1.0.1 25 %").await;
    let typed = browser.run("return [document.activeElement.name, document.activeElement.value]", json!([])).await;
    assert_eq!(typed, json!(["value", "1.0"]), "focus and text are kept");
    platform.kill();
    browser.until_text("#connection", "not connected").await;
    platform.up();
    platform.until_ready("shop", 2).await;
    platform.ok(&["promote", "shop"]);
    browser.until_text("#sentence", "Running 1.0.1").await;
    browser.until_text("#connection", "live").await;
    platform.ok(&["remove", "shop", "--files"]);
    browser.until_text("#title", "Not found").await;
}

#[tokio::test]
async fn text_from_outside_stays_text_and_other_tokens_see_less() {
    if !(docker_or_skip() && browser_or_skip()) {
        return;
    }
    let platform = with_candidate().await;
    let nasty = "<script>document.title='taken'</script>\"'&\u{1b}[31m";
    let long = "w".repeat(10_000);
    platform.ok(&["kv", "put", nasty, &format!("{nasty}{long}")]);
    platform.ok(&["deploy", "shop@1.0.1", "--replace", "--wait", "--reason", nasty]);
    let code = format!("print({nasty:?} + {long:?}); import time; time.sleep(600)").replace("\\u{1b}", "\\x1b");
    let name = platform.docker_run(
        "writer",
        &["--label", "platformer.app=writer", "--label", "platformer.port=80", "--entrypoint", "python3"],
        &["platformer/app-base", "-u", "-c", &code],
    );
    platform.until("the writer is known", |s| app_of(s, "writer").is_some()).await;
    let browser = Browser::start(&platform).await;
    browser.log_in(&platform).await;
    for path in ["/registry", "/events", "/apps/writer", &format!("/apps/writer/logs?instance={name}")] {
        browser.open(path).await;
        let title = browser.run("return document.title", json!([])).await;
        assert!(!title.as_str().unwrap().contains("taken"), "{path}");
        let wide = browser
            .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth", json!([]))
            .await;
        assert_eq!(wide, 0, "{path} is wider than the window");
    }
    browser.until_text("#log", "<script>document.title='taken'</script>\"'&wwww").await;
    // Who may only look sees no buttons, and is told so where he acts all the same.
    let made = platform.ok(&["token", "create", "--scope", "read"]);
    browser.open("/").await;
    browser.click("header form button").await;
    browser.fill("#token", made.trim()).await;
    browser.click("form button").await;
    browser.until_text("#app-shop", "look only").await;
    let forced = "const f=document.createElement('form');f.method='post';f.action='/apps/shop/act';document.body.append(f);f.submit()";
    browser.run(forced, json!([])).await;
    browser.until_text("h1", "Not allowed").await;
    browser.until_text(".notice.bad", "deploy:shop").await;
}

/// Serious findings of axe (WCAG 2 A and AA) on a page.
async fn findings(browser: &Browser, axe: &str) -> Value {
    let rules = "{ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }";
    // Our policy lets no script of others in; the driver's own run beside it.
    browser.run(axe, json!([])).await;
    let script = format!(
        "const done = arguments[0]; axe.run(document, {rules}).then((r) => done(r.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => [v.id, v.nodes.map((n) => n.html.slice(0, 200))])))"
    );
    browser.run_async(&script).await
}

#[tokio::test]
async fn pages_are_accessible_and_look_right_at_every_width() {
    if !(docker_or_skip() && browser_or_skip()) {
        return;
    }
    let platform = with_candidate().await;
    platform.ok(&["split", "shop", "1.0.0=67", "1.0.1=33"]);
    platform.ok(&["kv", "put", "feature/search", "on"]);
    let browser = Browser::start(&platform).await;
    browser.log_in(&platform).await;
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vendor/axe.min.js");
    let axe = std::fs::read_to_string(axe).unwrap();
    let pictures = std::env::var_os("PICTURES");
    for (path, name) in [
        ("/", "apps"),
        ("/apps/shop", "app"),
        ("/deployments", "deployments"),
        ("/routes", "routes"),
        ("/repository", "repository"),
        ("/registry", "services"),
        ("/events", "events"),
        ("/settings?check=true", "settings"),
    ] {
        browser.open(path).await;
        for scheme in ["dark", "light"] {
            browser.prefer(scheme).await;
            let found = findings(&browser, &axe).await;
            assert_eq!(found, json!([]), "{path} in {scheme}");
        }
        for width in [1440, 1024, 390] {
            let picture = browser.picture(width).await;
            let wide = browser
                .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth", json!([]))
                .await;
            assert_eq!(wide, 0, "{path} is wider than {width} pixels");
            if let Some(folder) = &pictures {
                std::fs::write(Path::new(folder).join(format!("{name}-{width}.png")), picture).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn an_empty_platform_says_what_to_type_next() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.up();
    platform.until("it is up", |s| s["generation"]["live"].is_number()).await;
    let headers = format!("Authorization: Bearer {}\r\nAccept: text/html\r\n", platform.token().unwrap());
    let page = request_with(platform.api_address(), "GET", "localhost", "/", &headers, b"").await.unwrap();
    assert!(page.body.contains("platformer repository push"), "{}", page.body);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
}

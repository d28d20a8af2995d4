//! Webhooks, each with the proof that its sender brings.

use ring::hmac;
use serde_json::json;

use super::git::released;
use super::{call, declare, hook, shop, until_stable};
use crate::harness::{Platform, docker_or_skip};

#[tokio::test]
async fn webhooks_prove_themselves_and_a_copy_does_nothing_again() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let (registry, origin) = released(&platform, "1.0.0").await;
    declare(&platform, &format!("image = \"{}\"\ngit = \"{}\"", registry.image(), origin.0.display()));
    platform.up();
    until_stable(&platform, "1.0.0").await;
    let hooks = call(&platform, "GET", "/v1/apps/shop/webhooks", "").await.json();
    let secret = hooks["github"]["secret"].as_str().unwrap();
    let sign = |secret: &str, body: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let push = |url: &str| json!({ "repository": { "clone_url": url } }).to_string();
    let own = push(&origin.0.display().to_string());
    let github = |signature: &str, delivery: &str| {
        format!("X-Hub-Signature-256: sha256={signature}\r\nX-GitHub-Delivery: {delivery}\r\n")
    };
    origin.tag("1.0.1");
    registry.push("1.0.1");
    let (good, other) = (sign(secret, &own), push("https://evil.example/org/shop"));
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = r#"{"repository":{"clone_url":"a"},"repository":{"clone_url":"b"}}"#;
    let sha1 = "X-Hub-Signature: sha1=0000\r\nX-GitHub-Delivery: 1\r\n".to_owned();
    for (what, headers, body, status, code) in [
        ("unsigned", String::new(), own.as_str(), 403, "bad-webhook"),
        ("sha1 only", sha1, own.as_str(), 403, "bad-webhook"),
        ("forged", github(&sign("guess", &own), "1"), own.as_str(), 403, "bad-webhook"),
        ("cut", github(&good[..10], "1"), own.as_str(), 403, "bad-webhook"),
        ("of another body", github(&good, "1"), &other, 403, "bad-webhook"),
        ("deep", github(&sign(secret, &nested), "3"), &nested, 400, "bad-request"),
        ("doubled key", github(&sign(secret, twice), "4"), twice, 400, "bad-request"),
        ("compressed", github(&sign(secret, "\u{1f}\u{8b}x"), "5"), "\u{1f}\u{8b}x", 400, "bad-request"),
    ] {
        let answer = hook(&platform, "/webhooks/github/shop", &headers, body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{what}: {answer:?}");
        assert!(!answer.body.contains(secret), "{what}");
    }
    // What is well-formed and not for us is taken, or its sender would try it again for ever.
    let ping = json!({ "zen": "x", "hook": { "type": "Organization" }, "organization": {} }).to_string();
    for (body, delivery) in [(&other, "2"), (&ping, "6")] {
        let answer = hook(&platform, "/webhooks/github/shop", &github(&sign(secret, body), delivery), body).await;
        let json = answer.json();
        assert!(answer.status == 200 && json["deployment"].is_null() && json["ignored"].is_string(), "{answer:?}");
    }
    assert_eq!(shop(&platform).await["stable"], "1.0.0", "none of them has done anything");
    // Ten copies of one delivery are one deployment; the same id with another body is a mistake.
    let copies = (0..10).map(|_| {
        let (headers, own, platform) = (github(&good, "delivery-1"), own.clone(), &platform);
        async move { hook(platform, "/webhooks/github/shop", &headers, &own).await }
    });
    for answer in futures_util::future::join_all(copies).await {
        assert_eq!((answer.status, &answer.json()["deployment"]), (200, &json!("shop-1")), "{answer:?}");
    }
    until_stable(&platform, "1.0.1").await;
    let changed = own.replace('{', "{ ");
    let reused =
        hook(&platform, "/webhooks/github/shop", &github(&sign(secret, &changed), "delivery-1"), &changed).await;
    assert_eq!((reused.status, &reused.json()["code"]), (409, &json!("delivery-reused")));
    assert_eq!(shop(&platform).await["deployment"]["id"], "shop-1");
    // The others: GitLab's token, Gitea's signature, Docker Hub's and a registry's secret path.
    origin.tag("1.0.2");
    registry.push("1.0.2");
    let project = json!({ "project": { "git_http_url": origin.0.display().to_string() } }).to_string();
    assert_eq!(hook(&platform, "/webhooks/gitlab/shop", "X-Gitlab-Token: guess\r\n", &project).await.status, 403);
    let told = hook(&platform, "/webhooks/gitlab/shop", &format!("X-Gitlab-Token: {secret}\r\n"), &project).await;
    assert_eq!((told.status, &told.json()["deployment"]), (200, &json!("shop-2")), "{told:?}");
    for name in ["Gitea", "Forgejo"] {
        let headers = format!("X-{name}-Signature: {good}\r\nX-{name}-Delivery: {name}-1\r\n");
        assert_eq!(hook(&platform, "/webhooks/gitea/shop", &headers, &own).await.status, 200, "{name}");
    }
    // GitHub's default is a form, and it is the form that is signed.
    let form: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &own).finish();
    let headers = github(&sign(secret, &form), "form-1") + "Content-Type: application/x-www-form-urlencoded\r\n";
    let told = hook(&platform, "/webhooks/github/shop", &headers, &form).await;
    assert_eq!((told.status, &told.json()["deployment"]), (200, &json!("shop-2")), "{told:?}");
    let hub = |repository: &str, tag: &str| {
        json!({ "push_data": { "tag": tag }, "repository": { "repo_name": repository },
            "callback_url": format!("http://127.0.0.1:{}/", platform.slot_port(7)) })
        .to_string()
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", platform.slot_port(7))).await.unwrap();
    let path = hooks["dockerhub"]["path"].as_str().unwrap().to_owned();
    let image = registry.image();
    for (path, body, status) in [
        (path.as_str(), hub(&image, "1.0.2"), 200),
        (path.as_str(), hub(&image, "../../x"), 200),
        (path.as_str(), hub("org/other", "1.0.2"), 200),
        (path.as_str(), "{\"push_data\":".into(), 400),
        ("/webhooks/dockerhub/shop/guess", hub(&image, "1.0.2"), 403),
        ("/webhooks/dockerhub/nobody/guess", hub(&image, "1.0.2"), 403),
    ] {
        let answer = hook(&platform, path, "", &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
    }
    let called = tokio::time::timeout(std::time::Duration::from_millis(300), listener.accept()).await;
    assert!(called.is_err(), "callback_url is never called");
    let event = |repository: &str| {
        json!({ "events": [{ "id": "e1", "action": "push", "target": { "repository": repository, "tag": "1.0.2" } }] })
            .to_string()
    };
    let path = hooks["registry"]["path"].as_str().unwrap();
    assert_eq!(hook(&platform, path, "", &event("org/shop")).await.status, 200);
    let other = hook(&platform, path, "", &event("org/other")).await;
    assert!(other.status == 200 && other.json()["ignored"].is_string(), "{other:?}");
    // A signature's tag, one that is no version, and an event that is none, beside one of ours.
    origin.tag("1.0.3");
    registry.push("1.0.3");
    let target = |tag: &str| json!({ "repository": "org/shop", "tag": tag });
    let events = json!({ "events": [
        { "id": "e2", "action": "push", "target": target("sha256-0123456789abcdef.sig") },
        { "id": "e3", "action": "push", "target": target(&"x".repeat(100)) },
        { "id": 4, "action": ["push"] },
        { "id": "e5", "action": "push", "target": target("1.0.3") },
    ] });
    let told = hook(&platform, path, "", &events.to_string()).await;
    assert_eq!((told.status, &told.json()["deployment"]), (200, &json!("shop-3")), "{told:?}");
}

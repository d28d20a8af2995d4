//! Keys, transactions and the catalogue as Consul's clients and the older routers' scripts ask for them.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::{Answer, Platform, app_of, docker_or_skip, request_with};

struct Consul<'p> {
    platform: &'p Platform,
    token: String,
}

impl<'p> Consul<'p> {
    fn new(platform: &'p Platform) -> Self {
        let token = platform.token().unwrap();
        Self { platform, token: format!("X-Consul-Token: {}\r\n", token.trim()) }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        request_with(self.platform.api_address(), method, "localhost", path, &self.token, body.as_bytes())
            .await
            .unwrap()
    }

    async fn put(&self, key: &str, value: &str) -> Answer {
        self.call("PUT", &format!("/api/kv/{key}"), value).await
    }

    async fn raw(&self, key: &str) -> String {
        self.call("GET", &format!("/api/kv/{key}?raw=true"), "").await.body
    }

    /// Until the key reads so.
    async fn until(&self, key: &str, value: &str) {
        let end = std::time::Instant::now() + crate::harness::DEADLINE;
        let mut last = self.raw(key).await;
        while last != value {
            assert!(std::time::Instant::now() < end, "{key} is {last:?}, not {value:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            last = self.raw(key).await;
        }
    }

    async fn txn(&self, operations: Value) -> Answer {
        self.call("PUT", "/v1/txn", &operations.to_string()).await
    }
}

#[tokio::test]
async fn keys_are_kept_listed_compared_and_waited_for() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    {
        let consul = Consul::new(&platform);
        let missing = consul.call("GET", "/v1/kv/none", "").await;
        assert!(missing.status == 404 && missing.body.is_empty() && missing.header("x-consul-index").is_some());
        assert_eq!(consul.call("PUT", "/v1/kv/app/one?flags=42", "first").await.body, "true");
        consul.call("PUT", "/v1/kv/app/two%2Fdeep", "second").await;
        let read = consul.call("GET", "/v1/kv/app/one", "").await;
        let pair = &read.json()[0];
        assert_eq!((&pair["Value"], &pair["Flags"], &pair["LockIndex"]), (&json!("Zmlyc3Q="), &json!(42), &json!(0)));
        let modified = pair["ModifyIndex"].as_u64().unwrap();
        assert_eq!(read.header("x-consul-index"), Some(modified.to_string().as_str()));
        let keys = consul.call("GET", "/v1/kv/app/?keys&separator=/", "").await.json();
        assert_eq!(keys, json!(["app/one", "app/two/"]));
        assert_eq!(consul.call("GET", "/v1/kv/app?recurse", "").await.json().as_array().unwrap().len(), 2);
        assert_eq!(consul.call("PUT", "/v1/kv/app/one?cas=0", "x").await.body, "false");
        // A waiting client hears of the next change, not of another key's.
        let path = format!("/v1/kv/app/one?index={modified}&wait=30s");
        let waiting = consul.call("GET", &path, "");
        let writing = async {
            consul.call("PUT", "/v1/kv/other", "x").await;
            let cas = format!("/v1/kv/app/one?cas={modified}");
            assert_eq!(consul.call("PUT", &cas, "changed").await.body, "true");
        };
        let (heard, ()) = tokio::join!(waiting, writing);
        assert_eq!(heard.json()[0]["Value"], "Y2hhbmdlZA==");
        let index = heard.header("x-consul-index").unwrap();
        let quiet = consul.call("GET", &format!("/v1/kv/app/one?index={index}&wait=50ms"), "").await;
        assert_eq!(quiet.header("x-consul-index"), Some(index), "time is up and nothing has changed");
        let batch = json!([
            { "KV": { "Verb": "set", "Key": "t/a", "Value": "YQ==" } },
            { "KV": { "Verb": "check-not-exists", "Key": "app/one" } },
        ]);
        let refused = consul.txn(batch).await;
        assert_eq!((refused.status, &refused.json()["Errors"][0]["OpIndex"]), (409, &json!(1)));
        assert_eq!(consul.call("GET", "/v1/kv/t/a", "").await.status, 404);
        let ops = [("set", "t/b", "YQ=="), ("get", "rolling/null", ""), ("get", "t/b", ""), ("delete", "t/b", "")];
        let ops = ops.map(|(verb, key, value)| json!({ "KV": { "Verb": verb, "Key": key, "Value": value } }));
        let done = consul.txn(json!(ops)).await.json();
        // As Go reads it: names in any case, and nothing where there is null.
        let as_go = json!([{ "kv": { "verb": "set", "KEY": "t/go", "Value": "YQ==", "flags": null, "Index": null } }]);
        assert_eq!(consul.txn(as_go).await.status, 200);
        let told = done["Results"].as_array().unwrap().iter().map(|r| json!([r["KV"]["Key"], r["KV"]["Value"]]));
        let expected = [json!(["t/b", null]), json!(["rolling/null", "LQ=="]), json!(["t/b", "YQ=="])];
        assert!(told.eq(expected), "{done}");
        assert_eq!(consul.call("DELETE", "/v1/kv/app/two?recurse", "").await.body, "true");
        // Everything that is kept goes; what tells of the platform itself stays.
        assert_eq!(consul.call("DELETE", "/v1/kv/", "").await.status, 400);
        assert_eq!(consul.call("DELETE", "/v1/kv/?recurse", "").await.body, "true");
        assert_eq!(consul.call("GET", "/v1/kv/app/one", "").await.status, 404);
        assert_eq!(consul.raw("rolling/hello/stable/id").await, "hello@1.0.0");
        consul.call("PUT", "/v1/kv/app/one", "changed").await;
    }
    platform.kill();
    platform.up();
    platform.until_ready("hello", 1).await;
    let consul = Consul::new(&platform);
    assert_eq!(consul.raw("app/one").await, "changed", "keys survive a kill");
    platform.ok(&["kv", "put", "cli/a b", "from the shell"]);
    assert_eq!(platform.ok(&["kv", "get", "cli/a b"]), "from the shell\n");
    assert_eq!(platform.ok(&["kv", "list", "cli/"]), "cli/a b\n");
    platform.ok(&["kv", "delete", "cli/", "--recurse"]);
    assert_eq!(platform.run(&["kv", "get", "cli/a b"]).0, 1);
    for (method, path, body, status) in [
        ("PUT", "/v1/kv/", "x", 405),
        ("PUT", "/v1/kv/a%00b", "x", 400),
        ("GET", "/v1/kv/a?index=x", "", 400),
        ("PUT", "/v1/kv/a?acquire=1", "x", 501),
        ("PUT", "/v1/txn", "[[[[", 400),
        ("GET", "/v1/session/list", "", 501),
    ] {
        let answer = consul.call(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(answer.json()["code"].is_string(), "{answer:?}");
    }
    assert_eq!(consul.call("PUT", &format!("/v1/kv/{}", "k".repeat(513)), "x").await.status, 400);
    assert_eq!(consul.call("PUT", "/v1/kv/big", &"v".repeat((512 << 10) + 1)).await.status, 413);
}

/// consul-template asks so: `stale`, long waits, an index that may go back, and the nodes of a service with `passing`.
#[tokio::test]
async fn a_template_is_rendered_anew_with_each_change_it_watches() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let consul = Consul::new(&platform);
    consul.call("PUT", "/v1/kv/web/title", "one").await;
    let render = async |after: (u64, u64)| {
        let key = format!("/v1/kv/web/title?index={}&stale=&wait=60000ms", after.0);
        let nodes = format!("/v1/health/service/hello?index={}&passing=1&stale=&wait=60000ms", after.1);
        let (key, nodes) = tokio::join!(consul.call("GET", &key, ""), consul.call("GET", &nodes, ""));
        let index = |answer: &Answer| answer.header("x-consul-index").unwrap().parse::<u64>().unwrap();
        for answer in [&key, &nodes] {
            assert_eq!(answer.header("x-consul-knownleader"), Some("true"), "{answer:?}");
            assert_eq!(answer.header("x-consul-lastcontact"), Some("0"), "{answer:?}");
        }
        let title =
            String::from_utf8(BASE64_STANDARD.decode(key.json()[0]["Value"].as_str().unwrap()).unwrap()).unwrap();
        (format!("{title}: {}", nodes.json().as_array().unwrap().len()), (index(&key), index(&nodes)))
    };
    let (first, seen) = render((0, 0)).await;
    assert_eq!(first, "one: 1");
    let changing = async {
        consul.call("PUT", "/v1/kv/web/title", "two").await;
        platform.ok(&["scale", "hello", "2"]);
        platform.until_ready("hello", 2).await;
    };
    let ((_, mut seen), ()) = tokio::join!(render(seen), changing);
    // An index from before a restart of another server is no reason to wait.
    seen.0 = 0;
    seen.1 = 0;
    assert_eq!(render(seen).await.0, "two: 2");
    let services = consul.call("GET", "/v1/catalog/services?index=0&stale=&wait=60000ms", "").await;
    assert_eq!(services.json()["hello"], json!(["1.0.0", "stable"]));
}

#[tokio::test]
async fn the_catalogue_tells_what_runs_and_how_it_is() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_instances(2).await;
    let consul = Consul::new(&platform);
    let services = consul.call("GET", "/v1/catalog/services", "").await.json();
    assert_eq!(services["hello"], json!(["1.0.0", "stable"]));
    let instances = consul.call("GET", "/v1/catalog/service/hello", "").await.json();
    assert_eq!((instances.as_array().unwrap().len(), &instances[0]["ServicePort"]), (2, &json!(8080)));
    let passing = consul.call("GET", "/v1/health/service/hello?passing", "").await;
    assert_eq!(passing.json().as_array().unwrap().len(), 2);
    assert_eq!(passing.json()[0]["Checks"][0]["Status"], "passing");
    let mut index = passing.header("x-consul-index").unwrap().to_owned();
    platform.ok(&["scale", "hello", "1"]);
    // Each change of an instance is heard of; the last one leaves one.
    loop {
        let path = format!("/v1/health/service/hello?passing&index={index}&wait=20s");
        let heard = consul.call("GET", &path, "").await;
        if heard.json().as_array().unwrap().len() == 1 {
            break;
        }
        let next = heard.header("x-consul-index").unwrap().to_owned();
        assert_ne!(index, next, "nothing was heard of for 20 s");
        index = next;
    }
    let open = request_with(platform.api_address(), "GET", "localhost", "/v1/status/leader", "", b"").await.unwrap();
    assert_eq!(open.status, 200, "its clients ask this without a token");
}

#[tokio::test]
async fn a_transaction_is_taken_as_a_whole_and_the_way_back_of_a_colour_stays_warm() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    platform.add_version("hello", "1.1.0");
    platform.until_listed("artefacts/hello/1.1.0/hello.tgz").await;
    let consul = Consul::new(&platform);
    let set = |key: &str, base64: &str| json!({ "KV": { "Verb": "set", "Key": key, "Value": base64 } });
    let refused = consul
        .txn(json!([
            set("plain/note", "MA=="),
            set("rolling/hello/stickyness", "MA=="),
            set("rolling/hello/blendpercent", "MTA="),
        ]))
        .await;
    assert!(refused.status == 409 && refused.body.contains("no candidate"), "{refused:?}");
    assert_eq!(consul.raw("rolling/hello/stickyness").await, "1");
    assert_eq!(consul.call("GET", "/v1/kv/plain/note", "").await.status, 404);
    // There and back by the keys of the blue-green router alone.
    assert_eq!(consul.put("blue-green/hello/blue/id", "hello@1.1.0").await.status, 200);
    platform.until("ready at 0 %", |s| app_of(s, "hello").is_some_and(|a| a["deployment"]["state"] == "paused")).await;
    for (colour, stable) in [("blue", "hello@1.1.0"), ("green", "hello@1.0.0"), ("blue", "hello@1.1.0")] {
        let answer = consul.put("blue-green/hello/current", colour).await;
        assert_eq!(answer.status, 200, "{colour}: {answer:?}");
        consul.until("rolling/hello/stable/id", stable).await;
        platform.until("over", |s| app_of(s, "hello").is_some_and(|a| a["deployment"]["state"] == "done")).await;
    }
}

#[tokio::test]
async fn the_rolling_routers_keys_tell_the_state_and_steer_it() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    platform.add_version("hello", "1.1.0");
    platform.until_listed("artefacts/hello/1.1.0/hello.tgz").await;
    let consul = Consul::new(&platform);
    assert_eq!(consul.raw("rolling/null").await, "-");
    assert_eq!(consul.raw("rolling/hello/stable/id").await, "hello@1.0.0");
    assert_eq!(consul.raw("rolling/hello/candidate/id").await, "rolling/null");
    for (key, value, why) in [
        ("rolling/hello/blendpercent", "50", "no candidate"),
        ("rolling/hello/candidate/id", "apps/hello-9.9.9-80/containers", "names no version of hello"),
        ("rolling/hello/stickyness", "maybe", "0 or 1"),
        ("rolling/nobody/candidate/id", "1.1.0", "no app nobody"),
        ("rolling/hello/else", "x", "no such key"),
        ("blue-green/hello/current", "blue", "holds nothing"),
    ] {
        let answer = consul.put(key, value).await;
        assert!(answer.status == 409 && answer.body.contains(why), "{key}={value}: {answer:?}");
    }
    assert_eq!(consul.put("rolling/hello/candidate/id", "apps/hello-1.1.0-80/containers").await.body, "true");
    consul.until("rolling/hello/candidate/id", "hello@1.1.0").await;
    assert_eq!(consul.raw("blue-green/hello/blue/id").await, "hello@1.1.0");
    platform.until("ready at 0 %", |s| app_of(s, "hello").is_some_and(|a| a["deployment"]["state"] == "paused")).await;
    assert_eq!(consul.raw("rolling/hello/blendpercent").await, "0");
    assert_eq!(consul.put("rolling/hello/blendpercent", "30").await.status, 200);
    assert_eq!(consul.raw("rolling/hello/blendpercent").await, "30");
    let status = platform.until("split", |s| app_of(s, "hello").is_some_and(|a| a["split"]["1.1.0"] == 30)).await;
    assert_eq!(app_of(&status, "hello").unwrap()["split"]["1.0.0"], 70);
    // The router's promotion, all four in one go.
    let set = |key: &str, base64: &str| json!({ "KV": { "Verb": "set", "Key": key, "Value": base64 } });
    let promoted = consul
        .txn(json!([
            set("rolling/hello/stable/id", "aGVsbG9AMS4xLjA="),
            set("rolling/hello/candidate/id", "cm9sbGluZy9udWxs"),
            set("rolling/hello/blendpercent", "MA=="),
            set("rolling/hello/stickyness", "MA=="),
        ]))
        .await;
    assert_eq!(promoted.status, 200, "{promoted:?}");
    consul.until("rolling/hello/stable/id", "hello@1.1.0").await;
    consul.until("rolling/hello/candidate/id", "rolling/null").await;
    assert_eq!(consul.raw("rolling/hello/stickyness").await, "0");
    assert_eq!(consul.raw("blue-green/hello/current").await, "blue");
    assert_eq!(platform.get("hello.localhost", "/").await.json()["version"], "1.1.0");
    // A write of the stable id alone switches there, starting it first.
    assert_eq!(consul.put("rolling/hello/stable/id", "hello@1.0.0").await.status, 200);
    consul.until("rolling/hello/stable/id", "hello@1.0.0").await;
    let made = platform.ok(&["token", "create", "--scope", "deploy:hello", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let own = Consul { token: format!("X-Consul-Token: {}\r\n", made["token"].as_str().unwrap()), platform: &platform };
    assert_eq!(own.put("rolling/hello/stickyness", "1").await.status, 200);
    assert_eq!(own.put("rolling/other/stickyness", "1").await.status, 403);
    assert_eq!(own.put("plain", "x").await.status, 403);
}

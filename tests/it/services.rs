//! Registered services: no containers, yet routed, probed and named as those are.

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates;
use crate::harness::{Answer, Load, Platform, docker, docker_or_skip, request, request_with};

/// A server that answers each request with its first line and its host.
struct Echo {
    port: u16,
    task: JoinHandle<()>,
}

impl Echo {
    async fn start(port: u16) -> Self {
        Self::begin(port, None).await
    }

    async fn secure(acceptor: TlsAcceptor) -> Self {
        Self::begin(0, Some(acceptor)).await
    }

    async fn begin(port: u16, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        // Who only tries the port, or does not trust us, is gone by then.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => echo(stream).await,
                            Err(_) => None,
                        },
                        None => echo(stream).await,
                    }
                });
            }
        });
        Self { port, task }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Answers one request; `None` where it does not come whole.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        stream.read_buf(&mut head).await.ok().filter(|read| *read > 0)?;
    }
    let head = String::from_utf8_lossy(&head);
    let host = head.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    let body = format!("{} for {host}", head.lines().next().unwrap_or_default());
    let first = match head.starts_with("GET /moved ") {
        true => format!("302 Found\r\nLocation: http://{host}/here?a=b"),
        false => "200 OK".to_owned(),
    };
    let answer = format!("HTTP/1.1 {first}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn call(platform: &Platform, method: &str, path: &str, body: &str) -> Answer {
    let token = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", platform.token().unwrap());
    request_with(platform.api_address(), method, "localhost", path, &token, body.as_bytes()).await.unwrap()
}

fn encoded(url: &str) -> String {
    url.replace(':', "%3A").replace('/', "%2F")
}

#[tokio::test]
async fn a_posted_service_is_routed_named_kept_and_taken_away() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    let (domain, echo) = (platform.domain(), Echo::start(0).await);
    let (own, all) = (format!("demo.{domain}"), format!("services.{domain}"));
    let posted = call(&platform, "POST", &format!("/services/demo/{}", encoded(&echo.url())), "").await;
    assert_eq!((posted.status, posted.json()), (200, json!({ "success": true })));
    let found = call(&platform, "GET", "/services/demo", "").await.json();
    assert_eq!(found["url"], json!({ "name": "demo", "url": echo.url() }));
    // At once, under its own name, and below its name on the host of all services.
    let authority = format!("127.0.0.1:{}", echo.port);
    let answer = platform.get(&own, "/a/b?c=d").await;
    assert_eq!(answer.body, format!("GET /a/b?c=d HTTP/1.1 for {authority}"));
    for (path, upstream) in [("/demo/a/b?c=d", "/a/b?c=d"), ("/demo", "/"), ("/demo/", "/")] {
        assert_eq!(platform.get(&all, path).await.body, format!("GET {upstream} HTTP/1.1 for {authority}"));
    }
    assert_ne!(platform.get(&all, "/demolition").await.body, platform.get(&all, "/demo").await.body);
    // Where it leads to its own host, visitors are led to where they came from.
    let here = platform.http_address();
    for (host, path, leads) in [(&own, "/moved", "/here?a=b"), (&all, "/demo/moved", "/demo/here?a=b")] {
        let asked = format!("{host}:{}", here.port());
        let moved = request(here, &asked, path).await.unwrap();
        assert_eq!(moved.header("location"), Some(&*format!("http://{asked}{leads}")));
    }
    assert_eq!(platform.resolve(&own).await, (0, vec!["127.0.0.1".into()]));
    let unknown = call(&platform, "GET", "/services/nobody", "").await;
    assert_eq!((unknown.status, unknown.json()), (404, json!({})));
    // Moved with a JSON body, and still there after a kill.
    let other = Echo::start(0).await;
    let moved = json!({ "url": other.url(), "health": "/health" }).to_string();
    let load = Load::begin(platform.http_address(), &own, "/", 2);
    assert_eq!(call(&platform, "PUT", "/services/demo", &moved).await.status, 200);
    load.end(1).await;
    let authority = format!("127.0.0.1:{}", other.port);
    assert_eq!(platform.get(&own, "/").await.body, format!("GET / HTTP/1.1 for {authority}"));
    platform.kill();
    platform.up();
    platform.until_ready("hello", 1).await;
    assert!(platform.ok(&["services", "list"]).contains(&other.url()));
    assert_eq!(platform.get(&own, "/").await.body, format!("GET / HTTP/1.1 for {authority}"));
    // One that goes away is a problem and a 503, until it is back.
    let port = other.port;
    drop(other);
    platform.until_problem("service demo", "connection refused").await;
    let gone = platform.until_status(&own, "/", 503).await;
    assert!(gone.body.contains("connection refused"), "{}", gone.body);
    let _back = Echo::start(port).await;
    platform.until_status(&own, "/", 200).await;
    platform.ok(&["services", "remove", "demo"]);
    platform.until_status(&own, "/", 404).await;
    assert_eq!(platform.run(&["services", "remove", "demo"]).0, 1);
}

#[tokio::test]
async fn what_leads_back_to_us_or_is_no_url_is_refused() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let (http, api) = (platform.http, platform.api);
    for url in [
        format!("http://127.0.0.1:{http}"),
        format!("http://localhost:{api}"),
        format!("http://hello.{}:{http}", platform.domain()),
        format!("http://hello.localhost:{http}"),
        format!("http://{}:{}", platform.gateway(), platform.internal),
        format!("http://0.0.0.0:{http}"),
        "ftp://127.0.0.1".into(),
        "nonsense".into(),
        "http://user:hunter2@127.0.0.1".into(),
    ] {
        let answer = call(&platform, "PUT", "/services/loop", &json!({ "url": url }).to_string()).await;
        assert!(answer.status == 400 && answer.json()["code"].is_string(), "{url}: {answer:?}");
        let answer = call(&platform, "POST", &format!("/services/loop/{}", encoded(&url)), "").await;
        assert_eq!(answer.status, 400, "{url}: {answer:?}");
    }
    for name in ["hello", "repository", "A%20B"] {
        let answer = call(&platform, "PUT", &format!("/services/{name}"), r#"{"url":"http://127.0.0.1:9"}"#).await;
        assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
    }
    assert_eq!(call(&platform, "GET", "/services", "").await.json(), json!({ "services": [] }));
}

#[tokio::test]
async fn old_clients_use_their_own_port_and_need_no_token_where_that_is_set() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.add_demo("hello", "1.0.0", "");
    platform.set("services.open", "true");
    let port = platform.slot_port(4);
    platform.set("listen.services", &format!("127.0.0.1:{port}"));
    platform.up();
    platform.until_ready("hello", 1).await;
    let (address, echo) = (([127, 0, 0, 1], port).into(), Echo::start(0).await);
    let path = format!("/services/demo/{}", encoded(&echo.url()));
    let posted = request_with(address, "POST", "127.0.0.1", &path, "", b"").await.unwrap();
    assert_eq!((posted.status, posted.json()), (200, json!({ "success": true })), "{posted:?}");
    assert!(request(address, "127.0.0.1", "/demo/x").await.unwrap().body.starts_with("GET /x "));
    assert_eq!(request(address, "127.0.0.1", "/services/demo").await.unwrap().json()["url"]["url"], echo.url());
    // Not from a page of another origin, not under a name that is not ours, and not from a container.
    for (host, headers, status) in [("127.0.0.1", "Origin: http://evil.example\r\n", 403), ("evil.example", "", 421)] {
        let answer = request_with(address, "POST", host, &path, headers, b"").await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let asker = platform.instance("hello", 0).await;
    let url = format!("http://services.{}:{}", platform.domain(), platform.internal);
    let curl = |arguments: &[&str]| docker(&[&["exec", &asker, "curl", "-s"], arguments].concat());
    let seen: Value = serde_json::from_str(&curl(&[&format!("{url}/services/demo")])).unwrap();
    assert_eq!(seen["url"]["url"], echo.url(), "on the platform's network everyone may look");
    let refused = curl(&["-X", "DELETE", "-o", "/dev/null", "-w", "%{http_code}", &format!("{url}/services/demo")]);
    assert_eq!(refused, "401");
}

#[tokio::test]
async fn a_service_on_https_must_show_a_certificate_of_a_trusted_authority_where_that_is_set() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    platform.set("dns.extra", "secure.corp=127.0.0.1");
    platform.up();
    platform.until_settled().await;
    let (trusted, other) = (platform.path("trusted"), platform.path("other"));
    let mut servers = Vec::new();
    for folder in [&trusted, &other] {
        certificates::make(folder);
        servers.push(Echo::secure(certificates::acceptor(folder, false)).await);
    }
    let (good, forged) = (servers[0].port, servers[1].port);
    for (name, url) in [
        ("good", format!("https://secure.corp:{good}")),
        ("forged", format!("https://secure.corp:{forged}")),
        ("nameless", format!("https://127.0.0.1:{good}")),
    ] {
        let put = call(&platform, "PUT", &format!("/services/{name}"), &json!({ "url": url }).to_string()).await;
        assert_eq!(put.status, 200, "{put:?}");
        platform.until_status(&format!("{name}.{}", platform.domain()), "/", 200).await;
    }
    platform.ok(&["down", "--keep-apps"]);
    platform.set("services.ca", &other.join("server-key.pem").display().to_string());
    let (code, text) = platform.run(&["up"]);
    assert!(code != 0 && text.contains("has no certificate in PEM"), "{code}: {text}");
    platform.set("services.ca", &trusted.join("ca.pem").display().to_string());
    platform.up();
    for (name, status) in [("good", 200), ("forged", 502), ("nameless", 503)] {
        platform.until_status(&format!("{name}.{}", platform.domain()), "/", status).await;
    }
    let reason = platform.ok(&["services", "list"]);
    assert!(reason.contains("has no name to check its certificate by"), "{reason}");
}

#[tokio::test]
async fn consuls_clients_register_services_that_are_outside() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let echoes = [Echo::start(0).await, Echo::start(0).await];
    for (n, echo) in echoes.iter().enumerate() {
        let body = json!({ "ID": format!("legacy-{n}"), "Name": "legacy", "Tags": ["old"], "Address": "127.0.0.1",
            "Port": echo.port, "Check": { "HTTP": format!("{}/health", echo.url()), "Interval": "10s" } });
        // Without a content type, as many of Consul's clients ask.
        let token = format!("X-Consul-Token: {}\r\n", platform.token().unwrap());
        let (path, body) = ("/v1/agent/service/register", body.to_string());
        let answer = request_with(platform.api_address(), "PUT", "localhost", path, &token, body.as_bytes()).await;
        assert_eq!(answer.unwrap().status, 200);
    }
    let passing = call(&platform, "GET", "/v1/health/service/legacy?passing&tag=old", "").await.json();
    let mut ports: Vec<u64> =
        passing.as_array().unwrap().iter().map(|e| e["Service"]["Port"].as_u64().unwrap()).collect();
    ports.sort_unstable();
    let mut expected = echoes.each_ref().map(|e| u64::from(e.port));
    expected.sort_unstable();
    assert_eq!(ports, expected);
    assert_eq!(call(&platform, "GET", "/v1/catalog/services", "").await.json()["legacy"], json!(["old"]));
    assert_eq!(call(&platform, "GET", "/v1/agent/services", "").await.json()["legacy-0"]["Service"], "legacy");
    let host = format!("legacy.{}", platform.domain());
    platform.until_status(&host, "/", 200).await;
    // As Go's clients send it, all fields and most of them empty; as py-consul does, in lower case; without a port.
    let port = echoes[0].port;
    for (id, body) in [
        (
            "host:legacy-9:80/udp",
            json!({ "ID": "host:legacy-9:80/udp", "Name": "go", "Address": "127.0.0.1", "Port": port,
            "Tags": null, "Checks": null, "Meta": null, "EnableTagOverride": false,
            "Check": { "TTL": "", "HTTP": "", "TCP": "", "Args": null, "Interval": "" } }),
        ),
        (
            "py",
            json!({ "name": "py", "id": "py", "address": "127.0.0.1", "port": port, "tags": ["a", "b"], "check": null }),
        ),
        ("portless", json!({ "Name": "portless", "Check": { "TCP": format!("127.0.0.1:{port}"), "Interval": "10s" } })),
    ] {
        let put = call(&platform, "PUT", "/v1/agent/service/register", &body.to_string()).await;
        assert_eq!(put.status, 200, "{body}: {put:?}");
        let listed = call(&platform, "GET", "/v1/agent/services", "").await.json();
        assert_eq!(listed[id]["Port"], port, "{listed}");
    }
    for (query, found) in [("tag=a&tag=b", 1), ("tag=a&tag=c", 0), ("passing=false&tag=a", 1)] {
        let answer = call(&platform, "GET", &format!("/v1/catalog/service/py?{query}"), "").await;
        assert_eq!(answer.json().as_array().unwrap().len(), found, "{query}: {answer:?}");
    }
    assert_eq!(call(&platform, "GET", "/v1/health/service/py?filter=x+%3D%3D+y", "").await.status, 501);
    // A check that would not be made is no check.
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    for checks in [
        json!([{ "HTTP": format!("http://127.0.0.1:{}/admin", port - 1) }]),
        json!([{ "TCP": format!("127.0.0.1:{}", port - 1) }]),
        json!([{ "HTTP": at("/a") }, { "HTTP": at("/b") }]),
        json!([{ "HTTP": at("/a"), "Method": "POST" }]),
        json!([{ "HTTP": at("/a"), "Header": { "X-Key": ["1"] } }]),
    ] {
        let body = json!({ "Name": "unchecked", "Address": "127.0.0.1", "Port": port, "Checks": checks }).to_string();
        let put = call(&platform, "PUT", "/v1/agent/service/register", &body).await;
        assert_eq!(put.status, 501, "{body}: {put:?}");
    }
    let by_id = "/v1/agent/service/deregister/host:legacy-9:80/udp";
    assert_eq!(call(&platform, "PUT", by_id, "").await.status, 200);
    let ttl = json!({ "Name": "beating", "Port": 9, "Check": { "TTL": "10s" } }).to_string();
    assert_eq!(call(&platform, "PUT", "/v1/agent/service/register", &ttl).await.status, 501);
    assert_eq!(call(&platform, "PUT", "/v1/agent/service/deregister/legacy-0", "").await.status, 200);
    assert_eq!(call(&platform, "PUT", "/v1/agent/service/deregister/legacy-0", "").await.status, 404);
    let left = call(&platform, "GET", "/v1/catalog/service/legacy", "").await.json();
    assert_eq!(left.as_array().unwrap().len(), 1);
}

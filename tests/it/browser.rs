//! A real headless Chromium, driven by the WebDriver protocol (W3C) through its own driver.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::{DEADLINE, Platform, Running, request_with};

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub struct Browser {
    /// Takes its browser along.
    _driver: Running,
    address: SocketAddr,
    session: String,
    api: SocketAddr,
}

/// Whether there is a browser. In CI it must be there; on a laptop the test skips, visibly.
pub fn browser_or_skip() -> bool {
    let is_there = Command::new("chromedriver").arg("--version").output().is_ok_and(|o| o.status.success());
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "this test needs chromium and its driver; scripts/test provides them"
    );
    if !is_there {
        eprintln!("SKIPPED: this test needs chromium and its driver; scripts/test provides them");
    }
    is_there
}

impl Browser {
    /// A browser that nobody has logged in with.
    pub async fn start(platform: &Platform) -> Self {
        Self::with(platform, true).await
    }

    pub async fn without_scripts(platform: &Platform) -> Self {
        Self::with(platform, false).await
    }

    async fn with(platform: &Platform, scripts: bool) -> Self {
        let port = platform.slot_port(7);
        let mut command = Command::new("chromedriver");
        let driver = command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let end = Instant::now() + DEADLINE;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < end, "chromedriver does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let setting = if scripts { 1 } else { 2 };
        let options = json!({
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1440,1000"],
            "prefs": { "profile.managed_default_content_settings.javascript": setting },
        });
        let capabilities =
            json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": options } } });
        let mut browser =
            Self { _driver: Running(driver), address, session: String::new(), api: platform.api_address() };
        let session = browser.send("POST", "/session", &capabilities).await;
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let headers = "Content-Type: application/json\r\n";
        let answer = request_with(self.address, method, "localhost", path, headers, body.as_bytes()).await.unwrap();
        let value = answer.json()["value"].clone();
        assert!(answer.status == 200, "{method} {path} {body}: {value}");
        value
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.send("POST", &format!("{}{path}", self.session), &body).await
    }

    /// Goes to a page of the dashboard.
    pub async fn open(&self, path: &str) {
        self.post("/url", json!({ "url": format!("http://{}{path}", self.api) })).await;
    }

    /// Logs in with the link that the command line prints.
    pub async fn log_in(&self, platform: &Platform) {
        let link = platform.ok(&["dashboard", "--print"]);
        self.post("/url", json!({ "url": link.trim() })).await;
        self.click("form button").await;
        self.until_text("h1", "Apps").await;
    }

    pub async fn path(&self) -> String {
        let url = self.send("GET", &format!("{}/url", self.session), &Value::Null).await;
        url.as_str().unwrap().split_once(&self.api.to_string()).map_or(String::new(), |(_, path)| path.to_owned())
    }

    async fn find(&self, css: &str) -> Option<String> {
        let found = self.post("/elements", json!({ "using": "css selector", "value": css })).await;
        Some(found.as_array()?.first()?[ELEMENT].as_str()?.to_owned())
    }

    async fn element(&self, css: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.find(css).await {
                Some(element) => return element,
                None if Instant::now() < end => {}
                None => panic!("there is no {css} on {}: {}", self.path().await, self.text("html").await),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.post(&format!("/element/{element}/click"), json!({})).await;
    }

    pub async fn fill(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.post(&format!("/element/{element}/clear"), json!({})).await;
        self.post(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// The visible text of the first element; empty while there is none.
    pub async fn text(&self, css: &str) -> String {
        let Some(element) = self.find(css).await else { return String::new() };
        let path = format!("{}/element/{element}/text", self.session);
        // It may have gone between the two questions.
        let answer = request_with(self.address, "GET", "localhost", &path, "", b"").await.unwrap();
        answer.json()["value"].as_str().unwrap_or_default().to_owned()
    }

    pub async fn until_text(&self, css: &str, text: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let last = self.text(css).await;
            if last.contains(text) {
                return;
            }
            assert!(Instant::now() < end, "{css} on {} has {last:?}, not {text:?}", self.path().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Presses keys, as WebDriver names them.
    pub async fn press(&self, keys: &[&str]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })])
            .collect();
        self.post("/actions", json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] })).await;
    }

    /// Presses Tab until the element whose text this is has the focus.
    pub async fn tab_to(&self, text: &str) {
        for _ in 0..200 {
            self.press(&["\u{e004}"]).await;
            let focused = self.run("return document.activeElement.textContent.trim()", json!([])).await;
            if focused == text {
                return;
            }
        }
        panic!("nothing that says {text:?} can be reached by Tab");
    }

    pub async fn run(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// Runs a script that calls its last argument with a result.
    pub async fn run_async(&self, script: &str) -> Value {
        self.post("/timeouts", json!({ "script": 60_000 })).await;
        self.post("/execute/async", json!({ "script": script, "args": [] })).await
    }

    /// As if its user liked pages `dark` or `light`.
    pub async fn prefer(&self, scheme: &str) {
        // Without motion: a colour on its way from one scheme to the other is neither.
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        let command = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.post("/goog/cdp/execute", command).await;
    }

    /// A picture of the whole page, so many pixels wide.
    pub async fn picture(&self, width: u32) -> Vec<u8> {
        self.post("/window/rect", json!({ "width": width, "height": 900 })).await;
        let command = json!({ "cmd": "Page.getLayoutMetrics", "params": {} });
        let size = self.post("/goog/cdp/execute", command).await["cssContentSize"].clone();
        let metrics = json!({ "width": width, "height": size["height"].as_f64().unwrap().min(4000.0), "deviceScaleFactor": 1, "mobile": false });
        self.post("/goog/cdp/execute", json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics })).await;
        let picture = self.send("GET", &format!("{}/screenshot", self.session), &Value::Null).await;
        self.post("/goog/cdp/execute", json!({ "cmd": "Emulation.clearDeviceMetricsOverride", "params": {} })).await;
        BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    /// Ends the session first: a driver that is killed leaves its browser behind, which would go on asking whoever has
    /// the port next.
    fn drop(&mut self) {
        let request = format!("DELETE {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", self.session);
        if let Ok(mut stream) = std::net::TcpStream::connect(self.address) {
            let _ = stream.set_read_timeout(Some(DEADLINE));
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read(&mut [0; 1024]);
        }
    }
}

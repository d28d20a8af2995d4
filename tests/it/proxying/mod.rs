//! What of a request arrives at an app, byte for byte, and what a bad request, app or container does to others.

mod bounds;
mod refusals;
mod requests;

use crate::harness::{Answer, Platform, request_with};

/// An app that answers with the request as it came, but for some paths.
const RAW: &str = r#"
import os, socket, threading, time
def serve(c):
    data = b''
    while True:
        while b'\r\n\r\n' not in data:
            more = c.recv(65536)
            if not more: return c.close()
            data += more
        head, data = data.split(b'\r\n\r\n', 1)
        lines = head.split(b'\r\n')
        names = {l.split(b':')[0].lower(): l.split(b':', 1)[1].strip() for l in lines[1:]}
        length = int(names.get(b'content-length', b'0'))
        while len(data) < length: data += c.recv(65536)
        body, data = head + b'\r\n\r\n' + data[:length], data[length:]
        path, extra, status = lines[0].split()[1], b'', b'200 OK'
        if path.startswith(b'/crash'): return c.close()
        if path.startswith(b'/slow'): time.sleep(3)
        if path.startswith(b'/hang'): time.sleep(120)
        if path.startswith(b'/accel'): extra = b'X-Accel-Redirect: /_platformer/failed/\r\n'
        if path.startswith(b'/garbage'): c.sendall(b'no head at all\n'); return c.close()
        if path.startswith(b'/big'): extra = b'X-Big: ' + b'x' * 30000 + b'\r\n'
        if path == b'/health' and names.get(b'host', b'').decode() != os.environ['ALLOWED']: status = b'400 No'
        c.sendall(b'HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s' % (status, len(body), extra, body))
server = socket.create_server(('', 8080), backlog=512)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"#;

/// Declares `raw`, whose probes are answered under `allowed` only.
fn add_raw(platform: &Platform, declaration: &str, allowed: &str) {
    let folder = platform.path("raw");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("app.py"), RAW).unwrap();
    let archive = platform.path("raw.tgz");
    let packed =
        std::process::Command::new("tar").arg("-C").arg(&folder).arg("-czf").arg(&archive).arg("app.py").status();
    assert!(packed.unwrap().success());
    platform.put("artefacts/raw/1.0.0/raw.tgz", std::fs::read(archive).unwrap());
    platform.put_config("raw", &[("ALLOWED", allowed)]);
    platform.put("apps/raw.toml", format!("{declaration}\n[health]\npath = \"/health\"\n"));
}

async fn with_raw(declaration: &str) -> Platform {
    with_settings(&[], declaration).await
}

/// A platform of these settings that serves `raw`.
async fn with_settings(settings: &[(&str, &str)], declaration: &str) -> Platform {
    let mut platform = Platform::new();
    settings.iter().for_each(|(key, value)| platform.set(key, value));
    add_raw(&platform, declaration, &format!("raw.{}", platform.domain()));
    platform.up();
    let replicas = if declaration.contains("replicas = 2") { 2 } else { 1 };
    platform.until_ready("raw", replicas).await;
    platform
}

async fn ask(platform: &Platform, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    request_with(platform.http_address(), method, "raw.localhost", path, headers, body.as_bytes()).await.unwrap()
}

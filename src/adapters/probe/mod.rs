//! Active probes: one task per target, quick while it is starting, slow once it is ready.
//!
//! In: the whole list of targets. Out: `Fact::Probed` at each change of verdict. A task ends when its target
//! leaves the list.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::core::world::{Fact, ProbeKind, ProbeTarget};
use crate::ports::inbox::Inbox;
use crate::ports::prober::Prober;

/// While an app boots its port refuses at once, so asking often costs next to nothing.
const BOOTING: Duration = Duration::from_millis(3);
const BOOTING_FOR: Duration = Duration::from_secs(2);
const SLOW_BOOT: Duration = Duration::from_millis(50);
const UNHEALTHY: Duration = Duration::from_millis(250);
/// One failure may be a hiccup; this many in a row, close together, are not.
const FAILURES: u32 = 3;
const RECHECK: Duration = Duration::from_millis(50);
/// The longest head of an answer that is read.
const HEAD: usize = 512;

/// Probes of ready instances fall on a common beat, so that many are sent at one awakening.
const BEAT: Duration = Duration::from_millis(500);

pub struct Probes {
    inbox: Inbox,
    began: Instant,
    tasks: Mutex<HashMap<ProbeTarget, JoinHandle<()>>>,
}

impl Probes {
    pub fn new(inbox: Inbox) -> Self {
        Self { inbox, began: Instant::now(), tasks: Mutex::default() }
    }
}

impl Prober for Probes {
    fn probe(&self, targets: &[ProbeTarget]) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|target, task| {
            let wanted = targets.contains(target);
            if !wanted {
                task.abort();
            }
            // A task that ended by itself has panicked; it is started anew below.
            wanted && !task.is_finished()
        });
        for target in targets {
            if !tasks.contains_key(target) {
                tasks.insert(target.clone(), tokio::spawn(follow(target.clone(), self.began, self.inbox.clone())));
            }
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).values() {
            task.abort();
        }
    }
}

async fn follow(target: ProbeTarget, beat: Instant, inbox: Inbox) {
    let began = Instant::now();
    let mut reported: Option<Result<(), String>> = None;
    let mut failures = 0;
    loop {
        let verdict = match timeout(target.timeout, probe(&target)).await {
            Ok(verdict) => verdict,
            Err(_) => Err(format!("no answer within {:?}", target.timeout)),
        };
        failures = if verdict.is_ok() { 0 } else { failures + 1 };
        let was_ready = matches!(reported, Some(Ok(())));
        let hiccup = was_ready && (1..FAILURES).contains(&failures);
        if !hiccup && reported.as_ref() != Some(&verdict) {
            inbox.tell(Fact::Probed {
                subject: target.subject.clone(),
                started_at: target.started_at,
                verdict: verdict.clone(),
            });
            reported = Some(verdict.clone());
        }
        let pause = match verdict {
            Ok(()) => on_the_beat(beat.elapsed(), target.interval),
            Err(_) if hiccup => RECHECK,
            Err(_) if began.elapsed() < BOOTING_FOR => BOOTING,
            Err(_) if failures < 1200 => SLOW_BOOT,
            Err(_) => UNHEALTHY,
        };
        sleep(pause.min(target.interval)).await;
    }
}

/// The pause after `elapsed`: at most the interval, and up to a beat less.
fn on_the_beat(elapsed: Duration, interval: Duration) -> Duration {
    let past = (elapsed + interval).as_nanos() % BEAT.as_nanos();
    let past = Duration::from_nanos(u64::try_from(past).unwrap_or_default());
    if interval > 2 * BEAT { interval - past } else { interval }
}

async fn probe(target: &ProbeTarget) -> Result<(), String> {
    let address = target.address;
    let mut stream = TcpStream::connect(address).await.map_err(|e| format!("{address}: {}", e.kind()))?;
    let ProbeKind::Http(path) = &target.kind else {
        return Ok(());
    };
    let host = target.host.as_deref().map_or_else(|| address.to_string(), str::to_owned);
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: platformer-probe\r\nConnection: close\r\n\r\n",
        path.as_str()
    );
    let failed = |e: std::io::Error| format!("GET {} at {address}: {}", path.as_str(), e.kind());
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = [0; HEAD];
    let mut filled = 0;
    while filled < HEAD && !head[..filled].contains(&b'\n') {
        match stream.read(&mut head[filled..]).await.map_err(failed)? {
            0 => break,
            n => filled += n,
        }
    }
    let line = String::from_utf8_lossy(&head[..filled]);
    let line = line.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse::<u16>().ok());
    match status {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("GET {} at {address} answered {status}", path.as_str())),
        None => Err(format!("GET {} at {address} got no HTTP answer", path.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::app::HealthPath;
    use crate::core::container::ContainerId;
    use crate::core::world::Subject;
    use std::net::SocketAddr;
    use tokio::net::TcpListener;

    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 512]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    fn target(address: SocketAddr, http: bool) -> ProbeTarget {
        let kind = if http { ProbeKind::Http(HealthPath::parse("/health").unwrap()) } else { ProbeKind::Tcp };
        ProbeTarget {
            subject: Subject::Container(ContainerId("a".into())),
            started_at: None,
            address,
            kind,
            host: Some("shop.platform".into()),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        }
    }

    #[tokio::test]
    async fn the_host_that_is_asked_for_is_one_of_the_apps_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (host, expected) in
            [(Some("shop.platform".into()), "shop.platform".to_owned()), (None, address.to_string())]
        {
            let asked = tokio::spawn(async move { probe(&ProbeTarget { host, ..target(address, true) }).await });
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            let head = String::from_utf8(head).unwrap();
            let answer =
                if head.contains(&format!("\r\nHost: {expected}\r\n")) { "HTTP/1.1 200 OK\r\n\r\n" } else { "" };
            stream.write_all(answer.as_bytes()).await.unwrap();
            drop(stream);
            assert_eq!(asked.await.unwrap(), Ok(()), "{head}");
        }
    }

    #[tokio::test]
    async fn only_a_good_status_is_ready() {
        for (answer, ready) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.0 302 Found\r\n\r\n", true),
            ("HTTP/1.1 503 No\r\n\r\n", false),
            ("HTTP/1.1 404 No\r\n\r\n", false),
            ("SSH-2.0\r\n", false),
            ("", false),
        ] {
            assert_eq!(probe(&target(server(answer).await, true)).await.is_ok(), ready, "{answer:?}");
        }
    }

    #[test]
    fn ready_instances_are_probed_on_a_common_beat_and_never_later_than_asked() {
        let ms = Duration::from_millis;
        for (elapsed, interval, pause) in [(1_110, 5_000, 4_890), (0, 5_000, 5_000), (1_110, 300, 300)] {
            assert_eq!(on_the_beat(ms(elapsed), ms(interval)), ms(pause));
        }
    }

    #[tokio::test]
    async fn a_closed_port_says_so() {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        assert_eq!(probe(&target(address, false)).await, Err(format!("{address}: connection refused")));
    }
}

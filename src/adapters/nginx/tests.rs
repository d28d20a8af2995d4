//! Switches of a real nginx, without anything else of the platform.

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::*;
use crate::core::hostile;
use crate::core::render::{Features, Frame, Listeners, Renderer};
use crate::core::templates::Templates;
use crate::core::testing::frame;
use crate::ports::balancer::Generation;

/// Making many workers takes the master long enough to be met in the middle of it.
const WORKERS: usize = 48;

struct Rig {
    nginx: Nginx,
    features: Features,
    workers: usize,
    root: tempfile::TempDir,
}

impl Rig {
    /// `None` where there is no nginx, which only a laptop may lack.
    fn new() -> Option<Self> {
        Self::with(WORKERS)
    }

    fn with(workers: usize) -> Option<Self> {
        let found = match find(std::path::Path::new("nginx")) {
            Ok(found) => found,
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "{why}");
                eprintln!("SKIPPED: {why}");
                return None;
            }
        };
        let root = tempfile::tempdir().unwrap();
        let features = found.features();
        let limits = Limits::with(&[("leaving_workers".to_owned(), 1)].into()).unwrap();
        let nginx = Nginx::new(found, root.path().join("nginx"), workers, 512, limits).unwrap();
        Some(Self { nginx, features, workers, root })
    }

    fn generation(&self, number: u64) -> Generation {
        let folder = self.root.path().join("nginx");
        let (folder, workers) = (folder.display(), self.workers);
        let main = format!(
            "worker_processes {workers};\nworker_rlimit_nofile 1024;\npid {folder}/nginx.pid;\n\
             error_log {folder}/verdicts.log notice;\nevents {{ worker_connections 512; }}\n\
             http {{ access_log off; error_log {folder}/error.log error; server {{ listen unix:{folder}/status.sock;\n\
             location = /generation {{ return 200 \"{number}\\n\"; }} }} }}\n"
        );
        let rendered = Rendered { main, http: String::new() };
        Generation { number, rendered, routes: Default::default(), fingerprint: number }
    }

    async fn switch_to(&self, number: u64) {
        self.nginx.reach(&self.generation(number)).await.unwrap();
        self.nginx.settle(number).await.unwrap();
    }

    /// What every one of many connections is answered, each by the worker that happens to accept it.
    async fn answers(&self) -> Vec<Option<u64>> {
        let socket = self.nginx.folder.status_socket();
        let mut answers = Vec::new();
        for _ in 0..20 {
            let asked = (0..16).map(|_| status::generation(&socket));
            answers.extend(futures_util::future::join_all(asked).await);
        }
        answers.sort();
        answers.dedup();
        answers
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The master may be making workers while the first are killed.
        for _ in 0..10_000 {
            let left = process::orphans(&self.nginx.folder);
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|process| _ = process.signal(Signal::SIGKILL));
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_switch_is_settled_when_every_worker_is_of_its_generation() {
    let Some(rig) = Rig::new() else { return };
    for number in 1..=8 {
        rig.switch_to(number).await;
        assert_eq!(rig.answers().await, [Some(number)]);
    }
}

#[tokio::test]
async fn an_nginx_in_the_middle_of_a_switch_is_adopted_at_its_end() {
    let Some(rig) = Rig::new() else { return };
    rig.switch_to(1).await;
    for number in 2..=8 {
        // As far as a supervisor gets that is killed then.
        rig.nginx.folder.write(&rig.generation(number)).unwrap();
        rig.nginx.folder.make_current(number).unwrap();
        assert!(rig.nginx.master().unwrap().process().signal(Signal::SIGHUP));
        let found = rig.nginx.adopt().await.unwrap().unwrap();
        assert_eq!((found.generation, found.last), (number, number));
        assert_eq!(rig.answers().await, [Some(number)]);
    }
}

#[tokio::test]
async fn the_number_of_a_generation_that_nginx_was_never_told_of_is_not_given_out_again() {
    let Some(rig) = Rig::new() else { return };
    rig.switch_to(1).await;
    rig.nginx.folder.write(&rig.generation(2)).unwrap();
    rig.nginx.folder.make_current(2).unwrap();
    let found = rig.nginx.adopt().await.unwrap().unwrap();
    assert_eq!((found.generation, found.last), (1, 2));
}

#[tokio::test]
async fn of_too_many_workers_that_have_connections_yet_the_oldest_end_and_no_other() {
    let Some(rig) = Rig::with(2) else { return };
    let most = 2 * GENERATIONS_LEAVING;
    rig.switch_to(1).await;
    let mut held = Vec::new();
    let mut ended = 0;
    for number in 2..14 {
        // A client that has begun a request, with each of the workers: the next switch leaves them behind.
        for _ in 0..32 {
            let mut client = UnixStream::connect(rig.nginx.folder.status_socket()).await.unwrap();
            client.write_all(b"GET /generation HTTP/1.1\r\nHost: x\r\nX-Half").await.unwrap();
            held.push(client);
        }
        rig.nginx.reach(&rig.generation(number)).await.unwrap();
        ended += rig.nginx.settle(number).await.unwrap();
        let master = rig.nginx.master().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while master.leaving_workers().len() > most {
            assert!(Instant::now() < deadline, "{} are leaving", master.leaving_workers().len());
            sleep(POLL).await;
        }
        assert_eq!(rig.answers().await, [Some(number)]);
    }
    assert!(ended > 0 && !rig.nginx.master().unwrap().leaving_workers().is_empty(), "{ended} were ended");
    let level = rig.nginx.limits.levels().into_iter().find(|level| level.limit.name == "leaving_workers").unwrap();
    assert!(level.held <= most && level.refused == ended as u64, "{level:?}");
}

#[tokio::test]
async fn nginx_has_a_bound_to_its_memory_and_we_have_not() {
    let Some(rig) = Rig::new() else { return };
    rig.switch_to(1).await;
    for process in rig.nginx.master().unwrap().workers() {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
        assert_eq!(line.split_whitespace().nth(3), Some("1073741824"), "{line}");
    }
    let own = std::fs::read_to_string("/proc/self/limits").unwrap();
    assert!(own.lines().any(|line| line.starts_with("Max data size") && line.contains("unlimited")), "{own}");
}

/// What the renderer makes of hostile neighbours, one life after the other.
#[tokio::test]
async fn nginx_takes_what_any_neighbours_leave_behind() {
    let Some(rig) = Rig::new() else { return };
    let folder = rig.root.path().join("nginx").display().to_string();
    // `nginx -t` opens what it is to listen at.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let frame = Frame {
        listen: Listeners { http: vec![port], services: None },
        supervisor: Some(format!("{folder}/supervisor.sock")),
        status: Some(format!("{folder}/status.sock")),
        features: rig.features,
        user: None,
        folder,
        ..frame()
    };
    let renderer = Renderer::new(&Templates::built_in()).unwrap();
    let mut hosts = 0;
    for (n, routes) in hostile::samples(40).iter().enumerate() {
        let rendered = renderer.render(1, &frame, routes).unwrap();
        hosts += rendered.http.matches("server_name").count();
        rig.nginx.check(&rendered).await.unwrap_or_else(|why| panic!("life {n}: {why:?}\n{}", rendered.http));
    }
    assert!(hosts > 200, "{hosts} are hardly a sample");
}

//! Switches of a real nginx, without anything else of the platform.

use nix::sys::signal::Signal;

use super::*;
use crate::core::hostile;
use crate::core::render::{Frame, Listeners, Renderer};
use crate::core::templates::Templates;
use crate::core::testing::frame;
use crate::ports::balancer::Generation;

/// Making many workers takes the master long enough to be met in the middle of it.
const WORKERS: usize = 48;

struct Rig {
    nginx: Nginx,
    root: tempfile::TempDir,
}

impl Rig {
    /// `None` where there is no nginx, which only a laptop may lack.
    fn new() -> Option<Self> {
        let found = match find(std::path::Path::new("nginx")) {
            Ok(found) => found,
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "{why}");
                eprintln!("SKIPPED: {why}");
                return None;
            }
        };
        let root = tempfile::tempdir().unwrap();
        let nginx = Nginx::new(found, root.path().join("nginx"), WORKERS).unwrap();
        Some(Self { nginx, root })
    }

    fn generation(&self, number: u64) -> Generation {
        let folder = self.root.path().join("nginx");
        let folder = folder.display();
        let main = format!(
            "worker_processes {WORKERS};\nworker_rlimit_nofile 1024;\npid {folder}/nginx.pid;\n\
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
        features: rig.nginx.found.features(),
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

//! Names outside the domain: whom this machine asks is followed, and what strangers hold is limited.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use crate::harness::{DEADLINE, Platform, docker_or_skip, request_with};

/// A DNS server on port 53 of a loopback address of this test's own, which says its own address to everything. It
/// ends with the test's process.
fn server(platform: &Platform, number: u8) -> IpAddr {
    let [high, low] = platform.dns.to_be_bytes();
    let address = IpAddr::from([127, high, low, number]);
    let socket = UdpSocket::bind((address, 53)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let name = buffer[12..length].iter().position(|octet| *octet == 0).unwrap_or_default();
            let mut answer = buffer[..12 + name + 5].to_vec();
            answer[2] |= 0x80;
            answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, high, low, number]);
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

async fn until_answered(platform: &Platform, expected: (u8, Vec<String>)) {
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = platform.resolve("outside.example").await;
        if answer == expected {
            return;
        }
        assert!(Instant::now() < end, "{answer:?} and not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn whom_this_machine_asks_is_followed_from_a_boot_without_any() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::new();
    let (first, second, third) = (server(&platform, 1), server(&platform, 2), server(&platform, 3));
    let file = platform.path("host/etc/resolv.conf");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    platform.set("dns.resolv_conf", &file.display().to_string());
    platform.up();
    platform.until("up", |_| true).await;
    until_answered(&platform, (5, Vec::new())).await;
    std::fs::write(&file, "").unwrap();
    std::fs::write(&file, format!("search corp\nnameserver {first}\n")).unwrap();
    until_answered(&platform, (0, vec![first.to_string()])).await;
    // As NetworkManager does, and a VPN: another file in its place; then a link, as the machine means it.
    let new = platform.path("host/etc/resolv.conf.new");
    std::fs::write(&new, format!("nameserver {second}\n")).unwrap();
    std::fs::rename(&new, &file).unwrap();
    until_answered(&platform, (0, vec![second.to_string()])).await;
    std::fs::create_dir_all(platform.path("host/run/net")).unwrap();
    std::fs::write(platform.path("host/run/net/resolv.conf"), format!("nameserver {third}\n")).unwrap();
    symlink("/run/net/resolv.conf", &new).unwrap();
    std::fs::rename(&new, &file).unwrap();
    until_answered(&platform, (0, vec![third.to_string()])).await;
    // Nobody is named while the file is written anew: the last servers are asked.
    std::fs::remove_file(&file).unwrap();
    until_answered(&platform, (0, vec![third.to_string()])).await;
}

/// What the supervisor holds of a resource, by its name in the table of limits.
async fn held(platform: &Platform, resource: &str) -> u64 {
    let token = format!("Authorization: Bearer {}\r\n", platform.token().unwrap());
    let answer = request_with(platform.api_address(), "GET", "localhost", "/metrics", &token, b"").await.unwrap();
    let line = format!("platformer_held{{resource=\"{resource}\"}} ");
    let value = answer.body.lines().find_map(|l| l.strip_prefix(&line)).expect("the resource is not told").to_owned();
    value.parse::<f64>().unwrap() as u64
}

async fn until_held(platform: &Platform, resource: &str, is_right: impl Fn(u64) -> bool) {
    let end = Instant::now() + DEADLINE;
    loop {
        let now = held(platform, resource).await;
        if is_right(now) {
            return;
        }
        assert!(Instant::now() < end, "{now} {resource} are held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Pages of the process that are in memory, in MiB.
fn memory(pid: i32) -> usize {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4 / 1024
}

#[tokio::test]
async fn silent_connections_and_floods_of_outside_names_hold_little_and_leave_nothing() {
    if !docker_or_skip() {
        return;
    }
    let mut platform = Platform::with_demo().await;
    // A server that hears and never answers.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    platform.kill();
    platform.set("dns.upstream", &deaf.local_addr().unwrap().to_string());
    platform.up();
    platform.until_ready("hello", 1).await;
    let before = memory(platform.pid());
    let ours = SocketAddr::from(([127, 0, 0, 1], platform.dns));
    let askers = [2, 3].map(|last| IpAddr::from([127, 0, 0, last]));
    let mut connections = Vec::new();
    for asker in askers {
        for _ in 0..500 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(asker, 0)).unwrap();
            // Some may be let go before they are made.
            connections.extend(socket.connect(ours).await);
        }
    }
    until_held(&platform, "dns_connections", |held| held == 64).await;
    for asker in askers {
        let socket = UdpSocket::bind((asker, 0)).unwrap();
        for n in 0..6000u16 {
            let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5];
            question.extend(format!("{n:05}").bytes());
            question.extend(b"\x07example\0\0\x01\0\x01");
            let _ = socket.send_to(&question, ours);
        }
    }
    until_held(&platform, "dns_forwards", |held| (1..=512).contains(&held)).await;
    assert_eq!(platform.resolve("hello.localhost").await, (0, vec!["127.0.0.1".to_owned()]));
    assert_eq!(platform.get("hello.localhost", "/health").await.status, 200);
    assert!(platform.status().await.is_some(), "the API answers");
    let grown = memory(platform.pid()).saturating_sub(before);
    assert!(grown < 16, "{grown} MiB more are held");
    drop(connections);
    until_held(&platform, "dns_connections", |held| held == 0).await;
    until_held(&platform, "dns_forwards", |held| held == 0).await;
}

/// A machine on a network beside this one, in a network namespace of its own; gone with the value.
struct Neighbour(String);

impl Neighbour {
    /// It reaches this machine, and through it whatever address of ours it likes.
    fn new(platform: &Platform) -> Self {
        let [high, low] = platform.dns.to_be_bytes();
        let (name, here, there) =
            (format!("lan-{}", platform.dns), format!("lh{high}x{low}"), format!("lt{high}x{low}"));
        let neighbour = Self(name.clone());
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &name]);
        ip(&["addr", "add", &format!("10.{high}.{low}.1/24"), "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        ip(&["-n", &name, "addr", "add", &format!("10.{high}.{low}.2/24"), "dev", &there]);
        ip(&["-n", &name, "link", "set", &there, "up"]);
        ip(&["-n", &name, "route", "add", "default", "via", &format!("10.{high}.{low}.1")]);
        neighbour
    }

    /// The response code and the number of answers to a question for an address, over UDP or TCP.
    fn asks(&self, server: &str, name: &str, transport: &str) -> String {
        const ASK: &str = "
import socket, struct, sys
server, name, transport = sys.argv[1:]
labels = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.'))
question = b'\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + labels + b'\\0\\0\\1\\0\\1'
kind = socket.SOCK_STREAM if transport == 'tcp' else socket.SOCK_DGRAM
s = socket.socket(socket.AF_INET, kind)
s.settimeout(20)
s.connect((server, 53))
s.sendall(struct.pack('!H', len(question)) + question if transport == 'tcp' else question)
answer = s.recv(2000)[2 if transport == 'tcp' else 0:]
print(answer[3] & 15, answer[7])
";
        ip(&["netns", "exec", &self.0, "python3", "-c", ASK, server, name, transport])
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // With it goes its end of the pair, and so ours.
        let _ = std::process::Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = std::process::Command::new("ip").args(arguments).output().expect("ip, of the package iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_neighbour_of_this_machine_is_told_no_name_at_the_gateway() {
    if !docker_or_skip() {
        return;
    }
    let platform = Platform::with_demo().await;
    let (neighbour, gateway) = (Neighbour::new(&platform), platform.gateway());
    for name in [&format!("hello.{}", platform.domain()), "outside.example", "1.0.0.127.in-addr.arpa"] {
        for transport in ["udp", "tcp"] {
            assert_eq!(neighbour.asks(&gateway, name, transport), "5 0", "{name} over {transport}");
        }
    }
    let instance = platform.instance("hello", 0).await;
    let found =
        crate::harness::docker(&["exec", &instance, "getent", "ahostsv4", &format!("hello.{}", platform.domain())]);
    assert!(found.contains(&gateway), "our own containers are answered: {found}");
}

//! Names outside the domain: whom this machine asks is followed, and what strangers hold is limited.

use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Platform, docker_or_skip};

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

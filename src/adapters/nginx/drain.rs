//! Whether nginx still has something to do with an instance that it routes nothing new to.
//!
//! Only workers that are shutting down know an instance that the live generation does not name. Besides its
//! connections to the instance such a worker may have clients whose request it has not passed on yet: one that is
//! still sending it, or one on a kept connection. Those may be meant for the instance, so they are waited for too, and
//! so is one for which another instance is being connected to: where that fails, this one is asked next. A client that
//! is being served by another instance (a WebSocket of another app, say) holds nothing up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::process::Process;

/// A line of the kernel's tables of TCP sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    local_port: u16,
    remote: SocketAddr,
    listens: bool,
    /// The other side has not answered yet.
    connects: bool,
}

/// Whether one of the workers that are shutting down may still need the instance at this address.
pub fn is_needed(address: SocketAddr, leaving: &[Process]) -> bool {
    if leaving.is_empty() {
        return false;
    }
    // The workers are read first: a socket that is closed in between is then missing below, and looked for again.
    let held: Vec<_> = leaving.iter().map(|worker| (worker, worker.sockets())).collect();
    let unix = unix_sockets();
    let mut sockets = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        sockets.extend(text.lines().skip(1).filter_map(parse));
    }
    held.into_iter().any(|(worker, inodes)| match inodes {
        Some(inodes) => may_need(address, &inodes, &sockets, &unix),
        // Another user's worker cannot be looked into: it is waited for, to its end.
        None => worker.is_alive(),
    })
}

fn may_need(address: SocketAddr, held: &[u64], sockets: &BTreeMap<u64, Socket>, unix: &BTreeSet<u64>) -> bool {
    let ports: BTreeSet<u16> = sockets.values().filter(|s| s.listens).map(|s| s.local_port).collect();
    let (mut clients, mut upstreams) = (0, 0);
    for inode in held.iter().filter(|inode| !unix.contains(inode)) {
        match sockets.get(inode) {
            // The kernel may leave a line out while it lists: what is not known may be the one that matters.
            None => return true,
            Some(socket) if socket.listens => {}
            Some(socket) if socket.remote == address => return true,
            Some(socket) if ports.contains(&socket.local_port) => clients += 1,
            Some(socket) if socket.connects => {}
            Some(_) => upstreams += 1,
        }
    }
    clients > upstreams
}

/// The inodes of unix sockets (proc(5): the seventh field).
fn unix_sockets() -> BTreeSet<u64> {
    let text = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(6)?.parse().ok()).collect()
}

/// Inode and socket of a line of `/proc/net/tcp` (proc(5)); state 0A is LISTEN, 02 is SYN_SENT.
fn parse(line: &str) -> Option<(u64, Socket)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let socket = Socket {
        local_port: address(fields.get(1)?)?.port(),
        remote: address(fields.get(2)?)?,
        listens: *fields.get(3)? == "0A",
        connects: *fields.get(3)? == "02",
    };
    Some((fields.get(9)?.parse().ok()?, socket))
}

fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each group of 8 digits is one 32-bit word in this machine's byte order.
    let words: Vec<[u8; 4]> = (0..address.len() / 8)
        .filter_map(|i| u32::from_str_radix(address.get(i * 8..i * 8 + 8)?, 16).ok())
        .map(u32::to_ne_bytes)
        .collect();
    let ip = match words.as_slice() {
        [v4] => IpAddr::from(*v4),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (slot, byte) in bytes.iter_mut().zip([a, b, c, d].into_iter().flatten()) {
                *slot = *byte;
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_read_from_the_kernels_table() {
        let line = "   1: 010012AC:C350 020012AC:1F90 01 00000000:00000000 00:00000000 00000000  0 0 77 1";
        let socket = |remote: &str, listens| Socket {
            local_port: 50000,
            remote: remote.parse().unwrap(),
            listens,
            connects: false,
        };
        assert_eq!(parse(line), Some((77, socket("172.18.0.2:8080", false))));
        assert_eq!(parse(&line.replace(" 01 ", " 0A ")), Some((77, socket("172.18.0.2:8080", true))));
        assert!(parse(&line.replace(" 01 ", " 02 ")).unwrap().1.connects);
        let v6 = "0: 0000000000000000FFFF0000010012AC:C350 0000000000000000FFFF0000020012AC:1F90 01 0:0 0:0 0 0 0 77";
        assert_eq!(parse(v6), Some((77, socket("172.18.0.2:8080", false))));
        assert_eq!(parse("  sl  local_address rem_address"), None);
    }

    #[test]
    fn an_instance_is_needed_while_a_request_may_still_reach_it() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (client, other) = (at("10.0.0.9:40000"), at("172.18.0.3:8080"));
        let leaving = at("172.18.0.2:8080");
        let socket = |local_port, remote| Socket { local_port, remote, listens: false, connects: false };
        let sockets = BTreeMap::from([
            (1, Socket { local_port: 80, remote: at("0.0.0.0:0"), listens: true, connects: false }),
            (2, socket(80, client)),
            (3, socket(50_000, other)),
            (4, socket(50_001, leaving)),
            (5, Socket { connects: true, ..socket(50_002, other) }),
        ]);
        let unix = BTreeSet::from([9]);
        let needed = |held: &[u64]| may_need(leaving, held, &sockets, &unix);
        for (held, expected, why) in [
            (&[9][..], false, "nothing but its channel to the master"),
            (&[9, 2, 4], true, "a request under way"),
            (&[4], true, "a connection to it, whoever it is for"),
            (&[9, 2], true, "a client that may be sending its request"),
            (&[9, 2, 3], false, "a client that another instance serves"),
            (&[9, 2, 5], true, "a client for whom another instance is tried first, which may be dead"),
            (&[9, 2, 3, 8], true, "a socket that the kernel did not list"),
        ] {
            assert_eq!(needed(held), expected, "{why}");
        }
    }
}

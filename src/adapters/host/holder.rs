//! Who listens on a port: `/proc/net` for the socket, `/proc/PID/fd` for its process.

use std::fs;
use std::net::SocketAddr;

/// A process that holds a port, as a person would name it.
pub fn holder(address: SocketAddr, protocol: &str) -> Option<String> {
    let inodes: Vec<String> = [protocol.to_owned(), format!("{protocol}6")]
        .into_iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/net/{table}")).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(|line| inode(line, address.port())).collect::<Vec<_>>())
        .collect();
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let pids =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        if files
            .filter_map(|f| fs::read_link(f.path()).ok())
            .any(|target| sockets.iter().any(|s| target.as_os_str() == s.as_str()))
        {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    (!inodes.is_empty()).then(|| "a process that cannot be seen from here".to_owned())
}

/// The inode of a listening TCP socket (state 0A) or bound UDP socket (07) on the port (proc(5)).
fn inode(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let local = fields.get(1)?.rsplit(':').next()?;
    let listens = matches!(*fields.get(3)?, "0A" | "07");
    (listens && u16::from_str_radix(local, 16).ok()? == port).then(|| fields.get(9).map(|f| (*f).to_owned())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = holder(listener.local_addr().unwrap(), "tcp").unwrap();
        assert!(holder.contains(&format!("pid {}", std::process::id())), "{holder}");
    }

    #[test]
    fn a_free_port_has_no_holder() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(holder(address, "tcp"), None);
    }
}

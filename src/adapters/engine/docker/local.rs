//! This machine's own addresses, by which askers on other networks are told from containers.

use std::net::IpAddr;

use nix::sys::socket::SockaddrStorage;

use crate::core::container::Subnet;

pub fn addresses() -> Vec<Subnet> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    interfaces.filter_map(|i| Some(Subnet { base: ip(i.address?)?, prefix: prefix(ip(i.netmask?)?) })).collect()
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

fn prefix(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    ones.try_into().unwrap_or(0)
}

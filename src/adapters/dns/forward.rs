//! Everything outside the domain: hickory's forwarder over the configured servers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::Name;
use hickory_server::resolver::TokioResolver;
use hickory_server::resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_server::store::forwarder::{ForwardConfig, ForwardZoneHandler};
use hickory_server::zone_handler::{Catalog, ZoneHandler};

/// What one server may take, and how often it is asked before the next one.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// Cached answers; some hundred bytes each.
const CACHE: u64 = 4096;
/// No outside answer is kept longer than this, whatever its TTL says.
const LONGEST_TTL: Duration = Duration::from_secs(3600);

/// What looks names outside the domain up for ourselves; `None` where there is no upstream server.
pub fn resolver(upstreams: &[SocketAddr]) -> Result<Option<TokioResolver>, String> {
    if upstreams.is_empty() {
        return Ok(None);
    }
    let config = ResolverConfig::from_parts(None, Vec::new(), upstreams.iter().map(name_server).collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options();
    builder.build().map(Some).map_err(|error| error.to_string())
}

/// A catalog that forwards everything, or one that refuses where there is no upstream server.
pub fn catalog(upstreams: &[SocketAddr]) -> Result<Catalog, String> {
    let mut catalog = Catalog::new();
    if upstreams.is_empty() {
        return Ok(catalog);
    }
    let config = ForwardConfig { name_servers: upstreams.iter().map(name_server).collect(), options: Some(options()) };
    let forwarder = ForwardZoneHandler::builder_tokio(config).with_origin(Name::root()).build()?;
    catalog.upsert(Name::root().into(), vec![Arc::new(forwarder) as Arc<dyn ZoneHandler>]);
    Ok(catalog)
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.cache_size = CACHE;
    options.positive_max_ttl = Some(LONGEST_TTL);
    options.negative_max_ttl = Some(Duration::from_secs(60));
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    options.try_tcp_on_error = true;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    debug_assert!(server.connections.iter().all(|c: &ConnectionConfig| c.port == address.port()));
    server
}

/// The servers to forward to: the configured ones, else those of a `resolv.conf`, never ourselves.
pub fn upstreams(configured: &[SocketAddr], resolv_conf: &str, own: &[SocketAddr]) -> Vec<SocketAddr> {
    let from_file = || {
        resolv_conf.lines().filter(|line| !line.contains("# platformer")).filter_map(|line| {
            let mut words = line.split_whitespace();
            let address: IpAddr = (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()?;
            Some(SocketAddr::new(address, 53))
        })
    };
    let candidates: Vec<_> = if configured.is_empty() { from_file().collect() } else { configured.to_vec() };
    candidates.into_iter().filter(|upstream| !own.iter().any(|own| is_same(own, upstream))).collect()
}

/// Whether a query to `upstream` would arrive at the listener `own`.
fn is_same(own: &SocketAddr, upstream: &SocketAddr) -> bool {
    own.port() == upstream.port()
        && (own.ip() == upstream.ip() || own.ip().is_unspecified() && upstream.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn a_query_is_never_forwarded_to_ourselves() {
        let own = addresses(&["127.0.0.1:53", "172.18.0.1:53"]);
        let file = "search x\nnameserver 127.0.0.1 # platformer\nnameserver 127.0.0.1\nnameserver 9.9.9.9\nnameserver 172.18.0.1\n";
        assert_eq!(upstreams(&[], file, &own), addresses(&["9.9.9.9:53"]));
        assert_eq!(
            upstreams(&addresses(&["127.0.0.1:53", "127.0.0.1:5353"]), file, &own),
            addresses(&["127.0.0.1:5353"])
        );
        assert_eq!(upstreams(&[], "nameserver 127.0.0.53", &addresses(&["0.0.0.0:53"])), []);
    }
}

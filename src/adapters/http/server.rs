//! Accepting connections and handing their requests to a router.
//!
//! axum's own server has no limit for how long a client may take over its head; this is the same loop with one.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;

use super::access::Peer;

/// Who sent a request, by the address of its connection and its headers.
pub type Who<A> = fn(&A, &HeaderMap) -> IpAddr;

/// Serves HTTP/1.1 until `stop` resolves and what was being answered is. A client that takes longer than `patience`
/// over the head of a request, or keeps a connection idle for as long, is cut off.
pub async fn serve<L>(
    mut listener: L,
    router: Router,
    who: Who<L::Addr>,
    patience: Option<Duration>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    L: Listener,
    L::Addr: Send + Sync + 'static,
{
    let (graceful, router) = (GracefulShutdown::new(), TowerToHyperService::new(router));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    tokio::pin!(stop);
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let router = router.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let peer = Peer(who(&address, request.headers()).to_canonical());
            request.extensions_mut().insert(peer);
            router.call(request.map(Body::new))
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    graceful.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn who_never_ends_the_head_of_a_request_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "here" }));
        let patience = Some(Duration::from_millis(50));
        tokio::spawn(serve(listener, router, |from, _| from.ip(), patience, std::future::pending()));
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Half").await.unwrap();
        let mut said = String::new();
        slow.read_to_string(&mut said).await.unwrap();
        assert!(!said.contains("here"), "{said}");
        let mut other = TcpStream::connect(address).await.unwrap();
        other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        other.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("here"), "{said}");
    }
}

//! Accepting connections and handing their requests to a router.
//!
//! axum's own server has no limit for how long a client may take over its head; this is the same loop with one.

use std::convert::Infallible;
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

use crate::adapters::http::route::asker::Peer;
use crate::adapters::http::serve::doors::{Door, Doors};
use crate::adapters::http::serve::hooked::Hooked;

/// Who sent a request, by the address of its connection and its headers.
pub type Who<A> = fn(&A, &HeaderMap) -> IpAddr;

/// Serves HTTP/1.1 until `stop` resolves and what was being answered is. A client that takes longer than `patience`
/// over the head of a request, or keeps a connection idle for as long, is cut off.
pub async fn serve<L>(
    mut listener: L,
    router: Router,
    who: Who<L::Addr>,
    doors: Option<Doors>,
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
        let inside =
            doors.as_ref().map(|doors| doors.enter(who(&address, &HeaderMap::new()).to_canonical())).transpose();
        let inside = match inside {
            Ok(inside) => inside,
            Err(full) => {
                tracing::debug!(%full, "a connection is refused");
                continue;
            }
        };
        let (router, door) = (router.clone(), inside.as_ref().map(|inside| inside.door.clone()));
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let peer = Peer(who(&address, request.headers()).to_canonical());
            request.extensions_mut().insert(peer);
            let (answer, asked) = (router.call(request.map(Body::new)), door.as_ref().map(Door::asked));
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(match asked {
                    // Answered it is when its body has been dropped.
                    Some(asked) => answer.map(|body| {
                        Hooked::body(body, move |_| {
                            let _ = &asked;
                            Ok(())
                        })
                    }),
                    None => answer,
                })
            }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let closed = async {
                match &inside {
                    Some(inside) => inside.door.closed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                },
                () = closed => tracing::debug!("a connection on which nothing was asked makes room"),
            }
        });
    }
    graceful.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::limits::{Limits, Resource};
    use axum::routing::get;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn who_never_ends_the_head_of_a_request_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "here" }));
        let patience = Some(Duration::from_millis(50));
        tokio::spawn(serve(listener, router, |from, _| from.ip(), None, patience, std::future::pending()));
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

    #[tokio::test]
    async fn however_many_begin_a_head_the_next_is_served_and_who_is_answered_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (limits, go) = (Limits::default(), Arc::new(tokio::sync::Notify::new()));
        let waits = go.clone();
        let slow = get(move || async move {
            waits.notified().await;
            "at last"
        });
        let router = Router::new().route("/", get(|| async { "here" })).route("/slow", slow);
        let doors = Some(Doors::new(limits.clone(), Resource::ApiConnection, Duration::ZERO));
        tokio::spawn(serve(listener, router, |from, _| from.ip(), doors, None, std::future::pending()));
        let mut answered = TcpStream::connect(address).await.unwrap();
        answered.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let each = Resource::ApiConnection.limit().each;
        let mut half = Vec::new();
        for _ in 0..each + 50 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nX-Half").await.unwrap();
            half.push(stream);
        }
        let mut said = String::new();
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        next.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("here"), "{said}");
        let held = || limits.levels().into_iter().find(|l| l.limit.resource == Resource::ApiConnection).unwrap().held;
        assert!(held() <= each, "{}", held());
        go.notify_one();
        said.clear();
        answered.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("at last"), "{said}");
        drop((half, next, answered));
        while held() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

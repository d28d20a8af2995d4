//! The DNS server, on sockets of ours.
//!
//! In: zones, swapped by pointer, and the servers to ask. Out: answers. Names of the domain are answered from the zone
//! and never passed on (`quick` for plain questions about addresses, `answer` by hickory for all else); other names
//! go to the upstream servers (`forward`), whose answers are passed on as they come (`relay`).

mod answer;
mod desk;
mod exchange;
mod forward;
mod names;
mod quick;
mod relay;
mod sockets;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod upstreams;
mod wire;

pub use names::Names;
pub use sockets::{BindError, Sockets, bind};
pub use upstreams::{Sources, follow};

use tokio::task::JoinSet;

/// Serves until the returned future is dropped or a socket fails for good, which is its result.
pub async fn serve(sockets: Sockets, names: Names) -> String {
    let mut serving = JoinSet::new();
    for socket in sockets.udp {
        serving.spawn(udp::serve(socket, names.clone()));
    }
    for listener in sockets.tcp {
        serving.spawn(tcp::serve(listener, names.clone()));
    }
    match serving.join_next().await {
        Some(Ok(error)) => error.to_string(),
        Some(Err(error)) => error.to_string(),
        None => "it has no sockets".into(),
    }
}

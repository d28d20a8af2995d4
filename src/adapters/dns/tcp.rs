//! Questions over TCP: one after the other on each connection, and few connections for each asker.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::desk::Done;
use super::names::Names;
use super::wire::Transport;
use crate::ports::limits::Resource;

/// A client that sends no whole question for this long, or does not take its answer, is let go.
const IDLE: Duration = Duration::from_secs(10);
/// No question is longer.
const LONGEST: usize = 4096;
/// Before the next connection is taken, when this one could not be: no file was free, mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers for ever.
pub async fn serve(listener: TcpListener, names: Names) -> io::Error {
    let mut connections = JoinSet::new();
    // What was asked to be listened at, and not where a connection came in: that may be any of ours.
    let at = match listener.local_addr() {
        Ok(address) => address.ip(),
        Err(error) => return error,
    };
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, asker) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "no DNS connection is accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        // Who is over the limit finds its connection closed, which costs us nothing.
        let Ok(held) = names.limits.take(Resource::DnsConnection, asker.ip()) else { continue };
        let names = names.clone();
        connections.spawn(async move {
            let _held = held;
            if let Err(error) = answer_all(stream, asker, at, &names).await {
                tracing::debug!(%error, %asker, "a DNS connection ends");
            }
        });
    }
}

async fn answer_all(mut stream: TcpStream, asker: SocketAddr, at: IpAddr, names: &Names) -> io::Result<()> {
    let (mut text, mut response) = (String::new(), Vec::new());
    while let Some(question) = timeout(IDLE, read(&mut stream)).await?? {
        let done = names.answer_at_once(&question, asker, at, Transport::Tcp, &mut text, &mut response);
        match done {
            Done::Answered => {}
            Done::Elsewhere(room) => names.answer_from_elsewhere(&question, room, Transport::Tcp, &mut response).await,
            Done::Nothing => return Ok(()),
        }
        let length = u16::try_from(response.len()).map_err(io::Error::other)?;
        let whole = [&length.to_be_bytes(), &response[..]].concat();
        timeout(IDLE, stream.write_all(&whole)).await??;
    }
    Ok(())
}

/// `None` at the end of the connection.
async fn read(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        length => usize::from(length?),
    };
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await?;
    Ok(Some(question))
}

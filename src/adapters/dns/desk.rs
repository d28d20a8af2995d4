//! Where every message comes in, over UDP and TCP alike: answered from the zone, or passed on.

use std::net::{IpAddr, SocketAddr};

use super::names::Names;
use super::wire::{self, HEADER, QR, Question, Transport};
use super::{answer, quick};
use crate::core::zone::Reply;
use crate::ports::limits::Held;

/// What became of a message.
#[derive(Debug)]
pub enum Done {
    /// The response is written.
    Answered,
    /// It is a plain question, somebody else knows, and there is room to ask.
    Elsewhere(Held),
    /// Nobody is to be answered: it is no question.
    Nothing,
}

impl Names {
    /// Answers what can be answered without waiting. `at` is the address of ours that was listened at; `text` is room
    /// for a name, so that none is made each time.
    pub(super) fn answer_at_once(
        &self,
        message: &[u8],
        asker: SocketAddr,
        at: IpAddr,
        transport: Transport,
        text: &mut String,
        response: &mut Vec<u8>,
    ) -> Done {
        if message.len() < HEADER || message[2] & QR != 0 {
            return Done::Nothing;
        }
        let zone = self.zone.load();
        let zone = zone.as_deref();
        match zone {
            // Before there is one nobody but this machine can be told from a stranger; who is not answered asks again.
            None if !asker.ip().is_loopback() => return Done::Nothing,
            Some(zone) if !zone.answers(asker.ip(), at) => {
                answer::refuse(message, response);
                return Done::Answered;
            }
            _ => {}
        }
        if let Some(question) = Question::plain(message).filter(|question| question.class() == wire::IN) {
            let reply = zone.map_or(Reply::NotOurs, |zone| {
                wire::spell(wire::labels(question.name()), text);
                zone.lookup(text, answer::query_kind(question.kind()), asker.ip())
            });
            if reply == Reply::NotOurs {
                self.meters.forwarded();
                let room = self.forwarder.answer_at_once(&question, asker.ip(), transport, response);
                return room.map_or(Done::Answered, Done::Elsewhere);
            }
            self.meters.answered();
            if zone.is_some_and(|zone| quick::write(zone, &question, &reply, transport, response)) {
                return Done::Answered;
            }
        }
        match answer::respond(zone, message, asker, transport) {
            Some(written) => {
                *response = written;
                Done::Answered
            }
            None => Done::Nothing,
        }
    }

    /// Asks elsewhere, after [`Done::Elsewhere`].
    pub(super) async fn answer_from_elsewhere(
        &self,
        message: &[u8],
        room: Held,
        transport: Transport,
        response: &mut Vec<u8>,
    ) {
        response.clear();
        if let Some(question) = Question::plain(message) {
            self.forwarder.answer(&question, room, transport, response).await;
        }
    }
}

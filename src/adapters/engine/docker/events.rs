//! Docker's event stream → hints.

use bollard::Docker;
use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use jiff::Timestamp;

use super::connect;
use crate::core::container::ContainerId;
use crate::ports::engine::{EngineError, Hint, Hints};

/// Whatever may change a name, an address, a state or a label. `exec_*`, `attach` and the like do not.
const CONTAINER_ACTIONS: [&str; 10] =
    ["create", "start", "kill", "oom", "pause", "unpause", "rename", "destroy", "update", "restart"];

pub fn hints(client: Docker, place: String) -> Hints {
    let events = client.events(None::<EventsOptions>);
    Box::pin(events.filter_map(move |event| {
        let hint = match event {
            Ok(event) => hint(&event).map(Ok),
            Err(error) => {
                Some(Err(EngineError::Unreachable { place: place.clone(), reason: connect::innermost(&error) }))
            }
        };
        std::future::ready(hint)
    }))
}

fn hint(event: &EventMessage) -> Option<Hint> {
    let action = event.action.as_deref()?;
    let actor = event.actor.as_ref()?;
    let id = || Some(ContainerId(actor.id.as_deref()?.into()));
    let attribute = |name: &str| actor.attributes.as_ref()?.get(name);
    match event.typ? {
        EventMessageTypeEnum::CONTAINER if action == "die" => Some(Hint::Died {
            id: id()?,
            code: attribute("exitCode").and_then(|code| code.parse().ok()).unwrap_or(-1),
            at: Timestamp::from_nanosecond(event.time_nano?.into()).ok()?,
        }),
        EventMessageTypeEnum::CONTAINER
            if CONTAINER_ACTIONS.contains(&action) || action.starts_with("health_status") =>
        {
            Some(Hint::Container(id()?))
        }
        EventMessageTypeEnum::NETWORK if matches!(action, "connect" | "disconnect") => {
            Some(Hint::Container(ContainerId(attribute("container")?.as_str().into())))
        }
        EventMessageTypeEnum::NETWORK if matches!(action, "create" | "destroy" | "remove") => Some(Hint::Everything),
        _ => None,
    }
}

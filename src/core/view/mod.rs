//! What readers see: the platform's state in words and numbers, as the API, the pages and the command line show it.
//!
//! In: the [`World`](crate::core::world::World) and the plan made from it. Out: values that serialise; nothing is
//! decided here.

mod services;
mod status;
mod summary;
mod why;

pub use services::{EndpointStatus, ServiceStatus, services};
pub use status::{
    AppStatus, DeploymentStatus, EngineStatus, Generations, InstanceStatus, Status, SupervisorStatus, status,
};
pub use summary::SourceStatus;
pub use why::{Step, why};

//! Who has which host, path and name: each is given to exactly one holder, here and nowhere else.
//!
//! In: what apps, services and containers wish for, and the ground that is nobody's. Out: [`Grants`], whose parts
//! only this module can make: the balancer renders and the zone answers nothing that was not granted.

mod granted;
mod granting;
mod refusal;
mod reserved;
#[cfg(test)]
mod tests;
mod wish;

pub use granted::{Granted, GrantedName, Grants, Leads};
pub use granting::grant;
pub use refusal::{Refusal, Why};
pub use reserved::{PARTS, own_hosts};
pub use wish::{Ask, Ground, MOST_OF_LABELS, Rank, Wish};

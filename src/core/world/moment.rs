//! Moments that a clock which was set takes along.

use jiff::{SignedDuration, Timestamp};

/// Moves a moment along. One that would leave the calendar stays.
pub(super) fn move_by(moment: &mut Timestamp, by: SignedDuration) {
    if let Ok(moved) = moment.checked_add(by) {
        *moment = moved;
    }
}

//! Answers that wait until visitors get what was decided.

use std::time::Duration;

use tokio::time::timeout;

use crate::adapters::http::context::Context;
use crate::core::decide::Done;
use crate::core::deploy::Kind;
use crate::core::names::AppName;

/// A balancer in trouble is not waited for any longer: the status tells of it.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits until nginx serves what the decision leads to: whoever asks the app then gets no answer of before. A promotion
/// and a swap are waited for as a whole, of a deployment that begins nothing.
pub async fn settled(context: &Context, app: &AppName, done: &Done) {
    let moving = done.deployment.as_ref().filter(|d| d.is_active() && (d.kind == Kind::Swap || d.hurried));
    let served = async {
        if let Some(moving) = moving {
            let is_over = |view: &crate::ports::snapshot::View| {
                let app = view.status.app(app);
                let same = app.filter(|status| status.deployment.as_ref().is_some_and(|d| d.id == moving.id));
                same.is_none_or(|status| status.candidate.as_ref() != Some(&moving.release))
            };
            context.snapshot.until(is_over).await;
        }
        let wanted = context.snapshot.view().status.generation.wanted;
        context.snapshot.until(|view| view.status.generation.have_served(wanted)).await;
    };
    let _ = timeout(LONGEST, served).await;
}

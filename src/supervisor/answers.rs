//! Answers that are held back until readers see what was decided.

use tokio::sync::oneshot;

/// What those who asked are told once the turn is over.
#[derive(Default)]
pub struct Answers {
    told: Vec<Box<dyn FnOnce() + Send>>,
    decided: bool,
}

impl Answers {
    pub fn add<T: Send + 'static, E: Send + 'static>(
        &mut self,
        reply: oneshot::Sender<Result<T, E>>,
        answer: Result<T, E>,
    ) {
        self.decided |= answer.is_ok();
        // He may have gone; what was decided stands.
        self.told.push(Box::new(move || _ = reply.send(answer)));
    }

    /// Whether something was decided that readers do not see yet.
    pub fn have_decided(&self) -> bool {
        self.decided
    }

    pub fn tell(&mut self) {
        self.decided = false;
        self.told.drain(..).for_each(|tell| tell());
    }
}

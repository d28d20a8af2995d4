//! Answers that are refused, or cut while they are under way: by the end of their token, or by others who need the room.

use axum::body::{Body, HttpBody};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::serve::doors::Inside;

/// What is answered to a body as long as it need not make room for another one.
pub async fn with_room(received: Option<Inside>, answer: impl Future<Output = Response>) -> Response {
    let Some(received) = received else { return answer.await };
    tokio::select! {
        response = answer => response,
        () = received.door.closed() => {
            let detail = "its body had not come whole, and made room for another one; send it again";
            refuse(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "made-room", detail))
        }
    }
}

/// What takes long ends with the token it was asked with, be it answered already or not.
pub async fn while_it_stands(
    context: &Context,
    caller: Option<Caller>,
    answer: impl Future<Output = Response>,
) -> Response {
    let Some(caller) = caller else { return answer.await };
    let response = tokio::select! {
        response = answer => response,
        () = context.keyring.outlived(&caller) => return refuse(no_more()),
    };
    // What has a length is at hand, and sent as fast as it is taken.
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let keyring = context.keyring.clone();
    let ended = async move { keyring.outlived(&caller).await };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(ended))))
}

pub fn no_more() -> Problem {
    let detail = "this token is not valid, or not any more; `platformer token create` makes one";
    Problem::new(StatusCode::UNAUTHORIZED, "no-token", detail)
}

/// The problem, with what a client has to know of it.
pub fn refuse(problem: Problem) -> Response {
    match problem.http {
        StatusCode::UNAUTHORIZED => ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response(),
        StatusCode::TOO_MANY_REQUESTS => ([(header::RETRY_AFTER, "60")], problem).into_response(),
        _ => problem.into_response(),
    }
}

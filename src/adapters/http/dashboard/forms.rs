//! Forms that are about no app: uploads, services, keys, tokens.

use std::collections::BTreeMap;

use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form};

use super::pages::{registry_page, repository_page, settings_page};
use crate::adapters::http::api::library;
use crate::adapters::http::api::services;
use crate::adapters::http::api::tokens;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::route::by::By;
use crate::adapters::http::route::by::Vouched;
use crate::core::access::Right;
use crate::core::kv::{self, Op};
use crate::core::names::{AppName, Version};
use crate::core::service::ServiceUrl;

type Fields = BTreeMap<String, String>;

fn field<'f>(fields: &'f Fields, name: &str) -> &'f str {
    fields.get(name).map(|value| value.trim()).unwrap_or_default()
}

/// An artefact; `app` and `version` come before the file.
pub async fn upload(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    form: Multipart,
) -> Result<Response, Problem> {
    match receive(&context, &caller, form).await {
        Ok(()) => Ok(Redirect::to("/repository").into_response()),
        Err(problem) => Ok(repository_page(&context, &caller, Some(problem.detail)).await?.render(problem.http).await),
    }
}

async fn receive(context: &Context, caller: &Caller, mut form: Multipart) -> Result<(), Problem> {
    let cut = |error: axum::extract::multipart::MultipartError| Problem::bad(format!("the form: {error}"));
    let mut texts = Fields::new();
    while let Some(part) = form.next_field().await.map_err(cut)? {
        let name = part.name().unwrap_or_default().to_owned();
        if name != "file" {
            texts.insert(name, part.text().await.map_err(cut)?);
            continue;
        }
        let app = AppName::parse(field(&texts, "app"))?;
        caller.may(Right::Deploy, Some(&app))?;
        let version = Version::parse(field(&texts, "version"))?;
        let file = part.file_name().unwrap_or_default().to_owned();
        library::take(context, &app, &version, &file, part).await?;
        return Ok(());
    }
    Err(Problem::bad("choose a file"))
}

pub async fn registry(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    by: By,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    match change(&context, &by, &fields).await {
        Ok(()) => Ok(Redirect::to("/registry").into_response()),
        Err(problem) => Ok(registry_page(&context, &caller, Some(problem.detail)).render(problem.http).await),
    }
}

async fn change(context: &Context, by: &By, fields: &Fields) -> Result<(), Problem> {
    let (name, value) = (field(fields, "name"), field(fields, "value"));
    match field(fields, "action") {
        "set" => {
            // The form is for those who may do everything.
            services::set(context, by, Vouched(true), name, services::ServiceRequest::at(ServiceUrl::parse(value)?))
                .await
                .map(drop)
        }
        "remove" => services::deregister(context, by, name).await.map(drop),
        "put-key" => {
            let key = kv::key(name).map_err(Problem::bad)?;
            write(context, Op::Set { key, value: value.as_bytes().into(), flags: 0 }).await
        }
        "delete-key" => write(context, Op::Delete(kv::key(name).map_err(Problem::bad)?)).await,
        other => Err(Problem::bad(format!("there is no action {other:?}"))),
    }
}

async fn write(context: &Context, op: Op) -> Result<(), Problem> {
    let refused = |e: crate::ports::kv::KvError| Problem::new(StatusCode::CONFLICT, "not-written", e.to_string());
    context.kv.write(vec![op]).await.map(drop).map_err(refused)
}

pub async fn settings(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let done = match field(&fields, "action") {
        "create" => {
            let expires = Some(field(&fields, "expires")).filter(|text| !text.is_empty());
            tokens::made(&context, &caller, field(&fields, "scope"), expires).map(Some)
        }
        "revoke" => tokens::end_of(&context, field(&fields, "id")).map(|_| None),
        other => Err(Problem::bad(format!("there is no action {other:?}"))),
    };
    let (made, refused, status) = match done {
        Ok(Some(text)) => (Some(text), None, StatusCode::OK),
        Ok(None) => return Ok(Redirect::to("/settings").into_response()),
        Err(problem) => (None, Some(problem.detail), problem.http),
    };
    Ok(settings_page(&context, &caller, made, refused).await.render(status).await)
}

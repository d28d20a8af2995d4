//! The API as the command line uses it: where it is, with which token, and its errors as ours.

use std::path::PathBuf;

use reqwest::{ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::context::{Context, Contexts};
use super::globals::Globals;
use super::output::Failure;
use super::tunnel::{self, Tunnel};
use crate::settings::Settings;
use crate::supervisor::start_command;

pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    /// The state folder of the platform here; `None` where another one is talked to.
    state: Option<PathBuf>,
    /// Who is named in the history.
    user: String,
    /// Open as long as the client is.
    _tunnel: Option<Tunnel>,
}

/// What happens on the platform, as a stream of events.
pub struct News(Response);

impl News {
    /// Resolves when something has happened, or has not for a while; `false` where nothing is told any more.
    pub async fn next(&mut self) -> bool {
        matches!(self.0.chunk().await, Ok(Some(_)))
    }
}

impl Client {
    /// The context that was named; else `PLATFORMER_API` and `PLATFORMER_TOKEN`; else the current context; else the
    /// settings' listener and the state folder's token.
    pub async fn open(globals: &Globals) -> Result<Self, Failure> {
        let api = std::env::var("PLATFORMER_API").ok();
        let context = match (&globals.context, &api) {
            (None, Some(_)) => None,
            (named, _) => Contexts::chosen(named.as_deref())?,
        };
        match context {
            Some(context) => Self::elsewhere(context).await,
            None => Self::here(&globals.settings, api.filter(|_| globals.context.is_none())),
        }
    }

    fn here(settings: &Settings, api: Option<String>) -> Result<Self, Failure> {
        let state = api.is_none().then(|| settings.state.clone());
        let base = api.unwrap_or_else(|| format!("http://{}", settings.listen.api));
        let file = settings.state.join("token");
        let from_file = || std::fs::read_to_string(&file).ok();
        let token = std::env::var("PLATFORMER_TOKEN").ok().or_else(from_file).map(|t| t.trim().to_owned());
        // Certificates are read from the disk only where TLS is spoken: that takes longer than most answers.
        let builder = reqwest::Client::builder().no_proxy();
        let builder = if base.starts_with("https:") { builder } else { builder.tls_certs_only([]) };
        Ok(Self { state, ..Self::build(builder, base, token, None)? })
    }

    async fn elsewhere(context: Context) -> Result<Self, Failure> {
        let url = Url::parse(&context.url).map_err(|e| Failure::failed(format!("{}: {e}", context.url)))?;
        if url.scheme() != "ssh" {
            return Self::build(reqwest::Client::builder(), context.url, context.token, None);
        }
        let token = match context.token {
            Some(token) => token,
            None => tunnel::token(&url).await?,
        };
        let tunnel = tunnel::open(&url).await?;
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]).unix_socket(tunnel.socket.clone());
        Self::build(builder, "http://localhost".into(), Some(token), Some(tunnel))
    }

    fn build(
        builder: ClientBuilder,
        base: String,
        token: Option<String>,
        tunnel: Option<Tunnel>,
    ) -> Result<Self, Failure> {
        let http = builder.build().map_err(|e| Failure::failed(e.to_string()))?;
        let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default();
        let user: String = user.chars().filter(|c| c.is_ascii_graphic()).collect();
        let user = if user.is_empty() { "cli".to_owned() } else { user };
        Ok(Self { http, user, base: base.trim_end_matches('/').to_owned(), token, state: None, _tunnel: tunnel })
    }

    /// Where a browser on this machine reaches it; `None` where only this process does.
    pub fn base(&self) -> Option<&str> {
        self._tunnel.is_none().then_some(self.base.as_str())
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).header("platformer-by", &self.user);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path)).await
    }

    /// The same, read as what it is.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let value = self.get(path).await?;
        serde_json::from_value(value).map_err(|e| Failure::failed(format!("the platform is another version: {e}")))
    }

    /// Begins to listen to what happens on the platform: nothing that happens from then on is missed.
    pub async fn news(&self) -> Result<News, Failure> {
        self.send(self.request(Method::GET, "/v1/events?new")).await.map(News)
    }

    /// Sends and reads JSON.
    pub async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        self.send(request).await?.json().await.map_err(|e| Failure::failed(format!("the answer is no JSON: {e}")))
    }

    /// Sends, and turns every answer that is no success into a failure.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        self.good(request.send().await.map_err(|error| self.unreachable(&error))?).await
    }

    /// The same, with `None` where there is nothing.
    pub async fn find(&self, request: RequestBuilder) -> Result<Option<Response>, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.good(response).await.map(Some),
        }
    }

    async fn good(&self, response: Response) -> Result<Response, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let detail = problem["detail"].as_str().map_or_else(|| format!("{status}: {}", text.trim()), str::to_owned);
        let code = match status {
            StatusCode::CONFLICT => 5,
            StatusCode::BAD_REQUEST => 2,
            _ => 1,
        };
        let failure = Failure::answered(detail, code, problem);
        Err(if status == StatusCode::UNAUTHORIZED { failure.with_remedy(self.way_to_a_token()) } else { failure })
    }

    /// What helps who has no token, or one that opens nothing.
    fn way_to_a_token(&self) -> String {
        let make = "`platformer token create --scope read` makes one for who has none";
        let Some(state) = &self.state else {
            return format!("set PLATFORMER_TOKEN, or give the context one; there, {make}");
        };
        let file = state.join("token");
        let given =
            if std::env::var_os("PLATFORMER_TOKEN").is_some() { "PLATFORMER_TOKEN opens nothing here; " } else { "" };
        match std::fs::read(&file) {
            Ok(_) => format!("{given}{} has the one of this machine; unset PLATFORMER_TOKEN to use it", file.display()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!(
                "{given}the platform that answers at {} keeps its token elsewhere than {}: --set state=FOLDER, or PLATFORMER_TOKEN",
                self.base,
                file.display()
            ),
            Err(_) => format!(
                "{given}{} is for its owner only: use sudo, or have a token made with \
                 `sudo platformer token create --scope read` and put it into PLATFORMER_TOKEN",
                file.display()
            ),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Failure::unreachable(format!("the platform does not answer at {}: {cause}", self.base))
            .with_remedy(self.way_to_a_start())
    }

    /// What starts the platform that does not answer.
    fn way_to_a_start(&self) -> String {
        let Some(state) = &self.state else {
            return "start it there, or name another one with PLATFORMER_API".into();
        };
        format!("`{}` starts it; PLATFORMER_API names another one", start_command(state))
    }
}

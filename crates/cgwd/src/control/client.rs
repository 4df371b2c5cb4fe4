//! The command line's end of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{Action, CONFIG_NAME};
use crate::api;

/// The largest answer taken: far above the status of hundreds of tunnels.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// A daemon that does not answer within this time counts as not reachable.
const TIMEOUT: Duration = Duration::from_secs(5);

type Question = hyper::Request<Full<Bytes>>;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("no daemon answers on {}: {source}; {}", .path.display(), remedy(.source.kind()))]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The conversation broke off, or took too long.
    #[error("the daemon on {} does not answer: {what}; look into its log (journalctl -u cgwd)", .path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        what: String,
    },
    /// The daemon said no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, in the daemon's words.
        message: String,
    },
}

const fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "this user may not reach it: try sudo",
        _ => {
            "is it running (systemctl status cgwd)? A daemon that was started with --socket needs the same --socket here"
        }
    }
}

/// Asks one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// The daemon that listens on `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    /// When the daemon is not reachable, or says no.
    pub async fn status(&self) -> Result<api::Status, Error> {
        self.json(Method::GET, "/v1/status", TIMEOUT).await
    }

    /// `GET /v1/events`; waits up to `wait` for one when there is none after number `after`.
    ///
    /// # Errors
    /// When the daemon is not reachable, or says no.
    pub async fn events(&self, after: u64, wait: Option<Duration>) -> Result<api::Events, Error> {
        let mut path = format!("/v1/events?after={after}");
        if let Some(wait) = wait {
            path.push_str(&format!("&wait={}", wait.as_secs()));
        }
        self.json(Method::GET, &path, TIMEOUT + wait.unwrap_or_default()).await
    }

    /// `GET /v1/overview`, with the events after number `after`.
    ///
    /// # Errors
    /// When the daemon is not reachable, or says no.
    pub async fn overview(&self, after: u64) -> Result<api::Overview, Error> {
        self.json(Method::GET, &format!("/v1/overview?after={after}"), TIMEOUT).await
    }

    /// `GET /v1/routes`.
    ///
    /// # Errors
    /// When the daemon is not reachable, or says no.
    pub async fn routes(&self) -> Result<api::Routes, Error> {
        self.json(Method::GET, "/v1/routes", TIMEOUT).await
    }

    /// `GET /v1/bgp`.
    ///
    /// # Errors
    /// When the daemon is not reachable, or says no.
    pub async fn bgp(&self) -> Result<api::BgpReport, Error> {
        self.json(Method::GET, "/v1/bgp", TIMEOUT).await
    }

    /// `GET /v1/config`: what the daemon makes of its configuration, in words.
    ///
    /// # Errors
    /// When the daemon is not reachable, or says no.
    pub async fn config(&self) -> Result<String, Error> {
        self.text("/v1/config").await
    }

    /// `GET /metrics`.
    ///
    /// # Errors
    /// When the daemon is not reachable, or says no.
    pub async fn metrics(&self) -> Result<String, Error> {
        self.text("/metrics").await
    }

    /// `GET /v1/capture`: a pcapng stream of one tunnel's packets, or of all; it ends after `count` packets.
    ///
    /// # Errors
    /// When the daemon is not reachable, or says no.
    pub async fn capture(&self, tunnel: Option<&str>, count: Option<u64>) -> Result<Incoming, Error> {
        let tunnel = tunnel.map(|tunnel| format!("tunnel={}", percent_encode(tunnel)));
        let query = [tunnel, count.map(|count| format!("count={count}"))];
        let query: Vec<String> = query.into_iter().flatten().collect();
        let request = self.question(Method::GET, &format!("/v1/capture?{}", query.join("&")))?;
        let (status, body) = self.within(TIMEOUT, self.send(request)).await?;
        if status.is_success() {
            return Ok(body);
        }
        let body = self.within(TIMEOUT, self.all_of(body)).await?;
        Err(refused(status, &body))
    }

    /// Does something with a tunnel.
    ///
    /// # Errors
    /// When the daemon is not reachable, or says no.
    pub async fn act(&self, tunnel: &str, action: Action) -> Result<api::Answer, Error> {
        let path = format!("/v1/tunnels/{}/{}", percent_encode(tunnel), action.name());
        self.json(Method::POST, &path, TIMEOUT).await
    }

    /// `POST /v1/reload`; blocks until it is applied. With `brought`, a name and a text, the daemon takes that
    /// instead of reading its file again; with `dry_run` it only says what it would do.
    ///
    /// # Errors
    /// When the daemon is not reachable, or the file was refused.
    pub async fn reload(&self, brought: Option<(&str, &str)>, dry_run: bool) -> Result<api::Answer, Error> {
        let path = if dry_run { "/v1/reload?dry_run=1" } else { "/v1/reload" };
        let mut request = hyper::Request::post(path);
        if let Some((name, _)) = brought {
            request = request.header(CONFIG_NAME, name);
        }
        let text = brought.map_or("", |(_, text)| text).to_owned();
        let request = request.body(Full::from(text)).map_err(|error| self.broken(error.to_string()))?;
        self.json_of(request, TIMEOUT * 6).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        within: Duration,
    ) -> Result<T, Error> {
        self.json_of(self.question(method, path)?, within).await
    }

    fn question(&self, method: Method, path: &str) -> Result<Question, Error> {
        let request = hyper::Request::builder().method(method).uri(path).body(Full::default());
        request.map_err(|error| self.broken(error.to_string()))
    }

    async fn json_of<T: DeserializeOwned>(&self, request: Question, within: Duration) -> Result<T, Error> {
        let (status, body) = self.whole(request, within).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.broken(error.to_string()));
        }
        Err(refused(status, &body))
    }

    async fn text(&self, path: &str) -> Result<String, Error> {
        let (status, body) = self.whole(self.question(Method::GET, path)?, TIMEOUT).await?;
        if status.is_success() {
            return Ok(String::from_utf8_lossy(&body).into_owned());
        }
        Err(refused(status, &body))
    }

    async fn whole(&self, request: Question, limit: Duration) -> Result<(StatusCode, Bytes), Error> {
        let whole = async {
            let (status, body) = self.send(request).await?;
            Ok((status, self.all_of(body).await?))
        };
        self.within(limit, whole).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let late = |_| self.broken(format!("no answer within {} s", limit.as_secs()));
        tokio::time::timeout(limit, answer).await.map_err(late)?
    }

    async fn all_of(&self, body: Incoming) -> Result<Bytes, Error> {
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| self.broken(error.to_string()))?.to_bytes())
    }

    async fn send(&self, mut request: Question) -> Result<(StatusCode, Incoming), Error> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|source| Error::Unreachable { path: self.path.clone(), source })?;
        let broken = |error: hyper::Error| self.broken(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        request.headers_mut().insert(hyper::header::HOST, HeaderValue::from_static("cgwd"));
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((response.status(), response.into_body()))
    }

    fn broken(&self, what: String) -> Error {
        Error::Broken { path: self.path.clone(), what }
    }
}

fn refused(status: StatusCode, body: &[u8]) -> Error {
    let message = serde_json::from_slice::<api::Answer>(body)
        .map_or_else(|_| format!("the daemon answered {status}"), |answer| answer.message);
    Error::Refused { status: status.as_u16(), message }
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' | b':' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

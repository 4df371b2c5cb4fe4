//! The daemon's end of the control socket.

use std::convert::Infallible;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{Action, Brought, CONFIG_NAME, Outcome, Refusal, Request};
use crate::api::Answer;
use crate::capture::Stream;

/// Connections served at the same time; further ones wait in the kernel's backlog.
pub const CONNECTIONS_MAX: usize = 32;
/// Requests waiting for the control loop.
pub const REQUESTS_MAX: usize = 64;
/// A client that does not finish its request's head within this time is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that `GET /v1/events?wait=` blocks.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The largest configuration taken.
const CONFIG_BYTES_MAX: usize = 4 << 20;

type Response = hyper::Response<Either<Full<Bytes>, Stream>>;

/// A bound control socket; its file is removed when dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

/// Why the socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers on it.
    #[error(
        "another cgwd answers on {}; stop it first, or give this one a socket of its own with --socket",
        .0.display()
    )]
    InUse(PathBuf),
    /// The path is taken by something that is no socket.
    #[error("{} exists and is no socket; remove it, or choose another path with --socket", .0.display())]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error("cannot bind the control socket {}: {source}; check the directory, or choose another path with --socket", .path.display())]
    Io {
        /// The path tried.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Server {
    /// Binds `path` with mode 0660; a file left by a killed daemon is replaced.
    ///
    /// # Errors
    /// When another daemon answers there, or the kernel refuses. Must be called within a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let wrap = |source| BindError::Io { path: path.to_owned(), source };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(wrap)?;
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.to_owned()));
            }
            Ok(_) => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(BindError::InUse(path.to_owned()));
                }
                fs::remove_file(path).map_err(wrap)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(wrap)?;
        // Between bind and chmod the umask's mode counts; the peer's uid is checked on every connection anyway.
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(wrap)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until dropped. `newest` tells the newest event's number, for those who follow.
    pub async fn serve(&self, requests: mpsc::Sender<Request>, newest: watch::Receiver<u64>) {
        let own_uid = fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid());
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("control socket: {error}");
                    // Out of descriptors: give others the time to close theirs.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let client = Client { requests: requests.clone(), newest: newest.clone() };
            tokio::spawn(async move {
                converse(stream, client, own_uid).await;
                drop(permit);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves `GET /metrics`, and nothing else, over TCP to whoever asks. Never returns.
pub async fn serve_scrapes(listener: &TcpListener, requests: mpsc::Sender<Request>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let client = Client { requests: requests.clone(), newest: watch::channel(0).1 };
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let client = client.clone();
            async move {
                let known = request.uri().path() == "/metrics" && request.method() == Method::GET;
                Ok::<_, Infallible>(if known {
                    scrape(&client).await
                } else {
                    refusal(&not_here(request.uri().path()))
                })
            }
        });
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!("metrics connection: {error}");
            }
            drop(permit);
        });
    }
}

fn not_here(path: &str) -> Refusal {
    Refusal::not_found(format!("there is no {path} here"))
}

/// The configuration in a request's body, if there is one. What has a name is one also when it is empty: an empty file
/// is an error, not the wish to read another one.
async fn brought(request: hyper::Request<Incoming>) -> Result<Option<Brought>, Refusal> {
    let named = request.headers().get(CONFIG_NAME).cloned();
    let name = named.as_ref().and_then(|name| name.to_str().ok());
    let name = name.unwrap_or("the configuration brought by the client").to_owned();
    let body = Limited::new(request.into_body(), CONFIG_BYTES_MAX).collect().await;
    let body =
        body.map_err(|error| Refusal { status: 400, message: format!("cannot read the body: {error}") })?;
    let text = body.to_bytes();
    Ok((named.is_some() || !text.is_empty())
        .then(|| Brought { name, text: model::Secret::from(text.as_ref()) }))
}

async fn scrape(client: &Client) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    text(ask(client, Request::Metrics).await, kind)
}

fn text(answer: Result<String, Refusal>, kind: &'static str) -> Response {
    match answer {
        Ok(text) => respond(StatusCode::OK, kind, text.into_bytes()),
        Err(stopping) => refusal(&stopping),
    }
}

#[derive(Clone)]
struct Client {
    requests: mpsc::Sender<Request>,
    newest: watch::Receiver<u64>,
}

async fn converse(stream: UnixStream, client: Client, own_uid: u32) {
    let allowed = stream.peer_cred().is_ok_and(|cred| cred.uid() == 0 || cred.uid() == own_uid);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let client = client.clone();
        async move {
            if !allowed {
                let message = "only root and the daemon's own user may use the control socket; try sudo";
                return Ok::<_, Infallible>(refusal(&Refusal { status: 403, message: message.to_owned() }));
            }
            Ok(route(request, client).await)
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("control connection: {error}");
    }
}

async fn route(request: hyper::Request<Incoming>, client: Client) -> Response {
    let uri = request.uri().clone();
    let path = uri.path();
    let query = uri.query().unwrap_or_default();
    let get = request.method() == Method::GET;
    let post = request.method() == Method::POST;
    match path {
        "/v1/status" if get => answered(ask(&client, Request::Status).await),
        "/v1/routes" if get => answered(ask(&client, Request::Routes).await),
        "/v1/bgp" if get => answered(ask(&client, Request::Bgp).await),
        "/v1/capture" if get => capture(query, &client).await,
        "/v1/events" if get => events(query, client).await,
        "/v1/config" if get => text(ask(&client, Request::Config).await, "text/plain; charset=utf-8"),
        "/v1/overview" if get => {
            let after = number(query, "after").unwrap_or(0);
            answered(ask(&client, |reply| Request::Overview { after, reply }).await)
        }
        "/metrics" if get => scrape(&client).await,
        "/v1/reload" if post => match brought(request).await {
            Ok(brought) => {
                let dry_run = parameter(query, "dry_run").is_some_and(|value| value != "0");
                acted(ask(&client, |reply| Request::Reload { brought, dry_run, reply }).await)
            }
            Err(why) => refusal(&why),
        },
        "/v1/status" | "/v1/routes" | "/v1/bgp" | "/v1/capture" | "/v1/config" | "/v1/events"
        | "/v1/overview" | "/metrics" => wrong_method("GET"),
        "/v1/reload" => wrong_method("POST"),
        _ => match tunnel_action(path) {
            Some((tunnel, action)) if post => {
                let ask = ask(&client, |reply| Request::Act { tunnel, action, reply });
                acted(ask.await)
            }
            Some(_) => wrong_method("POST"),
            None => refusal(&not_here(path)),
        },
    }
}

/// The value of `key` in a query, percent escapes and all.
fn parameter<'q>(query: &'q str, key: &str) -> Option<&'q str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}

/// A number in a query.
fn number(query: &str, key: &str) -> Option<u64> {
    parameter(query, key)?.parse().ok()
}

async fn capture(query: &str, client: &Client) -> Response {
    let tunnel = parameter(query, "tunnel").and_then(percent_decode);
    let count = parameter(query, "count").and_then(|count| count.parse().ok());
    match ask(client, |reply| Request::Capture { tunnel, count, reply }).await.and_then(|answer| answer) {
        Ok(stream) => {
            let mut response = Response::new(Either::Right(stream));
            let kind = hyper::header::HeaderValue::from_static("application/x-pcapng");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(why) => refusal(&why),
    }
}

async fn events(query: &str, mut client: Client) -> Response {
    let after = number(query, "after").unwrap_or(0);
    if let Some(seconds) = number(query, "wait") {
        let wait = Duration::from_secs(seconds).min(WAIT_MAX);
        // Out of time is an answer too: an empty list.
        let _ = tokio::time::timeout(wait, client.newest.wait_for(|newest| *newest > after)).await;
    }
    answered(ask(&client, |reply| Request::Events { after, reply }).await)
}

/// `/v1/tunnels/NAME/ACTION`; NAME may contain slashes (`vpn-…/tunnel1`) and percent escapes.
fn tunnel_action(path: &str) -> Option<(String, Action)> {
    let (tunnel, action) = path.strip_prefix("/v1/tunnels/")?.rsplit_once('/')?;
    let action = Action::ALL.into_iter().find(|known| known.name() == action)?;
    Some((percent_decode(tunnel)?, action))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

async fn ask<T>(client: &Client, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Refusal> {
    let stopping = || Refusal { status: 503, message: "the daemon is stopping".to_owned() };
    let (reply, answer) = oneshot::channel();
    client.requests.send(request(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

fn answered<T: Serialize>(answer: Result<T, Refusal>) -> Response {
    match answer {
        Ok(value) => json(StatusCode::OK, &value),
        Err(why) => refusal(&why),
    }
}

fn acted(answer: Result<Outcome, Refusal>) -> Response {
    match answer.and_then(|outcome| outcome) {
        Ok(message) => json(StatusCode::OK, &Answer { ok: true, message }),
        Err(why) => refusal(&why),
    }
}

fn refusal(why: &Refusal) -> Response {
    let status = StatusCode::from_u16(why.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, &Answer { ok: false, message: why.message.clone() })
}

fn wrong_method(allowed: &'static str) -> Response {
    let mut response =
        refusal(&Refusal { status: 405, message: format!("this address takes {allowed} only") });
    response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(allowed));
    response
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    respond(status, "application/json", body)
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_may_be_named_with_its_connection() {
        let parsed = |path| tunnel_action(path).map(|(tunnel, action)| (tunnel, action.name()));
        assert_eq!(parsed("/v1/tunnels/tunnel1/reset"), Some(("tunnel1".to_owned(), "reset")));
        assert_eq!(
            parsed("/v1/tunnels/vpn-0a/tunnel2/rekey-ike"),
            Some(("vpn-0a/tunnel2".to_owned(), "rekey-ike"))
        );
        assert_eq!(parsed("/v1/tunnels/2001%3Adb8::1/drain"), Some(("2001:db8::1".to_owned(), "drain")));
        assert_eq!(parsed("/v1/tunnels/tunnel1/explode"), None);
        assert_eq!(parsed("/v1/tunnels/%4/reset"), None);
    }
}

//! The status page: one read-only page for a browser on this machine, with what `cgwd status --watch` shows.
//!
//! Served from the binary, on `web.listen`, when asked for. It has no button and takes no method but GET; nothing that
//! it shows is secret (no key is in any answer of the control loop), and nothing is fetched from elsewhere. A page of
//! somebody else cannot read it: other origins are refused by the browser, and a name that was made to point here (DNS
//! rebinding) by [`trusted_host`]. Whoever has an account on this machine can read it, as with any loopback port.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::api::{Answer, Overview};
use crate::control::Request;

/// Connections served at the same time; further ones wait in the kernel's backlog.
pub const CONNECTIONS_MAX: usize = 16;
/// Events that one answer carries at most, the newest.
pub const EVENTS_MAX: usize = 50;
/// A client that does not finish its request's head within this time is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that does not take its answer within this time is cut off.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

const PAGE: &str = include_str!("web/page.html");
const SCRIPT: &str = include_str!("web/page.js");
const STYLE: &str = include_str!("web/page.css");
const ICON: &str = include_str!("web/icon.svg");

/// Only our own files, no inline script or style, no frames, no forms; text of peers can never become markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

type Response = hyper::Response<Full<Bytes>>;

/// Serves the page to whoever can connect. Never returns.
pub async fn serve(listener: &TcpListener, requests: mpsc::Sender<Request>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: give others the time to close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let requests = requests.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let requests = requests.clone();
            async move { Ok::<_, Infallible>(answer(&request, &requests).await) }
        });
        tokio::spawn(async move {
            // No keep-alive: a browser would hold a place for minutes that it does not use.
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(HEAD_TIMEOUT + ANSWER_TIMEOUT, served).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("status page: {error}"),
                Err(_) => tracing::debug!("status page: a client was too slow"),
            }
            drop(permit);
        });
    }
}

async fn answer<B>(request: &hyper::Request<B>, requests: &mpsc::Sender<Request>) -> Response {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    // An absolute address in the request line wins over the header (RFC 9112 §3.2.2), so it must be as good.
    let absolute = request.uri().authority().map(hyper::http::uri::Authority::as_str);
    if !named.is_some_and(trusted_host) || !absolute.is_none_or(trusted_host) {
        let text = "The status page answers to an IP address or to localhost only, so that no foreign web page can \
                    reach it by a name of its own.\n";
        return respond(StatusCode::FORBIDDEN, TEXT, text);
    }
    if request.method() != Method::GET {
        let mut response =
            respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "The status page is read-only: GET.\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    match request.uri().path() {
        "/" => respond(StatusCode::OK, "text/html; charset=utf-8", PAGE),
        "/page.js" => respond(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT),
        "/page.css" => respond(StatusCode::OK, "text/css; charset=utf-8", STYLE),
        "/icon.svg" => respond(StatusCode::OK, "image/svg+xml", ICON),
        "/overview.json" => overview(requests).await,
        _ => respond(StatusCode::NOT_FOUND, TEXT, "There is only / here.\n"),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

async fn overview(requests: &mpsc::Sender<Request>) -> Response {
    let (reply, told) = oneshot::channel();
    let asked = requests.send(Request::Overview { after: 0, reply }).await;
    match (asked, told.await) {
        (Ok(()), Ok(overview)) => {
            let body = serde_json::to_vec(&newest(overview)).unwrap_or_default();
            respond(StatusCode::OK, "application/json", body)
        }
        _ => {
            let answer = Answer { ok: false, message: "the daemon is stopping".to_owned() };
            let body = serde_json::to_vec(&answer).unwrap_or_default();
            respond(StatusCode::SERVICE_UNAVAILABLE, "application/json", body)
        }
    }
}

/// The page shows the newest events only.
fn newest(mut overview: Overview) -> Overview {
    let events = &mut overview.events.events;
    events.drain(..events.len().saturating_sub(EVENTS_MAX));
    overview
}

/// Whether a `Host` is one that only a person at this machine would type. DNS rebinding makes the browser send a *name*
/// of the attacker's; addresses and `localhost` cannot be made to point here by somebody else. The port does not
/// matter: it is another one behind `ssh -L`.
pub fn trusted_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
                return false;
            }
            return address.parse::<std::net::Ipv6Addr>().is_ok();
        }
        None => match host.split_once(':') {
            Some((name, port)) if is_port(port) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4())
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;

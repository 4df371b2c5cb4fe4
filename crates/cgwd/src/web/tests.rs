use http_body_util::BodyExt;

use super::*;
use crate::api::{Event, Events, History, Redundancy, STATUS_SCHEMA, Status};

fn told(events: u64) -> Overview {
    let event = |id| Event {
        id,
        time: "2026-08-01T12:00:00.000Z".to_owned(),
        tunnel: None,
        connection: None,
        code: "DAEMON-STARTED".to_owned(),
        text: "started".to_owned(),
        took_ms: None,
    };
    Overview {
        status: Status {
            schema: STATUS_SCHEMA,
            version: "0.1.0".to_owned(),
            uptime_seconds: 1.0,
            redundancy: Redundancy::Full,
            connections: Vec::new(),
        },
        history: History::default(),
        events: Events { events: (1..=events).map(event).collect(), last_id: events },
    }
}

/// One request, answered by a control loop that knows `events` events.
fn ask(method: Method, uri: &str, host: Option<&str>, events: u64) -> (StatusCode, hyper::HeaderMap, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (requests, mut asked) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                let Request::Overview { reply, .. } = request else {
                    panic!("only the overview is asked for")
                };
                reply.send(told(events)).unwrap();
            }
        });
        let mut request = hyper::Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let response = answer(&request.body(()).unwrap(), &requests).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    })
}

#[test]
fn every_answer_forbids_what_the_page_does_not_need() {
    for (method, uri, host) in [
        (Method::GET, "/", Some("127.0.0.1:8470")),
        (Method::GET, "/overview.json", Some("localhost")),
        (Method::GET, "/etc/passwd", Some("localhost")),
        (Method::POST, "/", Some("localhost")),
        (Method::GET, "/", Some("evil.example")),
    ] {
        let (_, headers, _) = ask(method, uri, host, 1);
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{uri}: {policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{uri}");
        assert_eq!(headers["cache-control"], "no-store", "{uri}");
        assert!(!headers.contains_key("access-control-allow-origin"), "{uri}");
    }
}

#[test]
fn the_page_and_its_parts_come_from_here_and_nowhere_else() {
    let (status, _, page) = ask(Method::GET, "/", Some("localhost:8470"), 0);
    assert_eq!(status, StatusCode::OK);
    for part in ["page.js", "page.css", "icon.svg"] {
        assert!(page.contains(&format!("\"/{part}\"")), "{part} is linked");
        let (status, _, text) = ask(Method::GET, &format!("/{part}"), Some("localhost"), 0);
        assert_eq!(status, StatusCode::OK, "{part}");
        let foreign = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("//www") && !foreign.contains("http"), "{part} names another place");
        assert!(!text.contains("innerHTML"), "{part} makes markup of text");
    }
    assert!(!page.contains("http"), "the page names another place");
    assert!(!page.contains("style=") && !page.contains("onload"), "inline parts are against the policy");
}

#[test]
fn it_is_read_only() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH] {
        let (status, headers, _) = ask(method.clone(), "/overview.json", Some("localhost"), 0);
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(headers["allow"], "GET");
    }
    // The control socket's addresses are not here.
    for path in ["/v1/status", "/v1/tunnels/tunnel1/reset", "/v1/reload", "/metrics"] {
        assert_eq!(ask(Method::GET, path, Some("localhost"), 0).0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn a_name_that_was_made_to_point_here_is_refused() {
    for good in
        ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8470", "[::1]:8470", "[::1]", "192.0.2.1:80"]
    {
        assert!(trusted_host(good), "{good}");
    }
    for bad in [
        "",
        "evil.example",
        "evil.example:8470",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8470",
        "localhost:evil",
        "localhost:8470@evil.example",
        "user@127.0.0.1",
        "[::1",
        "[::1].evil.example",
        "[127.0.0.1]",
        "127.0.0.1:",
        "127.0.0.1:99999",
        "::1",
    ] {
        assert!(!trusted_host(bad), "{bad}");
    }
    assert_eq!(ask(Method::GET, "/", Some("evil.example"), 0).0, StatusCode::FORBIDDEN);
    assert_eq!(ask(Method::GET, "/overview.json", None, 0).0, StatusCode::FORBIDDEN);
    let absolute = ask(Method::GET, "http://evil.example/overview.json", Some("localhost"), 0);
    assert_eq!(absolute.0, StatusCode::FORBIDDEN);
}

#[test]
fn the_newest_events_are_told_and_no_more_than_fit() {
    let (status, _, body) = ask(Method::GET, "/overview.json", Some("localhost"), 200);
    assert_eq!(status, StatusCode::OK);
    let overview: Overview = serde_json::from_str(&body).unwrap();
    assert_eq!(overview.events.events.len(), EVENTS_MAX);
    assert_eq!(overview.events.events.last().unwrap().id, 200);
}

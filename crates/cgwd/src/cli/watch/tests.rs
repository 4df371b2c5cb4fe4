use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::draw::screen;
use super::glyphs::{Light, Spark};
use super::view::Page;
use super::*;
use crate::api::{
    self, Connection, Drops, Event as Told, Events, History, Redundancy, Stage, Status, Tunnel,
    TunnelHistory, fixtures,
};

const UNICODE: Look = Look { ascii: false, colour: true };
const ASCII: Look = Look { ascii: true, colour: false };

fn tunnel(name: &str, stage: Stage) -> Tunnel {
    let up = stage == Stage::Up;
    Tunnel {
        inside_ip: Some("169.254.10.2".parse().unwrap()),
        stage,
        since_seconds: 3_000.0,
        egress: up && name == "tunnel1",
        ike: (stage > Stage::Down).then(|| api::Ike {
            spi_i: "00000000deadbeef".to_owned(),
            spi_r: "00000000cafebabe".to_owned(),
            established_seconds: 3_661.0,
            expires_in_seconds: 21_000.0,
            ..fixtures::ike()
        }),
        child: (stage > Stage::Ike).then(|| api::Child {
            spi_in: "c0ffee12".to_owned(),
            spi_out: "1234abcd".to_owned(),
            established_seconds: 61.0,
            rekeys: 7,
            rx_packets: 1_234,
            rx_bytes: 84_000,
            drops: Drops { replay: 3, ..Drops::default() },
            ..fixtures::child()
        }),
        probe: up.then_some(api::Probe { rtt_ms: Some(1.2), loss_ratio: 0.0, sent: 3, received: 3 }),
        bgp: up.then(|| api::Bgp { uptime_seconds: Some(2_000.0), ..fixtures::bgp() }),
        last_error: (!up).then(|| api::LastError {
            code: "IKE-NO-ANSWER".to_owned(),
            text: "no answer to IKE_SA_INIT from 198.51.100.1".to_owned(),
            remedy: "Allow UDP 500.".to_owned(),
            seconds_ago: 40.0,
        }),
        ..fixtures::tunnel(name)
    }
}

fn told(id: u64, code: &str, text: &str) -> Told {
    Told {
        id,
        time: format!("2026-08-01T12:00:{:02}.000Z", id % 60),
        tunnel: Some("tunnel1".to_owned()),
        connection: Some("vpn-0a1b".to_owned()),
        code: code.to_owned(),
        text: text.to_owned(),
        took_ms: Some(2_900.0),
    }
}

/// A BGP connection whose tunnels are at these stages, as many as wanted.
fn overview(stages: &[Stage], last_id: u64) -> Overview {
    let name = |index: usize| format!("tunnel{}", index + 1);
    let past = |index: usize| TunnelHistory {
        connection: "vpn-0a1b".to_owned(),
        tunnel: name(index),
        rtt_ms: (0..100).map(|at| (at % 10 != 9).then_some(f64::from(at % 10))).collect(),
        loss_ratio: vec![Some(0.05); 100],
        rx_bytes_per_second: (0..100).map(|at| f64::from(at) * 1e4).collect(),
        tx_bytes_per_second: vec![0.0; 100],
    };
    let redundancy = crate::tunnel::stage::redundancy([stages]);
    Overview {
        status: Status {
            schema: 1,
            version: "0.1.0".to_owned(),
            uptime_seconds: 4_000.0,
            redundancy,
            connections: vec![Connection {
                id: "vpn-0a1b".to_owned(),
                routing: "bgp".to_owned(),
                tunnels: stages
                    .iter()
                    .enumerate()
                    .map(|(index, stage)| tunnel(&name(index), *stage))
                    .collect(),
            }],
        },
        history: History { interval_seconds: 1.0, tunnels: (0..stages.len()).map(past).collect() },
        events: Events {
            events: (1..=last_id)
                .map(|id| told(id, "EGRESS-MOVED", "traffic moved from tunnel1 to tunnel2"))
                .collect(),
            last_id,
        },
    }
}

fn view(look: Look, stages: &[Stage]) -> View {
    let mut view = View::new(look);
    view.told(Ok(overview(stages, 8)));
    view
}

/// The screen as text, and the terminal to look at its cells.
fn shown(view: &View, width: u16, height: u16) -> (String, Terminal<TestBackend>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen(frame, view)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let text = (0..height).map(|y| {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    (text.collect(), terminal)
}

fn press(view: &mut View, codes: &[KeyCode]) -> Stay {
    codes.iter().map(|code| view.key(KeyEvent::new(*code, KeyModifiers::NONE))).last().unwrap()
}

#[test]
fn eighty_columns_show_both_tunnels_in_full_and_the_last_events() {
    let (text, _) = shown(&view(UNICODE, &[Stage::Up, Stage::Down]), 80, 24);
    for expected in [
        " ◐ degraded: not all tunnels are up",
        "cgwd 0.1.0, running for 1h 06m",
        " vpn-0a1b  BGP",
        "▸ tunnel1 ● IKE ● IPsec ● tunnel ● BGP  up 50m 00s → egress",
        "  tunnel2 ✗ IKE ○ IPsec ○ tunnel ○ BGP  down 50m 00s",
        "IKE-NO-ANSWER (40s ago): no answer to IKE_SA_INIT from 198.51.100.1",
        "IKE 1h 01m old, rekey in 5h 33m · IPsec 1m 01s old, rekey in 40m 00s",
        "BGP Established for 33m 20s: 12 prefixes in, 11 used, 1 out",
        "990.0 kB/s ",
        "12:00:08  tunnel1     EGRESS-MOVED",
        " q quit  enter details",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    assert!(text.contains("▁▂") && text.contains('×'), "a graph with gaps in\n{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn a_small_screen_keeps_every_tunnel_its_lights_and_the_newest_event() {
    let (text, _) = shown(&view(UNICODE, &[Stage::Up, Stage::Ipsec]), 40, 10);
    for expected in ["▸ tunnel1 ●●●● up 50m 00s → egress", "  tunnel2 ●●✗○ ipsec 50m 00s", "12:00:08"]
    {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
}

#[test]
fn a_wide_screen_shows_longer_graphs() {
    let view = view(UNICODE, &[Stage::Up, Stage::Up]);
    let bars = |text: &str| text.chars().filter(|c| ('▁'..='█').contains(c)).count();
    let (narrow, _) = shown(&view, 80, 30);
    let (wide, _) = shown(&view, 220, 30);
    assert!(bars(&wide) > 2 * bars(&narrow), "{wide}");
    assert!(wide.contains("all tunnels are up"));
}

#[test]
fn in_ascii_nothing_else_is_drawn_and_nothing_is_told_by_colour_alone() {
    let mut view = view(ASCII, &[Stage::Up, Stage::Ike]);
    for keys in [&[][..], &[KeyCode::Enter], &[KeyCode::Char('?')]] {
        if !keys.is_empty() {
            press(&mut view, keys);
        }
        let (text, terminal) = shown(&view, 80, 24);
        let beyond: String = text.chars().filter(|c| !c.is_ascii()).collect();
        // Only the legend names the sign of a gap.
        assert!(beyond.is_empty() || view.page == Page::Help { over_one: true }, "{beyond:?} in\n{text}");
        let buffer = terminal.backend().buffer();
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset), "a colour in\n{text}");
    }
    let (text, _) = shown(&self::view(ASCII, &[Stage::Up, Stage::Ike]), 80, 24);
    assert!(text.contains("> tunnel1 + IKE + IPsec + tunnel + BGP"), "{text}");
    assert!(text.contains("  tunnel2 + IKE X IPsec . tunnel . BGP"), "{text}");
}

#[test]
fn no_size_no_page_and_no_state_panics() {
    let mut views = vec![View::new(UNICODE)];
    let mut failed = View::new(UNICODE);
    failed.told(Err("no daemon answers on /run/cgwd/control.sock".to_owned()));
    views.push(failed);
    for look in [UNICODE, ASCII] {
        views.push(view(look, &[]));
        views.push(view(look, &[Stage::Up, Stage::Down]));
        views.push(view(look, &[Stage::Tunnel; 40]));
        let mut old = view(look, &[Stage::Bgp; 2]);
        old.told(Err("gone".to_owned()));
        views.push(old);
    }
    let heights = [0, 1, 2, 3, 4, 5, 10, 24, 60];
    let keys = [KeyCode::End, KeyCode::Enter, KeyCode::PageDown, KeyCode::PageUp, KeyCode::Char('?')];
    for view in &mut views {
        for key in keys {
            press(view, &[key]);
            for width in [0, 1, 2, 5, 17, 18, 19, 39, 63, 64, 80, 300] {
                heights.iter().for_each(|height| drop(shown(view, width, *height)));
            }
        }
    }
}

#[test]
fn the_selected_tunnel_stays_in_sight_however_many_there_are() {
    let mut view = view(UNICODE, &[Stage::Up; 40]);
    press(&mut view, &[KeyCode::End]);
    assert!(shown(&view, 80, 10).0.contains("▸ tunnel40"));
    press(&mut view, &[KeyCode::Home]);
    assert!(shown(&view, 80, 10).0.contains("▸ tunnel1 "));
    press(&mut view, &[KeyCode::Down, KeyCode::Down]);
    assert!(shown(&view, 80, 10).0.contains("▸ tunnel3 "));
}

#[test]
fn details_show_one_tunnel_with_every_fact_the_error_and_the_remedy() {
    let mut view = view(UNICODE, &[Stage::Up, Stage::Ipsec]);
    press(&mut view, &[KeyCode::Down, KeyCode::Enter]);
    let (text, _) = shown(&view, 100, 40);
    for expected in [
        "vpn-0a1b/tunnel2  2 of 2",
        "IKE-NO-ANSWER (40s ago): no answer to IKE_SA_INIT",
        "Remedy: Allow UDP 500.",
        "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384, SPI 00000000deadbeef 00000000cafebabe",
        "UDP 4500, 1m 01s old, rekey in 40m 00s, 7 so far",
        "in 1234 packets, 84.0 kB; out 2 packets, 168 B",
        "auth 0, replay 3, no SA 0",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    assert!(!text.contains("EGRESS-MOVED"), "another tunnel's event in\n{text}");
    press(&mut view, &[KeyCode::Up]);
    assert!(shown(&view, 100, 40).0.contains("EGRESS-MOVED"));
    assert_eq!(press(&mut view, &[KeyCode::Esc]), Stay::Watching);
    assert_eq!(view.page, Page::All);
}

#[test]
fn a_daemon_that_goes_away_leaves_the_old_picture_dim_and_its_return_is_seen() {
    let mut view = view(UNICODE, &[Stage::Up, Stage::Up]);
    view.silent_for(Duration::from_secs(12));
    view.told(Err("no daemon answers on /run/cgwd/control.sock".to_owned()));
    let (text, terminal) = shown(&view, 80, 24);
    assert!(text.contains("✗ cgwd: not reachable for 12s, trying again"), "{text}");
    assert!(text.contains("tunnel1"), "{text}");
    let cell = terminal.backend().buffer()[(3, 2)].clone();
    assert!(cell.modifier.contains(ratatui::style::Modifier::DIM), "{cell:?}");
    assert_eq!(view.exit_status(), 3);
    view.told(Ok(overview(&[Stage::Up, Stage::Down], 2)));
    let (text, _) = shown(&view, 80, 24);
    assert!(!text.contains("not reachable"), "{text}");
    // The new daemon counts its events from the beginning; the old one's are gone.
    assert_eq!(view.events.len(), 2);
    assert_eq!((view.newest_event(), view.exit_status()), (2, 1));
}

#[test]
fn without_an_answer_ever_the_reason_and_the_remedy_fill_the_screen() {
    let mut view = View::new(UNICODE);
    assert!(shown(&view, 80, 10).0.contains("connecting"));
    view.told(Err(
        "no daemon answers on /run/cgwd/control.sock; is it running (systemctl status cgwd)".to_owned()
    ));
    let (text, _) = shown(&view, 80, 10);
    assert!(text.contains("not reachable, trying again"), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("is it running (systemctl status cgwd)"), "{text}");
}

#[test]
fn pause_is_said_and_events_that_came_meanwhile_are_not_lost() {
    let mut view = view(UNICODE, &[Stage::Up, Stage::Up]);
    press(&mut view, &[KeyCode::Char('p')]);
    assert!(view.paused());
    assert!(shown(&view, 80, 24).0.contains("PAUSED"));
    press(&mut view, &[KeyCode::Char(' ')]);
    let mut later = overview(&[Stage::Up, Stage::Up], 10);
    later.events.events.retain(|event| event.id > view.newest_event());
    view.told(Ok(later));
    assert_eq!(view.events.iter().map(|event| event.id).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn quitting_is_easy_and_help_hides_nothing_for_ever() {
    for key in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut view(UNICODE, &[Stage::Up]), &[key]), Stay::Quit);
    }
    let mut watched = view(UNICODE, &[Stage::Up]);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(watched.key(interrupt), Stay::Quit);
    press(&mut watched, &[KeyCode::Enter, KeyCode::Char('?')]);
    let (text, _) = shown(&watched, 80, 24);
    assert!(text.contains("select a tunnel") && text.contains("any key back"), "{text}");
    press(&mut watched, &[KeyCode::Char('x')]);
    assert_eq!(watched.page, Page::One);
}

#[test]
fn the_events_kept_are_bounded() {
    let mut view = view(UNICODE, &[Stage::Up]);
    view.told(Ok(overview(&[Stage::Up], 2_000)));
    assert_eq!(view.events.len(), super::view::EVENTS_MAX);
    assert_eq!(view.events.back().unwrap().id, 2_000);
}

#[test]
fn the_look_follows_terminal_and_locale() {
    assert_eq!(Look::of("xterm-256color", "en_US.UTF-8", false), UNICODE);
    assert_eq!(Look::of("xterm", "C.utf8", true), Look { ascii: false, colour: false });
    assert_eq!(Look::of("xterm", "", true), ASCII);
    assert_eq!(Look::of("xterm", "ja_JP.eucJP", true), ASCII);
    assert!(Look::of("linux", "en_US.UTF-8", false).ascii, "the console lacks the signs");
}

#[test]
fn a_graph_scales_to_its_highest_sample_and_marks_gaps() {
    let samples = [Some(0.0), Some(4.0), None, Some(8.0)];
    let text = |rows: usize, width: usize| -> Vec<String> {
        let spark = Spark { samples: &samples, least: 1.0 };
        let line = |spans: Vec<ratatui::text::Span<'static>>| {
            spans.iter().map(|span| span.content.as_ref()).collect()
        };
        spark.rows(width, rows, UNICODE).into_iter().map(line).collect()
    };
    assert_eq!(text(1, 6), ["  ▁▄×█"]);
    assert_eq!(text(1, 2), ["×█"]);
    assert_eq!(text(2, 4), ["   █", "▁█×█"]);
    let flat = Spark { samples: &[Some(0.1)], least: 1.0 };
    assert_eq!(flat.line(1, UNICODE)[1].content, "▁");
}

#[test]
fn a_fresh_tunnel_is_in_progress_and_one_with_an_old_error_fails() {
    let mut fresh = tunnel("tunnel1", Stage::Ike);
    fresh.since_seconds = 0.5;
    assert_eq!(Light::of(&fresh, true)[1], ("IPsec", Light::InProgress));
    fresh.since_seconds = 60.0;
    assert_eq!(Light::of(&fresh, true)[1], ("IPsec", Light::Failing));
    assert_eq!(Light::of(&fresh, false).len(), 3);
    assert_eq!(overview(&[Stage::Up, Stage::Ike], 0).status.redundancy, Redundancy::Degraded);
}

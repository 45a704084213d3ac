use super::super::draw::draw;
use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

/// A transaction as the agent tells it.
fn said(number: u64, status: u16, path: &str) -> Value {
    json!({
        "type": "transaction", "number": number, "process": "curl", "route": null,
        "line": format!("2026-11-23T10:00:00.001Z curl[42] → GET https://shop.example{path} {status} 12.3 ms"),
        "error": if status >= 500 { Some(status.to_string()) } else { None },
        "payload": {"url": format!("file:///p/{number}"), "digest": "ff", "size": 9, "status": "stored"},
        "document": {
            "metadata": {"process_id": "42", "process_exe": "/usr/bin/curl", "service_name": "shop"},
            "request": {
                "method": "GET", "url": format!("https://shop.example{path}"), "scheme": "https", "path": path,
                "authority": "shop.example", "protocol_version": "1.1",
                "header_list": [["host", "shop.example"], ["authorization", "REDACTED"], ["x-user", "hmac:k1:0123456789abcdef"]],
                "body_size": 0,
            },
            "response": {
                "status": status, "reason": "OK", "header_list": [["content-type", "text/plain"], ["x-odd", "\u{1b}[31mred\u{202e}"]],
                "body": "aGVsbG8K", "body_is_text": true, "body_size": 6,
            },
            "transaction_time": "2026-11-23T10:00:00.001000000Z", "version": 1, "transaction_id": format!("{number:032x}"),
            "trace_id": "ab".repeat(16), "span_id": "cd".repeat(8), "parent_span_id": "ef".repeat(8),
            "level": "full", "rule": "errors", "complete": true, "marks": [], "duration_ns": 12_300_000,
            "request_end_ns": 300_000, "response_start_ns": 10_000_000,
            "connection": {"role": "client", "local": "10.0.0.1:5000", "remote": "10.0.0.2:443"},
        },
    })
}

fn told(value: Value) -> Told {
    serde_json::from_value(value).expect("what the agent tells")
}

fn app(rows: &[(u16, &str)]) -> App {
    let agent = Agent {
        version: "0.1.0".to_owned(),
        pid: 7,
    };
    let mut app = App::new(agent, String::new());
    for (number, (status, path)) in (1..).zip(rows) {
        app.told(told(said(number, *status, path)));
    }
    app
}

fn press(app: &mut App, keys: &str) -> Option<Effect> {
    let mut effect = None;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        effect = app.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    effect
}

/// The screen as text, without what is right of each line's end.
fn screen(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, app)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let cells = (0..width).map(|x| buffer.cell((x, y)).map_or("", |cell| cell.symbol()));
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
}

/// Compares the screen with a file; `PLAINSPAN_TEST_GOLDEN` in the environment writes it anew.
fn assert_golden(app: &App, name: &str, height: u16) {
    let shown = screen(app, 110, height);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/tail/screen/golden");
    let path = std::path::Path::new(folder).join(name);
    if std::env::var_os("PLAINSPAN_TEST_GOLDEN").is_some() {
        std::fs::write(&path, &shown).expect("written");
    }
    let golden = std::fs::read_to_string(&path).expect("a golden screen");
    assert!(
        shown == golden,
        "the screen is\n{shown}\nand was to be\n{golden}"
    );
}

const THREE: [(u16, &str); 3] = [(200, "/cart"), (503, "/pay?token=REDACTED"), (404, "/gone")];

#[test]
fn the_list_has_a_line_for_each_with_the_newest_selected() {
    let mut app = app(&THREE);
    app.missed = 4;
    assert_golden(&app, "list.txt", 8);
    assert_eq!(app.selected, 2);
}

#[test]
fn the_details_have_headers_times_process_peer_trace_payload_level_and_what_was_redacted() {
    let mut app = app(&THREE);
    press(&mut app, "k\n");
    assert_golden(&app, "detail.txt", 46);
}

#[test]
fn an_empty_screen_says_what_will_be_there_and_the_keys_are_told() {
    let mut app = app(&[]);
    press(&mut app, "?");
    assert_golden(&app, "help.txt", 16);
    press(&mut app, "x");
    assert_eq!(app.popup, None);
}

#[test]
fn nothing_captured_reaches_the_terminal_as_a_control_character() {
    let mut app = app(&[]);
    let mut value = said(1, 200, "/\u{1b}]0;x\u{7}");
    value["process"] = "a\u{1b}[2Jb\r\n".into();
    app.told(told(value));
    press(&mut app, "\n");
    let shown = screen(&app, 110, 40);
    assert!(
        !shown.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'),
        "{shown:?}"
    );
    assert!(shown.contains("\\u{1b}[31mred\\u{202e}"), "{shown}");
}

#[test]
fn the_smallest_screens_are_drawn_too() {
    let mut app = app(&THREE);
    for keys in ["", "\n", "?"] {
        press(&mut app, keys);
        for (width, height) in [(1, 1), (3, 2), (10, 3), (40, 5)] {
            screen(&app, width, height);
        }
    }
}

#[test]
fn who_stands_on_the_newest_goes_along_and_who_went_back_stays() {
    let mut app = app(&THREE);
    press(&mut app, "k");
    app.told(told(said(4, 200, "/later")));
    assert_eq!((app.selected, app.rows.len()), (1, 4));
    press(&mut app, "G");
    app.told(told(said(5, 200, "/last")));
    assert_eq!(app.selected, 4);
}

#[test]
fn a_pause_keeps_back_what_comes_and_loses_none_of_it() {
    let mut app = app(&THREE);
    press(&mut app, "p");
    app.told(told(said(4, 200, "/later")));
    app.told(told(json!({"type": "missed", "count": 2})));
    assert_eq!((app.rows.len(), app.waiting(), app.missed), (3, 2, 0));
    assert!(screen(&app, 110, 5).contains("PAUSED, 2 waiting"));
    press(&mut app, "p");
    assert_eq!((app.rows.len(), app.waiting(), app.missed), (4, 0, 2));
}

#[test]
fn the_list_is_bounded_and_the_selection_stays_on_its_transaction() {
    let mut app = app(&[]);
    for number in 0..MAX_ROWS as u64 {
        app.told(told(said(number, 200, "/")));
    }
    app.select(10);
    app.told(told(said(MAX_ROWS as u64, 200, "/")));
    assert_eq!((app.rows.len(), app.selected), (MAX_ROWS, 9));
}

#[test]
fn a_search_goes_round_through_lines_and_headers() {
    let mut app = app(&THREE);
    press(&mut app, "/PAY\n");
    assert_eq!(app.selected, 1);
    press(&mut app, "n");
    assert_eq!(app.selected, 1);
    press(&mut app, "/hmac:k1\n");
    assert_eq!(app.selected, 2);
    press(&mut app, "N");
    assert_eq!(app.selected, 1);
    press(&mut app, "/nowhere\n");
    assert_eq!(app.notice.as_deref(), Some("nothing holds `nowhere`"));
}

#[test]
fn a_filter_is_asked_of_the_agent_and_stays_to_be_mended_where_it_is_refused() {
    let mut app = app(&THREE);
    let effect = press(&mut app, "fhttp.res.status >== 500\n");
    let filter = "http.res.status >== 500".to_owned();
    assert_eq!(effect, Some(Effect::Filter(filter.clone())));
    app.refused(
        filter.clone(),
        "column 18: error: …\n  http.res.status >== 500\n                   ^".to_owned(),
    );
    assert!(screen(&app, 110, 12).contains("column 18"));
    assert_eq!(app.input, Some(Input::Filter(filter)));
    // The rows are still those of the filter before.
    assert_eq!((app.rows.len(), app.filter.as_str()), (3, ""));
    press(&mut app, " \u{1b}");
    app.filtered(app.agent.clone(), "http.res.status >= 500".to_owned());
    assert_eq!((app.rows.len(), app.missed), (0, 0));
    assert!(screen(&app, 110, 5).contains("filter: http.res.status >= 500"));
}

#[test]
fn a_copy_is_a_curl_line_and_is_shown_too() {
    let mut app = app(&THREE);
    let Some(Effect::Copy(line)) = press(&mut app, "c") else {
        panic!("nothing to copy")
    };
    assert!(
        line.starts_with("curl ") && line.contains("https://shop.example/gone"),
        "{line}"
    );
    assert!(
        app.popup
            .as_ref()
            .is_some_and(|popup| popup.text.contains(&line))
    );
}

#[test]
fn what_is_saved_is_an_archive_of_one_or_of_all() {
    let mut app = app(&THREE);
    for (key, name, entries) in [
        ("s", "plainspan-000000000000.har", 1),
        ("S", "plainspan-000000000000-all.har", 3),
    ] {
        let Some(Effect::Save(file, text)) = press(&mut app, key) else {
            panic!("nothing to save")
        };
        let archive: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(file, name);
        assert_eq!(
            archive["log"]["entries"].as_array().map(Vec::len),
            Some(entries)
        );
    }
}

#[test]
fn a_saved_archive_is_for_its_owner_alone_and_replaces_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a.har");
    assert_eq!(har::save(&path, "one").expect("saved"), path);
    let mode = std::fs::metadata(&path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    har::save(&path, "two").expect_err("it is there");
    assert_eq!(std::fs::read_to_string(&path).expect("text"), "one");
}

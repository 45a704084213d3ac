//! The screen, made of what the view holds.

use super::super::attach::Shown;
use super::app::{App, Input};
use super::detail;
use crate::payload::escaped;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table, TableState, Wrap};

const KEYS: &str = " ? keys  f filter  / search  Enter details  p pause  c curl  s HAR  q quit";

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, app: &App) {
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(head(app), top);
    match (app.detail, app.current()) {
        (Some(from), Some(shown)) => {
            let [above, below] =
                Layout::vertical([Constraint::Percentage(35), Constraint::Fill(1)]).areas(middle);
            list(frame, app, above);
            whole(frame, shown, from, below);
        }
        _ => list(frame, app, middle),
    }
    frame.render_widget(foot(app), bottom);
    if let Some(popup) = &app.popup {
        over(frame, popup.title, &popup.text, middle);
    }
}

fn head(app: &App) -> Paragraph<'static> {
    let mut said = vec![format!(
        " plainspan {} (pid {})",
        app.agent.version, app.agent.pid
    )];
    if !app.filter.trim().is_empty() {
        said.push(format!("filter: {}", escaped(app.filter.as_bytes())));
    }
    said.push(format!("{} shown", app.rows.len()));
    if app.missed > 0 {
        said.push(format!("{} missed", app.missed));
    }
    if app.paused {
        said.push(format!("PAUSED, {} waiting", app.waiting()));
    }
    if let Some(why) = &app.over {
        said.push(escaped(why.as_bytes()));
    }
    Paragraph::new(said.join(" │ ")).style(Style::new().add_modifier(Modifier::REVERSED))
}

fn foot(app: &App) -> Line<'static> {
    let typed = |what: &str, text: &str| {
        let text = escaped(text.as_bytes());
        Line::from(format!(" {what}: {text}▏"))
    };
    match (&app.input, &app.notice) {
        (Some(Input::Filter(text)), _) => typed("filter", text),
        (Some(Input::Search(text)), _) => typed("search", text),
        (None, Some(notice)) => Line::from(format!(" {}", escaped(notice.as_bytes()))),
        (None, None) => Line::styled(KEYS, Style::new().fg(Color::DarkGray)),
    }
}

fn list(frame: &mut Frame<'_>, app: &App, area: Rect) {
    if app.rows.is_empty() {
        let waits = "\n  Nothing yet. What processes of this host send and receive from now on is shown here.";
        frame.render_widget(Paragraph::new(waits), area);
        return;
    }
    // Rows that cannot be seen are not made.
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    let first = (app.selected + 1).saturating_sub(height);
    let rows = app.rows.iter().skip(first).take(height).map(row);
    let widths = [
        Constraint::Length(12),
        Constraint::Length(18),
        Constraint::Length(1),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Fill(1),
        Constraint::Length(9),
        Constraint::Length(10),
    ];
    let titles = [
        "time", "process", "", "method", "status", "url", "took", "size",
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(titles).style(Style::new().fg(Color::DarkGray)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(app.selected - first);
    frame.render_stateful_widget(table, area, &mut state);
}

fn row(shown: &Shown) -> Row<'static> {
    let document = &shown.document;
    let time = document.transaction_time.get(11..23).unwrap_or_default();
    let arrow = match document.connection.role.as_str() {
        "server" => "←",
        _ => "→",
    };
    let request = document.request.as_ref();
    let text = |text: Option<&String>| escaped(text.map_or("?", |text| text).as_bytes());
    let size = document.response.as_ref().and_then(|r| r.body_size);
    let pid = &document.metadata.process_id;
    Row::new([
        Cell::from(escaped(time.as_bytes())),
        Cell::from(escaped(format!("{}[{pid}]", shown.process).as_bytes())),
        Cell::from(arrow),
        Cell::from(text(request.map(|r| &r.method))),
        Cell::from(status(shown)),
        Cell::from(text(request.map(|r| &r.url))),
        Cell::from(Text::from(detail::duration(document.duration_ns())).right_aligned()),
        Cell::from(Text::from(size.map(bytes).unwrap_or_default()).right_aligned()),
    ])
}

fn status(shown: &Shown) -> Span<'static> {
    let status = shown.document.response.as_ref().map_or(0, |r| r.status);
    let colour = match (status, &shown.error) {
        (0, _) => Color::Magenta,
        (500.., _) => Color::Red,
        (400.., _) => Color::Yellow,
        (_, Some(_)) => Color::Red,
        _ => Color::Green,
    };
    let text = match status {
        0 => "-".to_owned(),
        status => status.to_string(),
    };
    Span::styled(text, Style::new().fg(colour))
}

fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

fn whole(frame: &mut Frame<'_>, shown: &Shown, from: u16, area: Rect) {
    let lines = detail::lines(shown);
    // The last line stays in sight.
    let most = u16::try_from(lines.len().saturating_sub(1)).unwrap_or(u16::MAX);
    let text = Paragraph::new(lines)
        .block(Block::bordered().title(" details "))
        .wrap(Wrap { trim: false })
        .scroll((from.min(most), 0));
    frame.render_widget(text, area);
}

fn over(frame: &mut Frame<'_>, title: &str, text: &str, area: Rect) {
    let text = crate::payload::escaped_text(text.as_bytes());
    let inner = area.width.saturating_sub(6).max(1);
    let wrapped = |line: &str| line.chars().count() / usize::from(inner) + 1;
    let height: usize = text.lines().map(wrapped).sum();
    let height = u16::try_from(height + 2)
        .unwrap_or(u16::MAX)
        .min(area.height);
    let place = Rect {
        x: area.x + 2.min(area.width),
        y: area.y + 1.min(area.height),
        width: area.width.saturating_sub(4),
        height: height.min(area.height.saturating_sub(1)),
    };
    let shown = Paragraph::new(text)
        .block(Block::bordered().title(format!(" {title} ")))
        .wrap(Wrap { trim: false });
    frame.render_widget(Clear, place);
    frame.render_widget(shown, place);
}

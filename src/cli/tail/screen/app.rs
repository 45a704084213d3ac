//! What the view shows, and what keys do to it. Pure: it has neither terminal nor connection.

use super::super::attach::{Agent, Shown, Told};
use super::{detail, har};
use crate::payload::curl;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::collections::VecDeque;

/// Transactions that are kept; the oldest make room.
const MAX_ROWS: usize = 5000;
/// Bytes of their bodies, at the most.
const MAX_BYTES: usize = 128 << 20;
/// Lines that a page of the list or of the details moves by.
const PAGE: usize = 10;

/// What a key asks for beyond the view.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    Quit,
    /// Other transactions are wanted.
    Filter(String),
    /// To the clipboard.
    Copy(String),
    /// File name and text of an archive.
    Save(String, String),
}

/// What is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Filter(String),
    Search(String),
}

/// A text over the list, until a key is pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Popup {
    pub title: &'static str,
    pub text: String,
}

pub struct App {
    pub agent: Agent,
    pub rows: VecDeque<Shown>,
    bytes: usize,
    /// Place in `rows`.
    pub selected: usize,
    /// The selection stays on the newest.
    pub follows: bool,
    /// The selected one is shown whole, from this line on.
    pub detail: Option<u16>,
    pub input: Option<Input>,
    pub popup: Option<Popup>,
    pub filter: String,
    pub search: String,
    /// One line, until the next key.
    pub notice: Option<String>,
    /// What comes is kept back.
    pub paused: bool,
    held: VecDeque<Told>,
    /// Came too fast to be shown, or too much while paused.
    pub missed: u64,
    /// Why nothing comes any more.
    pub over: Option<String>,
}

impl App {
    pub fn new(agent: Agent, filter: String) -> App {
        App {
            agent,
            rows: VecDeque::new(),
            bytes: 0,
            selected: 0,
            follows: true,
            detail: None,
            input: None,
            popup: None,
            filter,
            search: String::new(),
            notice: None,
            paused: false,
            held: VecDeque::new(),
            missed: 0,
            over: None,
        }
    }

    /// So many wait for the end of the pause.
    pub fn waiting(&self) -> usize {
        self.held.len()
    }

    pub fn current(&self) -> Option<&Shown> {
        self.rows.get(self.selected)
    }

    pub fn told(&mut self, told: Told) {
        match told {
            told if self.paused && self.held.len() < MAX_ROWS => self.held.push_back(told),
            Told::Transaction(_) if self.paused => self.missed += 1,
            Told::Transaction(shown) => self.push(*shown),
            Told::Missed { count } => self.missed = self.missed.saturating_add(count),
        }
    }

    fn push(&mut self, shown: Shown) {
        self.bytes += size(&shown);
        self.rows.push_back(shown);
        while self.rows.len() > MAX_ROWS || self.bytes > MAX_BYTES && self.rows.len() > 1 {
            let Some(oldest) = self.rows.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
            self.selected = self.selected.saturating_sub(1);
        }
        if self.follows {
            self.selected = self.rows.len() - 1;
        }
    }

    pub fn ended(&mut self, why: String) {
        self.over = Some(why);
    }

    pub fn notice(&mut self, notice: String) {
        self.notice = Some(notice);
    }

    /// Another filter is in force: the agent shows what fits of the recent ones again.
    pub fn filtered(&mut self, agent: Agent, filter: String) {
        let search = std::mem::take(&mut self.search);
        *self = App {
            search,
            ..App::new(agent, filter)
        };
    }

    pub fn refused(&mut self, filter: String, why: String) {
        self.input = Some(Input::Filter(filter));
        self.popup = Some(Popup {
            title: "this filter cannot be used",
            text: why,
        });
    }

    /// What the key does; an effect is for the caller.
    pub fn key(&mut self, key: KeyEvent) -> Option<Effect> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return Some(Effect::Quit);
        }
        self.notice = None;
        if self.popup.take().is_some() {
            return None;
        }
        if let Some(input) = self.input.take() {
            return self.typed(input, key, control);
        }
        match key.code {
            KeyCode::Char('q') => return Some(Effect::Quit),
            KeyCode::Char('?') => self.help(),
            KeyCode::Char('f') => self.input = Some(Input::Filter(self.filter.clone())),
            KeyCode::Char('/') => self.input = Some(Input::Search(String::new())),
            KeyCode::Char('n') => self.find(true),
            KeyCode::Char('N') => self.find(false),
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Char('c') => return self.copy(),
            KeyCode::Char('s') => return self.save(false),
            KeyCode::Char('S') => return self.save(true),
            KeyCode::Enter => self.detail = self.current().map(|_| 0),
            KeyCode::Esc => self.detail = None,
            code => self.go(code),
        }
        None
    }

    /// Keys that move.
    fn go(&mut self, code: KeyCode) {
        match (code, &mut self.detail) {
            (KeyCode::PageDown, Some(line)) => *line = line.saturating_add(PAGE as u16),
            (KeyCode::PageUp, Some(line)) => *line = line.saturating_sub(PAGE as u16),
            (KeyCode::Char('j') | KeyCode::Down, _) => self.select(self.selected + 1),
            (KeyCode::Char('k') | KeyCode::Up, _) => self.select(self.selected.saturating_sub(1)),
            (KeyCode::PageDown, None) => self.select(self.selected + PAGE),
            (KeyCode::PageUp, None) => self.select(self.selected.saturating_sub(PAGE)),
            (KeyCode::Char('g') | KeyCode::Home, _) => self.select(0),
            (KeyCode::Char('G') | KeyCode::End, _) => self.select(usize::MAX),
            _ => {}
        }
    }

    /// Who stands on the newest goes along with what comes.
    fn select(&mut self, place: usize) {
        let last = self.rows.len().saturating_sub(1);
        self.selected = place.min(last);
        self.follows = self.selected == last;
        self.detail = self.detail.map(|_| 0);
    }

    fn typed(&mut self, input: Input, key: KeyEvent, control: bool) -> Option<Effect> {
        let change = |text: &mut String| match key.code {
            KeyCode::Backspace => _ = text.pop(),
            KeyCode::Char('u') if control => text.clear(),
            KeyCode::Char(c) if !control => text.push(c),
            _ => {}
        };
        match (input, key.code) {
            (_, KeyCode::Esc) => None,
            (Input::Filter(text), KeyCode::Enter) => Some(Effect::Filter(text)),
            (Input::Search(text), KeyCode::Enter) => {
                self.search = text;
                self.find(true);
                None
            }
            (Input::Filter(mut text), _) => {
                change(&mut text);
                self.input = Some(Input::Filter(text));
                None
            }
            (Input::Search(mut text), _) => {
                change(&mut text);
                self.input = Some(Input::Search(text));
                None
            }
        }
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused {
            for told in std::mem::take(&mut self.held) {
                self.told(told);
            }
        }
    }

    /// Selects the next one, or the one before, whose line or headers hold what is searched for.
    fn find(&mut self, forward: bool) {
        let wanted = self.search.to_lowercase();
        if wanted.is_empty() {
            return;
        }
        let len = self.rows.len();
        let places = (1..=len).map(|step| match forward {
            true => (self.selected + step) % len,
            false => (self.selected + len - step) % len,
        });
        let holds = |place: &usize| {
            let row = self.rows.get(*place);
            row.is_some_and(|row| detail::holds(row, &wanted))
        };
        match places.into_iter().find(holds) {
            Some(place) => self.select(place),
            None => self.notice(format!("nothing holds `{}`", self.search)),
        }
    }

    fn copy(&mut self) -> Option<Effect> {
        let line = match curl::line(&self.current()?.document) {
            Ok(line) => line,
            Err(error) => {
                self.notice(format!("no curl line: {error}"));
                return None;
            }
        };
        let notes = line.notes.iter().map(|note| format!("\n# {note}"));
        self.popup = Some(Popup {
            title: "copied",
            text: format!("{}{}", line.text, notes.collect::<String>()),
        });
        Some(Effect::Copy(line.text))
    }

    /// The selected one, or all that are listed.
    fn save(&mut self, all: bool) -> Option<Effect> {
        let current = &self.current()?.document;
        let id: String = current.transaction_id.chars().take(12).collect();
        // A name that leads nowhere else, whatever the agent says.
        let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
        let (name, text) = match all {
            true => {
                let documents = self.rows.iter().map(|row| &row.document);
                (format!("plainspan-{id}-all.har"), har::archive(documents))
            }
            false => (
                format!("plainspan-{id}.har"),
                har::archive(std::iter::once(current)),
            ),
        };
        match text {
            Ok(text) => Some(Effect::Save(name, text)),
            Err(error) => {
                self.notice(format!("no archive: {error}"));
                None
            }
        }
    }

    fn help(&mut self) {
        self.popup = Some(Popup {
            title: "keys",
            text: HELP.to_owned(),
        });
    }
}

const HELP: &str = "\
j k ↑ ↓ PgUp PgDn g G   move; G goes along with what comes
Enter, Esc              details, back to the list (PgUp PgDn scroll)
f                       filter, in the rule language (`plainspan rules fields`)
/ n N                   search in lines and headers, next, previous
p, space                pause, go on
c                       copy as curl line
s, S                    save as HAR: this one, all that are listed
q, Ctrl-C               end";

fn size(shown: &Shown) -> usize {
    let document = &shown.document;
    let messages = [&document.request, &document.response];
    let content = messages.into_iter().flatten().map(|m| m.content().len());
    content.sum::<usize>() + 2048
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;

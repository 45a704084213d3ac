//! The view on a terminal: a list, the selected transaction in detail, a line of input.
//!
//! Enters: keys, and what the agent tells. Leaves: a screen; what is copied, to the terminal's clipboard (OSC 52); HAR
//! files. [`app`] holds what is shown and decides on keys, [`draw`] and [`detail`] make it visible; both are pure. Here is
//! the terminal, and the thread that listens to the agent.

mod app;
mod detail;
mod draw;
mod har;

use super::attach::{AttachError, Attached, Told};
use super::{TailArgs, TailError};
use app::{App, Effect};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// How long keys are waited for before the agent's news are looked at again.
const BEAT: Duration = Duration::from_millis(50);
/// Messages of the agent that wait for the screen; behind them the agent waits, and counts.
const WAITING: usize = 256;
/// Terminals take no more than this at once into the clipboard.
const MAX_COPY: usize = 74_000;

/// Runs until its user ends it.
pub fn run(args: &TailArgs) -> Result<(), TailError> {
    let (listener, mut app) = {
        let attached = Attached::new(&args.socket, &args.filter, true)?;
        let app = App::new(attached.agent.clone(), args.filter.clone());
        (Listener::start(attached).map_err(TailError::Terminal)?, app)
    };
    let mut terminal = ratatui::try_init().map_err(TailError::Terminal)?;
    let ended = follow(&mut terminal, &mut app, listener, &args.socket);
    ratatui::restore();
    ended.map_err(TailError::Terminal)
}

fn follow(
    terminal: &mut DefaultTerminal,
    app: &mut App,
    mut listener: Listener,
    socket: &Path,
) -> io::Result<()> {
    loop {
        listener.tell(app);
        terminal.draw(|frame| draw::draw(frame, app))?;
        if !event::poll(BEAT)? {
            continue;
        }
        let effect = match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => app.key(key),
            _ => None,
        };
        match effect {
            None => {}
            Some(Effect::Quit) => return Ok(()),
            Some(Effect::Filter(filter)) => watch(app, &mut listener, socket, filter),
            Some(Effect::Copy(text)) => copy(app, &text)?,
            Some(Effect::Save(name, archive)) => match har::save(Path::new(&name), &archive) {
                Ok(path) => app.notice(format!("saved {}", path.display())),
                Err(error) => app.notice(format!("cannot save {name}: {error}")),
            },
        }
    }
}

/// Asks for what fits another filter; the one before stays where it cannot be used.
fn watch(app: &mut App, listener: &mut Listener, socket: &Path, filter: String) {
    let started = Attached::new(socket, &filter, true).and_then(|attached| {
        let agent = attached.agent.clone();
        let started = Listener::start(attached).map_err(|source| AttachError::Io {
            path: socket.into(),
            source,
        });
        Ok((started?, agent))
    });
    match started {
        Ok((started, agent)) => {
            *listener = started;
            app.filtered(agent, filter);
        }
        Err(error) => app.refused(filter, error.to_string()),
    }
}

fn copy(app: &mut App, text: &str) -> io::Result<()> {
    if text.len() > MAX_COPY {
        app.notice("too long for the clipboard: select it on the screen".to_owned());
        return Ok(());
    }
    let mut out = io::stdout();
    write!(out, "\x1b]52;c;{}\x07", STANDARD.encode(text))?;
    out.flush()
}

/// What the agent's connection gives.
enum News {
    Told(Told),
    Ended(String),
}

/// The thread that reads the agent's connection, which ends when this is dropped.
struct Listener {
    news: Receiver<News>,
    stream: UnixStream,
}

impl Listener {
    fn start(attached: Attached) -> io::Result<Listener> {
        let (sender, news) = sync_channel(WAITING);
        let stream = attached.stream()?;
        let thread = std::thread::Builder::new().name("listener".to_owned());
        thread.spawn(move || listen(attached, &sender))?;
        Ok(Listener { news, stream })
    }

    /// Gives all that is there to the view.
    fn tell(&self, app: &mut App) {
        for _ in 0..WAITING {
            match self.news.try_recv() {
                Ok(News::Told(told)) => app.told(told),
                Ok(News::Ended(why)) => app.ended(why),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // An end that came before this one is as good.
        if let Err(error) = self.stream.shutdown(Shutdown::Both) {
            tracing::debug!(%error, "the connection had ended");
        }
    }
}

fn listen(mut attached: Attached, sender: &SyncSender<News>) {
    let mut line = String::new();
    loop {
        let news = match attached.line(&mut line) {
            Ok(true) => attached.read(&line).map(News::Told),
            Ok(false) => Ok(News::Ended("the agent has stopped".to_owned())),
            Err(error) => Err(error),
        };
        let news = news.unwrap_or_else(|error| News::Ended(error.to_string()));
        let last = matches!(news, News::Ended(_));
        // Nobody listens any more: another filter is in force.
        if sender.send(news).is_err() || last {
            return;
        }
    }
}

//! The feed over a local socket, for `plainspan tail`: lines of JSON.
//!
//! Enters: one line of a viewer, a [`Watch`]. Leaves: one line that says hello or why not ([`Reply`]), then a line for
//! each transaction, and for what was missed.
//! Holds: the socket is the agent's own user's alone (mode 0600), and who connects must be that user or root, whatever
//! mode the file has got; a viewer that says nothing is let go.

use super::{Feed, Message, Refused, Subscription, VERSION, Watch};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A viewer that does not say in this time what it wants is let go.
const PATIENCE: Duration = Duration::from_secs(5);
/// A viewer's line: a filter, at most.
const MAX_LINE: u64 = 256 << 10;

/// The first line that a viewer gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Reply {
    Hello {
        version: u32,
        /// The agent's own version.
        agent: String,
        pid: u32,
    },
    Refused(Refused),
}

impl Reply {
    /// Of this agent.
    pub fn hello() -> Reply {
        Reply::Hello {
            version: VERSION,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        }
    }
}

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another agent serves {0}")]
    Taken(PathBuf),
    #[error("{0} is there and no socket; it is left as it is")]
    NoSocket(PathBuf),
    #[error("{path}: cannot {action}: {source}")]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
}

/// Serves until it is dropped, and removes its socket then.
pub struct Server {
    path: PathBuf,
    /// Device and inode of the socket.
    file: (u64, u64),
    task: JoinHandle<()>,
}

impl Server {
    /// Makes the socket, and the folder of it where there is none.
    ///
    /// # Errors
    /// When it cannot be made, or another agent serves there.
    pub fn start(path: &Path, feed: &Feed, runtime: &Handle) -> Result<Server, SocketError> {
        let io = |action| {
            move |source| SocketError::Io {
                path: path.to_owned(),
                action,
                source,
            }
        };
        if let Some(folder) = path.parent() {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(folder);
            made.map_err(io("make its folder"))?;
        }
        remove_stale(path)?;
        let listener = {
            let _runtime = runtime.enter();
            UnixListener::bind(path).map_err(io("make the socket"))?
        };
        // Until then nobody else gets in either: who connects is asked for below.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))
            .map_err(io("close it to others"))?;
        let meta = std::fs::symlink_metadata(path).map_err(io("look at it"))?;
        Ok(Server {
            path: path.to_owned(),
            file: identity(&meta),
            task: runtime.spawn(serve(listener, feed.clone())),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // Another agent may have made its own since.
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|m| identity(&m) == self.file);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the socket of the live feed stays");
        }
    }
}

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Removes the socket of an agent that is gone.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let io = |action| {
        move |source| SocketError::Io {
            path: path.to_owned(),
            action,
            source,
        }
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at it")(error)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(SocketError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Taken(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(io("remove what an agent before left"))
        }
        Err(error) => Err(io("ask who serves there")(error)),
    }
}

async fn serve(listener: UnixListener, feed: Feed) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let feed = feed.clone();
                tokio::spawn(async move {
                    if let Err(error) = attend(stream, &feed).await {
                        tracing::debug!(%error, "a viewer's connection ended early");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others may free some.
                tracing::warn!(%error, "the live feed could not accept a viewer");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether this user may watch: root, and who the agent runs as.
fn may_watch(uid: u32) -> bool {
    // SAFETY: geteuid has no arguments, touches no memory and cannot fail.
    uid == 0 || uid == unsafe { libc::geteuid() }
}

async fn attend(stream: UnixStream, feed: &Feed) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let (reader, mut writer) = stream.into_split();
    if !may_watch(peer.uid()) {
        let reason = "only root, and the user that the agent runs as, may watch";
        let refused = Reply::Refused(Refused::because(reason));
        tracing::warn!(
            uid = peer.uid(),
            pid = peer.pid(),
            "a viewer was refused: {reason}"
        );
        return send(&mut writer, &refused).await;
    }
    let mut reader = BufReader::new(reader);
    let watched = match tokio::time::timeout(PATIENCE, request(&mut reader)).await {
        Ok(watch) => watch?.and_then(|watch| feed.watch(&watch)),
        Err(_) => return Err(ErrorKind::TimedOut.into()),
    };
    let subscription = match watched {
        Ok(subscription) => subscription,
        Err(refused) => return send(&mut writer, &Reply::Refused(refused)).await,
    };
    tracing::info!(uid = peer.uid(), pid = peer.pid(), "a viewer attached");
    send(&mut writer, &Reply::hello()).await?;
    let ended = follow(subscription, reader, writer).await;
    tracing::info!(uid = peer.uid(), pid = peer.pid(), "a viewer left");
    ended
}

/// What the viewer wants.
async fn request(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Result<Watch, Refused>> {
    let mut line = String::new();
    reader.take(MAX_LINE).read_line(&mut line).await?;
    if !line.ends_with('\n') {
        return Ok(Err(Refused::because("the filter is too long")));
    }
    let unread = |error: serde_json::Error| {
        Refused::because(format!("what the viewer asks for cannot be read: {error}"))
    };
    Ok(serde_json::from_str(&line).map_err(unread))
}

async fn send(writer: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

/// Sends until the agent stops or the viewer goes.
async fn follow(
    mut subscription: Subscription,
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    let mut rest = [0; 64];
    loop {
        let message = tokio::select! {
            message = subscription.next() => message,
            // It has nothing more to say: it went, or is no viewer of this version.
            _ = reader.read(&mut rest) => return Ok(()),
        };
        match message {
            None => return Ok(()),
            Some(Message::Transaction(json)) => {
                writer.write_all(&json).await?;
                writer.write_all(b"\n").await?;
            }
            Some(Message::Missed(count)) => {
                let line = format!("{{\"type\":\"missed\",\"count\":{count}}}\n");
                writer.write_all(line.as_bytes()).await?;
            }
        }
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;

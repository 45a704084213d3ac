//! Records of the kernel's rings and event files: what is understood is what was written.

use super::input::Input;
use plainspan::event::build::encode;
use plainspan::event::record::{Reader, Writer};
use plainspan::event::{Event, decode};

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    if input.byte() & 1 == 0 {
        record(input.0);
    } else {
        file(input.0);
    }
}

/// A record that is understood is the same when it is written again.
fn record(record: &[u8]) {
    let Ok(event) = decode(record) else { return };
    let again = encode(&event);
    assert!(again.len() <= record.len(), "no byte was made up");
    let event = shorter(event);
    assert_eq!(decode(&again), Ok(event));
}

/// The encoder ends texts with a NUL, the kernel may leave it out.
fn shorter(event: Event<'_>) -> Event<'_> {
    let Event::Exec(mut exec) = event else {
        return event;
    };
    exec.comm = &exec.comm[..exec.comm.len().min(15)];
    exec.path = &exec.path[..exec.path.len().min(255)];
    Event::Exec(exec)
}

/// The records of a file, written again, are the file's beginning.
fn file(file: &[u8]) {
    let Ok(mut reader) = Reader::new(file) else {
        return;
    };
    let mut writer = Writer::new(Vec::new()).expect("a vector takes all");
    let whole = loop {
        match reader.read() {
            Ok(Some((ring, bytes))) => {
                record(bytes);
                writer.write(ring, bytes).expect("a vector takes all");
            }
            Ok(None) => break true,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break false;
            }
        }
    };
    let written = writer.finish().expect("flushed");
    // The header's last bytes have no meaning.
    assert!(file[16..].starts_with(&written[16..]));
    assert!(!whole || written.len() == file.len());
}

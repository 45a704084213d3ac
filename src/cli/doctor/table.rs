//! The tables of processes and libraries, from the JSON of verdicts. Pure.

use super::host::plain;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

/// Whether it is done, or would be.
#[derive(Clone, Copy)]
pub struct Words {
    pub runs: bool,
}

impl Words {
    fn state(self, state: &str) -> &str {
        match (state, self.runs) {
            ("attached" | "attached_through" | "captured", false) => "would be captured",
            ("attached" | "attached_through" | "captured", true) => "captured",
            ("captured_in_part", false) => "would be in part",
            ("captured_in_part", true) => "captured in part",
            ("failed" | "not_captured", _) => "not captured",
            ("waiting", _) => "waiting",
            ("no_tls", _) => "no TLS found",
            ("filtered", _) => "left out by filters",
            (other, _) => other,
        }
    }
}

/// A line for each process: its number, what becomes of it, its program, and how.
pub fn processes(verdicts: &Value, words: Words, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let libraries: HashMap<(u64, u64), &Value> = list(verdicts, "libraries")
        .iter()
        .filter_map(|library| Some((file(library)?, library)))
        .collect();
    let mut rows = vec![["PID", "STATE", "PROGRAM", "TLS"].map(str::to_owned)];
    let mut without = 0;
    for process in list(verdicts, "processes") {
        let state = text(process, "state");
        if state == "no_tls" && !all {
            without += 1;
            continue;
        }
        let of = list(process, "libraries").iter().filter_map(file);
        let files: Vec<&Value> = of.filter_map(|f| libraries.get(&f).copied()).collect();
        let mut how: Vec<String> = files.iter().map(|library| what(library)).collect();
        // A library says it better, where there is one.
        if how.is_empty() {
            how.extend(process.get("reason").map(plain));
        }
        rows.push([
            process.get("pid").map(plain).unwrap_or_default(),
            words.state(&state).to_owned(),
            clean(&text(process, "exe")),
            how.join("; "),
        ]);
    }
    writeln!(out, "Processes")?;
    print(&rows, out)?;
    if without > 0 {
        writeln!(
            out,
            "  {without} more have no TLS that was found; --all shows them. What they say in the clear is captured."
        )?;
    }
    Ok(())
}

/// A line for each file with TLS in it.
pub fn libraries(verdicts: &Value, words: Words, out: &mut dyn Write) -> io::Result<()> {
    let mut rows = vec![["STATE", "FILE", "TLS", "PROBES"].map(str::to_owned)];
    for library in list(verdicts, "libraries") {
        let state = text(library, "state");
        let mut tls = stacks(library);
        let reason = library.get("reason").map(plain);
        let through = library.get("through").map(plain);
        tls.extend(reason);
        tls.extend(through.map(|path| format!("through {path}")));
        rows.push([
            words.state(&state).to_owned(),
            clean(&text(library, "path")),
            clean(&tls.join("; ")),
            probes(library),
        ]);
    }
    writeln!(out, "Files with TLS")?;
    print(&rows, out)
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    let list = value.get(key).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).map(plain).unwrap_or_default()
}

/// Names of files come from their users, who may put what moves a terminal's cursor in them.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn file(value: &Value) -> Option<(u64, u64)> {
    let number = |key: &str| value.get(key)?.as_u64();
    Some((number("device")?, number("inode")?))
}

/// `OpenSSL 3.0 or later`, or the name of the family.
fn stacks(library: &Value) -> Vec<String> {
    let stack = |stack: &Value| {
        let (name, version) = (text(stack, "name"), text(stack, "version"));
        match version.is_empty() {
            true => name,
            false if name == "go" => format!("Go crypto/tls, {version}"),
            false if name == "rustls" => format!("{name} {version}"),
            false => version,
        }
    };
    list(library, "stacks").iter().map(stack).collect()
}

/// `OpenSSL 3.0 or later in /usr/lib/…/libssl.so.3 (internal, exported)`, or why not.
fn what(library: &Value) -> String {
    let stacks = stacks(library).join(", ");
    let path = text(library, "path");
    let detail = match library.get("reason").map(plain) {
        Some(reason) => reason,
        None => methods(library).join(", "),
    };
    clean(format!("{stacks} in {path} ({detail})").trim_start())
}

/// How its places were found.
fn methods(library: &Value) -> Vec<String> {
    let stacks = list(library, "stacks").iter();
    let targets = stacks.flat_map(|stack| list(stack, "targets"));
    let methods: BTreeSet<String> = targets.map(|t| text(t, "method")).collect();
    let words = methods.into_iter().map(|method| method.replace('_', " "));
    words.collect()
}

/// `4 internal, exported, 1 single-stepped`.
fn probes(library: &Value) -> String {
    let stacks = list(library, "stacks").iter();
    let targets: Vec<&Value> = stacks.flat_map(|s| list(s, "targets")).collect();
    if targets.is_empty() {
        return "-".to_owned();
    }
    let slow = targets.iter().filter(|t| t["emulated"] == false).count();
    let mut said = vec![format!("{} {}", targets.len(), methods(library).join(", "))];
    if slow > 0 {
        said.push(format!("{slow} single-stepped"));
    }
    said.join(", ")
}

/// Columns as wide as their widest cell; the last one as it comes.
fn print(rows: &[[String; 4]], out: &mut dyn Write) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    for [a, b, c, d] in rows {
        let [wa, wb, wc] = widths;
        let line = format!("  {a:<wa$}  {b:<wb$}  {c:<wc$}  {d}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdicts() -> Value {
        json!({
            "libraries": [
                {"path": "/usr/lib/libssl.so.3", "device": 1, "inode": 10, "state": "attached", "found": "directory",
                 "stacks": [{"name": "openssl", "version": "OpenSSL 3.0 or later", "targets": [
                    {"symbol": "SSL_read", "method": "internal", "emulated": true},
                    {"symbol": "SSL_free", "method": "exported", "emulated": false}]}]},
                {"path": "/mnt/libssl.so.3", "device": 2, "inode": 10, "state": "attached_through",
                 "through": "/usr/lib/libssl.so.3", "stacks": [{"name": "openssl", "targets": []}]},
                {"path": "/opt/own\u{1b}[2J", "device": 1, "inode": 11, "state": "failed", "reason": "not known",
                 "stacks": [{"name": "unknown", "targets": []}]},
            ],
            "processes": [
                {"pid": 7, "exe": "/usr/sbin/nginx", "state": "captured", "libraries": [{"device": 1, "inode": 10}]},
                {"pid": 8, "exe": "/opt/own", "state": "not_captured", "reason": "a library of it is not captured",
                 "libraries": [{"device": 1, "inode": 11}]},
                {"pid": 9, "exe": "/bin/sh", "state": "no_tls", "libraries": []},
                {"pid": 10, "exe": "sshfs", "state": "not_captured", "reason": "its file system did not answer",
                 "libraries": []},
            ],
        })
    }

    fn shown(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).expect("a Vec takes all");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn each_process_has_a_line_with_how_or_why_not() {
        let words = Words { runs: true };
        let text = shown(|out| processes(&verdicts(), words, false, out));
        let want = "\
Processes
  PID  STATE         PROGRAM          TLS
  7    captured      /usr/sbin/nginx  OpenSSL 3.0 or later in /usr/lib/libssl.so.3 (exported, internal)
  8    not captured  /opt/own         unknown in /opt/own?[2J (not known)
  10   not captured  sshfs            its file system did not answer
  1 more have no TLS that was found; --all shows them. What they say in the clear is captured.
";
        assert_eq!(text, want);
        let all = shown(|out| processes(&verdicts(), words, true, out));
        assert!(all.contains("9    no TLS found  /bin/sh"), "{all}");
    }

    #[test]
    fn each_file_has_a_line_with_its_probes() {
        let text = shown(|out| libraries(&verdicts(), Words { runs: false }, out));
        let want = "\
Files with TLS
  STATE              FILE                  TLS                                     PROBES
  would be captured  /usr/lib/libssl.so.3  OpenSSL 3.0 or later                    2 exported, internal, 1 single-stepped
  would be captured  /mnt/libssl.so.3      openssl; through /usr/lib/libssl.so.3   -
  not captured       /opt/own?[2J          unknown; not known                      -
";
        let squeeze = |t: &str| {
            let lines = t
                .lines()
                .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(squeeze(&text), squeeze(want));
    }

    #[test]
    fn verdicts_of_another_shape_give_empty_tables_and_no_panic() {
        for value in [
            json!(null),
            json!([]),
            json!({"processes": [1, {}], "libraries": [{}]}),
        ] {
            let words = Words { runs: true };
            let text = shown(|out| processes(&value, words, true, out));
            assert!(text.starts_with("Processes"));
            assert!(shown(|out| libraries(&value, words, out)).starts_with("Files"));
        }
    }
}

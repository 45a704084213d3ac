//! Part of the build script: compiles the classes and the library that a JVM is given.
//!
//! Enters: `agent/*.java`, `native/tap.c`. Leaves: `$OUT_DIR/java/libplainspan-jsse.so`, which has the classes inside.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const AGENT: &str = "src/probe/java/agent";
const NATIVE: &str = "src/probe/java/native";

/// What the sources are compiled for: the oldest Java whose JSSE is known.
const JAVA: &str = "11";

/// Compiles all.
pub fn build(out: &Path) -> Result<(), String> {
    for path in [AGENT, NATIVE, "src/probe/java/build.rs"] {
        println!("cargo:rerun-if-changed={path}");
    }
    for variable in ["JAVA_HOME", "CC"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let out = out.join("java");
    let classes = out.join("classes");
    if classes.exists() {
        fs::remove_dir_all(&classes).map_err(|e| told(&classes, &e))?;
    }
    fs::create_dir_all(&classes).map_err(|e| told(&classes, &e))?;
    let home = compile_classes(&classes)?;
    write_header(&classes, &out.join("classes.h"))?;
    compile_library(&home, &out)
}

/// Gives the folder of the JDK that was used, which has the headers too.
fn compile_classes(out: &Path) -> Result<PathBuf, String> {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    let javac = match home {
        Some(home) => Path::new(&home).join("bin/javac"),
        None => in_path("javac").ok_or_else(|| missing("javac is not there"))?,
    };
    let javac = fs::canonicalize(&javac).map_err(|e| missing(&told(&javac, &e)))?;
    let home = javac.parent().and_then(Path::parent);
    let home = home.ok_or_else(|| missing("javac is in no JDK"))?;
    let mut command = Command::new(&javac);
    command
        .args(["-source", JAVA, "-target", JAVA, "-g:none", "-nowarn"])
        .args(["-Xlint:-options", "-XDstringConcat=inline"])
        // The classes become part of java.base, where JSSE's own are.
        .arg(format!("--patch-module=java.base={AGENT}"))
        .arg("-d")
        .arg(out)
        .args(files(Path::new(AGENT), "java")?);
    run(&mut command, &missing("javac cannot be run"))?;
    Ok(home.to_owned())
}

/// The classes as constants of C, in the order of their names.
fn write_header(classes: &Path, header: &Path) -> Result<(), String> {
    let mut text = String::from("/* Written by the build. */\n");
    let mut table = String::new();
    let dir = classes.join("sun/security/ssl");
    for (index, path) in files(&dir, "class")?.iter().enumerate() {
        let bytes = fs::read(path).map_err(|e| told(path, &e))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let list = list.join(",");
        let wrote = writeln!(
            text,
            "static const unsigned char class_{index}[] = {{{list}}};"
        )
        .and_then(|()| {
            writeln!(
                table,
                "\t{{\"sun/security/ssl/{name}\", class_{index}, sizeof(class_{index})}},"
            )
        });
        wrote.map_err(|e| e.to_string())?;
    }
    let kind = "static const struct { const char *name; const unsigned char *bytes; int size; }";
    text.push_str(&format!("{kind} classes[] = {{\n{table}}};\n"));
    fs::write(header, text).map_err(|e| told(header, &e))
}

fn compile_library(home: &Path, out: &Path) -> Result<(), String> {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "gcc".into());
    let include = |dir: &Path| format!("-I{}", dir.display());
    let mut command = Command::new(compiler);
    command
        .args(["-O2", "-fPIC", "-shared", "-nostdlib", "-ffreestanding"])
        .args(["-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"])
        // Nothing that a libc would have to give.
        .arg("-fno-stack-protector")
        .args(["-fcf-protection=none", "-fno-asynchronous-unwind-tables"])
        .args([
            "-Wl,--build-id=sha1",
            "-Wl,-Bsymbolic,-z,noexecstack,-z,now,-z,defs",
        ])
        .arg("-Wl,-soname,libplainspan-jsse.so")
        .arg(include(out))
        .arg(include(&home.join("include")))
        .arg(include(&home.join("include/linux")))
        .args(files(Path::new(NATIVE), "c")?)
        .arg("-o")
        .arg(out.join("libplainspan-jsse.so"));
    run(
        &mut command,
        "the library for JVMs is compiled with gcc: install it (Debian: apt install gcc libc6-dev), or set CC",
    )
}

fn run(command: &mut Command, help: &str) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{program} failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("cannot run {program}: {error}. {help}")),
    }
}

fn missing(what: &str) -> String {
    format!(
        "{what}. The part that captures Java is compiled with a JDK of version 11 or later: install one (Debian, Ubuntu: \
         apt install openjdk-17-jdk-headless; or make deps), set JAVA_HOME to it, or build without that part \
         (cargo build --no-default-features)"
    )
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The files of a folder whose names end so, in order.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|e| told(dir, &e))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Result<Vec<PathBuf>, _> = paths.collect();
    let mut paths = paths.map_err(|e| told(dir, &e))?;
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    paths.sort();
    Ok(paths)
}

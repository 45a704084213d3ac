//! Compiles the kernel programs and generates their skeletons.

use libbpf_cargo::SkeletonBuilder;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each becomes one object and one skeleton, `$OUT_DIR/NAME.skel.rs`.
const OBJECTS: [&str; 1] = ["plainspan"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    if let Err(problem) = build() {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let clang = clang()?;
    let out = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through cargo")?;
    for name in OBJECTS {
        let source = Path::new("bpf").join(format!("{name}.bpf.c"));
        SkeletonBuilder::new()
            .source(&source)
            .clang(&clang)
            .clang_args([
                "-Ibpf",
                "-mcpu=v3",
                "-Wall",
                "-Wextra",
                // libbpf's BPF_PROG names a context that most programs do not use.
                "-Wno-unused-parameter",
                "-Werror",
            ])
            .build_and_generate(PathBuf::from(&out).join(format!("{name}.skel.rs")))
            .map_err(|e| format!("cannot build {}: {e:#}", source.display()))?;
    }
    Ok(())
}

fn clang() -> Result<PathBuf, String> {
    let clang = std::env::var_os("CLANG").map_or_else(|| PathBuf::from("clang"), PathBuf::from);
    match Command::new(&clang).arg("--version").output() {
        Ok(out) if out.status.success() => Ok(clang),
        Ok(out) => Err(format!(
            "{} --version failed: {}",
            clang.display(),
            String::from_utf8_lossy(&out.stderr)
        )),
        Err(e) => Err(format!(
            "cannot run {}: {e}. The kernel programs are compiled with clang 14 or later: install it \
             (Debian, Ubuntu: apt install clang; Fedora: dnf install clang; or make deps), or set CLANG to its path.",
            clang.display()
        )),
    }
}

//! Compiles the kernel programs and generates their skeletons, and what a JVM is given.

#[path = "src/probe/java/build.rs"]
mod java;

use libbpf_cargo::SkeletonBuilder;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each becomes one object and one skeleton, `$OUT_DIR/NAME.skel.rs`.
const OBJECTS: [&str; 1] = ["plainspan"];

/// What the results of a scan depend on: those of another scanner are not taken from the cache on disk.
const SCANNER: [&str; 4] = [
    "src/probe/elf.rs",
    "src/probe/elf",
    "src/probe/target.rs",
    "Cargo.lock",
];

/// Offset and prime of the FNV-1a hash of 64 bits.
const FNV: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    for path in SCANNER {
        println!("cargo:rerun-if-changed={path}");
    }
    let scanner = SCANNER
        .iter()
        .try_fold(FNV, |hash, path| digest(Path::new(path), hash));
    match scanner {
        Ok(hash) => println!("cargo:rustc-env=PLAINSPAN_SCANNER={hash:016x}"),
        Err(error) => {
            eprintln!("cannot read the sources of the scanner: {error}");
            std::process::exit(1);
        }
    }
    if let Err(problem) = build() {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let out = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through cargo")?;
    let out = PathBuf::from(out);
    kernel_programs(&out)?;
    match std::env::var_os("CARGO_FEATURE_JAVA") {
        Some(_) => java::build(&out),
        None => Ok(()),
    }
}

fn kernel_programs(out: &Path) -> Result<(), String> {
    let clang = clang()?;
    for name in OBJECTS {
        let source = Path::new("bpf").join(format!("{name}.bpf.c"));
        SkeletonBuilder::new()
            .source(&source)
            // A test looks at it.
            .obj(out.join(format!("{name}.bpf.o")))
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
            .build_and_generate(out.join(format!("{name}.skel.rs")))
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

/// FNV-1a over the files at and below `path`, in the order of their names.
fn digest(path: &Path, hash: u64) -> std::io::Result<u64> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path)?;
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        return paths.iter().try_fold(hash, |hash, path| digest(path, hash));
    }
    let bytes = std::fs::read(path)?;
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
    Ok(bytes.iter().fold(hash, mix))
}

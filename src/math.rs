//! `log` and `pow` of C's mathematics library, in Rust.
//!
//! The standard library leaves both to the system's libm, and they are all that this program would load it for. Here they
//! come with the program, which so needs libc and libgcc_s alone.

// SAFETY: name and signature are those of C's `log` (C11 §7.12.6.7), which is what callers of this symbol expect.
#[unsafe(no_mangle)]
extern "C" fn log(x: f64) -> f64 {
    libm::log(x)
}

// SAFETY: name and signature are those of C's `pow` (C11 §7.12.7.4), which is what callers of this symbol expect.
#[unsafe(no_mangle)]
extern "C" fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}

//! Recorded event files.

//! Lines on stdout.

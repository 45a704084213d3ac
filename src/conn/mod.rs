//! Connections and their streams.
//!
//! Enters: kernel events. Leaves: raw transactions, and the fate of each connection.
//! Holds: no I/O and no clock (time comes with the events); memory is bounded for each connection and in all;
//! any cutting of the bytes into events gives the same transactions.

//! Payloads: one object a transaction in an object store.

//! OTLP: spans and log records to a collector.

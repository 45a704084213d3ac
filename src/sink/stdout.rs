//! Lines on stdout.
use super::{Delivery, Sink, otlp};
use crate::config::AccessLogs;
use crate::telemetry::Ledger;
pub enum Form {
    Line,
}
impl Form {
    pub fn of_event_store() -> Form {
        Form::Line
    }
    pub fn of_access_logs(_: AccessLogs) -> Form {
        Form::Line
    }
}
pub struct StdoutSink {
    name: std::sync::Arc<str>,
    ledger: Ledger,
}
impl StdoutSink {
    pub fn start(id: &str, _form: Form, ledger: Ledger) -> std::io::Result<StdoutSink> {
        Ok(StdoutSink {
            name: format!("{id}/stdout").into(),
            ledger,
        })
    }
    pub async fn drain(&self, _: std::time::Instant) {}
}
impl Sink for StdoutSink {
    fn offer(&self, d: Delivery) {
        println!("{} {:?}", otlp::encode::line(&d.capture), d.link);
        let claim = super::claim::Claim::offered(&self.ledger, &self.name, d.ticket);
        claim.exported();
    }
}

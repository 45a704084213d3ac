//! One capture to every telemetry sink that is on.

use super::live::Feed;
use super::{Delivery, PayloadEvent, PayloadLink, ProgressDelivery, Sink};
use crate::redact::Redacted;
use crate::telemetry::ledger::SharedTicket;
use std::sync::Arc;

/// The telemetry sinks of one audience. Cheap to clone.
#[derive(Clone, Default)]
pub struct Fanout {
    sinks: Arc<[Arc<dyn Sink>]>,
    /// Who watches sees what the sinks get.
    live: Option<Feed>,
    /// Who watches sees what these sinks alone get.
    live_alone: Option<Feed>,
}

impl Fanout {
    pub fn new(sinks: Vec<Arc<dyn Sink>>) -> Self {
        Fanout {
            sinks: sinks.into(),
            ..Fanout::default()
        }
    }

    /// The same, with viewers.
    #[must_use]
    pub fn watched(mut self, live: &Feed) -> Self {
        self.live = Some(live.clone());
        self
    }

    /// The same, with viewers of what [`Fanout::show_alone`] is called for.
    #[must_use]
    pub fn watched_alone(mut self, live: &Feed) -> Self {
        self.live_alone = Some(live.clone());
        self
    }

    /// Shows viewers a capture of a transaction that no other audience takes.
    pub fn show_alone(&self, capture: &Arc<Redacted>) {
        if let Some(live) = &self.live_alone {
            live.offer(capture, None);
        }
    }

    /// Whether any of them shows transactions before they end.
    pub fn takes_progress(&self) -> bool {
        self.sinks.iter().any(|sink| sink.takes_progress())
    }

    /// Whether any of them makes more of a capture than its span.
    pub fn takes_without_span(&self) -> bool {
        self.sinks.iter().any(|sink| sink.takes_without_span())
    }

    /// Offers the report to every sink that shows such.
    pub fn offer_progress(&self, delivery: ProgressDelivery) {
        for sink in self.sinks.iter().filter(|sink| sink.takes_progress()) {
            sink.offer_progress(delivery.clone());
        }
        delivery.ticket.taken();
    }

    /// Offers the event to every sink.
    pub fn tell(&self, event: PayloadEvent) {
        let event = Arc::new(event);
        for sink in self.sinks.iter() {
            sink.offer_event(&event);
        }
    }

    /// Whether it is made of the very same sinks.
    pub fn same(&self, other: &Fanout) -> bool {
        let address = |sink: &Arc<dyn Sink>| Arc::as_ptr(sink).cast::<()>();
        self.sinks
            .iter()
            .map(address)
            .eq(other.sinks.iter().map(address))
    }

    /// Offers the capture to every sink; the ticket is held until the last of them is done with it.
    /// Without a sink nothing is left to wait for, and the capture counts as taken.
    pub fn deliver(&self, capture: Arc<Redacted>, link: Option<PayloadLink>, ticket: SharedTicket) {
        if let Some(live) = &self.live {
            live.offer(&capture, link.as_ref());
        }
        let Some((last, others)) = self.sinks.split_last() else {
            ticket.taken();
            return;
        };
        for sink in others {
            sink.offer(Delivery {
                capture: capture.clone(),
                link: link.clone(),
                ticket: ticket.clone(),
            });
        }
        last.offer(Delivery {
            capture,
            link,
            ticket,
        });
    }
}

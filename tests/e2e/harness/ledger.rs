//! The ledger of `/status`, as a reader of the JSON sees it.

use serde_json::Value;

/// One reading of the ledger.
#[derive(Debug, Clone)]
pub struct Ledger(Value);

impl Ledger {
    /// Takes the JSON object that has `transactions`.
    ///
    /// # Panics
    /// When it is not a ledger, or its books do not balance.
    pub fn new(json: &Value) -> Ledger {
        assert!(json["transactions"].is_object(), "not a ledger: {json}");
        let ledger = Ledger(json.clone());
        ledger.assert_balanced();
        ledger
    }

    /// A number by its path of names.
    pub fn get(&self, path: &[&str]) -> u64 {
        let found = path.iter().fold(&self.0, |at, name| &at[*name]);
        found
            .as_u64()
            .unwrap_or_else(|| panic!("no number at {path:?} in {}", self.0))
    }

    /// Sum of the numbers in an object.
    fn sum(&self, path: &[&str]) -> u64 {
        let found = path.iter().fold(&self.0, |at, name| &at[*name]);
        let fields = found
            .as_object()
            .unwrap_or_else(|| panic!("no object at {path:?} in {}", self.0));
        fields
            .values()
            .map(|n| n.as_u64().expect("counts are numbers"))
            .sum()
    }

    pub fn seen(&self) -> u64 {
        self.get(&["transactions", "seen"])
    }

    /// Transactions that passed the filter: of a test that names its programs, its own.
    pub fn kept(&self) -> u64 {
        self.seen() - self.get(&["transactions", "left_out", "filtered"])
    }

    pub fn exported(&self) -> u64 {
        self.get(&["transactions", "exported"])
    }

    pub fn in_flight(&self) -> u64 {
        self.get(&["transactions", "in_flight"])
    }

    /// Transactions lost, by any reason.
    pub fn lost(&self) -> u64 {
        self.sum(&["transactions", "lost"])
    }

    /// Reports of transactions that last: exported, in flight, and lost by any reason.
    pub fn progress(&self) -> [u64; 3] {
        let number = |name| self.get(&["progress", name]);
        let lost = self.sum(&["progress", "lost"]);
        [number("exported"), number("in_flight"), lost]
    }

    /// Items of a signal lost, by any reason; `name`: `STORE/SIGNAL`.
    pub fn signal_lost(&self, name: &str) -> u64 {
        self.sum(&["signals", name, "lost"])
    }

    /// Payloads lost, by any reason.
    pub fn payloads_lost(&self) -> u64 {
        self.sum(&["payloads", "lost"])
    }

    /// `seen = exported + in_flight + left_out + lost`, for transactions, and likewise for each signal.
    fn assert_balanced(&self) {
        let gone = self.exported()
            + self.in_flight()
            + self.sum(&["transactions", "left_out"])
            + self.lost();
        assert_eq!(
            self.seen(),
            gone,
            "the books of transactions do not balance: {}",
            self.0["transactions"]
        );
        let signals = self.0["signals"].as_object().expect("signals");
        for name in signals.keys() {
            let path = |field| ["signals", name.as_str(), field];
            let gone = self.get(&path("exported"))
                + self.get(&path("in_flight"))
                + self.sum(&path("lost"));
            assert_eq!(
                self.get(&path("offered")),
                gone,
                "the books of {name} do not balance: {}",
                signals[name]
            );
        }
        let payloads = ["stored", "in_flight"].map(|f| self.get(&["payloads", f]));
        let gone = payloads.iter().sum::<u64>()
            + self.sum(&["payloads", "left_out"])
            + self.payloads_lost();
        assert_eq!(
            self.get(&["payloads", "wanted"]),
            gone,
            "the books of payloads do not balance: {}",
            self.0["payloads"]
        );
    }

    /// Transactions, payloads, items of signals, bytes of the kernel, and its events that were lost.
    pub fn losses(&self) -> [u64; 5] {
        let signals = self.0["signals"].as_object().expect("signals");
        let signal_losses: u64 = signals
            .keys()
            .map(|name| self.sum(&["signals", name, "lost"]))
            .sum();
        let kernel = [
            "data_events_lost",
            "control_events_lost",
            "events_undecodable",
        ];
        let events: u64 = kernel.iter().map(|name| self.get(&["capture", name])).sum();
        [
            self.lost(),
            self.payloads_lost(),
            signal_losses,
            self.get(&["bytes", "lost"]),
            events,
        ]
    }

    /// Nothing was lost anywhere: transactions, payloads, signals, bytes, kernel events.
    ///
    /// # Panics
    /// When something was.
    pub fn assert_nothing_lost(&self) {
        assert_eq!(
            self.losses(),
            [0; 5],
            "lost (transactions, payloads, signals, bytes, events): {}",
            self.0
        );
    }
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

//! Evaluating rules allocates nothing once its buffers have grown.

use plainspan::rules::described::Described;
use plainspan::rules::expr::{Buffers, Macros};
use plainspan::rules::{Level, Rule, Ruleset, TransactionFacts};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain thread-local without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// None of them applies, so that all are evaluated to their end.
const RULES: [&str; 16] = [
    "http.res.status >= 500",
    "http.req.method in [\"PUT\", \"DELETE\"]",
    "http.req.host == \"other.example\"",
    "http.req.url contains \"/nowhere\"",
    "http.req.path matches /^\\/api\\/v[3-9]+\\//",
    "http.req.headers.x-tenant == \"other\" or http.req.headers.x-none == \"a\"",
    "http.req.query.page == \"7\" or http.req.query.q == \"zz\"",
    "http.req.cookies.sid == \"zz\"",
    "lower(http.req.headers.x-name) contains \"zz\"",
    "zone(http.req.host) == \"other.example\"",
    "in_zone(http.req.host, \"other.example\")",
    "starts_with(http.req.path, \"/zz\")",
    "dst.ip in [192.168.0.0/16, fd00::/8]",
    "http.req.headers.x-forwarded-for in 172.16.0.0/12",
    "http.duration > 20s and http.req.body.size > 1MB",
    "trace.id == \"zz\" or direction == \"ingress\"",
];

#[test]
fn rules_are_evaluated_without_an_allocation() {
    let rules: Vec<Rule> = RULES
        .iter()
        .enumerate()
        .map(|(i, text)| {
            Rule::new(i, None, text, Level::Full, &Macros::default())
                .unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
        })
        .collect();
    let ruleset = Ruleset::new(Level::None, rules);
    let described = Described::new(&serde_json::json!({
        "http.req.method": "POST", "http.req.url": "https://API.Example.com/api/v2/orders?page=2&q=a%20b",
        "http.req.headers": {"x-tenant": ["a", "b"], "x-name": "J\u{dc}RGEN", "x-forwarded-for": "10.0.0.1"},
        "http.req.cookies.sid": "abc", "http.res.status": 201, "http.duration": "2s", "dst.ip": "10.1.1.1",
        "trace.id": "0af7651916cd43dd8448eb211c80319c",
    }))
    .unwrap_or_else(|error| panic!("{error}"));
    let facts = TransactionFacts {
        transaction: &described.transaction,
        process: &described.process,
    };
    let mut buffers = Buffers::default();
    let decide = |buffers: &mut Buffers| {
        assert_eq!(ruleset.decide(&facts, buffers).level, Level::None);
        assert_eq!(ruleset.upper_bound(&facts, buffers), Level::None);
    };
    (0..10).for_each(|_| decide(&mut buffers));
    let before = ALLOCATIONS.with(Cell::get);
    (0..1000).for_each(|_| decide(&mut buffers));
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}

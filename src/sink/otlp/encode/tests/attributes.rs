//! What is written by hand reads back as it was meant.

use super::super::attributes::{Attributes, OF_SPAN};
use super::*;
use std::net::IpAddr;

#[test]
fn addresses_are_written_as_the_standard_library_does() {
    let addresses = [
        "0.0.0.0",
        "1.20.255.100",
        "127.0.0.1",
        "255.255.255.255",
        "::1",
        "2001:db8::ffff:1",
        "::ffff:10.9.0.199",
    ];
    for text in addresses {
        let address: IpAddr = text.parse().unwrap();
        let mut list = Attributes::of(OF_SPAN, Vec::new());
        list.ip("a", address);
        let wanted = address.to_canonical().to_string();
        assert_eq!(find(&list.finish(), "a"), Some(json!(wanted)));
    }
}

#[test]
fn of_many_header_fields_those_of_one_name_are_one_attribute_in_their_order() {
    let mut fields = Vec::new();
    for n in 0..600 {
        fields.push((format!("x-{n}"), format!("first {n}")));
    }
    for n in (0..600).step_by(3) {
        fields.push((format!("X-{n}"), format!("second {n}")));
    }
    let mut headers = crate::transaction::Headers::default();
    for (name, value) in &fields {
        headers.push(name.as_bytes(), value.as_bytes());
    }
    let mut list = Attributes::of(OF_SPAN, Vec::new());
    list.headers("h.", &headers);
    let list = list.finish();
    assert_eq!(list.len(), 600);
    for n in 0..600 {
        let mut wanted = vec![format!("first {n}")];
        if n % 3 == 0 {
            wanted.push(format!("second {n}"));
        }
        assert_eq!(find(&list, &format!("h.x-{n}")), Some(json!(wanted)));
    }
}

//! Which addresses are internal.

use crate::rules::expr::Net;
use std::net::IpAddr;
use std::sync::Arc;

/// Networks that are internal beside loopback, link-local and private addresses. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PrivateRanges(Arc<[Net]>);

// Addresses and prefixes compare as themselves.
impl Eq for PrivateRanges {}

impl PrivateRanges {
    pub fn new(more: impl IntoIterator<Item = Net>) -> PrivateRanges {
        PrivateRanges(more.into_iter().collect())
    }

    /// Loopback, link-local and private addresses (RFC 1918, RFC 4193), and what was configured; an IPv4-mapped address
    /// is what it maps.
    pub fn contain(&self, address: IpAddr) -> bool {
        let usual = match address.to_canonical() {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            }
        };
        usual || self.0.iter().any(|net| net.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_networks_are_internal_and_others_can_be_added() {
        let usual = PrivateRanges::default();
        let more = ["100.64.0.0/10", "2001:db8::/32", "203.0.113.7"];
        let more = PrivateRanges::new(more.into_iter().filter_map(Net::parse));
        for (address, of_usual, with_more) in [
            ("10.1.2.3", true, true),
            ("172.31.0.1", true, true),
            ("192.168.0.1", true, true),
            ("169.254.1.1", true, true),
            ("127.0.0.1", true, true),
            ("::1", true, true),
            ("fd00::1", true, true),
            ("fe80::1", true, true),
            ("::ffff:10.0.0.1", true, true),
            ("172.32.0.1", false, false),
            ("93.184.216.34", false, false),
            ("2606:2800::1", false, false),
            ("100.64.0.1", false, true),
            ("::ffff:100.64.0.1", false, true),
            ("2001:db8::1", false, true),
            ("203.0.113.7", false, true),
            ("203.0.113.8", false, false),
        ] {
            let ip: IpAddr = address.parse().expect(address);
            assert_eq!(
                (usual.contain(ip), more.contain(ip)),
                (of_usual, with_more),
                "{address}"
            );
        }
    }
}

//! Tests of other modules with the agent at tiers that older kernels have: what comes out is the same. The kernel
//! programs alone are tested at each tier by `tests/kernel/tiers.rs`; `PLAINSPAN_TEST_TIER` forces one for all tests.

use crate::harness::agent::at_tiers;
use crate::{curl_nginx, go, node, plain_http, rustls};

/// What kernel 5.15 has, where neither fexit nor kprobes can be had.
const OLD: &str = "perf,syscalls,for_each";

#[test]
fn nginx_with_openssl_at_the_tiers_of_an_old_kernel() {
    at_tiers(
        OLD,
        curl_nginx::every_https_request_of_curl_to_nginx_is_one_client_and_one_server_span_with_log_record_and_payload,
    );
}

#[test]
fn plain_http_at_the_tiers_of_an_old_kernel() {
    at_tiers(
        OLD,
        plain_http::every_plain_http_request_of_curl_to_nginx_is_right_and_its_times_fit_within_5_ms,
    );
    at_tiers(
        OLD,
        plain_http::a_response_sent_by_sendfile_has_its_true_size_and_is_marked_where_its_bytes_were_not_to_be_seen,
    );
}

#[test]
fn go_at_the_tiers_of_an_old_kernel() {
    at_tiers(
        OLD,
        go::two_hundred_requests_of_go_to_go_over_http_1_are_right,
    );
    at_tiers(
        OLD,
        go::two_hundred_requests_of_go_to_go_over_http_2_are_right,
    );
}

#[test]
fn node_at_the_tiers_of_an_old_kernel() {
    at_tiers(OLD, node::requests_of_node_to_node_are_right);
}

#[test]
fn rustls_at_the_tiers_of_an_old_kernel() {
    at_tiers(OLD, rustls::no_request_of_http_1_is_on_the_wrong_connection);
    at_tiers(OLD, rustls::no_request_of_http_2_is_on_the_wrong_connection);
}

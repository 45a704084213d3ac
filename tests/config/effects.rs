//! Every key that this version acts on, and the tests that show what it does beyond the configuration that is read.
//!
//! A key without a test here, or with one that is gone, fails. `keys.rs` has each key's error.

use crate::{loaded, text_of};
use plainspan::config::file::{Reader, load_hash_keys};
use plainspan::config::{Config, HashKeySource, Secret, known_keys};
use plainspan::enrich::Process;
use plainspan::rules::Filter;

/// File and name of a test.
type Test = (&'static str, &'static str);

const GUIDE: Test = (
    "tests/e2e/guide.rs",
    "the_guides_file_runs_and_writes_lines_on_stdout_though_s3_is_unreachable",
);
const CURL: Test = (
    "tests/e2e/curl_nginx.rs",
    "every_https_request_of_curl_to_nginx_is_one_client_and_one_server_span_with_log_record_and_payload",
);
const SANDBOX: Test = (
    "tests/e2e/privileges.rs",
    "a_folder_that_was_exchanged_is_written_to_by_an_agent_without_a_sandbox_alone",
);
const LEVELS: Test = (
    "tests/e2e/curl_nginx.rs",
    "level_headers_has_headers_and_no_bodies_and_level_summary_has_neither",
);
const RELOAD: Test = (
    "tests/e2e/reload.rs",
    "reloads_under_load_lose_and_double_nothing_and_a_bad_file_changes_nothing",
);
const RULES: Test = (
    "tests/e2e/rules.rs",
    "the_first_rule_that_applies_gives_its_level_and_its_name",
);
const AUDIENCES: Test = (
    "src/pipeline_tests.rs",
    "each_audience_gets_a_transaction_at_the_level_of_its_own_rules",
);
const CONTAINER: Test = (
    "tests/e2e/filters.rs",
    "a_container_s_first_request_has_its_names_labels_and_pod",
);
const VARIABLES: Test = (
    "tests/e2e/filters.rs",
    "a_process_s_environment_says_how_it_is_looked_at_and_tags_it",
);
const TAGS: Test = (
    "src/enrich/process/identity.rs",
    "tags_come_from_variables_labels_and_annotations",
);
const DOMAINS: Test = (
    "tests/e2e/filters.rs",
    "each_domain_goes_through_its_own_stack",
);
const EXECUTABLES: Test = (
    "tests/e2e/filters.rs",
    "executables_and_users_that_are_not_wanted_are_left_out",
);
const PEERS: Test = (
    "tests/e2e/filters.rs",
    "direction_tells_internal_from_external_peers",
);
const STRATEGIES: Test = (
    "src/rules/filter/tests.rs",
    "each_strategy_excludes_by_the_executable_s_path",
);
const INCLUDE: Test = (
    "src/rules/filter/tests.rs",
    "include_wants_every_key_of_one_entry",
);
const LIVE: Test = (
    "tests/e2e/live/tail.rs",
    "tail_writes_a_line_for_each_transaction_that_fits_its_filter_and_no_other",
);
const INCLUDE_POD: Test = (
    "src/rules/filter/tests.rs",
    "include_knows_containers_pods_namespaces_and_control_groups",
);
const GROUPS: Test = (
    "tests/config/effects.rs",
    "groups_and_patterns_of_a_file_leave_out_their_executables",
);
const OTLP: Test = (
    "src/sink/otlp/tests.rs",
    "spans_and_log_records_arrive_over_both_protocols_with_every_compression",
);
const OTLP_HTTP: Test = (
    "tests/e2e/collector.rs",
    "http_with_protobuf_arrives_as_grpc_does",
);
const TLS: Test = ("src/sink/otlp/tests/tls.rs", "tls_works_or_says_why_not");
const TLS_CLIENT: Test = ("src/sink/otlp/tests/tls.rs", "tls_works_or_says_why_not");
const ENDPOINTS: Test = ("tests/config/environment.rs", "endpoints_of_the_file");
const S3: Test = (
    "tests/payload.rs",
    "the_object_of_each_link_is_there_and_its_sha_256_is_its_key",
);
const S3_SECRET: Test = (
    "tests/payload.rs",
    "with_a_wrong_secret_payloads_are_lost_by_name_and_the_log_says_why",
);
const S3_LINK: Test = (
    "tests/e2e/payload_store.rs",
    "the_object_of_the_link_is_in_s3_and_its_sha_256_is_its_key",
);
const SEGMENT: Test = (
    "src/sink/payload/stage_tests.rs",
    "many_transactions_are_one_put_and_each_link_gives_its_own",
);
const SEGMENT_SIZE: Test = (
    "src/sink/payload/stage_tests.rs",
    "a_segment_is_closed_when_it_is_large_enough",
);
const PREFIX: Test = (
    "tests/payload.rs",
    "an_equal_document_is_a_dedupe_and_a_prefix_is_part_of_the_key",
);
const GCS: Test = (
    "src/sink/payload/store_tests.rs",
    "gcs_gets_a_token_for_a_key_and_writes_what_is_not_there",
);
const AZURE: Test = (
    "src/sink/payload/store_tests.rs",
    "azure_is_asked_with_the_account_and_says_what_is_wrong",
);
const CLOUD_LINKS: Test = ("src/sink/payload/link.rs", "the_other_clouds_have_urls_too");
const MOTO: Test = (
    "tests/payload_stores.rs",
    "a_second_s3_keeps_objects_with_their_tags_and_encryption",
);
const AZURITE: Test = (
    "tests/payload_stores.rs",
    "azurite_keeps_blobs_with_their_tags_and_says_what_is_wrong",
);
const FOLDER: Test = (
    "src/sink/payload/stage_tests.rs",
    "a_folder_gets_files_for_its_owner_alone_and_file_urls",
);
const STORE_CHOICE: Test = (
    "src/agent/stacks.rs",
    "a_stack_s_payloads_go_to_the_store_that_it_names_from_the_level_on_that_it_says",
);
const STORE_LEVEL: Test = (
    "src/pipeline_tests.rs",
    "below_the_store_s_level_no_payload_is_wanted",
);
const QTAP: Test = (
    "tests/config/broken.rs",
    "what_is_not_acted_on_is_said_and_the_file_runs",
);
const KEPT_HEADER: Test = (
    "tests/e2e/canary.rs",
    "a_rule_that_keeps_a_header_keeps_that_one_and_no_other",
);
const HASHED: Test = (
    "tests/canary.rs",
    "with_mode_hash_a_secret_has_the_same_value_wherever_it_stands",
);
const PATTERNS: Test = (
    "src/redact/matchers_tests.rs",
    "patterns_match_exactly_by_glob_and_by_expression",
);
const NARROWED: Test = (
    "src/redact/tests.rs",
    "headers_keeps_headers_without_bodies_and_narrows_them",
);
const SAMPLED: Test = (
    "tests/e2e/sampling.rs",
    "a_ratio_keeps_both_ends_of_a_trace_or_none_by_its_id_and_errors_always",
);
const RATED: Test = (
    "tests/e2e/sampling.rs",
    "a_rate_leaves_out_what_the_ledger_says_and_spans_add_up_to_what_was_asked",
);
const LINES: Test = (
    "src/sink/stdout/form.rs",
    "the_configuration_of_access_logs_says_what_a_line_holds_and_in_which_form",
);
const USAGE: Test = (
    "src/pipeline_tests.rs",
    "report_usage_gets_a_summary_of_what_rules_leave_out",
);
const METRICS: Test = (
    "tests/e2e/metrics.rs",
    "metrics_count_every_request_with_its_duration_over_otlp_and_at_the_status_endpoint",
);
const METRICS_ALONE: Test = (
    "src/pipeline_tests.rs",
    "metrics_count_what_sampling_leaves_out_and_not_what_level_none_does_but_for_http_metrics_alone",
);
const KUBELET: Test = (
    "src/enrich/identity/sources_tests.rs",
    "the_kubelet_s_list_names_pods_and_their_owners_and_is_not_asked_for_each_container",
);
const KUBELET_TLS: Test = (
    "src/enrich/identity/sources_tests.rs",
    "a_kubelet_over_tls_is_trusted_by_its_ca_file_or_unseen",
);
const KUBERNETES: Test = (
    "src/enrich/identity/kubernetes/tests.rs",
    "the_api_names_the_node_s_pods_and_what_made_them",
);

const ROUTES: Test = (
    "src/pipeline/measures_tests.rs",
    "routes_of_the_configuration_name_spans_and_are_attributes_of_metrics",
);
const CONFORMANCE: Test = (
    "tests/e2e/conformance.rs",
    "each_row_of_the_conventions_holds_on_live_traffic",
);
const MEASURES: Test = (
    "src/pipeline/measures_tests.rs",
    "an_exchange_changes_headers_exemplars_and_the_number_of_series",
);
const DELTA: Test = (
    "src/sink/otlp/tests/metrics.rs",
    "a_delta_is_what_came_since_the_last_that_arrived_over_failures_and_reloads",
);
const EXPONENTIAL: Test = (
    "src/sink/otlp/tests/metrics.rs",
    "exponential_buckets_arrive_and_what_was_counted_otherwise_comes_a_last_time",
);
const LABELS: Test = (
    "src/metrics/labels.rs",
    "chosen_headers_of_both_sides_are_attributes_and_values_beyond_the_bound_are_one",
);

/// Section of the tables, its keys, the tests of their effect.
#[rustfmt::skip]
const EFFECTS: &[(&str, &[&str], &[Test])] = &[
    ("the configuration", &["version", "services", "stacks", "tap"], &[GUIDE]),
    ("the configuration", &["resource"], &[RELOAD]),
    ("the configuration", &["limits"], &[("tests/e2e/collector.rs", "with_little_memory_and_no_collector_the_rest_is_lost_by_name_and_the_books_balance")]),
    ("the configuration", &["rulekit"], &[AUDIENCES]),
    ("the configuration", &["tags"], &[VARIABLES, CONTAINER]),
    ("rulekit", &["macros"], &[AUDIENCES]),
    ("rulekit.macros", &["name", "expr"], &[AUDIENCES]),
    ("tags", &["key", "source", "location"], &[TAGS, VARIABLES]),
    ("resource", &["attributes"], &[RELOAD, ("src/enrich/process/resource_tests.rs", "each_attribute_comes_from_who_knows_it_best")]),
    ("the configuration", &["metrics"], &[MEASURES]),
    ("metrics", &["interval"], &[CONFORMANCE, ("src/agent/sinks.rs", "another_interval_or_temporality_makes_another_exporter")]),
    ("metrics", &["max_series", "exemplars"], &[MEASURES]),
    ("metrics", &["temporality_preference"], &[DELTA, ("src/agent/sinks.rs", "another_interval_or_temporality_makes_another_exporter")]),
    ("metrics", &["default_histogram_aggregation"], &[EXPONENTIAL]),
    ("metrics", &["headers"], &[MEASURES, CONFORMANCE]),
    ("metrics.headers", &["header", "from", "attribute", "max_values"], &[LABELS]),
    ("limits", &["memory"], &[("tests/e2e/collector.rs", "with_little_memory_and_no_collector_the_rest_is_lost_by_name_and_the_books_balance")]),
    ("limits", &["connection_memory"], &[("src/conn/table_memory_tests.rs", "one_connection_has_a_bound_of_its_own")]),
    ("the configuration", &["telemetry"], &[("tests/e2e/own_telemetry.rs", "programs_are_measured_where_it_is_asked_for_and_a_reload_ends_it")]),
    ("telemetry", &["program_stats"], &[("tests/e2e/own_telemetry.rs", "programs_are_measured_where_it_is_asked_for_and_a_reload_ends_it")]),
    ("the configuration", &["live"], &[LIVE]),
    ("live", &["socket"], &[LIVE, ("src/sink/live/socket_tests.rs", "the_socket_is_for_its_owner_alone_and_goes_with_the_agent")]),
    ("the configuration", &["security"], &[SANDBOX]),
    ("security", &["sandbox"], &[SANDBOX]),
    ("limits", &["cpu"], &[("tests/e2e/budget.rs", "above_the_cpu_budget_levels_go_down_step_by_step_and_below_it_up_again")]),
    ("limits", &["ring"], &[("tests/kernel/plain.rs", "a_ring_that_is_too_small_loses_events_and_counts_them")]),

    ("services", &["event_stores", "object_stores"], &[CURL]),
    ("event store otel", &["id", "type", "endpoint"], &[CURL, ("tests/e2e/streams.rs", "a_websocket_reports_its_messages")]),
    ("event store otel", &["protocol"], &[OTLP, OTLP_HTTP]),
    ("event store otel", &["signals"], &[("src/sink/otlp/tests.rs", "a_store_without_signals_takes_everything"), OTLP, METRICS]),
    ("event store otel", &["headers", "compression"], &[OTLP]),
    ("event store otel", &["tls"], &[TLS]),
    ("event store otel", &["spool"], &[("tests/e2e/spool.rs", "under_500_requests_a_second_a_collector_that_refuses_costs_nothing_and_the_order_is_kept")]),
    ("spool", &["dir"], &[("tests/e2e/spool.rs", "after_sigkill_the_next_agent_sends_all_that_is_in_the_spool")]),
    ("spool", &["max_bytes"], &[("tests/e2e/spool.rs", "a_full_spool_stays_within_its_bytes_and_is_sent_after_sigkill_and_the_rest_is_lost_by_name")]),
    ("spool", &["max_age"], &[("src/sink/otlp/tests/spool.rs", "what_is_too_old_is_lost_as_expired_though_the_collector_is_away")]),
    ("event store otel", &["timeout"], &[("src/sink/otlp/tests/faults.rs", "every_failure_of_the_table_leaves_the_books_that_it_must")]),
    // It is an attribute of the resource of each process from there on.
    ("event store otel", &["environment"], &[("tests/config/from_qtap.rs", "internal_calls_alone"), RELOAD]),
    ("tls", &["enabled"], &[ENDPOINTS, TLS]),
    ("tls", &["ca_file", "insecure_skip_verify"], &[TLS]),
    ("tls", &["cert_file", "key_file"], &[TLS_CLIENT]),
    ("event store", &["id", "type"], &[GUIDE, ("src/sink/stdout/tests.rs", "all_that_was_taken_is_written_in_order_before_drain_ends")]),

    ("object store s3", &["id", "type", "endpoint", "bucket", "region", "insecure"], &[S3, S3_LINK]),
    ("object store s3", &["access_url"], &[S3_LINK, ("src/sink/payload/link.rs", "a_template_is_filled_and_unknown_names_stay")]),
    ("object store s3", &["access_key", "secret_key"], &[S3_SECRET, S3]),
    ("object store s3", &["prefix"], &[PREFIX]),
    ("object store s3", &["encryption", "kms_key_id", "object_tags"], &[("src/sink/payload/store_tests.rs", "encryption_and_tags_go_with_each_object"), MOTO]),
    ("object store s3", &["layout"], &[S3, SEGMENT]),
    ("object store s3", &["segment_bytes", "segment_time"], &[SEGMENT_SIZE, SEGMENT]),
    ("object store s3", &["spool"], &[("tests/e2e/payload_failure.rs", "with_a_spool_a_store_that_is_away_costs_no_segment_and_every_link_leads_to_its_document"), ("src/sink/payload/spool_tests.rs", "what_is_too_old_is_lost_by_that_name_and_each_is_told"), ("src/sink/payload/spool_tests.rs", "what_a_full_spool_has_no_room_for_is_lost_by_that_name")]),
    ("object store gcs", &["spool"], &[("tests/e2e/payload_failure.rs", "with_a_spool_a_store_that_is_away_costs_no_segment_and_every_link_leads_to_its_document"), ("src/sink/payload/spool_tests.rs", "what_is_too_old_is_lost_by_that_name_and_each_is_told"), ("src/sink/payload/spool_tests.rs", "what_a_full_spool_has_no_room_for_is_lost_by_that_name")]),
    ("object store azure", &["spool"], &[("tests/e2e/payload_failure.rs", "with_a_spool_a_store_that_is_away_costs_no_segment_and_every_link_leads_to_its_document"), ("src/sink/payload/spool_tests.rs", "what_is_too_old_is_lost_by_that_name_and_each_is_told"), ("src/sink/payload/spool_tests.rs", "what_a_full_spool_has_no_room_for_is_lost_by_that_name")]),
    ("object store gcs", &["id", "type", "endpoint", "bucket", "insecure", "credentials_file"], &[GCS]),
    ("object store gcs", &["access_url"], &[CLOUD_LINKS]),
    ("object store gcs", &["prefix"], &[PREFIX]),
    ("object store gcs", &["layout", "segment_bytes", "segment_time"], &[SEGMENT_SIZE, SEGMENT]),
    ("object store azure", &["id", "type", "endpoint", "account", "container", "insecure", "access_key", "object_tags"], &[AZURE, AZURITE]),
    ("object store azure", &["access_url"], &[CLOUD_LINKS]),
    ("object store azure", &["prefix"], &[PREFIX]),
    ("object store azure", &["layout", "segment_bytes", "segment_time"], &[SEGMENT_SIZE, SEGMENT]),
    ("object store disk", &["prefix"], &[("src/sink/payload/store_tests.rs", "a_folder_below_a_prefix_is_for_its_owner_alone_too")]),
    ("object store disk", &["max_bytes"], &[("src/sink/payload/stage_store_tests.rs", "a_folder_stays_within_its_bytes_and_age_in_both_layouts")]),
    ("object store disk", &["max_age"], &[("src/sink/payload/room_tests.rs", "what_is_too_old_goes_by_itself")]),
    ("object store disk", &["id", "type", "path", "layout"], &[FOLDER, CURL, SEGMENT]),
    ("object store disk", &["segment_bytes", "segment_time"], &[SEGMENT_SIZE, SEGMENT]),
    ("object store disk", &["access_url"], &[("src/sink/payload/link.rs", "a_folder_has_file_urls")]),
    ("object store", &["id", "type"], &[("src/sink/payload/store_tests.rs", "on_stdout_a_document_is_a_line"), STORE_LEVEL]),

    ("stack", &["plugins"], &[AUDIENCES]),
    ("plugin", &["type"], &[USAGE, METRICS, METRICS_ALONE]),
    ("plugin http_capture", &["type", "config"], &[CURL]),
    ("plugin access_logs", &["type", "config"], &[LINES, ("tests/e2e/canary.rs", "credentials_cookies_and_tokens_of_the_query_are_in_no_output_with_access_logs_as_json")]),
    ("http_capture.config", &["level"], &[LEVELS, ("tests/e2e/curl_nginx.rs", "level_none_lets_nothing_leave")]),
    // Payloads are JSON: `text` is taken with a warning.
    ("http_capture.config", &["format"], &[QTAP]),
    ("http_capture.config.rules", &["format"], &[QTAP]),
    ("http_capture.config", &["rules"], &[RULES]),
    ("http_capture.config.rules", &["name", "expr", "level"], &[RULES]),
    ("http_capture.config.rules", &["ratio"], &[("src/sampling/tests.rs", "a_rule_has_its_own_ratio")]),
    ("http_capture.config.rules", &["max_bytes"], &[("src/redact/limits.rs", "a_rule_has_its_own_limit_of_bodies")]),
    ("http_capture.config", &["object_store"], &[STORE_CHOICE]),
    ("http_capture.config.object_store", &["id", "disabled"], &[STORE_CHOICE]),
    ("http_capture.config.object_store", &["from_level"], &[STORE_CHOICE, STORE_LEVEL]),
    ("http_capture.config", &["headers"], &[NARROWED]),
    ("http_capture.config.headers", &["include", "exclude"], &[NARROWED]),
    ("http_capture.config", &["redact"], &[KEPT_HEADER]),
    ("http_capture.config.redact", &["hash_key"], &[HASHED]),
    ("http_capture.config.redact", &["hash_key_file"], &[("tests/config/effects.rs", "a_key_of_hashes_is_read_from_its_file")]),
    ("http_capture.config.redact", &["rules"], &[KEPT_HEADER, HASHED]),
    ("http_capture.config.redact.rules", &["name"], &[("src/redact/tests.rs", "the_first_rule_that_matches_decides_and_keep_undoes_a_default")]),
    ("http_capture.config.redact.rules", &["in"], &[HASHED]),
    ("http_capture.config.redact.rules", &["match", "key"], &[PATTERNS]),
    ("http_capture.config.redact.rules", &["mode"], &[KEPT_HEADER, HASHED, ("src/redact/matchers_tests.rs", "dropped_fields_and_cookies_are_gone")]),
    ("http_capture.config", &["sample"], &[SAMPLED]),
    ("http_capture.config.sample", &["ratio", "keep"], &[SAMPLED]),
    ("http_capture.config.sample", &["per_endpoint"], &[RATED]),
    ("http_capture.config.sample", &["per_process"], &[("src/pipeline_tests.rs", "what_sampling_leaves_out_is_in_the_ledger_under_its_reason")]),
    ("http_capture.config", &["bodies"], &[("tests/e2e/odd_connections.rs", "a_body_above_the_bound_keeps_its_head_and_its_true_length")]),
    ("http_capture.config.bodies", &["max_bytes"], &[("tests/e2e/odd_connections.rs", "a_body_above_the_bound_keeps_its_head_and_its_true_length"), ("src/conn/table_memory_tests.rs", "a_body_of_any_length_holds_no_more_than_its_limit")]),
    ("http_capture.config.bodies", &["content_types"], &[("src/redact/limits.rs", "a_body_of_another_type_is_not_kept_and_its_size_is")]),
    ("http_capture.config.bodies", &["as_sent"], &[("src/sink/payload/document_tests.rs", "a_coded_body_is_stored_as_sent_too_where_asked")]),
    ("access_logs.config", &["mode", "format"], &[LINES]),
    ("access_logs.config", &["rules"], &[AUDIENCES, LINES]),
    ("access_logs.config.rules", &["name", "expr", "mode"], &[AUDIENCES, LINES]),

    ("tap", &["direction"], &[PEERS]),
    ("tap", &["ignore_loopback"], &[("src/rules/filter/tests.rs", "loopback_is_an_address_at_either_end"), PEERS]),
    ("tap", &["http"], &[CURL]),
    ("tap.http", &["stack"], &[CURL]),
    ("tap", &["filters"], &[EXECUTABLES]),
    ("tap.filters", &["groups"], &[GROUPS]),
    ("tap.filters", &["custom"], &[EXECUTABLES, GROUPS]),
    ("tap.filters", &["include"], &[EXECUTABLES, INCLUDE]),
    ("tap.filters.custom", &["exe", "strategy"], &[EXECUTABLES, STRATEGIES, GROUPS]),
    ("tap.filters.custom", &["only"], &[("src/rules/filter/tests.rs", "only_tls_leaves_out_what_goes_over_tls")]),
    ("tap.filters.include", &["exe", "strategy", "uid"], &[EXECUTABLES]),
    ("tap.filters.include", &["pid", "port", "netns"], &[INCLUDE]),
    ("tap.filters.include", &["cgroup"], &[("tests/e2e/filters.rs", "a_control_group_and_those_below_it_can_be_looked_at_alone"), INCLUDE_POD]),
    ("tap.filters.include", &["container", "pod"], &[CONTAINER, INCLUDE_POD]),
    ("tap.filters.include", &["k8s_namespace"], &[INCLUDE_POD]),
    ("tap", &["endpoints"], &[DOMAINS]),
    ("tap.endpoints", &["domain", "http"], &[DOMAINS, ("src/pipeline/stacks_tests.rs", "an_exact_domain_wins_over_a_pattern_and_the_longest_pattern_over_others")]),
    ("tap", &["private_ranges"], &[PEERS]),
    ("tap", &["identity"], &[CONTAINER]),
    ("tap.identity", &["docker"], &[CONTAINER]),
    ("tap.identity", &["containerd"], &[("src/enrich/identity/sources_tests.rs", "containerd_is_asked_in_each_of_its_namespaces")]),
    ("tap.identity", &["cri"], &[("src/enrich/identity/sources_tests.rs", "a_cri_socket_names_the_pod_with_its_labels_and_annotations")]),
    ("tap.identity", &["kubelet"], &[KUBELET]),
    ("tap.identity.kubelet", &["url", "token_file"], &[KUBELET]),
    ("tap.identity.kubelet", &["ca_file", "insecure_skip_verify"], &[KUBELET_TLS]),
    ("tap.identity", &["kubernetes"], &[KUBERNETES]),
    ("tap.identity.kubernetes", &["url", "node", "token_file"], &[KUBERNETES]),
    ("tap.identity.kubernetes", &["ca_file", "insecure_skip_verify"], &[("src/enrich/identity/kubernetes/tests.rs", "an_api_that_is_not_trusted_or_does_not_trust_us_is_said_with_its_reason")]),
    ("tap", &["trace"], &[("src/trace/policy.rs", "the_place_follows_policy_side_header_sdk_trust_and_cap")]),
    ("tap.trace", &["context"], &[("src/trace/policy.rs", "the_place_follows_policy_side_header_sdk_trust_and_cap"), ("tests/e2e/trace_context.rs", "a_request_with_traceparent_becomes_a_span_of_that_trace_with_that_parent")]),
    ("tap.trace", &["joined_networks"], &[("src/pipeline/joining_tests.rs", "a_client_in_a_listed_network_is_the_parent"), ("tests/e2e/joining.rs", "two_hosts_behind_nat_with_an_agent_each_meet_and_the_parent_is_there_where_the_network_is_listed")]),
    ("tap.trace", &["site_key"], &[("tests/e2e/joining.rs", "agents_with_different_site_keys_do_not_meet")]),
    ("tap.trace", &["site_key_file"], &[("tests/config/effects.rs", "a_site_key_is_read_from_its_file")]),
    ("tap.trace", &["untrusted"], &[("src/pipeline/placing_tests.rs", "a_context_of_an_untrusted_peer_is_linked_and_the_clients_own_is_adopted"), ("tests/e2e/trace_context.rs", "a_context_of_an_untrusted_peer_is_linked_and_never_adopted")]),
    ("tap.trace", &["adopt_max", "adopt_age"], &[("src/trace/caps.rs", "a_context_that_is_too_old_is_not_adopted"), ("tests/e2e/trace_context.rs", "a_context_that_is_sent_for_ever_is_adopted_so_often_and_linked_from_then_on")]),
    ("tap.trace", &["inferred"], &[("tests/e2e/inferred.rs", "where_it_is_switched_off_no_call_has_an_inferred_parent")]),
    ("tap.trace", &["state_file"], &[("tests/e2e/joining.rs", "an_http_2_connection_that_outlives_the_agent_is_joined_by_the_next_one")]),
    ("tap", &["routes"], &[ROUTES, CONFORMANCE]),
    ("tap", &["route_heuristic"], &[ROUTES, ("src/routes/tests.rs", "a_guess_is_learnt_from_what_went_well_and_said_to_be_one")]),
    ("tap", &["scan_cache"], &[("tests/finder/cached.rs", "a_program_that_was_scanned_once_is_taken_from_the_cache_by_the_next_finder")]),
    ("tap", &["java"], &[("tests/e2e/stacks/java.rs", "without_the_opt_in_a_jvm_is_left_alone_and_its_verdict_says_so"), ("tests/e2e/stacks/java.rs", "a_jvm_that_an_agent_before_gave_the_library_is_captured_by_the_next_one")]),
    ("tap", &["progress"], &[("tests/e2e/streams.rs", "server_sent_events_report_every_period_and_are_one_whole_transaction_at_the_end")]),
];

#[test]
fn every_key_has_a_test_of_its_effect() {
    let mut known: Vec<(&str, &str)> = known_keys().collect();
    let mut named: Vec<(&str, &str)> = EFFECTS
        .iter()
        .flat_map(|(section, keys, _)| keys.iter().map(|key| (*section, *key)))
        .collect();
    known.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, known);
    assert!(EFFECTS.iter().all(|(.., tests)| !tests.is_empty()));
}

#[test]
fn every_test_of_an_effect_is_there() {
    for (section, keys, tests) in EFFECTS {
        for (file, name) in *tests {
            let text = text_of(file);
            let at = text
                .find(&format!("fn {name}("))
                .unwrap_or_else(|| panic!("{keys:?} of {section}: {file} has no test `{name}`"));
            let mut above = text.get(..at).unwrap_or_default().lines().rev();
            let marked = above
                .find(|line| line.trim_start().starts_with("#["))
                .is_some_and(|line| line.contains("test"));
            assert!(marked, "{name} of {file} is no test");
        }
    }
}

fn process(exe: &str) -> Process {
    Process {
        pid: 42,
        exe: Some(exe.into()),
        name: exe.rsplit('/').next().unwrap_or(exe).into(),
        uid: Some(0),
        ..Process::default()
    }
}

#[test]
fn groups_and_patterns_of_a_file_leave_out_their_executables() {
    for (filters, exe, wanted) in [
        ("{}", "/usr/local/bin/kubelet", true),
        ("{groups: [kubernetes]}", "/usr/local/bin/kubelet", false),
        ("{groups: [kubernetes]}", "/usr/bin/kubelet-notes", true),
        (
            "{groups: [container-runtimes]}",
            "/usr/bin/containerd",
            false,
        ),
        (
            "{groups: [container-runtimes]}",
            "/usr/local/bin/kubelet",
            true,
        ),
        ("{custom: [{exe: /usr/bin/curl}]}", "/usr/bin/curl", false),
        ("{custom: [{exe: /usr/bin/curl}]}", "/usr/bin/curl2", true),
        (
            "{custom: [{exe: /opt/, strategy: prefix}]}",
            "/opt/shop/server",
            false,
        ),
        (
            "{custom: [{exe: 'python3[.][0-9]+$', strategy: regex}]}",
            "/usr/bin/python3.11",
            false,
        ),
        (
            "{include: [{exe: nginx, strategy: suffix}]}",
            "/usr/sbin/nginx",
            true,
        ),
        (
            "{include: [{exe: nginx, strategy: suffix}]}",
            "/usr/bin/curl",
            false,
        ),
    ] {
        let config = loaded(&format!("version: 2\ntap: {{filters: {filters}}}\n"), &[]).config;
        let filter = Filter::new(&config.tap).expect("patterns compile");
        assert_eq!(filter.may_admit(&process(exe)), wanted, "{filters} {exe}");
    }
}

/// The configuration after its keys were read from `file`: first one that is too short, then a good one.
fn with_key_of(file: &tempfile::NamedTempFile, text: &str) -> Config {
    use std::os::unix::fs::MetadataExt;
    let reader = Reader {
        uid: file.as_file().metadata().expect("metadata").uid(),
        sudo_uid: None,
    };
    let mut config = loaded(text, &[]).config;
    std::fs::write(file.path(), "too short\n").expect("written");
    let error = load_hash_keys(&mut config, reader).expect_err("a short key");
    assert!(error.to_string().contains("16"), "{error}");
    std::fs::write(file.path(), "0123456789abcdef\n").expect("written");
    load_hash_keys(&mut config, reader).expect("a key");
    config
}

#[test]
fn a_key_of_hashes_is_read_from_its_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "version: 2\nstacks: {{s: {{plugins: [{{type: http_capture, config: {{redact: {{hash_key_file: {}, \
         rules: [{{in: header, key: x-user, mode: hash}}]}}}}}}]}}}}\n",
        file.path().display()
    );
    let config = with_key_of(&file, &text);
    let capture = config.stacks["s"]
        .http_capture
        .as_ref()
        .expect("http_capture");
    let key = HashKeySource::Text(Secret::new("0123456789abcdef"));
    assert_eq!(capture.hash_key, Some(key));
}

#[test]
fn a_site_key_is_read_from_its_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "version: 2\ntap: {{trace: {{site_key_file: {}}}}}\n",
        file.path().display()
    );
    let key = HashKeySource::Text(Secret::new("0123456789abcdef"));
    assert_eq!(with_key_of(&file, &text).tap.join.site_key, Some(key));
}

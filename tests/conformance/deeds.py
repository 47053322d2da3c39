"""Servers that do, hear or remember something wrong, and the cases that must notice."""

from __future__ import annotations

import attrs

from agentwire.protocol.desk import Memory, Outcome
from agentwire.protocol.request import TextConfig
from agentwire.protocol.tools import AUTO
from agentwire.server import server
from agentwire.server.auth import Keys
from agentwire.testing.conformance.wire import WebSocket
from tests.conformance.lying import (
    ForgetfulStore,
    Lie,
    OpenStore,
    asking,
    eager,
    hear_nothing,
    hearing,
    mute,
    own_close,
    patched,
    refusing,
    remembering,
    taking,
    unwelcoming,
    wanting,
)

DEEDS = (
    # what it remembers
    Lie(
        "keeps the parents of failures",
        "a_response_that_fails_is_not_remembered",
        remembering(Outcome.FAILED, Memory.KEEP),
    ),
    Lie(
        "keeps the parents of refusals",
        "a_refused_continuation_evicts a_failed_continuation_evicts calls_and_outputs_match_one_to_one",
        remembering(Outcome.REFUSED, Memory.KEEP),
    ),
    Lie(
        "forgets incomplete responses",
        "an_incomplete_response_is_remembered",
        remembering(Outcome.INCOMPLETE, Memory.EVICT),
    ),
    Lie(
        "forgets everything",
        "a_chain_goes_on_without_storing refusals_of_other_requests_change_nothing",
        remembering(Outcome.COMPLETED, Memory.EVICT),
    ),
    Lie("keeps no lane apart", "a_chain_goes_on_without_storing", remembering(Outcome.COMPLETED, Memory.KEEP)),
    Lie(
        "is generous",
        "only_the_latest_is_remembered a_failed_continuation_evicts a_queued_fork_may_lose_its_parent",
        generous=True,
    ),
    # bounds
    Lie("has 31 lanes", "there_are_32_lane_names", limits={"lanes": 31}),
    Lie("has 33 lanes", "there_are_32_lane_names", limits={"lanes": 33}),
    Lie("runs 15", "sixteen_responses_run_at_once", limits={"running": 15}),
    Lie("runs 17", "sixteen_responses_run_at_once", limits={"running": 17}),
    Lie(
        "runs one",
        "lanes_run_at_the_same_time an_error_stays_on_its_lane a_queued_fork_may_lose_its_parent",
        limits={"running": 1},
    ),
    Lie("takes small messages", "a_message_has_a_largest_size", limits={"message_bytes": 99_999}),
    Lie("takes large messages", "a_message_has_a_largest_size", limits={"message_bytes": 100_001}),
    Lie("queues less", "the_queue_is_bounded", limits={"queued": 19}),
    Lie("queues more", "the_queue_is_bounded", limits={"queued": 21}),
    Lie("gives no sign of life", "a_silent_response_gives_signs_of_life", limits={"keepalive_interval": 1000.0}),
    Lie(
        "pings nobody",
        "a_silent_client_is_pinged_and_given_up",
        limits={"ping_interval": 10_000.0, "ping_timeout": 20_000.0},
    ),
    Lie(
        "is impatient",
        "a_quiet_connection_stays_open a_silent_client_is_pinged_and_given_up",
        limits={"ping_timeout": 21.0, "ping_interval": 20.5},
    ),
    Lie("lives on", "a_connection_has_its_age", limits={"connection_age": 100_000.0}),
    Lie("lives short", "a_quiet_connection_stays_open a_connection_has_its_age", limits={"connection_age": 100.0}),
    Lie("reads little", "a_history_in_full_matches_as_well output_comes_back_as_input", limits={"json_values": 20}),
    # engines
    Lie("reads any context", "a_context_has_a_length", engine=asking(lambda ask: ask)),
    Lie("does not truncate", "a_context_has_a_length", refusing('"truncation": "auto"')),
    Lie("searches nowhere", "a_search_is_told_in_order", engine=wanting(tool_choice=AUTO)),
    Lie("says nothing", "a_continuation_counts_the_whole_context", engine=mute),
    Lie("calls what it likes", "with_none_no_tool_is_called", engine=eager),
    Lie(
        "takes no choice",
        "with_none_no_tool_is_called with_required_a_tool_is_called a_named_function_is_called "
        "allowed_tools_are_a_constraint",
        engine=wanting(tool_choice=AUTO),
    ),
    Lie(
        "takes no bound",
        "an_incomplete_response_is_remembered an_answer_that_is_cut_off_is_incomplete",
        engine=wanting(max_output_tokens=None),
    ),
    Lie("takes no format", "a_schema_shapes_the_answer", engine=wanting(text=TextConfig())),
    Lie("shows no reasoning", "a_summary_is_told_in_order", engine=wanting(reasoning=None)),
    Lie(
        "calls in parallel",
        "without_parallel_calls_there_is_one",
        hearing('"parallel_tool_calls": false', '"parallel_tool_calls": true'),
    ),
    Lie(
        "sees no tools",
        "a_custom_tool_takes_text items_have_ids_types_and_statuses outputs_come_in_any_order",
        engine=asking(lambda ask: attrs.evolve(ask, tools=())),
    ),
    # what is sent, as a server that cannot take it would have it
    Lie("refuses what it does not know", "unknown_members_are_ignored", refusing('"made_up_member"')),
    Lie("refuses stream", "transport_fields_change_nothing", refusing('"stream": true')),
    Lie(
        "refuses stream options",
        "settings_of_other_servers_change_nothing transport_fields_change_nothing",
        refusing('"stream_options"'),
    ),
    Lie("refuses some includes", "every_include_is_accepted", refusing('"message.input_image.image_url"')),
    Lie("refuses verbosity", "text_and_reasoning_settings_are_accepted", refusing('"verbosity"')),
    Lie(
        "refuses summaries",
        "output_comes_back_as_input text_and_reasoning_settings_are_accepted",
        refusing('"summary": "auto"'),
    ),
    Lie(
        "refuses lists", "input_is_a_string_or_a_list", refusing('"input": [{"role": "user", "content": "Say hello."}]')
    ),
    Lie(
        "refuses parts",
        "input_is_a_string_or_a_list items_are_accepted_in_every_shape a_call_is_continued_with_its_output",
        refusing('"input_text"'),
    ),
    Lie("refuses null lanes", "a_lane_of_null_is_the_default_one", refusing('"stream_id": null')),
    Lie("refuses acknowledgements", "processed_is_ignored", refusing('"response.processed"')),
    Lie(
        "refuses namespaces",
        "tools_of_every_type_are_accepted a_call_into_a_namespace_names_it",
        refusing('"namespace"'),
    ),
    Lie("refuses long names", "function_names_are_checked", refusing('"' + "n" * 128 + '"')),
    Lie("refuses easy messages", "items_are_accepted_in_every_shape", refusing('"content": "Be brief."')),
    Lie("refuses types at the end", "members_come_in_any_order", refusing('"type": "response.create"}')),
    Lie("takes any name", "function_names_are_checked", taking('"get weather"')),
    Lie(
        "takes any choice",
        "a_choice_that_is_not_offered_is_refused every_shape_of_a_choice_is_understood",
        taking('"tool_choice": {"type": "function"'),
    ),
    Lie("takes any JSON", "what_is_dear_to_read_is_refused bad_json_is_refused", taking("[]")),
    Lie("takes any depth", "what_is_dear_to_read_is_refused", taking("[[[[")),
    Lie("takes any lane", "lane_names_are_checked", taking('"stream_id": "a b"')),
    Lie("takes any metadata", "metadata_has_bounds", taking('"16": "x"')),
    Lie(
        "takes any truncation",
        "truncation_is_auto_or_disabled every_shape_of_a_choice_is_understood",
        taking('"sometimes"'),
    ),
    Lie("takes strings for numbers", "wrong_types_are_refused_by_name", taking('"100"')),
    Lie("takes any number", "numbers_have_bounds", taking('"temperature": 2.1')),
    Lie("takes long identifiers", "a_safety_identifier_has_a_length", taking('"' + "x" * 129 + '"')),
    Lie("takes conversations", "conversations_and_prompts_are_refused_by_name", taking('"conversation"')),
    Lie("takes empty parents", "an_empty_parent_is_none_at_all", taking('"previous_response_id": ""')),
    Lie("runs in the background of a socket", "there_is_no_background_on_a_socket", taking('"background": true')),
    Lie("takes completion windows", "background_options_are_refused", taking('"background_options"')),
    Lie("takes small thresholds", "context_management_is_checked", taking('"compact_threshold": 999')),
    Lie("takes events of others", "events_that_do_not_exist_are_refused", taking('"response.append"')),
    Lie(
        "needs no model",
        "a_request_needs_a_model",
        taking('{"type": "response.create", "input"'),
    ),
    Lie(
        "hears no bytes",
        "an_unmasked_frame_fails_the_connection fragments_are_one_message "
        "reserved_bits_and_opcodes_fail_the_connection text_that_is_not_utf8_closes",
        patched(WebSocket, "send_frames", hear_nothing),
    ),
    Lie("hears no binary", "a_binary_message_is_read_or_refused", patched(WebSocket, "send_binary", hear_nothing)),
    Lie("says its own goodbye", "a_close_is_answered_with_its_code", patched(WebSocket, "close", own_close)),
    Lie("dislikes queries", "unknown_query_parameters_are_ignored", unwelcoming("foo=bar")),
    Lie("dislikes content types", "headers_of_an_http_client_are_no_hindrance", unwelcoming("Content-Type")),
    Lie("dislikes betas", "beta_headers_are_accepted", unwelcoming("OpenAI-Beta")),
    Lie(
        "lets every page in",
        "a_page_from_elsewhere_opens_no_socket",
        patched(server, "check_origin", lambda *_, **__: None),
    ),
    Lie("has room for 39", "connections_are_bounded", limits={"connections": 39}),
    Lie("has room for 41", "connections_are_bounded", limits={"connections": 41}),
    Lie("dislikes strangers", "headers_of_a_clients_own_are_ignored", unwelcoming("originator")),
    Lie("has no alias", "there_is_an_alias_for_clients_that_add_to_the_path", unwelcoming("codex/responses")),
    Lie("is not there", "a_binary_message_is_read_or_refused", unwelcoming("/v1/responses")),
    Lie(
        "is never slow",
        "a_silent_response_gives_signs_of_life pings_are_answered_in_the_midst_of_a_response",
        engine=asking(lambda ask: attrs.evolve(ask, request=attrs.evolve(ask.request, model="builtin"))),
    ),
    # stores and owners
    Lie(
        "stores nothing",
        "what_was_evicted_may_come_from_the_store what_is_stored_goes_on_elsewhere references_stand_for_items",
        store=ForgetfulStore,
    ),
    Lie("keeps no secrets", "owners_do_not_see_each_other a_deleted_response_is_gone", store=OpenStore),
    Lie(
        "takes every key",
        "a_wrong_key_is_refused_before_the_upgrade owners_do_not_see_each_other",
        patched(Keys, "principal", lambda *_: "anybody"),
    ),
)

"""Servers that say something wrong, and the cases that must notice."""

from __future__ import annotations

from tests.conformance.lying import (
    Lie,
    body,
    errors,
    header,
    on,
    piecewise,
    plus,
    renamed,
    responses,
    saying,
    status,
    taking,
    usage,
    with_,
    without,
    wrong_sum,
)

WORDS = (
    # steering
    Lie(
        "cuts off for other reasons",
        "a_steered_response_ends_with_its_item a_steered_response_has_a_successor",
        responses(["incomplete"], incomplete_details={"reason": "max_output_tokens"}),
    ),
    Lie(
        "has successors of nobody",
        "a_successor_goes_before_what_waits",
        responses(["created"], previous_response_id=None),
    ),
    Lie("owes nothing", "a_steer_waits_for_the_outputs", on("response.steer.pending", required_input=[])),
    # compaction and background
    Lie("compacts into responses", "a_compacted_window_begins_a_chain", body(b'"response.compaction"', b'"response"')),
    Lie("takes everything", "a_compaction_needs_a_model a_background_response_must_be_stored", status(200, 400)),
    Lie("cancels anything", "only_background_responses_can_be_cancelled", status(200, 400)),
    Lie("streams anything", "only_background_streams_are_read_again", status(200, 400)),
    Lie("never compacts", "a_long_context_is_compacted", taking('"compact_threshold": 1000}')),
    Lie("hears no trigger", "a_trigger_compacts_now", taking('Thank you."}, {"type": "compaction_trigger"}')),
    Lie(
        "is never in the background",
        "a_background_response_is_polled",
        body(b'"background":true', b'"background":false'),
    ),
    Lie("fails what is cancelled", "a_background_response_can_be_cancelled", body(b'"cancelled"', b'"failed"')),
    Lie(
        "replays otherwise",
        "a_background_stream_is_read_again",
        piecewise(b'"sequence_number":7,', b'"sequence_number":8,'),
    ),
    # what is said on sockets
    Lie(
        "skips a number",
        "a_silent_response_gives_signs_of_life a_call_is_told_in_order",
        saying(lambda event: plus(event, "sequence_number", 1) if event.get("sequence_number", 0) > 2 else event),
    ),
    Lie(
        "counts from one",
        "a_silent_response_gives_signs_of_life a_warm_up_does_not_wait_for_the_model",
        saying(lambda event: plus(event, "sequence_number", 1)),
    ),
    Lie(
        "has no numbers",
        "a_silent_response_gives_signs_of_life a_warm_up_does_not_wait_for_the_model",
        saying(lambda event: with_(event, sequence_number=...)),
    ),
    Lie(
        "forgets in_progress",
        "a_cut_leaves_the_server_as_it_was a_started_fork_keeps_its_parent what_still_runs_cannot_be_continued",
        without("response.in_progress"),
    ),
    Lie(
        "forgets created",
        "a_lane_is_first_come_first_served permits_are_shared_by_all_lanes without_lanes_one_response_runs_at_a_time",
        without("response.created"),
    ),
    Lie(
        "forgets item.added",
        "a_call_is_told_in_order an_answer_that_is_cut_off_is_incomplete",
        without("response.output_item.added"),
    ),
    Lie(
        "forgets item.done",
        "a_call_is_told_in_order an_answer_that_is_cut_off_is_incomplete",
        without("response.output_item.done"),
    ),
    Lie(
        "forgets parts",
        "an_answer_that_is_cut_off_is_incomplete a_message_is_told_in_order",
        without("response.content_part.added", "response.content_part.done"),
    ),
    Lie(
        "forgets deltas",
        "an_answer_that_is_cut_off_is_incomplete a_message_is_told_in_order",
        without("response.output_text.delta"),
    ),
    Lie("forgets argument events", "a_call_is_told_in_order", without("response.function_call_arguments.done")),
    Lie("forgets custom input", "a_custom_tool_takes_text", without("response.custom_tool_call_input.done")),
    Lie("forgets summaries", "a_summary_is_told_in_order", without("response.reasoning_summary_text.done")),
    Lie(
        "forgets errors before failed",
        "a_failing_model_fails_its_response",
        saying(lambda event: None if event["type"] == "error" and event.get("sequence_number") else event),
    ),
    Lie(
        "says done instead of completed",
        "a_binary_message_is_read_or_refused an_upgrade_opens_a_socket_that_takes_turns",
        renamed("response.completed", "response.done"),
    ),
    Lie(
        "says completed instead of incomplete",
        "an_incomplete_response_is_remembered an_answer_that_is_cut_off_is_incomplete",
        renamed("response.incomplete", "response.completed"),
    ),
    Lie(
        "says completed instead of failed",
        "a_failing_model_fails_its_response",
        renamed("response.failed", "response.completed"),
    ),
    Lie(
        "spoils deltas",
        "an_answer_that_is_cut_off_is_incomplete a_message_is_told_in_order",
        on("response.output_text.delta", delta="x"),
    ),
    Lie("has no logprobs", "a_message_is_told_in_order", on("response.output_text.delta", logprobs=...)),
    Lie(
        "shows another item id",
        "an_answer_that_is_cut_off_is_incomplete a_message_is_told_in_order",
        on("response.content_part.added", item_id="msg_other"),
    ),
    Lie(
        "has an empty output",
        "a_schema_shapes_the_answer a_custom_tool_takes_text",
        responses(["completed"], output=[]),
    ),
    Lie(
        "completes without usage",
        "a_continuation_counts_the_whole_context nothing_is_inherited_but_the_conversation",
        responses(["completed", "incomplete"], usage=None),
    ),
    Lie(
        "has usage at once",
        "times_and_usage_are_told_at_the_end a_message_is_told_in_order",
        responses(["created", "in_progress"], usage={"total_tokens": 1}),
    ),
    Lie(
        "begins completed",
        "the_first_event_is_created_or_an_error a_warm_up_does_not_wait_for_the_model",
        responses(["created"], status="completed"),
    ),
    Lie(
        "has float times",
        "times_and_usage_are_told_at_the_end a_response_is_stored_unless_it_must_not_be",
        responses(created_at=1.5),
    ),
    Lie(
        "completes at once",
        "times_and_usage_are_told_at_the_end a_response_is_stored_unless_it_must_not_be",
        responses(completed_at=1),
    ),
    Lie(
        "has no service tier",
        "a_response_has_the_members_of_the_strict_schema a_response_is_stored_unless_it_must_not_be",
        responses(service_tier=None),
    ),
    Lie(
        "is in the background",
        "a_response_has_the_members_of_the_strict_schema a_response_is_stored_unless_it_must_not_be",
        responses(background=True),
    ),
    Lie(
        "lacks truncation",
        "a_response_has_the_members_of_the_strict_schema defaults_are_told",
        responses(truncation=...),
    ),
    Lie(
        "lacks tools",
        "a_response_has_its_members a_response_has_the_members_of_the_strict_schema",
        responses(tools=...),
    ),
    Lie(
        "echoes other instructions",
        "settings_are_echoed nothing_is_inherited_but_the_conversation",
        responses(instructions="Be rude."),
    ),
    Lie(
        "has bare tools",
        "defaults_are_told settings_are_echoed",
        responses(tools=[{"type": "function", "name": "bare"}]),
    ),
    Lie("has other ids", "a_chain_goes_on_without_storing", responses(["completed"], id="x")),
    Lie("has no parent", "a_chain_goes_on_without_storing settings_are_echoed", responses(previous_response_id=None)),
    Lie(
        "adds output_text",
        "items_have_ids_types_and_statuses a_response_is_stored_unless_it_must_not_be",
        responses(output_text="hello"),
    ),
    Lie("has no reason", "an_answer_that_is_cut_off_is_incomplete", responses(incomplete_details=None)),
    Lie("has no failure", "a_failing_model_fails_its_response", responses(error=None)),
    Lie("is stored, it says", "defaults_are_told a_response_is_stored_unless_it_must_not_be", responses(store=False)),
    Lie(
        "adds up wrongly",
        "times_and_usage_are_told_at_the_end a_response_is_stored_unless_it_must_not_be",
        saying(lambda event: wrong_sum(event)),
    ),
    Lie(
        "counts nothing of the past",
        "a_continuation_counts_the_whole_context nothing_is_inherited_but_the_conversation",
        saying(lambda event: usage(event, input_tokens=1, total_tokens=1)),
    ),
    Lie(
        "makes tokens of warm-ups",
        "a_warm_up_does_not_wait_for_the_model times_and_usage_are_told_at_the_end "
        "a_warm_up_can_be_continued a_warm_up_needs_no_input a_warm_up_runs_no_model "
        "prewarm_makes_a_warm_up",
        saying(lambda event: usage(event, output_tokens=5)),
    ),
    Lie(
        "says the lane null",
        "every_event_names_its_lane lane_names_are_checked",
        saying(lambda event: event if "stream_id" in event else {**event, "stream_id": None}),
    ),
    Lie(
        "drops the lane at the end",
        "any_lane_may_fork_from_any_other a_started_fork_keeps_its_parent",
        on("response.completed", stream_id=...),
    ),
    Lie(
        "drops the lane of errors",
        "a_refused_fork_evicts_nothing every_event_names_its_lane",
        on("error", stream_id=...),
    ),
    Lie(
        "invents lanes",
        "a_choice_that_is_not_offered_is_refused",
        saying(lambda event: {**event, "stream_id": "a"} if event["type"] == "error" else event),
    ),
    Lie(
        "has flat errors",
        "a_choice_that_is_not_offered_is_refused",
        saying(
            lambda event: (
                {**with_(event, error=...), **event["error"], "type": "error"} if event["type"] == "error" else event
            )
        ),
    ),
    Lie("has errors without status", "a_choice_that_is_not_offered_is_refused", on("error", status=...)),
    Lie("has errors of status 500", "a_choice_that_is_not_offered_is_refused", on("error", status=500)),
    Lie("has errors of status 400", "the_queue_is_bounded a_failing_model_fails_its_response", on("error", status=400)),
    Lie("has no codes", "another_connection_does_not_know_it only_the_latest_is_remembered", errors(code=None)),
    Lie(
        "has one code",
        "another_connection_does_not_know_it only_the_latest_is_remembered",
        errors(code="invalid_request"),
    ),
    Lie(
        "has no params",
        "a_safety_identifier_has_a_length an_empty_parent_is_none_at_all an_unknown_parent_is_not_found",
        errors(param=None),
    ),
    Lie(
        "has errors without param", "a_safety_identifier_has_a_length an_empty_parent_is_none_at_all", errors(param=...)
    ),
    Lie("has no message", "an_error_has_its_shape", errors(message="")),
    Lie("has error types of its own", "an_error_is_the_same_over_http", errors(type="invalid_request")),
    Lie("has no headers", "the_queue_is_bounded", saying(lambda event: with_(event, headers=...))),
    Lie(
        "numbers errors 7",
        "an_error_has_its_shape",
        saying(
            lambda event: (
                {**event, "sequence_number": 7}
                if event["type"] == "error" and not event.get("sequence_number")
                else event
            )
        ),
    ),
    Lie(
        "chats",
        "an_answer_that_is_cut_off_is_incomplete a_message_is_told_in_order",
        saying(lambda event: {**event, "type": "acme:note"} if event["type"] == "response.output_text.done" else event),
    ),
    Lie(
        "has no type",
        "a_binary_message_is_read_or_refused",
        saying(lambda event: with_(event, type=...) if event["type"] == "response.completed" else event),
    ),
    Lie(
        "uses reserved names",
        "every_message_is_text_and_an_object a_cut_leaves_the_server_as_it_was",
        renamed("response.in_progress", "open"),
    ),
    Lie("has no keepalive", "a_silent_response_gives_signs_of_life", without("keepalive")),
    Lie(
        "keeps injected input", "an_inject_that_nobody_waits_for_is_handed_back", on("response.inject.failed", input=[])
    ),
    Lie(
        "keeps steered input",
        "a_steer_that_comes_too_late_is_handed_back",
        on("response.steer.failed", steer={"previous_response_id": "x"}),
    ),
    Lie(
        "has other steer codes",
        "a_steer_that_comes_too_late_is_handed_back a_steer_takes_user_messages "
        "a_response_that_compacts_cannot_be_steered steers_are_bounded_and_have_one_successor "
        "a_steer_that_reaches_nothing_is_handed_back",
        on("response.steer.failed", error={"code": "x", "message": "x"}),
    ),
    # HTTP
    Lie("has no [DONE]", "an_event_stream_has_its_form", body(b"data: [DONE]\n\n", b"")),
    Lie("has ids in its stream", "an_event_stream_has_its_form", body(b"\nevent:", b"\nid: 1\nevent:")),
    Lie("has other event names", "an_event_stream_has_its_form", body(b"event: response.", b"event: ")),
    Lie("is cached", "an_event_stream_has_its_form", header("cache-control", "public")),
    Lie("is buffered", "an_event_stream_has_its_form", header("x-accel-buffering", "yes")),
    Lie(
        "is text",
        "the_body_says_whether_to_stream an_error_is_the_same_over_http",
        header("content-type", "text/plain"),
    ),
    Lie("has no request id", "answers_have_a_request_id", header("x-request-id", "")),
    Lie("selects a subprotocol", "no_subprotocol_is_selected", header("sec-websocket-protocol", "other")),
    Lie(
        "selects an extension",
        "an_offer_of_compression_is_answered",
        header("sec-websocket-extensions", "x-webkit-deflate-frame"),
    ),
    Lie("allows nothing", "other_methods_are_refused", header("allow", "")),
    Lie("upgrades to h2c", "a_plain_get_is_told_to_upgrade", header("upgrade", "h2c")),
    Lie("speaks version 8", "another_version_of_websocket_is_refused", header("sec-websocket-version", "8")),
    Lie("says 200", "a_body_must_be_an_object a_plain_get_is_told_to_upgrade", status(200, 400, 401, 404, 405, 426)),
    Lie(
        "says 400",
        "input_tokens_are_counted the_body_says_whether_to_stream",
        status(400, 200, 401, 404, 405, 426, 500),
    ),
    Lie(
        "says 500",
        "a_body_must_be_an_object there_are_no_sockets_elsewhere a_cut_turn_leaves_nothing_unfinished",
        status(500, 400, 404),
    ),
    Lie("lists otherwise", "input_items_are_listed", body(b'"has_more":', b'"more":')),
    Lie("deletes without saying so", "a_deleted_response_is_gone", body(b'"deleted":true', b'"deleted":false')),
    Lie(
        "counts no tokens",
        "input_tokens_are_counted a_response_is_stored_unless_it_must_not_be",
        body(b'"input_tokens":', b'"tokens":'),
    ),
    Lie(
        "has other errors over HTTP",
        "a_failure_over_http lanes_are_unknown_over_http",
        body(b'"code":"', b'"code":"http_'),
    ),
    Lie(
        "has no error over HTTP",
        "a_body_must_be_an_object a_failure_over_http what_is_not_stored_is_not_there",
        body(b'"error":', b'"fault":'),
    ),
    Lie(
        "has another shape over HTTP",
        "a_response_is_stored_unless_it_must_not_be each_transport_tells_the_same",
        body(b'"truncation":', b'"trunc":'),
    ),
)

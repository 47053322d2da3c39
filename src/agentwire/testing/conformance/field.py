"""What went wrong in the field, as far as it can be seen from outside a server, and the cases that look for it.

Reports are named ``owner/repo#number``, as on GitHub; other names are programs with which it was seen first-hand.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["FIELD", "Failure", "failures_of"]


@attrs.frozen
class Failure:
    """One way in which servers and gateways have failed.

    Attributes:
        what: what happened.
        reports: who reported it.
        cases: the names of the cases that look for it.
    """

    what: str
    reports: tuple[str, ...]
    cases: tuple[str, ...]


def _failure(what: str, reports: str, cases: str) -> Failure:
    return Failure(what, tuple(reports.split()), tuple(cases.split()))


FIELD: Final[tuple[Failure, ...]] = (
    _failure(
        "After an interrupt each answer was the one to the question before.",
        "stippi/code-assistant#200 bolna-ai/bolna#1012 digitallyinduced/haskell-agent#134 NVIDIA-AI-Blueprints/aiq#114",
        "an_abandoned_turn_leaves_nothing_behind every_event_names_its_lane",
    ),
    _failure(
        "An id was not found after a restart, and nothing said so, or said so in other words.",
        "earendil-works/pi#6931 PrimeIntellect-ai/prime-agent#2314 Soju06/codex-lb#464 Soju06/codex-lb#782",
        "a_killed_server_knows_no_unstored_response a_killed_server_keeps_what_it_stored "
        "another_connection_does_not_know_it an_unknown_parent_is_not_found",
    ),
    _failure(
        "A gateway renamed an error's code, so that clients did not recover.",
        "Soju06/codex-lb#1529 Soju06/codex-lb#1550 openclaw/openclaw#122717 openclaw/openclaw#122727",
        "an_unknown_parent_is_not_found codes_of_the_model_server_are_kept an_error_has_its_shape",
    ),
    _failure(
        "An unknown id was taken, and the model ran without its history.",
        "LiteLLM",
        "a_refusal_asks_the_model_nothing a_killed_server_knows_no_unstored_response",
    ),
    _failure(
        "The history was cut to one hop, or reasoning was dropped from it.",
        "LocalAI LiteLLM",
        "history_is_the_same_however_it_is_said a_stored_history_is_whole_over_http a_chain_goes_on_without_storing",
    ),
    _failure(
        "What a warm-up had prepared was lost.",
        "router-for-me/CLIProxyAPI#5420 openai/codex#41265 Wei-Shaw/sub2api#5822",
        "a_warm_up_is_part_of_the_history_and_asks_the_model_nothing a_warm_up_does_not_wait_for_the_model",
    ),
    _failure(
        "Tool outputs without their calls, or twice the same, poisoned a conversation for good.",
        "Wei-Shaw/sub2api#2139 Wei-Shaw/sub2api#2195 Wei-Shaw/sub2api#5864 router-for-me/CLIProxyAPI#2513 "
        "router-for-me/CLIProxyAPI#3688 duolahypercho/codex-router#554 openclaw/openclaw#4204",
        "calls_and_outputs_match_one_to_one a_history_in_full_matches_as_well a_refused_continuation_evicts",
    ),
    _failure(
        "A response was continued by another account.",
        "BerriAI/litellm#39559 pleaseai/shunt#39 Wei-Shaw/sub2api#6704 LocalAI",
        "owners_do_not_see_each_other",
    ),
    _failure(
        "A socket that was dead already was kept, and used again.",
        "openai/codex#38638 openai/codex#24260 openai/codex#23807 openai/codex#28295 cloudflare/agents#2242",
        "a_silent_client_is_pinged_and_given_up",
    ),
    _failure(
        "The model server died, and the socket stayed open without a word.",
        "livekit/agents-js#1935 LiteLLM maximhq/bifrost#2998 maximhq/bifrost#3018 openclaw/openclaw#44168",
        "a_model_server_that_dies_fails_the_response a_model_server_that_breaks_off_fails_the_response "
        "a_model_that_fails_in_words_fails_the_response a_model_that_falls_silent_is_not_waited_for_in_silence "
        "a_failing_model_fails_its_response",
    ),
    _failure(
        "After 60 minutes the connection ended without the code that says why.",
        "earendil-works/pi#6268 qxcnm/Codex-Manager#430 Wei-Shaw/sub2api#4999",
        "a_connection_has_its_age",
    ),
    _failure(
        "Healthy turns that thought for long were cut off, or pings went unanswered meanwhile.",
        "openai/openai-agents-python#3080 livekit/agents-js#1219 BasedHardware/omi#5131 evalstate/fast-agent#912 "
        "Wei-Shaw/sub2api#4163",
        "a_silent_model_holds_up_no_ping pings_are_answered_in_the_midst_of_a_response "
        "a_silent_response_gives_signs_of_life a_quiet_connection_stays_open",
    ),
    _failure(
        "A server without WebSockets, or without a place, let clients storm instead of saying so.",
        "openclaw/openclaw#57659 provos/ironcurtain#341 ranxianglei/billion-context#169 qxcnm/Codex-Manager#92 "
        "nick3/copilot-api#86",
        "a_plain_get_is_told_to_upgrade connections_are_bounded a_model_server_that_fails_is_not_stormed",
    ),
    _failure(
        "A socket was opened first, and closed for want of a key then.",
        "openai/codex#13041",
        "a_wrong_key_is_refused_before_the_upgrade",
    ),
    _failure(
        "The model went on for a client that had left.",
        "bman654/clodex#170 LiteLLM",
        "a_client_that_vanishes_ends_the_models_work a_client_that_vanishes_in_silence_ends_the_models_work "
        "a_client_that_says_goodbye_ends_the_models_work all_lanes_of_a_client_that_vanishes_end "
        "a_client_that_leaves_a_stream_ends_the_models_work a_client_that_leaves_a_post_ends_the_models_work",
    ),
    _failure(
        "A stream that was lost could not be read again, or was read again with ghosts.",
        "vercel/ai#6502 vercel/ai#8390 cloudflare/agents#1951 hydro-project/infinity#94",
        "a_background_stream_is_read_again a_background_response_can_be_cancelled",
    ),
    _failure(
        "Queues without a bound filled the memory; a reader that had stopped held the model for ever.",
        "donovan-yohan/relay-ide#1249 donovan-yohan/relay-ide#1250 pleaseai/shunt#155 agentic-api LiteLLM",
        "a_client_that_does_not_read_stops_the_model a_stream_that_is_not_read_stops_the_model "
        "a_client_that_does_not_read_holds_up_nobody a_client_that_never_reads_is_given_up "
        "a_stream_that_is_never_read_is_given_up the_queue_is_bounded",
    ),
    _failure(
        "A large message ended the connection, and no code said why.",
        "qxcnm/Codex-Manager#430 agentic-api",
        "a_message_has_a_largest_size a_fault_is_named_by_its_code",
    ),
    _failure(
        "Agents side by side on one socket waited for one another.",
        "openai-agents livekit/agents#6513",
        "lanes_run_at_the_same_time a_silent_model_holds_up_no_other_lane sixteen_responses_run_at_once",
    ),
    _failure(
        "Descriptors and half-closed sockets piled up.",
        "openonion/connectonion#548 onecli/onecli#484 OpenHands/OpenHands#4988",
        "clients_that_come_and_go_leave_nothing_open a_cut_leaves_the_server_as_it_was",
    ),
    _failure(
        "A deployment cut turns off, and no close code told clients to come again.",
        "LiteLLM agentic-api hivecommons/hive#5090 mnfst/llm-gateway#2326",
        "a_shutdown_lets_a_turn_finish a_shutdown_lets_a_stream_finish a_shutdown_closes_with_a_code "
        "a_shutdown_takes_no_new_turns a_shutdown_comes_to_an_end",
    ),
    _failure(
        "A fault was masked by a close with 1000 and no event.",
        "headroom LiteLLM brainlid/langchain#483",
        "a_model_server_that_dies_fails_the_response a_shutdown_closes_with_a_code numbers_have_bounds",
    ),
    _failure(
        "What followed a steer was taken for another turn's answer, or the model never saw it.",
        "Soju06/codex-lb#2100 Soju06/codex-lb#2115",
        "the_model_is_sent_what_was_steered a_steered_response_has_a_successor a_successor_goes_before_what_waits",
    ),
    _failure(
        "A 429 in a later turn ended the session, or came without the time to wait.",
        "Wei-Shaw/sub2api#5845",
        "a_429_of_the_model_server_is_told a_refusal_of_the_model_server_costs_one_turn",
    ),
    _failure(
        "Any page in a browser could use the server.",
        "LocalAI agentic-api",
        "a_page_from_elsewhere_opens_no_socket",
    ),
)
"""What went wrong, by kind; a case may look for several of these."""


def failures_of(case: str) -> tuple[Failure, ...]:
    """What a case looks for.

    Args:
        case: its name.
    """
    return tuple(failure for failure in FIELD if case in failure.cases)

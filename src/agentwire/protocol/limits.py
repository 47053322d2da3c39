"""Every bound of the system, in one frozen object.

Each wait for a peer has a deadline and each queue has a size; both are fields here, with the protocol's
defaults, and never literals elsewhere. Times are seconds, sizes are bytes, unless a name says otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

__all__ = ["Limits"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"Limits.{attribute.name} must be greater than 0, not {value!r}")


def _at_least_zero(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"Limits.{attribute.name} must not be negative: {value!r}")


def _bound(default: float) -> float:
    """A float field that must be positive; ``math.inf`` switches the bound off."""
    return attrs.field(default=default, validator=_positive)


def _count(default: int) -> int:
    return attrs.field(default=default, validator=_positive)


@attrs.frozen(kw_only=True)
class Limits:
    """The bounds of a server, a connection, a lane, a turn and a frame.

    Frozen: derive another one with ``attrs.evolve(limits, ...)``.

    Raises:
        ValueError: a bound is zero or negative.
    """

    # A server.
    connections: int = _count(1_000)
    """Open sockets at once; the next upgrade is refused with 503."""
    backlog: int = _count(1_024)
    """Connections that the kernel holds for us until they are accepted."""
    accept_pause: float = _bound(0.1)
    """Pause after a connection could not be accepted, such as for want of file descriptors."""

    stored_responses: int = _count(10_000)
    """Responses that the memory store keeps; the oldest go first."""
    stored_bytes: int = _count(256 * MIB)
    """Bytes of the responses that the memory store keeps, with all that they continue."""
    stored_event_bytes: int = _count(64 * MIB)
    """Bytes of events of background responses that the memory store keeps; those of the oldest go first."""
    stored_age: float = _bound(30 * 86_400.0)
    """Age at which a store on disk forgets a response."""
    stored_file_bytes: int = _count(16 * GIB)
    """Bytes that a store on disk uses of its file; the oldest responses go first."""

    # A store on disk.
    store_queue: int = _count(1_024)
    """Writes that may wait; then whoever comes next waits, too."""
    store_batch: int = _count(256)
    """Most writes that are made together."""
    store_readers: int = _count(4)
    """Reads at once."""
    store_cache_bytes: int = _count(64 * MIB)
    """Bytes of conversations, as JSON, that need not be read again."""
    store_busy: float = _bound(5.0)
    """Time that a write waits for one of another process."""
    store_heartbeat: float = _bound(2.0)
    """Time between two signs of life of a process that runs responses in the background."""
    store_silence: float = _bound(15.0)
    """Silence of a process after which what it ran has failed."""
    store_sweep: float = _bound(60.0)
    """Time between two looks for responses that are too old, where nothing is written."""

    background_running: int = _count(16)
    """Background responses of one principal that run at once."""
    background_queued: int = _count(256)
    """Background responses of one principal that wait; the next request is refused with 429."""
    background_queued_bytes: int = _count(64 * MIB)
    """Bytes of the requests of one principal's background responses that wait."""
    store_poll: float = _bound(0.5)
    """Pause between two looks into the store, for a response that another process runs."""

    # A frame and what it costs to parse.
    message_bytes: int = _count(16 * MIB)
    """Largest message from a peer; one byte more closes the connection with 1009."""
    body_bytes: int = _count(64 * MIB)
    """Largest HTTP request body; more is a 413."""
    head_bytes: int = _count(32 * KIB)
    """Largest head of an HTTP request (more is a 431), and most bytes kept of requests that come before their turn."""
    json_values: int = _count(250_000)
    """Most objects, arrays and members in one message: bounds the time and memory that parsing takes."""
    json_depth: int = _count(128)
    """Deepest nesting of a message."""
    interrupt_bytes: int = _count(MIB)
    """Largest input of a steer or an inject, which is read at once and may be handed back."""
    input_items: int = _count(10_000)
    """Most items in one request's ``input``."""

    # A context.
    compact_threshold: int = _count(100_000)
    """Tokens of context beyond which it is compacted, for a request that asks for that and names no number; at most
    three quarters of what the engine says it can hold."""
    compaction_bytes: int = _count(4 * MIB)
    """Largest ``encrypted_content`` of a compaction, when it is made and when it comes back."""
    summary_tokens: int = _count(4_000)
    """Longest summary that a model is asked to write, thoughts included."""
    digest_characters: int = _count(8_000)
    """Longest summary that is made without a model; a shorter context has a shorter one."""

    # A connection.
    lanes: int = _count(32)
    """Distinct named lanes over a connection's life (the default lane is not counted)."""
    running: int = _count(16)
    """Responses that run at once on one connection."""
    queued: int = _count(256)
    """Requests that wait on one connection."""
    queued_bytes: int = _count(32 * MIB)
    """Bytes of the requests that wait on one connection."""
    steers: int = _count(16)
    """Steers that wait on one response; their bytes share the bound of the requests that wait, ``queued_bytes``."""
    generous_responses: int = _count(16)
    """Responses that each lane remembers where the server is generous; otherwise it is the latest one."""
    reply_bytes: int = _count(256 * KIB)
    """Reserve for replies that belong to no turn; a peer that exhausts it without reading is cut off."""
    replay_bytes: int = _count(MIB)
    """Events of turns that have ended, and of each that runs, that are kept for a client that comes back."""
    connection_age: float = _bound(3600.0)
    """Life of one connection."""
    goaway_notice: float = _bound(60.0)
    """How long before a connection has had its life a client that asked for it is told."""
    connection_idle: float = _bound(math.inf)
    """Time without a turn and without a message after which a connection is closed; unbounded unless set."""
    detached_sessions: int = _count(256)
    """Sessions that wait for their clients to come back; the longest idle one makes room."""
    detached_each: int = _count(64)
    """The same, of one principal."""

    # A turn.
    window_bytes: int = _count(256 * KIB)
    """Events of one turn that may wait for the client; then the engine waits."""
    response_bytes: int = _count(32 * MIB)
    """Events of one response in all; more ends it ``incomplete``."""
    steps: int = _count(64)
    """Engine steps of one turn, where the server runs the tools between them."""
    tool_output_bytes: int = _count(MIB)
    """Output of one tool call; more is cut, and says so."""
    tool_seconds: float = _bound(600.0)
    """Time that one tool call may take."""
    command_exit: float = _bound(2.0)
    """Time that a command, and all that it has started, has to leave after SIGTERM; then it is killed."""

    # A server of tools (MCP).
    mcp_connect: float = _bound(20.0)
    """Time until it has started and said which tools it has."""
    mcp_restart: float = _bound(0.5)
    """Pause before it is started again; twice that after each failure."""
    mcp_restart_most: float = _bound(30.0)
    """Longest such pause, and how long it must have lived for the pause to be short again."""
    mcp_exit: float = _bound(2.0)
    """Time that it has to leave, after its input is closed and again after SIGTERM; then it is killed."""
    mcp_tools: int = _count(512)
    """Tools of one server; the others are left out."""
    mcp_calls: int = _count(32)
    """Calls at once of one server; the others wait."""
    mcp_stderr_bytes: int = _count(2_000)
    """What is logged of one line that its process writes to stderr."""
    mcp_stderr_lines: int = _count(100)
    """Lines of its process that are logged in a second; of the others only how many there were."""
    mcp_sessions: int = _count(64)
    """Sessions with servers that clients brought; the longest idle one makes room."""
    mcp_sessions_each: int = _count(8)
    """The same, of one principal."""
    mcp_idle: float = _bound(300.0)
    """Time without a call after which such a session is closed."""

    # A client.
    turn_buffer_bytes: int = _count(8 * MIB)
    """Events of one turn that may wait to be read; more ends that turn with an error, and no other."""
    relay_bytes: int = _count(MIB)
    """Events of one turn that may wait in a gateway before its connection to the model's server is read more slowly;
    beside faster turns on the same connection, ``turn_buffer_bytes`` of all of them together."""
    run_steps: int = _count(64)
    """Steps of a run that may wait to be read; then the model's text waits (its tools do not)."""
    remembered_bytes: int = _count(64 * MIB)
    """Conversations that a client remembers, to say them again where a server has forgotten them; those that were
    continued longest ago are forgotten first."""
    request_attempts: int = _count(5)
    """How often a client asks for one turn, over one connection after the other."""
    steer_answer: float = _bound(30.0)
    """Time for a server to say whether it takes a steer; then its fate is unknown."""
    nested_runs: int = _count(8)
    """How deep runs may be nested: a run in a tool of a run, and so on."""
    journal_age: float = _bound(30 * 86_400.0)
    """Time without an entry after which a journal on disk forgets a run."""
    journal_file_bytes: int = _count(4 * GIB)
    """Bytes that a journal on disk uses of its file; the runs that were used longest ago go first."""
    journal_memory_bytes: int = _count(64 * MIB)
    """Bytes that a journal in memory keeps; the runs that were used longest ago go first."""

    first_event: float = _bound(1200.0)
    """Time from when a client's request has left to the first event of its answer; then that request is lost."""
    event_silence: float = _bound(1800.0)
    """Time between two events of an answer, ``keepalive`` among them; then that request is lost. Long, as a server
    without ``keepalive`` says nothing while its model thinks."""
    rotate_after: float = _bound(3300.0)
    """Age at which a client's connection takes no more requests, so that those on it end before the server ends it."""
    websocket_retry: float = _bound(300.0)
    """Time for which requests go over plain HTTP, where a WebSocket was refused, until that is tried again."""
    reconnect_pause: float = _bound(0.1)
    """Pause before the second attempt to reconnect; each further one is twice as long. The first comes at once."""
    reconnect_longest: float = _bound(5.0)
    """Longest pause between two attempts to reconnect."""

    dropin_places: int = _count(16)
    """Servers, each with the key and other headers that go there, to which one HTTP client of an SDK has wires; those
    that are idle longest make room."""

    # A writer.
    slice_bytes: int = _count(16 * KIB)
    """What one turn may put into one write before the next turn has its share."""
    write_bytes: int = _count(64 * KIB)
    """What one write takes from all turns together."""
    write_progress: float = _bound(150.0)
    """A peer that takes not one byte for so long is dead. A slow one lives: its system tells of progress in steps of
    its receive buffer, often 128 KiB, which is two minutes to a client that reads 1 kB a second."""

    # Life signs.
    ping_interval: float = _bound(20.0)
    """Silence from the peer after which it is pinged."""
    ping_timeout: float = _bound(60.0)
    """Silence from the peer after which it is dead; a pinged peer that lives answers long before."""
    keepalive_interval: float = _bound(20.0)
    """Silence of a running response after which it says ``keepalive``."""

    # Handshakes and ends.
    handshake: float = _bound(10.0)
    """TLS handshake, and the head of the first request."""
    body: float = _bound(30.0)
    """Pause within a request body."""
    idle: float = _bound(75.0)
    """Time between two requests of a kept-alive HTTP connection."""
    close_grace: float = _bound(5.0)
    """Time for the closing handshake of a WebSocket."""
    cleanup: float = _bound(5.0)
    """Time for a cancelled tool's or engine's own cleanup before it is reported as stuck."""
    drain: float = attrs.field(default=30.0, validator=_at_least_zero)
    """Time that running turns have to finish when the server shuts down."""

    # A model's server.
    upstream_first_event: float = _bound(600.0)
    """Time from a request to the first event of its answer; for an answer that is no stream, to its head."""
    upstream_silence: float = _bound(300.0)
    """Time between two events of an answer, or two pieces of one that is no stream. A comment is no event."""
    upstream_usage: float = _bound(5.0)
    """Time that a chat server may take, after the reason for which its answer ended, to say what it used."""
    upstream_retries: int = attrs.field(default=2, validator=_at_least_zero)
    """How often routes ask an engine again for a step of which nothing was written."""
    retry_pause: float = _bound(0.5)
    """Pause before the first such attempt; it doubles each time, and chance takes up to half of it away."""
    retry_longest: float = _bound(8.0)
    """Longest such pause, unless the server asks for more."""
    retry_after: float = _bound(30.0)
    """Longest pause that a server may ask for, also before a client's next attempt to connect; with more, there is no
    further attempt."""
    upstream_waiting: int = _count(256)
    """Steps that wait where a route is given only so many at once; the next one is refused with 429."""
    upstream_patience: float = _bound(60.0)
    """Time that such a step waits; then it is refused with 429."""
    models_age: float = _bound(60.0)
    """Age at which a list of an upstream's models is asked for anew, when somebody wants it."""
    models_wait: float = _bound(5.0)
    """Time that an upstream has to list its models."""
    models_listed: int = _count(1_000)
    """Most models of one upstream that are listed."""
    upstream_attempts: int = _count(3)
    """How often a request that did not run is sent over a WebSocket, on one connection after the other."""
    upstream_chains: int = _count(10_000)
    """Conversations that a WebSocket's server remembers and that are known here by what they say; the least recently
    used are forgotten first."""
    upstream_probe: float = _bound(10.0)
    """Time to find out what a model's server speaks."""
    upstream_kept: int = _count(100)
    """Connections to one model's server that are kept for later requests."""

"""All scenarios, by topic; a number that is given up is never given to another one.

Whether a client has to finish its task is a `must` where the server keeps the rules, as one does that ends a connection
after 60 minutes, or has forgotten what it need not keep; and `need not` where it could do harm, or cannot be done.
"""

from __future__ import annotations

from agentwire.testing.clients.scenarios import SCENARIOS, TOPICS, Scenario
from agentwire.testing.hostile import DEEDS, cue
from agentwire.testing.hostile.clerk import Clerk

__all__: list[str] = []


def _scenario(number: int, topic: int, name: str, title: str = "", *deeds: str, **more: object) -> None:
    title = title or DEEDS[cue(deeds[0]).deed.name].title
    written = f"AWK-{number:03}"
    assert written not in SCENARIOS, f"{written} is taken"
    SCENARIOS[written] = Scenario(
        number=written,
        name=name,
        topic=TOPICS[topic],
        title=title,
        deeds=deeds,
        **more,  # type: ignore[arg-type]
    )


def _deed(number: int, topic: int, *deeds: str, title: str = "", **more: object) -> None:
    """A scenario that is called as its first deed is."""
    _scenario(number, topic, cue(deeds[0]).deed.name, title, *deeds, **more)


# The task itself
_scenario(1, 0, "honest", "The server keeps all rules: one tool call after the other", finishes="must")
_scenario(
    2,
    0,
    "honest-parallel",
    "The server keeps all rules: two tool calls in a response",
    finishes="must",
    at_once=2,
    pages=((1, 4),),
)
_scenario(
    3,
    0,
    "slow",
    "An answer comes slowly, but never silent for long",
    finishes="must",
    clerk=Clerk(pieces=12, every=0.5),
    extra=6,
)
_deed(4, 0, "fragments", finishes="must")
_deed(5, 0, "drip", finishes="must")
_deed(6, 0, "strangers", finishes="must")
_deed(7, 0, "ping-flood")
_deed(8, 0, "huge")
_deed(9, 0, "output-empty")
_deed(10, 0, "never-pongs", clerk=Clerk(pieces=12, every=0.5), extra=6, needs=("websocket",))
_deed(11, 0, "goodbye-unanswered", finishes="must", extra=5, needs=("websocket",))
_scenario(
    12,
    0,
    "large-output",
    "The tool returns a megabyte",
    finishes="must",
    tool_size=1_000_000,
)

# Getting connected
for _place, _status in enumerate((426, 404, 405, 400)):
    _deed(20 + _place, 1, f"refuse-{_status}", needs=("websocket",))
_deed(24, 1, "refuse-500", finishes="need not", needs=("websocket",))
_deed(25, 1, "refuse-401", finishes="need not", needs=("websocket",))
_deed(26, 1, "upgrade-busy", needs=("websocket",))
_deed(27, 1, "upgrade-hangs", extra=10, needs=("websocket",))
_deed(28, 1, "upgrade-reset", needs=("websocket",))
_deed(29, 1, "upgrade-wrong-accept", finishes="need not", needs=("websocket",))
_deed(30, 1, "upgrade-no-http", finishes="need not", needs=("websocket",))
_deed(31, 1, "opened-then-1008", finishes="need not", needs=("websocket",))
_deed(32, 1, "born-old", finishes="need not", needs=("websocket",))

# Silence
_deed(40, 2, "silence")
_deed(41, 2, "silence-midway")
_deed(42, 2, "terminal-missing@3")
_deed(43, 2, "half-open-idle", needs=("websocket",))
_deed(44, 2, "half-open-midway")
_deed(45, 2, "deaf", tool_size=8_000_000, extra=5, needs=("websocket",))

# Lost connections
_deed(50, 3, "reset-midway")
_deed(51, 3, "reset-unanswered")
_deed(52, 3, "reset-idle", needs=("websocket",))
_deed(53, 3, "eof-midway")
_deed(54, 3, "close-1000-midway", needs=("websocket",))
_deed(55, 3, "close-1000-unanswered", needs=("websocket",))
_deed(56, 3, "close-1000-idle", needs=("websocket",))
_deed(57, 3, "close-1012-midway", needs=("websocket",))
_deed(58, 3, "close-1012-unanswered", needs=("websocket",))
_deed(59, 3, "close-1001-idle", needs=("websocket",))
_scenario(
    60,
    3,
    "reset-while-tool-runs",
    "The connection is reset while the client's tool runs",
    "reset-idle",
    tool_seconds=1.0,
    needs=("websocket",),
)
_deed(61, 3, "reset-after-call", tool_seconds=0.3)
_scenario(
    62,
    3,
    "same-call-again",
    "The connection is reset after a tool call, and the call comes again, with the same id",
    "reset-after-call",
    clerk=Clerk(same_ids=True),
    tool_seconds=0.3,
)
_deed(63, 3, "dropped-always", finishes="need not")

# Lost conversations
_deed(70, 4, "forgets", finishes="must")
_deed(71, 4, "forgets-flat", needs=("websocket",))
_deed(72, 4, "forgets-renamed", finishes="need not")
_deed(73, 4, "forgets-always")
_deed(74, 4, "aged-out", finishes="must", needs=("websocket",))
_deed(75, 4, "aged-out-idle", finishes="must", needs=("websocket",))

# Errors
_deed(80, 5, "rate-limit", finishes="need not")
_deed(81, 5, "overloaded")
_deed(82, 5, "server-error")
_deed(83, 5, "server-error-always", finishes="need not")
_deed(84, 5, "no-status", finishes="need not")
_deed(85, 5, "fails-midway", finishes="need not")
_deed(86, 5, "goodbye-stuck", finishes="need not", needs=("websocket",))
_deed(
    87,
    5,
    "key-revoked",
    "reset-unanswered",
    finishes="need not",
    needs=("websocket",),
    title="The connection is lost, and the key is refused with HTTP 401 where another one is opened",
)

# Order of events
_deed(90, 6, "stale-events")
_deed(91, 6, "stale-response")
_deed(92, 6, "terminal-twice")
_deed(93, 6, "events-twice", finishes="need not")
_deed(94, 6, "foreign-lane", finishes="need not", needs=("websocket",))
_deed(95, 6, "call-ids-same", at_once=2, finishes="need not")
_deed(96, 6, "numbers-gapped")
_deed(97, 6, "numbers-missing")

# Broken messages
_deed(100, 7, "not-json")
_deed(101, 7, "not-an-object")
_deed(102, 7, "not-utf8")
_deed(103, 7, "masked-frame", needs=("websocket",))
_deed(104, 7, "reserved-bits", needs=("websocket",))
_deed(105, 7, "binary", needs=("websocket",))

# Cancelling, and work side by side
_scenario(
    110,
    8,
    "cancelled",
    "The run is cancelled while its tool runs",
    cancel_after=1.5,
    tool_seconds=4.0,
    extra=6,
    needs=("cancel",),
    finishes="need not",
    sources=(
        "odysseus-dev/odysseus#5105",
        "NousResearch/hermes-agent#3399",
        "google/adk-python#6769",
        "openai-agents 0.24.0",
    ),
)
_scenario(
    111,
    8,
    "side-by-side",
    "Three tasks at once, with one client",
    pages=((1, 2), (3, 4), (5, 6)),
    clerk=Clerk(thinks=0.7),
    extra=8,
    needs=("tasks",),
    sources=("livekit/agents#6513", "openai-agents 0.24.0"),
)

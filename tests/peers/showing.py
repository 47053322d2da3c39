"""An engine that shows every kind of output, one after another, for clients that must read them all."""

from __future__ import annotations

from agentwire.engines import scripted
from agentwire.engines.script import Annotation, Call, NewMessage, Refusal, Sealed, Summary, Text, Told, Turn

CITED = {"type": "url_citation", "url": "https://x.y", "title": "X", "start_index": 0, "end_index": 5}
LOGPROB = {"token": "found", "bytes": [102], "logprob": -0.5, "top_logprobs": []}
SEARCH = {"type": "web_search_call", "action": {"type": "search", "query": "x"}}
STAGES: tuple[tuple[str, dict[str, str]], ...] = tuple(
    (f"response.web_search_call.{stage}", {}) for stage in ("in_progress", "searching", "completed")
)

showing = scripted(
    Turn(
        Summary("Looking.", pieces=2),
        Sealed("opaque"),
        Told(SEARCH, STAGES),
        NewMessage("commentary"),
        Text("found", logprobs=(LOGPROB,)),
        Annotation(CITED),
        Refusal("but no", pieces=2),
        Call("one", {"a": 1}, pieces=2),
        Call("two", {"b": 2}),
        Call("patch", "free text", custom=True),
    )
)
"""``tests.peers.showing:showing``"""

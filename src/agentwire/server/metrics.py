"""What a server counts, in the text format that Prometheus reads.

The numbers are those of `Server.statistics` and `Routes.statistics`. Nothing is told of a single client: labels have as
many values as there are outcomes, ways to end, MCP servers and upstreams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from agentwire.server.server import ServerStatistics

__all__ = ["CONTENT_TYPE", "write_metrics"]

CONTENT_TYPE: Final = ("content-type", "text/plain; version=0.0.4; charset=utf-8")

_PREFIX: Final = "agentwire_"
_GAUGES: Final[Mapping[str, str]] = {
    "connections": "open WebSockets",
    "sessions": "sessions of WebSockets, of HTTP requests, and in the background",
    "detached": "sessions that wait for their clients to come back",
    "running": "requests that run",
    "queued": "requests that wait in their lanes",
    "unsent_bytes": "bytes of events that wait until their clients have read what came before",
    "draining": "1 while the server shuts down",
}
_TOKENS: Final = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
_ACCEPTED: Final[Mapping[str, str]] = {
    "accepted": "connections taken",
    "failed": "connections whose handler ended with an exception",
    "tls_failed": "TLS handshakes that failed or took too long",
    "not_accepted": "times that accepting failed",
}
_MCP: Final[Mapping[str, str]] = {"starts": "times that its session began", "calls": "calls of its tools"}
_UPSTREAM: Final[Mapping[str, str]] = {
    "attempts": "how often it was asked",
    "retries": "attempts that were not the first of their step",
    "failures": "attempts that failed",
}

_Sample: TypeAlias = tuple[Mapping[str, str], float]


def write_metrics(counts: ServerStatistics, upstreams: Mapping[str, Any]) -> bytes:
    """All of it, a line each, behind two that say what it is.

    Args:
        counts: of the server.
        upstreams: `UpstreamStatistics` by name; empty without routes.
    """
    return "".join((*_server(counts), *_mcp(counts), *_upstreams(upstreams))).encode()


def _server(counts: ServerStatistics) -> Iterator[str]:
    for name, words in _GAUGES.items():
        yield _gauge(name, words, [({}, getattr(counts, name))])
    yield _gauge("background_running", "responses without a client that run", [({}, counts.background.running)])
    yield _gauge("background_waiting", "responses without a client that wait", [({}, counts.background.waiting)])
    yield _counter("opened_sessions", "sessions since the start", [({}, counts.sessions_total)])
    yield _counter("tool_calls", "calls of the server's own tools", [({}, counts.tool_calls)])
    yield _counter(
        "turns", "turns by how they ended", [({"outcome": way}, number) for way, number in counts.turns.items()]
    )
    for name in _TOKENS:
        used = [({"outcome": way}, getattr(each, name)) for way, each in counts.used.items()]
        yield _counter(name, "as the engines said, or estimated, by how the turns ended", used)
    yield _counter(
        "ended_connections",
        "WebSockets by why they ended",
        [({"why": why}, number) for why, number in counts.ended.items()],
    )
    for name, words in _ACCEPTED.items():
        yield _counter(f"{name}_connections", words, [({}, getattr(counts.listening, name))])


def _mcp(counts: ServerStatistics) -> Iterator[str]:
    yield _gauge("mcp_up", "1 while its tools can be called", [({"server": one.label}, one.up) for one in counts.mcp])
    for name, words in _MCP.items():
        yield _counter(f"mcp_{name}", words, [({"server": one.label}, getattr(one, name)) for one in counts.mcp])


def _upstreams(upstreams: Mapping[str, Any]) -> Iterator[str]:
    held = [({"upstream": name}, one.running) for name, one in upstreams.items() if one.running is not None]
    yield _gauge("upstream_running", "steps of those whose number is bounded", held)
    waiting = [({"upstream": name}, one.waiting) for name, one in upstreams.items()]
    yield _gauge("upstream_waiting", "steps that wait for others to end", waiting)
    for name, words in _UPSTREAM.items():
        samples = [({"upstream": label}, getattr(one, name)) for label, one in upstreams.items()]
        yield _counter(f"upstream_{name}", words, samples)


def _gauge(name: str, words: str, samples: Iterable[_Sample]) -> str:
    return _family(name, "gauge", words, samples)


def _counter(name: str, words: str, samples: Iterable[_Sample]) -> str:
    return _family(f"{name}_total", "counter", words, samples)


def _family(name: str, kind: str, words: str, samples: Iterable[_Sample]) -> str:
    """One metric; nothing at all where there is nothing to count."""
    full = _PREFIX + name
    lines = [f"{full}{_labels(labels)} {int(value)}\n" for labels, value in samples]
    return "".join((f"# HELP {full} {words}\n", f"# TYPE {full} {kind}\n", *lines)) if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    pairs = (f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}" if labels else ""


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

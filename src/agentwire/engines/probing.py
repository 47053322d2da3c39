"""What a model's server speaks, found out by asking it: its WebSocket mode, chat completions, or the Responses API.

No question makes a model say anything: a request without a body that makes sense is refused by whoever has the path,
and told apart from a path that is not there.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import attrs
import msgspec
import trio

from agentwire.engines.faults import bearer, place_of, server_of
from agentwire.link import open_link
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, LocalProtocolError, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.base_url import BaseUrl
from agentwire.transport.http_client import (
    HttpClient,
    HttpReply,
    HttpStatusError,
    ServerSilent,
    Unreachable,
    open_http_client,
)

__all__ = ["SPOKEN", "Found", "ListedModel", "Spoken", "probe", "read_models"]

Spoken: TypeAlias = Literal["chat", "responses", "wire"]

SPOKEN: Final[Mapping[Spoken, str]] = {
    "chat": "chat completions",
    "responses": "the Responses API",
    "wire": "the WebSocket mode",
}
"""What each kind is called."""

_PATHS: Final[tuple[tuple[Spoken, str], ...]] = (("chat", "/chat/completions"), ("responses", "/responses"))
_ABSENT: Final = frozenset((404, 405, 501))
_UNREADY: Final = frozenset((502, 503, 504))
"""What a server says that is loading its model, and a proxy whose server is not there."""
_REFUSING: Final = frozenset((401, 403))
_OWNERS: Final[Mapping[str, str]] = {
    "agentwire": "agentwire",
    "library": "Ollama",
    "llamacpp": "llama.cpp",
    "openai": "OpenAI",
    "organization_owner": "LM Studio",
    "sglang": "SGLang",
    "vllm": "vLLM",
    "xai": "xAI",
}
"""Programs and services by what they call the owner of a model."""


@attrs.frozen(kw_only=True)
class Found:
    """What came of asking a server.

    Attributes:
        base_url: where it speaks that, perhaps one path further down than it was asked.
        kind: what it speaks; None if it speaks nothing that is known, or was not there.
        reachable: it answered, and not only that it cannot answer yet.
        unready: it is there, and only answered that it cannot answer yet, or took the question and was late.
        refuses_key: it answered that the key is missing or wrong.
        sent_key: there was one.
        program: which one it is, as far as it can be told.
        models: the models that it lists.
        said: what it answered otherwise, in words; empty where it speaks something.
    """

    base_url: str
    kind: Spoken | None = None
    reachable: bool = False
    unready: bool = False
    refuses_key: bool = False
    sent_key: bool = False
    program: str = ""
    models: tuple[str, ...] = ()
    said: str = ""

    def __str__(self) -> str:
        """One line for people."""
        if self.kind is None:
            named = self.said.startswith(server_of(self.base_url))  # as a failure of the transport does
            return self.said if named else f"{place_of(self.base_url)}: {self.said}"
        program = f" ({self.program})" if self.program else ""
        shown = ", ".join(self.models[:5]) + (f" and {len(self.models) - 5} more" if len(self.models) > 5 else "")
        models = f", models: {shown}" if shown else ""
        refused = f", which {'refuses the' if self.sent_key else 'wants a'} key" if self.refuses_key else ""
        return f"{SPOKEN[self.kind]} of {place_of(self.base_url)}{program}{models}{refused}"


async def probe(
    url: str,
    *,
    kinds: Collection[Spoken] = tuple(SPOKEN),
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    proxy: str | None = "environment",
) -> Found:
    """Ask a server what it speaks; within ``limits.upstream_probe`` seconds, and without a word of a model.

    The WebSocket mode goes before chat completions, and these before the Responses API over HTTP, because what calls
    itself that is a part of it in many servers. A base URL without a path is tried with ``/v1`` first.

    Args:
        url: the base URL, ``http://`` or ``https://``.
        kinds: what it is asked for.
        key: for ``Authorization: Bearer``.
        headers: for every request.
        limits: deadlines.
        tls: trust other than the system's.
        proxy: the URL of a proxy, or None; the environment's settings if left out.

    Raises:
        ValueError: the address, the key or the proxy is not possible.
        LocalProtocolError: the headers cannot be sent.
    """
    BaseUrl.parse(url)  # so that what is wrong with it is said of what was given
    limits = limits or Limits()
    sent = dict(headers or {}) | ({"authorization": bearer(key)} if key is not None else {})
    found = Found(base_url=url, said="nobody answers there")
    with trio.move_on_after(limits.upstream_probe):  # noqa: ASYNC912 - there is always an address to ask
        for base in _bases(url):
            async with open_http_client(base, headers=sent, limits=limits, tls=tls, proxy=proxy) as http:
                try:
                    await http.connect()
                except Unreachable as error:
                    return Found(base_url=base, said=error.cause)
                if not found.reachable:
                    found = Found(base_url=base, unready=True, said=f"no answer within {limits.upstream_probe:g} s")
                found = await _Asker(http, base, kinds, sent, limits, tls, proxy).ask()
            if found.kind is not None or not found.reachable:
                return found
    return found


def _bases(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if not parts.path.strip("/"):
        yield urlunsplit(parts._replace(path="/v1"))
    yield url


@attrs.frozen
class _Asker:
    """Questions to one base URL."""

    http: HttpClient
    base: str
    kinds: Collection[Spoken]
    headers: Mapping[str, str]
    limits: Limits
    tls: ssl.SSLContext | None
    proxy: str | None

    async def ask(self) -> Found:
        try:
            listed = await self._send("GET", "/models")
        except ConnectionEnded as error:
            return Found(base_url=self.base, unready=isinstance(error, ServerSilent), said=error.cause)
        except RemoteProtocolError as error:
            return Found(base_url=self.base, reachable=True, said=str(error))
        if listed.status in _UNREADY:
            said = f"GET /models is answered with HTTP {listed.status}"
            return Found(base_url=self.base, unready=True, said=said)
        names, owner = _listing(listed)
        found = Found(
            base_url=self.base,
            reachable=True,
            refuses_key=listed.status in _REFUSING,
            sent_key=any(name.lower() == "authorization" for name in self.headers),
            program=_OWNERS.get(owner, "") or _program_of(listed),
            models=names,
            said=f"GET /models is answered with HTTP {listed.status}, and there is none of the APIs that are known",
        )
        return attrs.evolve(found, kind=await self._kind())

    async def _kind(self) -> Spoken | None:
        if "wire" in self.kinds and await self._has_socket():
            return "wire"
        for kind, path in ((kind, path) for kind, path in _PATHS if kind in self.kinds):
            try:
                answer = await self._send("POST", path, {})
            except AgentwireError:
                continue
            if answer.status not in _ABSENT or _is_about_model(answer):
                return kind
        return None

    async def _has_socket(self) -> bool:
        """Whether an upgrade succeeds; the connection is closed at once."""
        try:
            lines = tuple(self.headers.items())
            async with open_link(self.base, key="", headers=lines, limits=self.limits, tls=self.tls, proxy=self.proxy):
                return True
        except (AgentwireError, LocalProtocolError):
            return False

    async def _send(self, method: str, path: str, body: Any = None) -> HttpReply:
        try:
            return await self.http.request(method, path, json=body)
        except HttpStatusError as error:
            return HttpReply(error.status, error.headers, error.body)


class ListedModel(msgspec.Struct):
    """One model as a server lists it."""

    id: str
    owned_by: str | None = None


class _Models(msgspec.Struct):
    data: list[ListedModel]


def read_models(body: bytes) -> list[ListedModel]:
    """What stands at ``/models``.

    Raises:
        RemoteProtocolError: it is no list of models.
    """
    try:
        return msgspec.json.decode(body, type=_Models).data
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("what stands at /models is no list of models") from error


def _listing(reply: HttpReply) -> tuple[tuple[str, ...], str]:
    """The models that a server lists, and what it calls the owner of the first one."""
    models: list[ListedModel] = []
    if reply.status < 300:
        with suppress(RemoteProtocolError):
            models = read_models(reply.body)
    owner = (models[0].owned_by or "") if models else ""
    return tuple(model.id for model in models), owner.lower()


def _program_of(reply: HttpReply) -> str:
    said = reply.headers.get("server", "")
    return said if said in ("llama.cpp", "agentwire") else ""


def _is_about_model(reply: HttpReply) -> bool:
    """A 404 of the path itself says nothing of a model; one because of a model does."""
    return reply.status == 404 and b"model" in reply.body.lower()

"""Keeps secrets out of what is recorded: each becomes a label, the same for the same secret, that tells nothing of it.

``Authorization: Bearer sk-...`` is recorded as ``(key 1)``: enough to tell two clients apart, and nothing to steal.
What people say to a model is not touched; a recording holds that in full.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import attrs

from agentwire.testing.http_scan import Head

__all__ = ["KEY_HEADERS", "Secrets"]

KEY_HEADERS: Final = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
"""The headers that say who asks, in the order in which they are believed."""

_LABELS: Final = {
    **dict.fromkeys(KEY_HEADERS, "key"),
    "proxy-authorization": "proxy key",
    "cookie": "cookie",
    "set-cookie": "cookie",
    "agentwire-session": "session",
    "x-codex-turn-state": "state",
    "x-oai-attestation": "attestation",
}
_QUERY: Final = ("key", "api_key", "api-key", "apikey", "access_token", "token", "sig", "signature")
_SUSPICIOUS: Final = re.compile(rb'"(?:authorization|headers|token|api_key|api-key|apikey)"\s*:', re.IGNORECASE)
_MEMBERS: Final = ("authorization", "api_key", "api-key", "apikey")
_PROTOCOL_KEY: Final = re.compile(r"(openai-insecure-api-key\.)([^\s,]+)")


@attrs.define(eq=False)
class Secrets:
    """The labels of one recording."""

    _salt: bytes = attrs.field(factory=lambda: os.urandom(16))
    _known: dict[str, dict[bytes, str]] = attrs.field(factory=dict)

    def label(self, kind: str, secret: str) -> str:
        """``(kind 1)`` for the first secret of a kind; a label stays as it is."""
        if re.fullmatch(r"\([a-z ]+ \d+\)", secret):
            return secret
        known = self._known.setdefault(kind, {})
        digest = hashlib.sha256(self._salt + secret.encode(errors="replace")).digest()
        return known.setdefault(digest, f"({kind} {len(known) + 1})")

    def head(self, head: Head) -> Head:
        """A head without secrets."""
        headers = tuple((name, self._header(name, value)) for name, value in head.headers)
        return attrs.evolve(head, headers=headers, target=self._target(head.target))

    def _header(self, name: str, value: str) -> str:
        if name in _LABELS:
            secret = value.removeprefix("Bearer ") if name == "authorization" else value
            return self.label(_LABELS[name], secret)
        if name == "sec-websocket-protocol":
            return _PROTOCOL_KEY.sub(lambda found: found[1] + self.label("key", found[2]), value)
        return value

    def _target(self, target: str) -> str:
        path, mark, query = target.partition("?")
        if not mark or not any(name in query.lower() for name in _QUERY):
            return target
        pairs = parse_qsl(query, keep_blank_values=True)
        shown = [(name, self.label("key", value) if name.lower() in _QUERY else value) for name, value in pairs]
        return f"{path}?{urlencode(shown, safe='() ', quote_via=quote)}"

    def message(self, payload: bytes) -> bytes:
        """A JSON message without the keys of MCP servers and the tokens of sessions; anything else as it is."""
        if not _SUSPICIOUS.search(payload):
            return payload
        try:
            value = json.loads(payload)
        except ValueError:
            return payload
        shown = self._value(value, whole=True)
        return payload if shown == value else json.dumps(shown, separators=(",", ":")).encode()

    def _value(self, value: Any, *, whole: bool = False) -> Any:
        if isinstance(value, list):
            return [self._value(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        shown = {name: self._member(name, member) for name, member in value.items()}
        if value.get("type") == "mcp" and isinstance(headers := value.get("headers"), Mapping):
            shown["headers"] = {name: self.label("key", str(secret)) for name, secret in headers.items()}
        session = value.get("session")
        if whole and isinstance(session, Mapping) and isinstance(token := session.get("token"), str):
            shown["session"] = {**session, "token": self.label("session", token)}
        return shown

    def _member(self, name: str, value: Any) -> Any:
        if name.lower() in _MEMBERS and isinstance(value, str) and value:
            return self.label("key", value.removeprefix("Bearer "))
        return self._value(value)

"""Who asks: API keys become principals, and a principal is part of every key to state.

Keys are compared without telling how far they agree. A server without keys takes everybody for one principal, and
then it listens on this machine only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

from agentwire.protocol.errors import RequestError

__all__ = ["ANYBODY", "KEYS_VARIABLE", "Keys"]

ANYBODY: Final = "anybody"
"""The principal of a server without keys."""

KEYS_VARIABLE: Final = "AGENTWIRE_KEYS"
"""The environment variable that holds keys, separated by commas or white space."""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


@attrs.frozen
class Keys:
    """The API keys that a server takes; none at all means that it asks for none.

    Only digests are kept. A principal is named by the first digits of its key's digest, which are safe to log.
    """

    _digests: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, keys: Iterable[str]) -> Keys:
        """From the keys themselves.

        Raises:
            TypeError: it is one string: each letter of it would be a key.
            ValueError: a key is empty, or holds something that no header can carry.
        """
        if isinstance(keys, str):
            raise TypeError("several keys are expected, such as [key], and not one string")
        digests = []
        for key in keys:
            if not key or not key.isascii() or not key.isprintable() or " " in key:
                raise ValueError("an API key must be visible ASCII characters, without spaces")
            digests.append(_digest(key))
        return cls(tuple(digests))

    @classmethod
    def read(cls, path: str | Path) -> Keys:
        """From a file: one key a line; empty lines and lines that begin with ``#`` do not count.

        Raises:
            OSError: the file cannot be read.
            ValueError: there is no key in it, a line is no key, or it is no text.
        """
        try:
            lines = (line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines())
            keys = cls.of(line for line in lines if line and not line.startswith("#"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if not keys:
            raise ValueError(f"there is no API key in {path}")
        return keys

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Keys:
        """From ``AGENTWIRE_KEYS``; none if it is not set.

        Raises:
            ValueError: it is set, but there is no key in it, or something that is none.
        """
        if KEYS_VARIABLE not in environment:
            return cls()
        try:
            keys = cls.of(environment[KEYS_VARIABLE].replace(",", " ").split())
        except ValueError as error:
            raise ValueError(f"{KEYS_VARIABLE}: {error}") from error
        if not keys:
            raise ValueError(f"{KEYS_VARIABLE} is set, but holds no key")
        return keys

    def __bool__(self) -> bool:
        return bool(self._digests)

    def principal(self, authorization: str | None) -> str:
        """Who sent this ``Authorization`` header.

        Raises:
            RequestError: 401, the key is missing or not one of these.
        """
        if not self._digests:
            return ANYBODY
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("missing_api_key", "Send an API key: 'Authorization: Bearer KEY'.")
        digest = _digest(key.strip())
        if not any(hmac.compare_digest(digest, known) for known in self._digests):
            raise _unauthorized("invalid_api_key", "This API key is not known here.")
        return digest.hex()[:16]


def _unauthorized(code: str, message: str) -> RequestError:
    return RequestError(401, code, message, headers={"www-authenticate": "Bearer"})

"""One ``[upstreams.NAME]`` of the file: which engine it is, with what options, and what stands around it.

Everything is read and checked before anything is opened, and each option is refused where the kind of engine has no use
for it. What is secret is named and not written down: ``key-env``, ``key-file``, and ``{env = "NAME"}`` as the value of
a header.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from agentwire.cli.failures import UserError
from agentwire.cli.keys import read_key
from agentwire.cli.loading import open_named_engine
from agentwire.cli.tables import convert, variable
from agentwire.cli.upstreams import ask_upstream, list_models
from agentwire.engines.faults import bearer, place_of
from agentwire.engines.routing import Upstream
from agentwire.link.address import Address
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine
from agentwire.transport.http_client import open_http_client
from agentwire.transport.proxy import Proxy

if TYPE_CHECKING:
    from agentwire.engines.chat.dialect import ChatDialect

__all__ = ["NamedUpstream", "UpstreamTable", "read_upstream"]


@attrs.frozen(kw_only=True)
class UpstreamTable:
    """The table, with underscores in its names."""

    kind: str = "chat"
    base_url: str | None = None
    key_env: str | None = None
    key_file: str | None = None
    headers: dict[str, Any] = attrs.field(factory=dict, repr=False)
    ca_file: str | None = None
    proxy: Any = attrs.field(default=None, repr=False)
    connect: float | None = None
    first_event: float | None = None
    silence: float | None = None
    longest: float | None = None
    retries: int | None = None
    concurrency: int | None = None
    context_tokens: int | None = None
    dialect: dict[str, Any] | None = None
    stateful: bool | None = None
    connections: int | None = None
    lanes: bool | None = None
    rotate_after: float | None = None
    on_cancel: Literal["close", "isolate"] | None = None
    store: bool | None = None
    repeat_unanswered: bool | None = None


_ASKED: Final = "auto"
"""The kind of an upstream that is asked what it speaks."""
_SERVERS: Final = ("chat", "responses", "wire", _ASKED)
_ANY: Final = ("kind", "longest", "retries", "concurrency")
"""What engines without a server have, too."""
_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("dialect",),
    "responses": ("stateful",),
    "wire": ("connections", "lanes", "rotate_after", "on_cancel", "store", "repeat_unanswered"),
}
"""The options of one kind alone."""
_ALL_OWN: Final = frozenset(name for names in _OWN.values() for name in names)
_LEAST: Final = {"retries": 0, "concurrency": 1, "context_tokens": 1, "connections": 1}
_OF_CONNECTIONS: Final = frozenset(
    (
        "accept-encoding", "connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding",
        "upgrade",
    )
)  # fmt: skip
"""Headers that say how bytes are sent, which is not for a file to say."""
_SECONDS: Final = ("connect", "first_event", "silence", "longest", "rotate_after")


@attrs.frozen(kw_only=True)
class NamedUpstream:
    """What a table asks for, with everything read that it names.

    Attributes:
        name: of the table.
        where: the place in the file, for errors.
        table: as it stands there.
        key: for ``Authorization: Bearer``.
        headers: for every request.
        tls: trust other than the system's.
        proxy: the URL of a proxy, ``environment``, or None for none.
        dialect: of a server for chat completions.
        found: what it showed that it is; empty if it was not asked.
    """

    name: str
    where: str
    table: UpstreamTable
    key: str | None = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    tls: ssl.SSLContext | None
    proxy: str | None = attrs.field(repr=False)
    dialect: ChatDialect | None
    found: str = ""

    def __str__(self) -> str:
        place = f" {place_of(self.table.base_url)}" if self.table.base_url is not None else ""
        return f"{self.name} ({self.table.kind}{place})"

    def limits(self, limits: Limits) -> Limits:
        """The server's bounds with this upstream's own deadlines."""
        table = self.table
        own = {
            "handshake": table.connect,
            "upstream_first_event": table.first_event,
            "upstream_silence": table.silence,
        }
        changes: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
        return attrs.evolve(limits, **changes)

    async def found_out(self, limits: Limits) -> NamedUpstream:
        """The same with its kind known: one of kind ``auto`` is asked what it speaks, within ``limits.upstream_probe``.

        Raises:
            UserError: an address, a key or a header is not possible, or it cannot be found out.
        """
        url = self.table.base_url
        if self.table.kind != _ASKED or url is None:
            return self
        try:
            found = await ask_upstream(
                url, key=self.key, headers=self.headers, limits=self.limits(limits), tls=self.tls, proxy=self.proxy
            )
        except (ValueError, LocalProtocolError) as error:
            raise self._refused(error) from error
        if found.kind is None:
            kinds = ", ".join(kind for kind in _SERVERS if kind != _ASKED)
            doubt = "is base-url right, or " if found.reachable else ""
            raise UserError(f"{self.where}: {found}; {doubt}what does it speak? Its kind can be said: {kinds}")
        table = attrs.evolve(self.table, kind=found.kind, base_url=found.base_url)
        return attrs.evolve(self, table=table, found=str(found))

    async def open(self, limits: Limits, stack: AsyncExitStack) -> Upstream:
        """The engine with what stands around it, until the stack is left; its kind must be known.

        Args:
            limits: the server's.
            stack: closes the engine.

        Raises:
            UserError: an address, a key or a header is not possible, or an engine cannot be loaded.
        """
        own = self.limits(limits)
        try:
            engine = await stack.enter_async_context(self._engine(own))
            lister = await self._lister(own, stack)
        except (ValueError, LocalProtocolError) as error:
            raise self._refused(error) from error
        table = self.table
        return Upstream(
            engine,
            name=self.name,
            concurrency=table.concurrency,
            retries=table.retries,
            longest=table.longest,
            lister=lister,
            limits=own,
        )

    def _refused(self, error: Exception) -> UserError:
        """What an engine has against its address; all the rest was seen to when the table was read."""
        if self.table.kind not in _SERVERS:
            return UserError(f"{self.where}.kind: {error}")
        said = re.sub(r"^base_url\b", "it", str(error))
        if self.table.kind != "wire" and (self.table.base_url or "").startswith(("ws:", "wss:")):
            said += "; a server that speaks the WebSocket mode is of kind wire"
        return UserError(f"{self.where}.base-url: {said}")

    def _engine(self, limits: Limits) -> AbstractAsyncContextManager[Engine]:
        if self.table.kind not in _SERVERS:
            named = "agentwire.engines:builtin" if self.table.kind == "builtin" else self.table.kind
            return open_named_engine(named, what=f"{self.where}.kind")
        assert self.table.base_url is not None
        opened: AbstractAsyncContextManager[Engine] = _opener(self.table.kind)(
            self.table.base_url,
            key=self.key,
            headers=self.headers,
            context_tokens=self.table.context_tokens,
            limits=limits,
            tls=self.tls,
            proxy=self.proxy,
            **self._own_options(),
        )
        return opened

    def _own_options(self) -> dict[str, Any]:
        if self.table.kind == "chat":
            return {"dialect": self.dialect}
        given = {name: getattr(self.table, name) for name in _OWN[self.table.kind]}
        return {name: value for name, value in given.items() if value is not None}

    async def _lister(self, limits: Limits, stack: AsyncExitStack) -> Any:
        if self.table.kind not in _SERVERS:
            return None
        assert self.table.base_url is not None
        address = Address.parse(self.table.base_url) if self.table.kind == "wire" else None
        sent = dict(self.headers)
        if self.key is not None:
            sent["authorization"] = bearer(self.key)
        asking = open_http_client(
            address.base_url if address is not None else self.table.base_url,
            headers=sent,
            limits=limits,
            tls=self.tls,
            unix_path=(address.path or None) if address is not None else None,
            proxy=self.proxy,
        )
        return partial(list_models, await stack.enter_async_context(asking))


def _opener(kind: str) -> Any:
    if kind == "wire":
        from agentwire.engines.wire import open_wire_engine

        return open_wire_engine
    if kind == "responses":
        from agentwire.engines.responses import open_responses_engine

        return open_responses_engine
    from agentwire.engines.chat import open_chat_engine

    return open_chat_engine


def read_upstream(name: str, raw: Mapping[str, Any], path: str) -> NamedUpstream:
    """What a table asks for.

    Args:
        name: of the table.
        raw: what is in it.
        path: of the file; ``key-file`` and ``ca-file`` start from its folder.

    Raises:
        UserError: something in it cannot be followed, or names something that is not there.
    """
    where = f"{path}: upstreams.{name}"
    table: UpstreamTable = convert(raw, UpstreamTable, where)
    _check_kind(table, raw, where)
    _check_numbers(table, where)
    key = _key(table, where, Path(path).parent)
    headers = {each: _header(each, value, table.kind, where) for each, value in table.headers.items()}
    if key is not None and any(each.lower() == "authorization" for each in headers):
        named = "key-env" if table.key_env is not None else "key-file"
        raise UserError(f"{where}: {named} and the header authorization both say who asks: choose one")
    return NamedUpstream(
        name=name,
        where=where,
        table=table,
        key=key,
        headers=headers,
        tls=None if table.ca_file is None else _trust(Path(path).parent / table.ca_file, where),
        proxy=_proxy(table.proxy, f"{where}.proxy"),
        dialect=None if table.dialect is None else _dialect(table.dialect, where),
    )


def _check_kind(table: UpstreamTable, raw: Mapping[str, Any], where: str) -> None:
    kind = table.kind
    served = kind in _SERVERS
    if not served and kind != "builtin" and ":" not in kind:
        known = ", ".join((*_SERVERS, "builtin"))
        raise UserError(f"{where}.kind: it must be one of {known}, or module:name of an engine, not {kind!r}")
    if served and table.base_url is None:
        raise UserError(f"{where}: base-url is needed, as its kind is {kind}")
    for key in raw:
        name = key.replace("-", "_")
        if not served and name not in _ANY:
            raise UserError(f"{where}.{key}: an engine of kind {kind!r} has only {_dashed(_ANY)}")
        if name in _ALL_OWN and name not in _OWN.get(kind, ()):
            owner = next(each for each, names in _OWN.items() if name in names)
            raise UserError(f"{where}.{key}: only an upstream of kind {owner!r} has it, and this one is {kind!r}")


def _check_numbers(table: UpstreamTable, where: str) -> None:
    for name, least in _LEAST.items():
        if (number := getattr(table, name)) is not None and number < least:
            raise UserError(f"{where}.{_dashed([name])}: it must be at least {least}, not {number}")
    for name in _SECONDS:
        if (seconds := getattr(table, name)) is not None and not seconds > 0:
            raise UserError(f"{where}.{_dashed([name])}: it must be more than 0 seconds, not {seconds:g}")


def _key(table: UpstreamTable, where: str, folder: Path) -> str | None:
    if table.key_env is not None and table.key_file is not None:
        raise UserError(f"{where}: key-env and key-file both say where the key is: choose one")
    named, key = f"{where}.key-file", None
    if table.key_env is not None:
        named = f"{where}.key-env"
        key = variable(table.key_env, named).strip()
    elif table.key_file is not None:
        key = read_key(folder / table.key_file, what=named)
    if key is not None:
        try:
            bearer(key)
        except ValueError as error:
            raise UserError(f"{named}: {error}") from error
    return key


def _header(name: str, value: Any, kind: str, where: str) -> str:
    place = f"{where}.headers.{name}"
    if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
        raise UserError(f"{place}: it is no header's name")
    if _is_ours(name.lower(), kind):
        raise UserError(f"{place}: each request says that for itself; leave it out")
    text = _text_or_variable(value, place, "a text")
    if not (text.isascii() and text.isprintable()):
        raise UserError(f"{place}: its value must be printable ASCII")
    return text


def _is_ours(name: str, kind: str) -> bool:
    """Whether a header belongs to the connection, which would break with another one."""
    return name in _OF_CONNECTIONS or (kind == "wire" and (name == "host" or name.startswith("sec-websocket-")))


def _text_or_variable(value: Any, place: str, text: str) -> str:
    """A text, or the value of the variable that is named instead."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or value.keys() != {"env"} or not isinstance(value["env"], str):
        raise UserError(f'{place}: it must be {text}, or {{env = "NAME"}}')
    return variable(value["env"], place).strip()


def _proxy(value: Any, place: str) -> str | None:
    if value is None or value == "none":
        return "environment" if value is None else None
    url = _text_or_variable(value, place, 'a URL, "none"')
    try:
        credentials = Proxy.parse(url).credentials
    except ValueError as error:
        raise UserError(f"{place}: {error}") from None
    if credentials and isinstance(value, str):
        raise UserError(f'{place}: a password is named and not written down: {{env = "NAME"}}')
    return url


def _trust(path: Path, where: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise UserError(f"{where}.ca-file: there is no certificate (PEM) in {path}") from error
    except OSError as error:
        raise UserError(f"{where}.ca-file: cannot read {path}: {error.strerror}") from error


def _dialect(table: Mapping[str, Any], where: str) -> ChatDialect:
    from agentwire.engines.chat.dialect import ChatDialect

    dialect: ChatDialect = convert(table, ChatDialect, f"{where}.dialect")
    return attrs.evolve(dialect)  # made as a program makes it


def _dashed(names: Any) -> str:
    return ", ".join(sorted(name.replace("_", "-") for name in names))

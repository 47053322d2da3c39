"""Sessions with MCP servers, over a child's stdin and stdout or over HTTP: the only importer of the `mcp` package.

The package is an extra and slow to import, so this module is imported where a session is first wanted. Its own framing
of a child is left aside, because a child must not outlive its session, and its stderr belongs in the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Self

import attrs
import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.limits import Limits
from agentwire.protocol.mcp import McpTool
from agentwire.runtime.tools.local import ToolError
from agentwire.runtime.tools.output import ToolResult
from agentwire.runtime.tools.source import McpServer, RemoteSession, SessionGone, SessionLost
from agentwire.transport.child import Child, open_child
from agentwire.transport.mcp_tolerance import MENDED, loose_objects, unreadable

try:
    import anyio
    import mcp_types as types
    from mcp import Client, MCPError
    from mcp.client.streamable_http import streamable_http_client
    from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
    from mcp.shared._httpx_utils import create_mcp_http_client
    from mcp.shared.message import SessionMessage
except ImportError as error:
    raise ImportError(
        f"MCP servers need the mcp package ({error}): pip install 'agentwire-trio[mcp]'", name=error.name
    ) from error

__all__ = ["dial"]

_log: Final = logging.getLogger("agentwire.tools")
_PAGES: Final = 100
"""Pages of a listing that are asked for; a server that has more of them is broken."""


def dial(config: McpServer, limits: Limits) -> AbstractAsyncContextManager[RemoteSession]:
    """Open a session; see `Dial`."""
    return _open(config, limits)


@asynccontextmanager
async def _open(config: McpServer, limits: Limits) -> AsyncGenerator[RemoteSession]:
    over = trio.Event()
    changes, changed = trio.open_memory_channel[None](1)

    async def heard(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(message, types.ToolListChangedNotification):
            _tell(changes)

    refused: dict[str, int] = {}
    transport = _http(config, limits, refused) if config.url is not None else _child(config, limits, over)
    client = Client(_tolerant(transport, refused), message_handler=heard, cache=None, client_info=_ourselves())
    async with changes, changed, client, trio.open_nursery() as nursery:
        nursery.start_soon(_listen, client, changes)
        look = partial(_tell, changes)
        yield _Session(label=config.label, client=client, over=over, changes=changed, look=look, limits=limits)
        nursery.cancel_scope.cancel(reason="the session is left")


def _ourselves() -> types.Implementation:
    from agentwire._version import __version__

    return types.Implementation(name="agentwire", version=__version__)


def _tell(changes: trio.MemorySendChannel[None]) -> None:
    with suppress(trio.WouldBlock):  # it is known already
        changes.send_nowait(None)


async def _listen(client: Client, changes: trio.MemorySendChannel[None]) -> None:
    """Newer servers tell of changes only to those who ask for it."""
    tools = client.server_capabilities.tools
    if tools is None or not tools.list_changed:
        return
    try:
        async with client.listen(tools_list_changed=True) as events:
            async for _ in events:
                _tell(changes)
    except ListenNotSupportedError:
        pass  # an older one, which tells of them by itself
    except (MCPError, SubscriptionLost, TimeoutError) as error:
        _log.info("changes of an MCP server's tools are not noticed any more: %s", error)


class _Session:
    """A `RemoteSession` of the `mcp` package's client."""

    def __init__(
        self,
        *,
        label: str,
        client: Client,
        over: trio.Event,
        changes: trio.MemoryReceiveChannel[None],
        look: Callable[[], None],
        limits: Limits,
    ) -> None:
        self._label = label
        self._client = client
        self._over = over
        self._changes = changes
        self._look = look  # has the session's owner ask for the tools again, and so see whether it is of use
        self._limits = limits

    async def tools(self) -> tuple[McpTool, ...]:
        """See `RemoteSession`."""
        found: list[McpTool] = []
        cursor: str | None = None
        for _ in range(_PAGES):
            with self._mapped():
                page = await self._client.list_tools(cursor=cursor)
            found += map(_tool, page.tools)
            cursor = page.next_cursor
            if not cursor or len(found) > self._limits.mcp_tools:
                break
        return tuple(found)

    async def call(self, name: str, arguments: Mapping[str, Any], *, progress: Callable[[], None]) -> ToolResult:
        """See `RemoteSession`."""
        heard = _Heard(progress)
        with self._mapped(name):
            result = await self._client.call_tool(name, dict(arguments), progress_callback=heard)
        text = _text(result)
        return ToolResult.failed(text or "the tool failed and did not say why") if result.is_error else ToolResult(text)

    @contextmanager
    def _mapped(self, called: str | None = None) -> Iterator[None]:
        """What the package raises becomes one of ours.

        Args:
            called: the tool; None where the tools are asked for.
        """
        try:
            yield
        except MCPError as error:
            raise self._meant(error, called) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            problem = str(error) or type(error).__name__
            raise SessionLost(f"the MCP server {self._label} cannot be reached: {problem}") from error

    def _meant(self, error: MCPError, called: str | None) -> AgentwireError:
        """What an error means. One that leaves the session in doubt has its owner ask for the tools, which decides."""
        status = error.data.status if isinstance(error.data, _Refusal) else 0
        refused = _may_mean_the_session(status)
        if status == HTTPStatus.NOT_FOUND or (refused and _names_the_session(error)):
            return SessionGone(f"the MCP server {self._label} ended the session: {error}")
        if _is_closed(error):
            return SessionLost(f"the MCP server {self._label} ended: {error}")
        broken, told = _is_broken(error), str(error)
        if error.code == types.PARSE_ERROR:
            told = told.partition(":")[0]  # not where in the text, which the package says at length
        if refused or broken:
            if called is None:
                return SessionLost(f"the MCP server {self._label} does not say what tools it has: {told}")
            self._look()
        unknown = called is not None and (broken or status >= HTTPStatus.INTERNAL_SERVER_ERROR)
        return ToolError(f"{told}. Whether {called} took effect is not known." if unknown else told)

    async def changed(self) -> None:
        """See `RemoteSession`."""
        await self._changes.receive()

    async def ended(self) -> None:
        """See `RemoteSession`."""
        await self._over.wait()


class _Heard:
    """Progress, whatever is said of it, is a sign of life."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self._tell()
        await trio.lowlevel.checkpoint()


def _is_closed(error: MCPError) -> bool:
    """The package's own word; its code is that of servers for whatever they like, so that the text must do."""
    return error.message == "Connection closed" and error.code == types.CONNECTION_CLOSED


def _is_broken(error: MCPError) -> bool:
    """Of the answer to one request over HTTP not all has come, or nothing that can be read."""
    cut = error.message.startswith("SSE stream ") and error.code == types.CONNECTION_CLOSED
    return cut or (error.message.startswith("Failed to parse ") and error.code == types.PARSE_ERROR)


def _may_mean_the_session(status: int) -> bool:
    """Whether HTTP may refuse a request like this whose session is unknown; what is over in a while is not that."""
    passes = status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and not passes


def _names_the_session(error: MCPError) -> bool:
    """As servers do that have forgotten ours; tools have sessions of their own, so that the status counts, too."""
    return error.code == types.INVALID_REQUEST and "session" in str(error).lower()


def _tool(tool: types.Tool) -> McpTool:
    hints = tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations is not None else None
    return McpTool(tool.name, tool.input_schema, tool.description or tool.title, hints)


# What a tool said


def _text(result: types.CallToolResult) -> str:
    """All of it in words, because an ``mcp_call`` has room for nothing else."""
    if not result.content and result.structured_content is not None:
        return encode_json(result.structured_content).decode()
    return "\n".join(map(_words, result.content))


def _words(block: Any) -> str:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ImageContent | types.AudioContent):
        return f"[{block.type}: {block.mime_type}, {len(block.data) * 3 // 4} bytes, not shown]"
    if isinstance(block, types.ResourceLink):
        about = f": {block.description}" if block.description else ""
        return f"[resource {block.uri} ({block.title or block.name}){about}]"
    if isinstance(block, types.EmbeddedResource):
        resource = block.resource
        if isinstance(resource, types.TextResourceContents):
            return f"[resource {resource.uri}]\n{resource.text}"
        kind, size = resource.mime_type or "binary", len(resource.blob) * 3 // 4
        return f"[resource {resource.uri}: {kind}, {size} bytes, not shown]"
    return f"[a part of type {getattr(block, 'type', type(block).__name__)}, not shown]"


# Ways to it

_Streams = tuple[Any, Any]


@attrs.frozen
class _Refusal:
    """An error is the answer to a request that the server has refused with this status."""

    status: int


@asynccontextmanager
async def _tolerant(
    transport: AbstractAsyncContextManager[_Streams], refused: dict[str, int]
) -> AsyncGenerator[_Streams]:
    """The same, with answers mended before the package looks at them.

    Args:
        transport: the package's, or one like it.
        refused: the HTTP status with which a request was refused, by its id.
    """
    async with transport as (heard, said):
        asked: dict[str, str] = {}
        yield _Answers(heard, asked, refused), _Questions(said, asked, refused)


class _Stream:
    """A stream in another's place, with the method of each request that waits for its answer, by its id."""

    def __init__(self, inner: Any, asked: dict[str, str], refused: dict[str, int]) -> None:
        self._inner = inner
        self._asked = asked
        self._refused = refused

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *why: object) -> None:
        await self._inner.__aexit__(*why)  # noqa: ASYNC102 - the other's own affair


class _Questions(_Stream):
    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        if isinstance(message, types.JSONRPCRequest) and message.method in MENDED:
            self._asked[str(message.id)] = message.method
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            given_up = str((message.params or {}).get("requestId"))
            self._asked.pop(given_up, None)
            self._refused.pop(given_up, None)
        await self._inner.send(item)


class _Answers(_Stream):
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return self._mended(await self._inner.__anext__())

    async def receive(self) -> Any:
        return self._mended(await self._inner.receive())

    def _mended(self, item: Any) -> Any:
        message = item.message if isinstance(item, SessionMessage) else None
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            mend = MENDED.get(self._asked.pop(str(message.id), ""))
            status = self._refused.pop(str(message.id), 0)
            if isinstance(message, types.JSONRPCError):
                if status:
                    self._explain(message.error, status)
            elif mend is not None:
                message.result = mend(message.result)
        return item

    def _explain(self, error: types.ErrorData, status: int) -> None:
        error.data = _Refusal(status)
        if error.message == "Server returned an error response":  # the package's, which does not say which
            error.message = f"the MCP server answered with HTTP {status}"


@asynccontextmanager
async def _http(config: McpServer, limits: Limits, refused: dict[str, int]) -> AsyncGenerator[_Streams]:
    assert config.url is not None

    async def note(response: Any) -> None:
        """Which request it refuses; this comes before the package makes an error of it."""
        await trio.lowlevel.checkpoint()
        if response.status_code >= HTTPStatus.BAD_REQUEST and response.request.method == "POST":
            asked = json.loads(response.request.content).get("id")
            if asked is not None:
                refused[str(asked)] = response.status_code

    http = create_mcp_http_client(headers=dict(config.headers))
    http.event_hooks = {"response": [note]}
    async with (
        http,
        streamable_http_client(config.url, http_client=http, max_sse_event_size=limits.message_bytes) as streams,
    ):
        yield streams


@asynccontextmanager
async def _child(config: McpServer, limits: Limits, over: trio.Event) -> AsyncGenerator[_Streams]:
    """A child's lines as the package's messages, without a queue in between."""
    inbox, heard = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    said, outbox = anyio.create_memory_object_stream[SessionMessage](0)
    name = f"MCP server {config.label}"
    with inbox, heard, said, outbox:
        async with (
            open_child(name, config.command, env=config.env, cwd=config.cwd, limits=limits) as child,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_read, child, inbox, over)
            nursery.start_soon(_write, child, outbox)
            ended_early = False
            try:
                yield heard, said
            except Exception:
                ended_early = over.is_set()
                if not ended_early:
                    raise
            finally:
                nursery.cancel_scope.cancel(reason="the session is left")
        if ended_early:
            await child.listen_out()
            raise SessionLost(f"it ended before it could be used: {child.last_words or 'it did not say why'}")


async def _read(child: Child, inbox: Any, over: trio.Event) -> None:
    try:
        with inbox:
            while (line := await child.receive_line()) is not None:
                try:
                    messages = _messages(line)
                except (ValueError, OverflowError, RecursionError):
                    child.remark(f"wrote a line to stdout that is no message: {line[:200]!r}", logging.WARNING)
                    continue
                for message in messages:
                    await inbox.send(SessionMessage(message))
    except SessionLost as error:
        _log.warning("%s", error)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # nobody listens any more
    finally:
        over.set()


def _messages(line: bytes) -> list[types.JSONRPCMessage]:
    """The messages in a line; of an answer that is none, an error for whoever waits for it.

    Raises:
        ValueError, OverflowError, RecursionError: there is none.
    """
    try:
        return [types.jsonrpc_message_adapter.validate_json(line, by_name=False)]
    except ValueError:
        return [_message(told) for told in loose_objects(line)]


def _message(told: Any) -> types.JSONRPCMessage:
    try:
        return types.jsonrpc_message_adapter.validate_json(encode_json(told), by_name=False)
    except (ValueError, OverflowError, RecursionError):
        return types.jsonrpc_message_adapter.validate_json(encode_json(unreadable(told)), by_name=False)


async def _write(child: Child, outbox: Any) -> None:
    try:
        with outbox:
            async for message in outbox:
                await child.send_line(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode())
    except SessionLost as error:
        _log.info("%s", error)

"""A server of the WebSocket mode that shares no code with agentwire: `websockets` (its protocol alone) under asyncio.

It has lanes, the cache of each lane's latest response with its evictions, stored responses, warm-up, the same over
HTTP, and no extension whatever. Its model is a clerk who follows the history alone: ``Look up 20 pages, 3 at a time.``
makes it call ``look_up`` until each page is there, and then it says which ones it has seen. A history that has lost or
doubled something is refused, as the hosted service does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any

from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

Json = dict[str, Any]

LANES, RUNNING, MESSAGE = 32, 16, 16 * 2**20
LANE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")


class Refused(Exception):
    """A request that gets an error instead of a response."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param

    def body(self) -> Json:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"type": kind, "code": self.code, "message": self.message, "param": self.param}


# The model


def pages(items: list[Json]) -> list[int]:
    """The pages that the history shows, in the order of their outputs."""
    calls = {item["call_id"]: item for item in items if item.get("type") == "function_call"}
    answered = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    return [json.loads(calls[call_id]["arguments"])["page"] for call_id in answered]


def check_history(items: list[Json]) -> None:
    """Each call has one output, and each output a call before it."""
    open_calls: set[str] = set()
    known: set[str] = set()
    for item in items:
        kind, call_id = item.get("type"), str(item.get("call_id"))
        if kind == "function_call":
            if call_id in known:
                raise Refused(400, "duplicate_tool_call", f"Two calls have the id {call_id}.", "input")
            known.add(call_id)
            open_calls.add(call_id)
        elif kind == "function_call_output":
            if call_id not in open_calls:
                raise Refused(400, "tool_call_not_found", f"No tool call found for output {call_id}.", "input")
            open_calls.remove(call_id)
    if open_calls:
        raise Refused(400, "tool_output_missing", f"No tool output found for {sorted(open_calls)}.", "input")


def clerk(items: list[Json], number: Iterator[int]) -> list[Json]:
    """What the model makes of a history."""
    told = next((text_of(item) for item in items if item.get("role") == "user"), "")
    task = re.search(r"Look up (\d+) pages(?:, (\d+) at a time)?", told)
    if task is None:
        return [message_item(f"You said: {told}", next(number))]
    wanted, at_once = int(task[1]), int(task[2] or 1)
    seen = pages(items)
    if len(seen) >= wanted:
        return [message_item(f"Seen: {' '.join(map(str, seen))}.", next(number))]
    missing = [page for page in range(1, wanted + 1) if page not in seen][:at_once]
    calls = [call_item(page, next(number)) for page in missing]
    return [message_item(f"Page {missing[0]} next.", next(number)), *calls]


def text_of(item: Json) -> str:
    content = item.get("content", "")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def message_item(text: str, number: int) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": f"msg_{number}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def call_item(page: int, number: int) -> Json:
    arguments = json.dumps({"page": page})
    named = {"call_id": f"call_{number}", "name": "look_up", "arguments": arguments}
    return {"id": f"fc_{number}", "type": "function_call", "status": "completed", **named}


def events_of(item: Json, index: int) -> Iterator[Json]:
    """An output item as a stream shows it."""
    if item["type"] == "message":
        place = {"item_id": item["id"], "output_index": index, "content_index": 0}
        begun: Json = {"content": []}
        part, text = item["content"][0], item["content"][0]["text"]
        inner = [
            {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
            *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
              for word in re.findall(r"\S+\s*", text)),
            {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **place, "part": part},
        ]  # fmt: skip
    else:
        place = {"item_id": item["id"], "output_index": index}
        begun = {"arguments": ""}
        inner = [
            {"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]},
            {"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]},
        ]
    added = {**item, "status": "in_progress", **begun}
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    yield from inner
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


# Responses


class Node:
    """A response that can be continued: its id, and all items up to and with its output."""

    def __init__(self, response_id: str, items: list[Json]) -> None:
        self.response_id, self.items = response_id, items


class Service:
    """What all connections share: the numbers of things, stored responses, counts, and the options."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.number = itertools.count(1)
        self.stored: dict[str, Node] = {}
        self.counts = {"connections": 0, "refused": 0, "websocket": 0, "http": 0, "not_found": 0, "bad_history": 0}

    def begin(self, asked: Json, cached: dict[str, Node]) -> tuple[Json, list[Json]]:
        """Check a request; returns its response as it begins, and the history that the model sees."""
        if not isinstance(asked.get("model"), str):
            raise Refused(400, "missing_required_parameter", "A model is needed.", "model")
        given = asked.get("input", [])
        new = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        before: list[Json] = []
        if (parent := asked.get("previous_response_id")) is not None:
            node = cached.get(parent) or self.stored.get(parent)
            if node is None:
                self.counts["not_found"] += 1
                message = f"No response {parent} is available here."
                raise Refused(400, "previous_response_not_found", message, "previous_response_id")
            before = node.items
        try:
            check_history([*before, *new])
        except Refused:
            self.counts["bad_history"] += 1
            raise
        return self._response(asked), [*before, *new]

    def _response(self, asked: Json) -> Json:
        echoed: Json = {"previous_response_id": None, "instructions": None, "tools": [], "tool_choice": "auto"}
        echoed |= {"parallel_tool_calls": True, "metadata": {}, "temperature": 1.0, "top_p": 1.0, "store": True}
        body = {name: asked.get(name, default) for name, default in echoed.items()}
        head = {"id": f"resp_{next(self.number)}", "object": "response", "created_at": 1_795_000_000}
        ends: Json = {"error": None, "incomplete_details": None, "usage": None, "output": []}
        return {**head, "status": "in_progress", "model": asked["model"], **body, **ends}

    async def stream(self, response: Json, history: list[Json], *, generate: bool) -> AsyncIterator[Json]:
        """The events of a response; `history` grows by what it puts out."""
        yield {"type": "response.created", "response": dict(response)}
        yield {"type": "response.in_progress", "response": dict(response)}
        output = clerk(history, self.number) if generate else []
        for index, item in enumerate(output):
            for event in events_of(item, index):
                await asyncio.sleep(self.options.delay)
                yield event
        history += output
        usage: Json = {
            "input_tokens": len(history),
            "output_tokens": len(output),
            "total_tokens": len(history) + len(output),
        }
        usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        yield {
            "type": "response.completed",
            "response": response | {"status": "completed", "output": output, "usage": usage},
        }


# Streams


class Gone(Exception):
    """The peer is not there any more."""


class Connection:
    """One WebSocket: its lanes, and what is cached on it."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.service, self.reader, self.writer = service, reader, writer
        self.protocol = ServerProtocol(max_size=MESSAGE)
        self.lanes: dict[str | None, asyncio.Queue[Json]] = {}
        self.latest: dict[str | None, Node] = {}
        self.permits = asyncio.Semaphore(RUNNING)
        self.tasks: set[asyncio.Task[None]] = set()
        self.asked = self.told = 0
        self.partial = b""

    async def serve(self, first: bytes) -> None:
        """From the upgrade to the end."""
        data = first
        try:
            while data:
                self.protocol.receive_data(data)
                for event in self.protocol.events_received():
                    self._upgrade(event) if isinstance(event, Request) else await self._frame(event)
                await self._flush()
                data = await self.reader.read(65536)
        except (ConnectionError, Gone):
            pass
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    def _upgrade(self, request: Request) -> None:
        options, counts = self.service.options, self.service.counts
        if request.path.partition("?")[0] == "/statistics":
            answer = self.protocol.reject(HTTPStatus.OK, json.dumps(counts))
        elif request.path.partition("?")[0] != "/v1/responses":
            answer = self.protocol.reject(HTTPStatus.NOT_FOUND, "There is nothing here.")
        elif options.refuse and counts["refused"] < options.refusals:
            counts["refused"] += 1
            answer = self.protocol.reject(HTTPStatus(options.refuse), "No WebSockets here.")
        else:
            counts["connections"] += 1
            answer = self.protocol.accept(request)
        self.protocol.send_response(answer)

    async def _frame(self, frame: Any) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self.partial += frame.data
        if frame.fin:
            message, self.partial = self.partial, b""
            await self._message(message)

    async def _message(self, message: bytes) -> None:
        try:
            asked = json.loads(message)
            if not isinstance(asked, dict):
                raise TypeError
        except (ValueError, TypeError):
            return await self._error(Refused(400, "invalid_json", "That is no JSON object."))
        if asked.get("type") != "response.create":
            return await self._error(Refused(400, "unknown_event_type", "There is no such event.", "type"))
        lane = asked.get("stream_id")
        if lane is not None and not (isinstance(lane, str) and LANE_NAME.fullmatch(lane)):
            return await self._error(Refused(400, "invalid_stream_id", "That is no name of a lane.", "stream_id"))
        if lane is not None and lane not in self.lanes and len(self.lanes.keys() - {None}) >= LANES:
            return await self._error(Refused(400, "websocket_stream_limit_reached", "Too many lanes."), lane)
        return await self._queue(lane, asked)

    async def _queue(self, lane: str | None, asked: Json) -> None:
        self.asked += 1
        if self.asked > self.service.options.turns > 0:
            await self._error(Refused(400, "websocket_connection_limit_reached", "This connection has got old."))
            await self._close(1001)
            return
        if lane not in self.lanes:
            self.lanes[lane] = asyncio.Queue()
            self.tasks.add(asyncio.create_task(self._lane(lane)))
        self.lanes[lane].put_nowait(asked)

    async def _lane(self, lane: str | None) -> None:
        with contextlib.suppress(ConnectionError, Gone):
            while True:
                asked = await self.lanes[lane].get()
                async with self.permits:
                    try:
                        await self._respond(lane, asked)
                    except Refused as refused:
                        self._evict(lane, asked, refused)
                        await self._error(refused, lane)
                self.lanes[lane].task_done()

    def _evict(self, lane: str | None, asked: Json, refused: Refused) -> None:
        mine, parent = self.latest.get(lane), asked.get("previous_response_id")
        if mine is not None and mine.response_id == parent and refused.code != "previous_response_not_found":
            del self.latest[lane]

    async def _respond(self, lane: str | None, asked: Json) -> None:
        forgets = self.service.options.forget
        cached = {} if forgets else {node.response_id: node for node in self.latest.values()}
        response, history = self.service.begin(asked, cached)
        self.service.counts["websocket"] += 1
        stream = self.service.stream(response, history, generate=asked.get("generate", True) is not False)
        number = itertools.count()
        async for event in stream:
            if event["type"] == "response.completed":
                self.latest[lane] = node = Node(response["id"], history)
                if response["store"]:
                    self.service.stored[node.response_id] = node
            await self._tell({**event, "sequence_number": next(number)}, lane)

    async def _error(self, refused: Refused, lane: str | None = None) -> None:
        body: Json = {"error": refused.body()}
        if self.service.options.flat:
            body = {name: value for name, value in refused.body().items() if name != "type"}
        await self._tell({"type": "error", "status": refused.status, **body}, lane)

    async def _tell(self, event: Json, lane: str | None) -> None:
        if lane is not None:
            event = {**event, "stream_id": lane}
        self.protocol.send_text(json.dumps(event).encode())
        await self._flush()
        self.told += 1
        if self.told == self.service.options.drop:
            self.writer.transport.abort()
            raise Gone

    async def _close(self, code: int) -> None:
        """Once what it has taken is answered, say goodbye; nothing more is taken meanwhile."""
        await asyncio.gather(*(queue.join() for queue in self.lanes.values()))
        self.protocol.send_close(code)
        await self._flush()

    async def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.writer.write(data)
            else:
                self.writer.close()
        await self.writer.drain()


async def answer_post(
    service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes
) -> None:
    """One ``POST /v1/responses``, answered with a stream of events or with the whole response."""
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    asked = json.loads(await reader.readexactly(int(length[1]) if length else 0))
    try:
        response, history = service.begin(asked, {})
    except Refused as refused:
        _http(writer, refused.status, "application/json", json.dumps({"error": refused.body()}).encode())
        return
    service.counts["http"] += 1
    streams = bool(asked.get("stream"))
    if streams:
        _http(writer, 200, "text/event-stream")
    number = itertools.count()
    async for event in service.stream(response, history, generate=True):
        event["sequence_number"] = next(number)
        if streams:
            writer.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            await writer.drain()
    if response["store"]:
        service.stored[response["id"]] = Node(response["id"], history)
    if not streams:
        _http(writer, 200, "application/json", json.dumps(event["response"]).encode())


def _http(writer: asyncio.StreamWriter, status: int, kind: str, body: bytes | None = None) -> None:
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
    writer.write(f"{head}{length}\r\n".encode() + (body or b""))


async def main(options: argparse.Namespace) -> None:
    service = Service(options)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST /v1/responses "):
                await answer_post(service, reader, writer, head)
                await writer.drain()
            else:
                await Connection(service, reader, writer).serve(head)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", options.port)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1\n")
    sys.stdout.flush()
    await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each event of an output item")
    parser.add_argument("--drop", type=int, default=0, help="cut each connection off after so many events")
    parser.add_argument("--turns", type=int, default=0, help="requests until a connection says that it has got old")
    parser.add_argument("--forget", action="store_true", help="cache nothing on a connection")
    parser.add_argument("--flat", action="store_true", help="errors in the flat shape")
    parser.add_argument("--refuse", type=int, default=0, help="answer upgrades with this HTTP status")
    parser.add_argument("--refusals", type=int, default=10**9, help="so many of them")
    asyncio.run(main(parser.parse_args()))

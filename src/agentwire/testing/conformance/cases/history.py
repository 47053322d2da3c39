"""Cases about what the model is sent, as the model server sees it."""

from __future__ import annotations

from typing import Any, Final

from agentwire.testing.conformance.cases.behind import begun, companion_of, heard, one_answer, tag
from agentwire.testing.conformance.companion import Heard
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.plays import Play
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import TERMINALS, check

__all__ = [
    "a_refusal_asks_the_model_nothing",
    "a_stored_history_is_whole_over_http",
    "a_warm_up_is_part_of_the_history_and_asks_the_model_nothing",
    "history_is_the_same_however_it_is_said",
    "the_model_is_sent_what_was_steered",
]


def plain(value: Any) -> Any:
    """Items or messages without what names or dates them, however their text is written."""
    if isinstance(value, dict):
        if set(value) >= {"type", "text"} and str(value["type"]).endswith("text"):
            return value["text"]
        dull = ("id", "status", "annotations", "logprobs", "object", "created_at")
        told = {name: plain(member) for name, member in value.items() if name not in dull and member is not None}
        if told.get("type") == "message":
            del told["type"]
        return told
    if isinstance(value, list):
        members = [plain(member) for member in value]
        return "".join(members) if members and all(isinstance(member, str) for member in members) else members
    return value


LOOK: Final = {
    "type": "function",
    "name": "look_up",
    "description": "Looks a word up.",
    "parameters": {
        "type": "object",
        "properties": {"word": {"type": "string"}},
        "required": ["word"],
        "additionalProperties": False,
    },
    "strict": True,
}


@case(167, "AW-U-007", "AW-S-001", needs=["companion"])
async def history_is_the_same_however_it_is_said(peer: Peer) -> None:
    """Hold four turns with calls by their ids, then say all of it at once: the model is sent the same both times."""
    whole: list[Any] = []
    async with peer.socket() as socket:
        parent: str | None = None
        for number, play in enumerate((Play(), Play(calls=2), Play(), Play())):
            name = tag()
            said = play.tagged(name, f"Message {number}.")
            new: list[Any] = [{"role": "user", "content": said}]
            if number == 2:
                new = [*_outputs(whole), *new]
            fields = {} if parent is None else {"previous_response_id": parent}
            turn = (await socket.ask(new, tools=[LOOK], parallel_tool_calls=True, **fields)).completed()
            whole += new
            before = list(whole)
            whole += turn.output
            parent = turn.id
        chained = await heard(peer, name)
        again = tag()
        before[-1] = {"role": "user", "content": said.replace(name, again)}
        (await socket.ask(before, tools=[LOOK], parallel_tool_calls=True)).completed()
        full = await heard(peer, again)
        over_http = tag()
        before[-1] = {"role": "user", "content": said.replace(name, over_http)}
        reply = await peer.post(before, tools=[LOOK], parallel_tool_calls=True)
        check(reply.status == 200, f"over HTTP it was answered with {reply.status}")
        posted = await heard(peer, over_http)
    _same(chained, full, "a chain of ids and the whole history on the socket", name, again)
    _same(full, posted, "the whole history on the socket and over HTTP", again, over_http)
    sent = str(plain(chained.history))
    missing = [number for number in range(4) if f"Message {number}." not in sent]
    check(not missing, f"the model was not sent the messages {missing}")
    check(sent.count("it is known") == 2, f"the model was sent {sent.count('it is known')} outputs, and not 2")


def _outputs(items: list[Any]) -> list[Any]:
    calls = [item["call_id"] for item in items if item.get("type") == "function_call"]
    check(len(calls) == 2, f"the model made two calls, and {len(calls)} came")
    check(len(set(calls)) == 2, f"two calls have one id: {calls}")
    return [{"type": "function_call_output", "call_id": call, "output": "it is known"} for call in calls]


def _same(one: Heard, other: Heard, what: str, *tags: str) -> None:
    first, second = (str(plain(heard.history)) for heard in (one, other))
    for name in tags:
        first, second = first.replace(name, "TAG"), second.replace(name, "TAG")
    check(first == second, f"the model was sent different things for {what}: {first} and {second}")


@case(168, "AW-U-007", "AW-S-004", needs=["companion"])
async def a_stored_history_is_whole_over_http(peer: Peer) -> None:
    """Continue over HTTP, and then on another connection, what was stored on a socket: the model is sent all of it."""
    async with peer.socket() as socket:
        first = (await socket.ask(Play().tagged(tag(), "Message 0."), store=True)).completed()
    reply = await peer.post(Play().tagged(tag(), "Message 1."), store=True, previous_response_id=first.id)
    check(reply.status == 200, f"the continuation over HTTP was answered with {reply.status}", "AW-S-004")
    name = tag()
    async with peer.socket() as socket:
        said = Play().tagged(name, "Message 2.")
        (await socket.ask(said, store=True, previous_response_id=reply.json()["id"])).completed()
    sent = [str(plain(message)) for message in (await heard(peer, name)).history]
    places = [[f"Message {number}." in message for message in sent].count(True) for number in range(3)]
    check(places == [1, 1, 1], f"the three messages were sent {places} times")
    answers = sum("one two three" in message for message in sent)
    check(answers == 2, f"the model was sent {answers} of its two answers")


@case(169, "AW-U-008", "AW-E-007", needs=["companion"])
async def a_refusal_asks_the_model_nothing(peer: Peer) -> None:
    """Continue a response that never was, on a socket and over HTTP: the model hears nothing of it."""
    name = tag()
    async with peer.socket() as socket:
        turn = await socket.ask(Play().tagged(name), previous_response_id="resp_none")
        check(turn.failed, f"an unknown parent was taken, and the turn ended in {turn.end.get('type')}")
        await one_answer(socket, "Go on.")
    reply = await peer.post(Play().tagged(name), previous_response_id="resp_none")
    check(reply.status >= 400, f"an unknown parent was taken over HTTP, with {reply.status}")
    check(not companion_of(peer).tagged(name), "the model was asked, without what came before")


@case(170, "AW-W-001", "AW-W-003", needs=["companion"])
async def a_warm_up_is_part_of_the_history_and_asks_the_model_nothing(peer: Peer) -> None:
    """Warm up with a message, and continue that: the model is asked once, and is sent both."""
    warm, name = tag(), tag()
    async with peer.socket() as socket:
        first = (await socket.ask(Play().tagged(warm, "Message 0."), generate=False)).completed()
        (await socket.ask(Play().tagged(name, "Message 1."), previous_response_id=first.id)).completed()
    request = await heard(peer, name)
    check(not companion_of(peer).tagged(warm), "the model was asked for the warm-up")
    sent = str(plain(request.history))
    check("Message 0." in sent and "Message 1." in sent, f"the model was sent {sent}")


@case(171, "AW-G-004", needs=["companion", "steering"])
async def the_model_is_sent_what_was_steered(peer: Peer) -> None:
    """Steer while the model speaks: what it is asked next has the message, and its own half answer."""
    async with begun(peer, Play(words=50, pace=0.1)) as (socket, request):
        running = socket.events[0]["response"]["id"]
        name = tag()
        said = Play(words=2).tagged(name, "Be brief.")
        await socket.ws.send({"type": "response.steer", "previous_response_id": running, "input": said})
        again = await heard(peer, name)
        check(len(again.history) > len(request.history), "the model was not sent more than before")
        check(str(again.history).count(name) == 1, "the model was sent the steer more than once")
        while socket.events[-1]["type"] not in TERMINALS or socket.events[-1]["response"]["id"] == running:
            await socket.receive()
        check(socket.events[-1]["type"] == "response.completed", f"the successor ended in {socket.events[-1]['type']}")

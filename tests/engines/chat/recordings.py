"""Streams in the manner of each server: the bytes, and what is to come of them."""

from __future__ import annotations

import json
from typing import Any

import attrs

from agentwire.protocol.response import Usage
from tests.engines.chat.kit import Json

CALL = '{"city":"Zürich"}'


@attrs.frozen
class Recording:
    """One answer, as a server sent it.

    Attributes:
        stream: the bytes.
        events: what is written, pieces of one kind joined.
        usage: of the step.
        incomplete: why it stops short.
    """

    stream: bytes
    events: list[tuple[str, ...]]
    usage: Usage | None = None
    incomplete: str | None = None
    members: Json = attrs.Factory(dict)


def _stream(*chunks: Any, end: str = "\n\n", ascii_: bool = False, done: bool = True, before: str = "") -> bytes:
    told = [before] if before else []
    told += [f"data: {json.dumps(chunk, ensure_ascii=ascii_)}" for chunk in chunks]
    told += ["data: [DONE]"] if done else []
    return end.join([*told, ""]).encode()


def _chunk(delta: Json | None, finish: str | None = None, **more: Any) -> Json:
    choice: Json = {"index": 0, "finish_reason": finish, "delta": delta or {}, **more.pop("choice", {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        **more,
    }


def _piece(arguments: str, **more: Any) -> Json:
    name = {"name": more.pop("name")} if "name" in more else {}
    return {"tool_calls": [{"index": 0, **more, "function": {**name, "arguments": arguments}}]}


def _usage(prompt: int, completion: int, **more: Any) -> Json:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


WEATHER = ("call", "get_weather", CALL)

LLAMA_CPP = Recording(
    _stream(
        _chunk({"role": "assistant", "content": None}),
        _chunk({"reasoning_content": "Look "}),
        _chunk({"reasoning_content": "it up."}),
        _chunk(_piece("{", name="get_weather", id="Xy1", type="function")),
        *(_chunk(_piece(part)) for part in ('"city"', ':"Z', 'ürich"}')),
        _chunk(None, "tool_calls"),
        {**_chunk(None), "choices": [], "usage": _usage(20, 9), "timings": {"prompt_n": 8, "predicted_n": 9}},
    ),
    [("reasoning", "Look it up."), WEATHER],
    Usage(20, 9),
)
VLLM = Recording(
    _stream(
        _chunk({"role": "assistant", "content": ""}, usage=_usage(20, 0)),
        _chunk({"reasoning": "Look it up."}, usage=_usage(20, 4)),
        _chunk({"content": "Zü"}, usage=_usage(20, 5), choice={"logprobs": None, "token_ids": None}),
        _chunk({"content": "rich: rain."}, "stop", usage=_usage(20, 6), choice={"stop_reason": None}),
        {**_chunk(None), "choices": [], "usage": _usage(20, 6, prompt_tokens_details={"cached_tokens": 16})},
    ),
    [("reasoning", "Look it up."), ("text", "Zürich: rain.")],
    Usage(20, 6, 16),
)
OLLAMA = Recording(
    _stream(
        _chunk({"role": "assistant", "content": "", "reasoning": "Look it up."}, system_fingerprint="fp_ollama"),
        _chunk({"role": "assistant", "content": "", **_piece(CALL, name="get_weather", id="call_1", type="function")}),
        _chunk({"role": "assistant", "content": ""}, "tool_calls"),
        {**_chunk(None), "choices": [], "usage": _usage(20, 9)},
    ),
    [("reasoning", "Look it up."), WEATHER],
    Usage(20, 9),
)
LM_STUDIO = Recording(
    _stream(
        _chunk(_piece("", name="get_weather", id="365", type="function")),
        *(
            _chunk({"tool_calls": [{"index": 0, "type": "function", "function": {"name": None, "arguments": part}}]})
            for part in CALL
        ),
        _chunk({}, "tool_calls"),
        end="\r\n\r\n",
    ),
    [WEATHER],
)
TGI = Recording(
    _stream(
        *(
            _chunk({"role": "assistant", "content": part, "tool_call_id": None}, choice={"logprobs": None})
            for part in ("Zü", "rich.")
        ),
        _chunk({"role": "assistant", "content": ""}, "eos_token", usage=_usage(20, 3)),
        before=": keep-alive",
    ).replace(b"data: ", b"data:"),
    [("text", "Zürich.")],
    Usage(20, 3),
)
OPENAI = Recording(
    _stream(
        _chunk({"role": "assistant", "content": "", "refusal": None}, service_tier="flex", obfuscation="aX3"),
        _chunk({"content": "Zürich"}, service_tier="flex", obfuscation="b"),
        _chunk({"content": "."}, service_tier="flex", obfuscation=""),
        _chunk(
            {
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "https://x", "title": "X", "start_index": 0, "end_index": 6},
                    }
                ]
            }
        ),
        _chunk({}, "length", service_tier="flex"),
        {**_chunk(None), "choices": [], "usage": _usage(20, 9, completion_tokens_details={"reasoning_tokens": 7})},
        ascii_=True,
    ),
    [("text", "Zürich."), ("annotation", "url_citation")],
    Usage(20, 9, 0, 7),
    "max_output_tokens",
    {"service_tier": "flex"},
)
AZURE = Recording(
    _stream(
        {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": [{"prompt_index": 0}],
        },
        _chunk({"content": "Zürich."}, choice={"content_filter_results": {"hate": {"filtered": False}}}),
        _chunk({}, "content_filter", choice={"content_filter_offsets": {}}),
    ),
    [("text", "Zürich.")],
    None,
    "content_filter",
)
DEEPSEEK = Recording(
    _stream(
        _chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
        _chunk({"content": None, "reasoning_content": "Look it up."}),
        _chunk({"content": "Zürich.", "reasoning_content": None}),
        _chunk(
            {"content": "", "reasoning_content": None},
            "stop",
            usage=_usage(20, 9, prompt_cache_hit_tokens=16, prompt_cache_miss_tokens=4),
        ),
        before=": keep-alive\n\n: keep-alive",
    ),
    [("reasoning", "Look it up."), ("text", "Zürich.")],
    Usage(20, 9, 16),
)
OPENROUTER = Recording(
    _stream(
        _chunk(
            {
                "role": "assistant",
                "content": "",
                "reasoning": "Look it up.",
                "reasoning_details": [{"type": "reasoning.text", "text": "Look it up.", "index": 0}],
            },
            provider="p",
        ),
        _chunk({"role": "assistant", "content": "Zürich.", "reasoning": None}, provider="p"),
        _chunk({"role": "assistant", "content": ""}, "stop", provider="p", choice={"native_finish_reason": "end_turn"}),
        _chunk(
            {"role": "assistant", "content": ""},
            usage=_usage(
                20, 9, cost=0.1, is_byok=False, prompt_tokens_details={"cached_tokens": 0, "cache_write_tokens": 5}
            ),
        ),
        before=": OPENROUTER PROCESSING",
    ),
    [("reasoning", "Look it up."), ("seal",), ("text", "Zürich.")],
    Usage(20, 9, 0, 0, 5),
)
MISTRAL = Recording(
    _stream(
        _chunk(
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Look it up."}]}],
            }
        ),
        _chunk({"content": [{"type": "text", "text": "Zürich"}]}),
        _chunk({"content": "."}, "stop", usage=_usage(20, 9)),
    ),
    [("reasoning", "Look it up."), ("text", "Zürich.")],
    Usage(20, 9),
)
SLOPPY = Recording(
    _stream(
        {"choices": [{"delta": {"function_call": {"name": "get_weather", "arguments": {"city": "Zürich"}}}}]},
        end="\r\r",
    ),
    [WEATHER],
)

RECORDINGS = {name.lower(): value for name, value in tuple(globals().items()) if isinstance(value, Recording)}

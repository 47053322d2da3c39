"""What a caller may choose between, in both kinds of clients: anything else is an error before anything is opened."""

from __future__ import annotations

from typing import Any

import pytest

import agentwire

URL = "ws://127.0.0.1:1/v1"
NEITHER = {
    "repeat": ({"repeat": "often"}, "repeat must be one of safe, always, never, not 'often'"),
    "transport": ({"transport": "sse"}, "transport must be one of auto, websocket, http, not 'sse'"),
    "a word": (
        {"on_disconnect": "resume"},
        "on_disconnect must be .*, not 'resume'",
    ),
    "a class": ({"on_disconnect": agentwire.Cancel}, "on_disconnect must be"),
}


@pytest.mark.parametrize(("options", "said"), NEITHER.values(), ids=NEITHER)
async def test_what_is_none_of_them(options: dict[str, Any], said: str) -> None:
    with pytest.raises(agentwire.LocalProtocolError, match=said):
        async with agentwire.connect(URL, **options):
            pass


DROP_IN = {
    "repeat": NEITHER["repeat"],
    "a word": NEITHER["a word"],
    "library": ({"library": "requests"}, "library must be one of httpx2, httpx, not 'requests'"),
}


@pytest.mark.parametrize(("options", "said"), DROP_IN.values(), ids=DROP_IN)
def test_the_drop_in_does_not_guess_either(options: dict[str, Any], said: str) -> None:
    for make in (agentwire.http_client, agentwire.async_http_client):
        with pytest.raises(agentwire.LocalProtocolError, match=said):
            make(URL, **options)

"""Which events have the quick way, and what the others are read as."""

from __future__ import annotations

import pytest

from agentwire.engines.relay.events import read_delta


@pytest.mark.parametrize("more", [b"", b',"stream_id":"turn-1"', b',"obfuscation":"xyz"', b',"logprobs":[]'])
def test_a_piece_of_text_has_the_quick_way_on_every_transport(more: bytes) -> None:
    delta = read_delta(b'{"type":"response.output_text.delta","delta":"Hi","output_index":0%b}' % more)
    assert delta is not None
    assert (delta.delta, delta.output_index) == ("Hi", 0)


@pytest.mark.parametrize("more", [b',"logprobs":[{}]', b',"unheard_of":1'])
def test_more_than_that_has_not(more: bytes) -> None:
    assert read_delta(b'{"type":"response.output_text.delta","delta":"Hi"%b}' % more) is None

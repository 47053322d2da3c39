from __future__ import annotations

import attrs
import pytest

from agentwire.protocol.codec import decode_create
from agentwire.protocol.copying import changed, made
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response


@pytest.mark.parametrize("of", [CreateRequest(model="m", metadata={"a": "b"}), Response(id="r", extra={"more": 1})])
def test_a_changed_copy_is_what_attrs_makes(of: CreateRequest | Response) -> None:
    before = attrs.asdict(of, recurse=False)
    copy = changed(of, {"model": "other", "store": False})
    assert copy == attrs.evolve(of, model="other", store=False)
    assert type(copy) is type(of)
    assert attrs.asdict(of, recurse=False) == before, "the first stays as it was"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        copy.model = "again"  # type: ignore[misc]


@pytest.mark.parametrize("wide", [CreateRequest, Response])
def test_what_is_copied_checks_nothing_when_it_is_made(wide: type) -> None:
    fields = attrs.fields(wide)
    assert all(field.validator is None and field.converter is None for field in fields)
    assert not hasattr(wide, "__attrs_post_init__")


def test_an_object_that_is_made_at_once_is_what_its_class_makes() -> None:
    response = Response(id="r", created_at=7, status="queued")
    same = made(Response, attrs.asdict(response, recurse=False))
    assert same == response
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        same.model = "again"  # type: ignore[misc]


def test_a_member_that_there_is_not_is_an_error() -> None:
    with pytest.raises(TypeError, match="Response has no colour, taste"):
        changed(Response(id="r"), {"taste": 1, "colour": 2, "model": "m"})


def test_requests_and_responses_share_nothing_that_can_be_changed() -> None:
    frame = b'{"type":"response.create","model":"m","input":"hi"}'
    first, second = (decode_create(frame, Limits(), transport="websocket") for _ in range(2))
    assert first == second == CreateRequest(model="m", input=first.input)
    assert first.metadata is not second.metadata
    shown = [Response.begin(request, id="r", created_at=1) for request in (first, second)]
    assert shown[0] == shown[1]
    for name in ("metadata", "reasoning", "text"):
        assert getattr(shown[0], name) is not getattr(shown[1], name)

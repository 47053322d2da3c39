"""``computer`` and ``computer_use_preview``: one action on a screen, answered with a picture of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from agentwire.engines.offering.form import Form, Json, Said, shape, texts_of

__all__ = ["Computer"]

PREVIEW: Final = "computer_use_preview"
LOOK: Final[Json] = {"type": "screenshot"}
"""What is done where nothing can be made of a call: harmless, and the model sees where it is."""

_WHOLE: Final = {"type": "integer"}
_TEXT: Final = {"type": "string"}
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "screenshot": (),
    "click": ("x", "y"),
    "double_click": ("x", "y"),
    "move": ("x", "y"),
    "scroll": ("x", "y", "scroll_x", "scroll_y"),
    "type": ("text",),
    "keypress": ("keys",),
    "drag": ("path",),
    "wait": (),
}
"""What each action must say."""


class Computer(Form):
    """A screen, a mouse and a keyboard."""

    tool_types: ClassVar = ("computer", PREVIEW)
    call_type: ClassVar = "computer_call"
    output_type: ClassVar = "computer_call_output"
    id_prefix: ClassVar = "cu"
    name: ClassVar = "computer"

    def function(self, tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Always the client's to run."""
        parameters = shape(
            ("type",),
            type={"type": "string", "enum": [*_MEMBERS], "description": "What to do."},
            x={**_WHOLE, "description": "For click, double_click, move and scroll: where, from the left."},
            y={**_WHOLE, "description": "The same from the top."},
            button={"type": "string", "enum": ["left", "right", "wheel", "back", "forward"]},
            text={**_TEXT, "description": "For type."},
            keys={"type": "array", "items": _TEXT, "description": "For keypress: keys to press together."},
            scroll_x={**_WHOLE, "description": "For scroll: how far to the right."},
            scroll_y={**_WHOLE, "description": "For scroll: how far down."},
            path={"type": "array", "items": shape(("x", "y"), x=_WHOLE, y=_WHOLE), "description": "For drag."},
        )
        size = f" of {tool.get('display_width')}x{tool.get('display_height')}" if "display_width" in tool else ""
        return f"Does something on a computer's screen{size}; the answer is a picture of the screen then.", parameters

    def calls(self, said: Said, tool: Mapping[str, Any]) -> Sequence[Json]:
        """The older tool takes one action, the newer one a list."""
        told = said if isinstance(said, Mapping) else LOOK
        inner = told.get("action")
        action = _action(inner if isinstance(inner, Mapping) else told)
        acts = {"action": action} if tool.get("type") == PREVIEW else {"actions": [action]}
        return ({**acts, "pending_safety_checks": []},)

    def arguments(self, call: Mapping[str, Any]) -> Json:
        """The action; of several the list of them."""
        actions = call.get("actions")
        if isinstance(actions, list | tuple) and len(actions) != 1:
            return {"actions": [*actions]}
        action = actions[0] if actions else call.get("action")
        return {**action} if isinstance(action, Mapping) else {}

    def output(self, answer: Mapping[str, Any], name_of: Callable[[str, str | None], str]) -> str:
        """The picture is no text: see `agentwire.engines.offering.history.screenshot`."""
        return "A picture of the screen."


def _action(told: Mapping[str, Any]) -> Json:
    """An action that has all that it must say; to look at the screen, if it has not."""
    kind = told.get("type")
    needed = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if needed is None:
        return LOOK
    made = {name: value for name, value in told.items() if value is not None}
    for name in ("x", "y", "scroll_x", "scroll_y"):
        if isinstance(made.get(name), float):
            made[name] = int(made[name])
    if "keys" in made:
        made["keys"] = texts_of(made["keys"])
    if kind == "click":
        made.setdefault("button", "left")
    if kind == "scroll":
        made = {"scroll_x": 0, "scroll_y": 0, **made}
    return made if all(name in made for name in needed) else LOOK

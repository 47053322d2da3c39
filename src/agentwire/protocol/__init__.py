"""The wire: what is on it, and in which order it is legal.

Nothing here knows of trio or of a socket. Bytes are read and written by `codec`, the order of events is in the tables
of `order`, conversations are chains in `transcript`; the names below are the public ones.
"""

from __future__ import annotations

from agentwire.protocol.codec import InvalidUtf8 as InvalidUtf8
from agentwire.protocol.codec import decode_create as decode_create
from agentwire.protocol.codec import decode_create_steps as decode_create_steps
from agentwire.protocol.codec import decode_envelope as decode_envelope
from agentwire.protocol.codec import decode_event as decode_event
from agentwire.protocol.codec import decode_item as decode_item
from agentwire.protocol.codec import decode_object as decode_object
from agentwire.protocol.codec import decode_response as decode_response
from agentwire.protocol.codec import encode_create as encode_create
from agentwire.protocol.codec import encode_item as encode_item
from agentwire.protocol.codec import encode_json as encode_json
from agentwire.protocol.codec import to_wire as to_wire
from agentwire.protocol.content import PARTS as PARTS
from agentwire.protocol.content import InputFile as InputFile
from agentwire.protocol.content import InputImage as InputImage
from agentwire.protocol.content import InputText as InputText
from agentwire.protocol.content import OpaquePart as OpaquePart
from agentwire.protocol.content import OutputText as OutputText
from agentwire.protocol.content import Part as Part
from agentwire.protocol.content import ReasoningText as ReasoningText
from agentwire.protocol.content import Refusal as Refusal
from agentwire.protocol.content import SummaryText as SummaryText
from agentwire.protocol.content import text_of as text_of
from agentwire.protocol.desk import MEMORY as MEMORY
from agentwire.protocol.desk import TICKETS as TICKETS
from agentwire.protocol.desk import Desk as Desk
from agentwire.protocol.desk import DeskStatistics as DeskStatistics
from agentwire.protocol.desk import Lane as Lane
from agentwire.protocol.desk import Memory as Memory
from agentwire.protocol.desk import Outcome as Outcome
from agentwire.protocol.desk import Say as Say
from agentwire.protocol.desk import State as State
from agentwire.protocol.desk import Ticket as Ticket
from agentwire.protocol.errors import AgentwireError as AgentwireError
from agentwire.protocol.errors import CloseFrame as CloseFrame
from agentwire.protocol.errors import ConnectionEnded as ConnectionEnded
from agentwire.protocol.errors import EngineError as EngineError
from agentwire.protocol.errors import LocalProtocolError as LocalProtocolError
from agentwire.protocol.errors import RemoteProtocolError as RemoteProtocolError
from agentwire.protocol.errors import RequestError as RequestError
from agentwire.protocol.errors import StoreError as StoreError
from agentwire.protocol.events import EVENTS as EVENTS
from agentwire.protocol.events import TERMINAL as TERMINAL
from agentwire.protocol.events import ContentPartAdded as ContentPartAdded
from agentwire.protocol.events import ContentPartDone as ContentPartDone
from agentwire.protocol.events import CustomToolCallInputDelta as CustomToolCallInputDelta
from agentwire.protocol.events import CustomToolCallInputDone as CustomToolCallInputDone
from agentwire.protocol.events import ErrorEvent as ErrorEvent
from agentwire.protocol.events import Event as Event
from agentwire.protocol.events import FunctionCallArgumentsDelta as FunctionCallArgumentsDelta
from agentwire.protocol.events import FunctionCallArgumentsDone as FunctionCallArgumentsDone
from agentwire.protocol.events import Keepalive as Keepalive
from agentwire.protocol.events import McpCallArgumentsDelta as McpCallArgumentsDelta
from agentwire.protocol.events import McpCallArgumentsDone as McpCallArgumentsDone
from agentwire.protocol.events import McpCallCompleted as McpCallCompleted
from agentwire.protocol.events import McpCallFailed as McpCallFailed
from agentwire.protocol.events import McpCallInProgress as McpCallInProgress
from agentwire.protocol.events import OutputItemAdded as OutputItemAdded
from agentwire.protocol.events import OutputItemDone as OutputItemDone
from agentwire.protocol.events import OutputTextAnnotationAdded as OutputTextAnnotationAdded
from agentwire.protocol.events import OutputTextDelta as OutputTextDelta
from agentwire.protocol.events import OutputTextDone as OutputTextDone
from agentwire.protocol.events import ReasoningSummaryPartAdded as ReasoningSummaryPartAdded
from agentwire.protocol.events import ReasoningSummaryPartDone as ReasoningSummaryPartDone
from agentwire.protocol.events import ReasoningSummaryTextDelta as ReasoningSummaryTextDelta
from agentwire.protocol.events import ReasoningSummaryTextDone as ReasoningSummaryTextDone
from agentwire.protocol.events import ReasoningTextDelta as ReasoningTextDelta
from agentwire.protocol.events import ReasoningTextDone as ReasoningTextDone
from agentwire.protocol.events import RefusalDelta as RefusalDelta
from agentwire.protocol.events import RefusalDone as RefusalDone
from agentwire.protocol.events import ResponseCompleted as ResponseCompleted
from agentwire.protocol.events import ResponseCreated as ResponseCreated
from agentwire.protocol.events import ResponseFailed as ResponseFailed
from agentwire.protocol.events import ResponseIncomplete as ResponseIncomplete
from agentwire.protocol.events import ResponseInProgress as ResponseInProgress
from agentwire.protocol.events import ResponseQueued as ResponseQueued
from agentwire.protocol.events import SteerAccepted as SteerAccepted
from agentwire.protocol.events import SteerFailed as SteerFailed
from agentwire.protocol.events import SteerPending as SteerPending
from agentwire.protocol.events import UnknownEvent as UnknownEvent
from agentwire.protocol.grammar import Checker as Checker
from agentwire.protocol.grammar import GrammarError as GrammarError
from agentwire.protocol.ids import Sources as Sources
from agentwire.protocol.items import CLIENT_CALLS as CLIENT_CALLS
from agentwire.protocol.items import ITEMS as ITEMS
from agentwire.protocol.items import Compaction as Compaction
from agentwire.protocol.items import CustomToolCall as CustomToolCall
from agentwire.protocol.items import CustomToolCallOutput as CustomToolCallOutput
from agentwire.protocol.items import FunctionCall as FunctionCall
from agentwire.protocol.items import FunctionCallOutput as FunctionCallOutput
from agentwire.protocol.items import Item as Item
from agentwire.protocol.items import ItemReference as ItemReference
from agentwire.protocol.items import McpCall as McpCall
from agentwire.protocol.items import Message as Message
from agentwire.protocol.items import OpaqueItem as OpaqueItem
from agentwire.protocol.items import OpenedCompaction as OpenedCompaction
from agentwire.protocol.items import Reasoning as Reasoning
from agentwire.protocol.items import Summary as Summary
from agentwire.protocol.items import answered_call as answered_call
from agentwire.protocol.items import client_call as client_call
from agentwire.protocol.limits import Limits as Limits
from agentwire.protocol.order import RULES as RULES
from agentwire.protocol.order import render_markdown as render_markdown
from agentwire.protocol.request import CreateRequest as CreateRequest
from agentwire.protocol.request import Envelope as Envelope
from agentwire.protocol.request import TextConfig as TextConfig
from agentwire.protocol.response import Response as Response
from agentwire.protocol.response import Usage as Usage
from agentwire.protocol.tools import AUTO as AUTO
from agentwire.protocol.tools import TOOLS as TOOLS
from agentwire.protocol.tools import CustomTool as CustomTool
from agentwire.protocol.tools import FunctionTool as FunctionTool
from agentwire.protocol.tools import OpaqueTool as OpaqueTool
from agentwire.protocol.tools import Tool as Tool
from agentwire.protocol.tools import ToolChoice as ToolChoice
from agentwire.protocol.tools import check_tool_choice as check_tool_choice
from agentwire.protocol.tools import parse_tool_choice as parse_tool_choice
from agentwire.protocol.tools import tool_names as tool_names
from agentwire.protocol.transcript import History as History
from agentwire.protocol.transcript import Memo as Memo
from agentwire.protocol.transcript import Node as Node
from agentwire.protocol.transcript import check_pairing as check_pairing
from agentwire.protocol.transcript import resolve as resolve

__all__ = [
    "AUTO",
    "CLIENT_CALLS",
    "EVENTS",
    "ITEMS",
    "MEMORY",
    "PARTS",
    "RULES",
    "TERMINAL",
    "TICKETS",
    "TOOLS",
    "AgentwireError",
    "Checker",
    "CloseFrame",
    "Compaction",
    "ConnectionEnded",
    "ContentPartAdded",
    "ContentPartDone",
    "CreateRequest",
    "CustomTool",
    "CustomToolCall",
    "CustomToolCallInputDelta",
    "CustomToolCallInputDone",
    "CustomToolCallOutput",
    "Desk",
    "DeskStatistics",
    "EngineError",
    "Envelope",
    "ErrorEvent",
    "Event",
    "FunctionCall",
    "FunctionCallArgumentsDelta",
    "FunctionCallArgumentsDone",
    "FunctionCallOutput",
    "FunctionTool",
    "GrammarError",
    "History",
    "InputFile",
    "InputImage",
    "InputText",
    "InvalidUtf8",
    "Item",
    "ItemReference",
    "Keepalive",
    "Lane",
    "Limits",
    "LocalProtocolError",
    "McpCall",
    "McpCallArgumentsDelta",
    "McpCallArgumentsDone",
    "McpCallCompleted",
    "McpCallFailed",
    "McpCallInProgress",
    "Memo",
    "Memory",
    "Message",
    "Node",
    "OpaqueItem",
    "OpaquePart",
    "OpaqueTool",
    "OpenedCompaction",
    "Outcome",
    "OutputItemAdded",
    "OutputItemDone",
    "OutputText",
    "OutputTextAnnotationAdded",
    "OutputTextDelta",
    "OutputTextDone",
    "Part",
    "Reasoning",
    "ReasoningSummaryPartAdded",
    "ReasoningSummaryPartDone",
    "ReasoningSummaryTextDelta",
    "ReasoningSummaryTextDone",
    "ReasoningText",
    "ReasoningTextDelta",
    "ReasoningTextDone",
    "Refusal",
    "RefusalDelta",
    "RefusalDone",
    "RemoteProtocolError",
    "RequestError",
    "Response",
    "ResponseCompleted",
    "ResponseCreated",
    "ResponseFailed",
    "ResponseInProgress",
    "ResponseIncomplete",
    "ResponseQueued",
    "Say",
    "Sources",
    "State",
    "SteerAccepted",
    "SteerFailed",
    "SteerPending",
    "Summary",
    "SummaryText",
    "TextConfig",
    "Ticket",
    "Tool",
    "ToolChoice",
    "UnknownEvent",
    "Usage",
    "answered_call",
    "check_pairing",
    "check_tool_choice",
    "client_call",
    "decode_create",
    "decode_create_steps",
    "decode_envelope",
    "decode_event",
    "decode_item",
    "decode_object",
    "decode_response",
    "encode_create",
    "encode_item",
    "encode_json",
    "parse_tool_choice",
    "render_markdown",
    "resolve",
    "text_of",
    "to_wire",
    "tool_names",
]

"""The commands by name, each loaded when it is called, and the one place where errors become exit codes.

Exit code 0: done. 1: it was tried and failed. 2: it could not be tried: wrong options, nothing to load, no place to
listen. 130: interrupted. 143: terminated. A person sees one line that says what was wrong; tracebacks are for
`TRACEBACK_VARIABLE`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from cyclopts import App, CycloptsError, Parameter

from agentwire._version import __version__
from agentwire.cli.failures import FAILED, INTERRUPTED, OK, USAGE, CommandFailed, UserError

__all__ = ["TRACEBACK_VARIABLE", "app", "main"]

TRACEBACK_VARIABLE: Final = "AGENTWIRE_TRACEBACK"
"""Set it to anything to see where an unexpected error came from."""

EPILOGUE: Final = """\
Exit codes: 0 done, 1 failed, 2 wrong use (options, files, addresses), 130 interrupted,
143 terminated.
"""

NAME: Final = "agentwire"
ABOUT: Final = "A runtime for the WebSocket mode of the Responses API: a server, a client, and tests of both."

# The first line of each is for the list of commands. They are here because commands are loaded when they are called.
CHAT: Final = """\
Talk to a model in the terminal, over one WebSocket.

agentwire chat [URL] [MESSAGE...]: with a message, it is answered once; without one, every line of stdin is a message.
Without a URL, a server of its own is started on this machine, with the built-in engine, which is no language model.

Answers go to stdout, everything else to stderr. Ctrl-C cancels the answer; between answers, it ends the conversation.
"""
CONFORM: Final = """\
Hold any server of the WebSocket mode to the rules, and show what it does otherwise.

agentwire conform URL: numbered cases, each with the rule that it proves and where that comes from. The run finds out
what it can by itself (models, tools, whether a key is asked for) and costs some hundred short turns of a model.

stdout has a table by topic, and of each failure the rule and what went over the wire; --json and --html write reports.
Exit code 0: no binding rule is broken. 1: one is, or the run ended early. 2: the server cannot be reached.
"""
CONFORM_CLIENT: Final = """\
Run any client against hostile servers, and see what it survives.

agentwire conform-client [OPTIONS] -- PROGRAM [ARGUMENTS...]: for each scenario a server is started on this machine that
does one thing wrong, and the program is run against it: it asks the model to do {task} with one tool, look_up(page),
which fetches {tool_url}?page=N, prints the final text and exits with 0. The environment says the same: OPENAI_BASE_URL,
OPENAI_API_KEY, AGENTWIRE_TASK, AGENTWIRE_TOOL_URL.

The table and the failures go to stdout, everything about the run to stderr. Exit code 0: no rule that binds is broken,
1: one is, 2: the program cannot be started.
"""
HOSTILE: Final = """\
Be a server that does wrong things on cue.

agentwire hostile DEED...: such as reset-midway, silence@3 (in the third turn) or refuse-500. Without a deed it keeps
all rules. Its model calls look_up(page), one page after the other, or says what --say says.

The first line on stdout says where it listens: listening ws=URL http=URL. stderr tells what it sees and does. SIGINT
or SIGTERM ends it.
"""
DEMO: Final = """\
Watch an agent at work, its plug pulled, and what the wire saves.

Nothing but this machine is needed: the server, the engine (fixed rules, no language model), the agent, its tools and
the link between them run in this process. It takes about 40 seconds.
"""
RUN: Final = """\
Let one agent do a task with tools of yours, over one WebSocket.

agentwire run [URL] TASK...: the model works until it is done, and its answer goes to stdout. A word - in the task is
what is on stdin, and after a word -- none is an option. Without a URL, a server of its own is started on this machine,
with the built-in engine, which is no language model.

stderr shows turns and tool calls as they come. --json tells everything on stdout instead, one JSON object a line.
Ctrl-C or SIGTERM cancels the run and lets its tools clean up; once more leaves at once.
"""
SERVE: Final = """\
Serve the Responses API, over WebSocket and HTTP on one port.

Without --engine or --upstream it serves the built-in engine, which is no language model: it follows fixed rules, calls
tools that the message names, and needs nothing. Any name for the model is accepted.

The first line on stdout says where it listens: listening ws=URL http=URL. SIGINT or SIGTERM lets running turns finish
(see --limit drain=SECONDS); a second one stops at once. Both ways the exit code is 0.
"""
TRACE: Final = """\
Record what goes by between clients and a server, show a recording, and judge it.
"""
TRACE_RECORD: Final = """\
Record everything that goes by in front of a server, in a file of JSON lines.

agentwire trace record --to URL FILE: clients talk to the address on the first line of stdout, which is
recording ws=URL http=URL, instead of the server's own. Keys are replaced by labels, such as (key 1); what people and
models say is in the file, word for word. Compression is not asked for. SIGINT or SIGTERM ends the recording.
"""
TRACE_SHOW: Final = """\
Show a recording: a line for each message, and one for each run of deltas.
"""
TRACE_CHECK: Final = """\
Judge a recording by the invariants: exit code 0 if all of them hold, 1 if not.

Each that is broken is told with what shows it. Connections that were lost, or left by their clients, may stop anywhere.
"""
VERSION: Final = """\
Show what is installed, as a bug report needs it.
"""

app: Final = App(
    name=NAME,
    help=ABOUT,
    help_epilogue=EPILOGUE,
    version=__version__,
    default_parameter=Parameter(show_default=False, negative=(), consume_multiple=True),
)
"""The command; `main` runs it."""

app.command("agentwire.cli.serve:serve", name="serve", help=SERVE)
app.command("agentwire.cli.run:run", name="run", help=RUN)
app.command("agentwire.cli.chat:chat", name="chat", help=CHAT)
app.command("agentwire.cli.conform:conform", name="conform", help=CONFORM)
app.command("agentwire.cli.conform_client:conform_client", name="conform-client", help=CONFORM_CLIENT)
app.command("agentwire.cli.hostile:hostile", name="hostile", help=HOSTILE)
app.command("agentwire.cli.demo:demo", name="demo", help=DEMO)
_trace: Final = App(name="trace", help=TRACE)
_trace.command("agentwire.cli.trace:record", name="record", help=TRACE_RECORD)
_trace.command("agentwire.cli.trace:show", name="show", help=TRACE_SHOW)
_trace.command("agentwire.cli.trace:check", name="check", help=TRACE_CHECK)
app.command(_trace)
app.command("agentwire.cli.version:version", name="version", help=VERSION)


def main(tokens: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        tokens: the arguments; those of the process if left out.
    """
    try:
        code = app(
            _with_end_of_options(list(sys.argv[1:] if tokens is None else tokens)),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except SystemExit:
        raise
    except BaseException as error:  # noqa: ASYNC103, BLE001 - Trio is over by here; every error becomes an exit code
        return _explain(error)  # noqa: ASYNC104 - the same
    return code if isinstance(code, int) else OK


def _with_end_of_options(tokens: list[str]) -> list[str]:
    """The same, so that ``agentwire run`` is given the ``--`` as a word.

    It takes words that begin with a dash, as a task may be ``-`` or ``-5 + 3``, and refuses those that are slips of an
    option; after the ``--`` none is.
    """
    if tokens[:1] != ["run"] or "--" not in tokens:
        return tokens
    at = tokens.index("--")
    return [*tokens[:at], "--", *tokens[at:]]


def _explain(error: BaseException) -> int:
    """Say what happened on stderr, one line for each problem; returns the exit code."""
    if TRACEBACK_VARIABLE in os.environ:
        sys.excepthook(type(error), error, error.__traceback__)
    return max(_explain_one(one) for one in _leaves(error))


def _explain_one(error: BaseException) -> int:
    match error:
        case CycloptsError():
            return _say(f"{error} (see {' '.join((NAME, *(error.command_chain or ())))} --help)", USAGE)
        case UserError():
            return _say(str(error), USAGE)
        case CommandFailed():
            return _say_lines(str(error), FAILED)
        case KeyboardInterrupt():
            return INTERRUPTED
        case SystemExit():  # how rich says that nobody reads the output any more
            return FAILED
        case BrokenPipeError():
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read our output has gone; nothing is left to say
            return FAILED
    hint = f"this is a bug; set {TRACEBACK_VARIABLE}=1 to see where"
    return _say(f"unexpected {type(error).__name__}: {error} ({hint})", FAILED)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, one of each text: nurseries put even a single one into a group."""
    if isinstance(error, BaseExceptionGroup):
        told: dict[str, BaseException] = {}
        for inner in error.exceptions:
            told.update({repr(leaf): leaf for leaf in _leaves(inner)})
        yield from told.values()
    else:
        yield error


def _say(message: str, code: int) -> int:
    print(f"agentwire: {' '.join(message.split())}", file=sys.stderr)
    return code


def _say_lines(message: str, code: int) -> int:
    """What failed, and the last lines of whatever failed, each in a line of its own."""
    first, *more = message.splitlines() or [""]
    _say(first, code)
    for line in (" ".join(line.split()) for line in more if line.strip()):
        print(f"    {line}", file=sys.stderr)
    return code

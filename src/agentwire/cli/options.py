"""The options of ``agentwire serve``, as they are typed and as they stand in a TOML file.

An option that was typed wins over the file, and the file over the default. The file's names are the options' names;
any other name is refused with the list of those that there are. Paths in the file start from the file's own folder.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs
import msgspec
from cyclopts import Parameter

from agentwire.cli.failures import UserError, misfit, no_such
from agentwire.cli.route_tables import ROUTING
from agentwire.cli.storing import store_below
from agentwire.cli.tables import underscored
from agentwire.cli.upstreams import UpstreamKind
from agentwire.protocol.limits import Limits

__all__ = ["ServeOptions", "read_file", "read_limits"]

LogLevel = Literal["debug", "info", "warning", "error"]


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ServeOptions:
    """What can be said about a server; None where nothing was said."""

    host: str | None = None
    """Name or address to listen on; the default is 127.0.0.1. Anything that others can reach needs API keys."""
    port: int | None = None
    """TCP port; 0 takes any free one. The default is 8000."""
    unix: str | None = None
    """Path of a Unix socket. Without --host and --port, there is no TCP besides."""
    key_file: str | None = None
    """File with the API keys that are accepted, one a line. The environment's AGENTWIRE_KEYS is the other way."""
    engine: str | None = None
    """Where answers come from: module:name of an async function (ask, out), or builtin, the default: fixed rules,
    no language model."""
    upstream: str | None = None
    """Base URL of a model's server, such as http://127.0.0.1:11434/v1, to use as the engine. Its key is in the
    environment's AGENTWIRE_UPSTREAM_KEY."""
    upstream_kind: UpstreamKind | None = None
    """What the upstream speaks: chat (chat completions), responses (the Responses API over HTTP) or wire (its WebSocket
    mode, the default for ws:// addresses). Left out, the upstream is asked, which costs no tokens."""
    upstream_model: str | None = None
    """Model to ask the upstream for, whatever the client names."""
    upstream_context: int | None = None
    """Tokens that the upstream's model can read, if the server is to refuse, truncate and compact by that."""
    tools: tuple[str, ...] = ()
    """module:name of functions that the server itself runs for the model."""
    mcp: tuple[str, ...] = ()
    """MCP server whose tools requests may ask for, as LABEL=COMMAND or LABEL=URL; the file has more to say of one, in a
    table [mcp.LABEL]."""
    mcp_allow_url: tuple[str, ...] = ()
    """URL at or below which clients may have MCP servers of their own."""
    store: str | None = None
    """Where stored responses rest: memory (the default), sqlite:///PATH of a file that outlives the server and that
    several servers may share, or none, which keeps nothing and makes every response store: false."""
    model_name: tuple[str, ...] = ()
    """Names that GET /v1/models lists; requests may name any model."""
    config: str | None = None
    """TOML file with these options, bounds under [limits], and many models under [upstreams.NAME] and [[models]]. Its
    paths start from its own folder."""
    check: bool = False
    """Read and check everything, say what each model's name leads to, and end without listening: exit code 0 or 2."""
    limit: tuple[str, ...] = ()
    """One bound as NAME=VALUE, such as drain=10; may be given again and again."""
    tls_cert: str | None = None
    """File with the certificate chain (PEM); switches TLS on."""
    tls_key: str | None = None
    """File with the certificate's key (PEM), if it is not in the same file."""
    generous: bool | None = None
    """Remember more than the hosted service does: of each lane its last responses instead of the latest one, and those
    too that could not be continued. It hides faults of clients that would show elsewhere."""
    allowed_host: tuple[str, ...] = ()
    """Host name by which the server may be reached besides its own; * for any."""
    allowed_origin: tuple[str, ...] = ()
    """Origin of web pages that may call the server; * for any."""
    resume_within: float | None = None
    """Most seconds for which a client that asks for it may be away and resume its turns; the default is 60, and 0
    switches that off."""
    extension: tuple[str, ...] = ()
    """Extension that clients may ask for: goaway, response.cancel, sessions, or none; the default is all of them."""
    metrics: bool | None = None
    """Show what the server counts at GET /metrics, for Prometheus; with a key, where the server has keys."""
    log_level: LogLevel | None = None
    """What is logged to stderr: debug, info (the default), warning or error."""

    def with_file(self) -> tuple[ServeOptions, Mapping[str, Any], Mapping[str, Any]]:
        """These options, filled up from the file that ``--config`` names, and the file's ``[limits]`` and ``[mcp]``.

        Raises:
            UserError: the file cannot be read, or holds something that it should not.
        """
        if self.config is None:
            return self, {}, {}
        table = read_file(self.config)
        limits = table.pop("limits", {})
        if not isinstance(limits, dict):
            raise UserError(f"{self.config}: limits must be a table: [limits]")
        for name in ROUTING:
            table.pop(name, None)
        servers = table.pop("mcp", {})
        if not isinstance(servers, dict):
            raise UserError(f"{self.config}: MCP servers are tables: [mcp.LABEL]")
        options = _from_folder(_options_from(table, self.config), Path(self.config).parent)
        typed = {name: value for name, value in attrs.asdict(self).items() if value not in (None, ())}
        return attrs.evolve(options, **typed), limits, servers


_ELSEWHERE: Final = ("config", "check", "limit", "mcp")
"""What the file has no option for: itself, what is done with it, and what has tables there."""
_NAMES: Final = tuple(field.name for field in attrs.fields(ServeOptions) if field.name not in _ELSEWHERE)
_TABLES: Final = ("limits", "mcp", "models", "upstreams")
_PATHS: Final = ("unix", "key_file", "tls_cert", "tls_key")
_LIMITS: Final = {field.name: field for field in attrs.fields(Limits)}


def read_file(path: str) -> dict[str, Any]:
    """What is in a TOML file.

    Raises:
        UserError: it cannot be read, or is none.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))  # some editors leave a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--config: cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"--config: {path} is no TOML: {error}") from error


def _options_from(table: Mapping[str, Any], path: str) -> ServeOptions:
    for key, value in table.items():
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
            raise UserError(f"{path}: {no_such('table', key, _TABLES)}")
    unknown = [key for key in table if key.replace("-", "_") not in _NAMES]
    if unknown:
        tables = "default-model, [limits], [mcp.LABEL], [upstreams.NAME] and [[models]]"
        raise UserError(f"{path}: {no_such('option', unknown[0], _dashed(_NAMES))}, {tables}")
    named = underscored(table, path, _NAMES)
    for name, value in named.items():
        if isinstance(value, str) and attrs.fields_dict(ServeOptions)[name].default == ():
            named[name] = [value]
    try:
        return msgspec.convert(named, ServeOptions)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {misfit('', error, ServeOptions)}") from error


def _from_folder(options: ServeOptions, folder: Path) -> ServeOptions:
    """The same, with the paths as they are from here."""
    named = {name: getattr(options, name) for name in _PATHS}
    paths: dict[str, Any] = {name: str(folder / path) for name, path in named.items() if path is not None}
    if options.store is not None:
        paths["store"] = store_below(options.store, folder)
    return attrs.evolve(options, **paths)


def read_limits(table: Mapping[str, Any], typed: Iterable[str], path: str | None = None) -> Limits:
    """The bounds from the file, then those that were typed as ``NAME=VALUE``.

    Args:
        table: the file's.
        typed: on the command line.
        path: of the file, for errors.

    Raises:
        UserError: a name is not one of `Limits`' fields, or a value is no number that it can have.
    """
    given = underscored(table, f"{path}: limits", _LIMITS)
    places = {name: f"{path}: limits.{name.replace('_', '-')}" for name in given}
    for pair in typed:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UserError(f"--limit must be NAME=VALUE, such as drain=10, not {pair!r}")
        name = name.replace("-", "_")
        if name not in _LIMITS:
            raise UserError(f"--limit: {no_such('bound', name, _LIMITS)}")
        given[name], places[name] = text, f"--limit {name}"
    values: dict[str, Any] = {name: _bound(name, value, places[name]) for name, value in given.items()}
    try:
        return Limits(**values)
    except ValueError as error:
        name, _, problem = str(error).removeprefix("Limits.").partition(" ")
        raise UserError(f"{places[name]}: it {problem}") from error


def _bound(name: str, value: Any, place: str) -> float:
    whole = _LIMITS[name].type in (int, "int")
    try:
        return msgspec.convert(value, int if whole else float, strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        raise UserError(f"{place}: it must be {'a whole number' if whole else 'a number'}, not {value!r}") from error


def _dashed(names: Iterable[str]) -> list[str]:
    return [name.replace("_", "-") for name in names]

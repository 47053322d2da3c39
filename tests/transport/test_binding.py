from __future__ import annotations

import errno
import socket
import stat
from pathlib import Path

import pytest
import trio

from agentwire.transport import binding
from agentwire.transport.binding import close_all, file_identity, open_tcp, open_unix

pytestmark = pytest.mark.socket

BACKLOG = 16


def pretend_addresses(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Make every name have these addresses."""

    async def getaddrinfo(host: object, port: int, **kwargs: object) -> list[object]:
        await trio.lowlevel.checkpoint()
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)


async def test_one_address_on_any_free_port() -> None:
    (sock,) = await open_tcp("127.0.0.1", 0, BACKLOG)
    with sock:
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use") as caught:
            await open_tcp("127.0.0.1", port, BACKLOG)
        assert caught.value.errno == errno.EADDRINUSE


async def test_two_addresses_share_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_addresses(monkeypatch, "127.0.0.2", "127.0.0.1", "127.0.0.2")
    sockets = await open_tcp("twice", 0, BACKLOG)
    names = [sock.getsockname() for sock in sockets]
    close_all(sockets)
    assert [name[0] for name in names] == ["127.0.0.2", "127.0.0.1"]
    assert names[0][1] == names[1][1]


async def test_both_families_share_one_port_where_there_are_both(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_addresses(monkeypatch, "::1", "127.0.0.1")
    sockets = await open_tcp("localhost", 0, BACKLOG)
    names = [sock.getsockname() for sock in sockets]
    close_all(sockets)
    assert names[0][0] == "127.0.0.1"
    assert len({name[1] for name in names}) == 1


async def test_an_address_that_is_not_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_addresses(monkeypatch, "192.0.2.1", "127.0.0.1")
    (sock,) = await open_tcp("partly", 0, BACKLOG)
    with sock:
        assert sock.getsockname()[0] == "127.0.0.1"


async def test_no_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="cannot listen on 192"):
        await open_tcp("192.0.2.1", 0, BACKLOG)
    with pytest.raises(OSError, match=r"cannot listen on nowhere\.invalid:0"):
        await open_tcp("nowhere.invalid", 0, BACKLOG)
    pretend_addresses(monkeypatch)
    with pytest.raises(OSError, match="cannot listen on nothing:0"):
        await open_tcp("nothing", 0, BACKLOG)


async def test_a_port_that_one_family_has_taken_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_addresses(monkeypatch, "127.0.0.1", "127.0.0.2")
    real = binding._bind
    ports: list[int] = []

    def unlucky(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
        if address[0] == "127.0.0.2" and len(ports) < 2:
            ports.append(int(str(address[1])))
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(family, address, backlog)

    monkeypatch.setattr(binding, "_bind", unlucky)
    sockets = await open_tcp("twice", 0, BACKLOG)
    assert len(sockets) == 2
    assert len(ports) == 2
    close_all(sockets)


async def test_one_address_that_fails_closes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_addresses(monkeypatch, "127.0.0.1", "127.0.0.2")
    real = binding._bind
    opened: list[socket.socket] = []

    def forbidden(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
        if address[0] == "127.0.0.2":
            raise OSError(errno.EACCES, "Permission denied")
        opened.append(real(family, address, backlog))
        return opened[0]

    monkeypatch.setattr(binding, "_bind", forbidden)
    with pytest.raises(OSError, match="cannot listen on twice:0: Permission denied"):
        await open_tcp("twice", 0, BACKLOG)
    assert opened[0].fileno() == -1


async def test_it_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(binding, "_bind", taken)
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:0"):
        await open_tcp("127.0.0.1", 0, BACKLOG)


def test_a_unix_socket_is_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "wire.sock"
    with open_unix(path, BACKLOG):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(OSError, match=r"wire\.sock: another server is listening there"):
            open_unix(path, BACKLOG)
    with open_unix(path, BACKLOG) as sock:  # what a dead server left behind is replaced
        assert sock.getsockname() == str(path)


def test_a_socket_whose_queue_is_full_lives(tmp_path: Path) -> None:
    path = tmp_path / "wire.sock"
    with open_unix(path, 0), socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(path))
        with pytest.raises(OSError, match="another server"):
            open_unix(path, BACKLOG)


def test_another_kind_of_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(FileExistsError, match="precious: the file is there and is no socket"):
        open_unix(path, BACKLOG)
    assert path.read_text() == "data"


@pytest.mark.parametrize("name", ["missing/wire.sock", "x" * 200])
def test_a_place_that_cannot_be_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="cannot listen on"):
        open_unix(tmp_path / name, BACKLOG)
    assert not list(tmp_path.iterdir())


def test_a_socket_that_cannot_listen_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chmod(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "no modes here")

    monkeypatch.setattr(Path, "chmod", chmod)
    with pytest.raises(PermissionError, match="no modes here"):
        open_unix(tmp_path / "wire.sock", BACKLOG)
    assert not list(tmp_path.iterdir())


def test_a_file_is_told_from_another_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert file_identity(path) is None
    path.write_text("one")
    first = file_identity(path)
    other = tmp_path / "other"
    other.write_text("two")
    other.rename(path)
    assert first != file_identity(path) is not None

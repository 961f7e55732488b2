"""From inside a cell, everything is tried that a server could want which has taken a database client over."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rotated_secrets.cells import Cell, CellFailed
from rotated_secrets.cells.landlock import abi, readable_paths

OpenCell = Callable[..., Cell]
HAS_LANDLOCK = abi() > 0
landlock = pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock")
landlock_ports = pytest.mark.skipif(abi() < 4, reason="this kernel's Landlock knows no ports")
landlock_scopes = pytest.mark.skipif(abi() < 6, reason="this kernel's Landlock knows no scopes")


def refused(cell: Cell, method: str, *arguments: object) -> None:
    """The cell tries, and the kernel refuses."""
    with pytest.raises(CellFailed, match=r"PermissionError|OSError"):
        cell.call(method, *arguments, returns=object, within=20)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file like a ServiceAccount's token: the operator's user may read it."""
    path = tmp_path / "token"
    path.write_text("the token")
    path.chmod(0o600)
    return path


@pytest.fixture
def operator() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same user with a credential in its environment."""
    environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": "hunter2"}
    program = "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_it_has_none_of_the_operators_environment(open_cell: OpenCell, monkeypatch: pytest.MonkeyPatch) -> None:
    found = open_cell().call("environment", returns=dict[str, str], within=20)
    assert set(found) <= {
        *("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX"),
    }


def test_it_has_its_own_socket_and_no_other_descriptor(open_cell: OpenCell) -> None:
    """0 is /dev/null, 1 and 2 the pipe whose content is thrown away."""
    open_cell()
    assert open_cell().call("open_files", returns=list[int], within=20) == [0, 1, 2, 3]


def test_it_can_gain_no_privileges_and_is_not_dumped(open_cell: OpenCell) -> None:
    found = open_cell().call("status", returns=dict[str, str], within=20)
    assert found == {"dumpable": "0", "no_new_privileges": "1"}
    assert open_cell().call("capabilities", returns=list[int], within=20) == [0] * 6


@landlock
def test_it_reads_no_token(open_cell: OpenCell, token: Path) -> None:
    refused(open_cell(), "read", str(token))
    refused(open_cell(), "names", str(token.parent))


@landlock
def test_it_writes_no_file(open_cell: OpenCell, tmp_path: Path) -> None:
    refused(open_cell(), "write", str(tmp_path / "new"))
    if Path("/dev/shm").exists():
        refused(open_cell(), "write", "/dev/shm/new")


@landlock
@pytest.mark.parametrize("file", ["environ", "mem", "maps", "fd/1", "root/etc/hostname"])
def test_it_reads_nothing_of_another_process(open_cell: OpenCell, operator: subprocess.Popen[bytes], file: str) -> None:
    refused(open_cell(), "read", f"/proc/{operator.pid}/{file}")


def test_it_cannot_trace_another_process(open_cell: OpenCell, operator: subprocess.Popen[bytes]) -> None:
    if not HAS_LANDLOCK:
        pytest.skip("without Landlock the operator's own setting protects it; see the next test")
    refused(open_cell(), "memory_of", operator.pid)
    refused(open_cell(), "read_memory_of", operator.pid)


def test_it_cannot_trace_another_cell_or_the_zygote(open_cell: OpenCell) -> None:
    other, cell = open_cell(), open_cell()
    pid = other.call("pid", returns=int, within=20)
    refused(cell, "memory_of", pid)
    refused(cell, "read_memory_of", pid)
    refused(cell, "read_memory_of", _parent(pid))


@landlock_scopes
def test_it_can_signal_no_other_process(open_cell: OpenCell, operator: subprocess.Popen[bytes]) -> None:
    refused(open_cell(), "signal", operator.pid, signal.SIGTERM)
    assert operator.poll() is None


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
def test_filter_refuses_signals_to_others_without_landlock(open_cell: OpenCell) -> None:
    """Also signal 0 to the cell's own parent, its group and all processes of the user; Landlock lets 0 have itself."""
    own = open_cell().call("pid", returns=int, within=20)
    for number in (62, 234):
        for other in (os.getpid(), _parent(own), 0, -1):
            assert open_cell().call("system_call", number, other, 0, 0, returns=int, within=20) == errno.EPERM


def test_it_can_end_itself_by_a_signal(open_cell: OpenCell) -> None:
    """As a library does that aborts."""
    with pytest.raises(CellFailed, match="crashed"):
        open_cell().call("die", signal.SIGABRT, returns=object, within=20)


@pytest.mark.parametrize("method", ["limit", "renice", "move_to_one_processor"])
def test_it_changes_neither_limits_nor_priority_of_another_process(
    open_cell: OpenCell, operator: subprocess.Popen[bytes], method: str
) -> None:
    before = resource.prlimit(operator.pid, resource.RLIMIT_NOFILE), os.getpriority(os.PRIO_PROCESS, operator.pid)
    refused(open_cell(), method, operator.pid)
    after = resource.prlimit(operator.pid, resource.RLIMIT_NOFILE), os.getpriority(os.PRIO_PROCESS, operator.pid)
    assert after == before


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize(
    "number", [57, 58, 59, 322, 141, 142, 144, 203, 314, 251, 425, 29, 64, 68, 240, 200, 129, 297, 424, 1 << 30]
)
def test_filter_refuses_a_system_call_whatever_its_arguments(open_cell: OpenCell, number: int) -> None:
    """Also on itself, where the kernel would ask for no right."""
    assert open_cell().call("system_call", number, returns=int, within=20) == errno.EPERM


def test_library_learns_that_it_has_to_call_clone(open_cell: OpenCell) -> None:
    assert open_cell().call("system_call", 435, returns=int, within=20) == errno.ENOSYS


def test_it_has_no_children_that_would_outlive_it(open_cell: OpenCell) -> None:
    refused(open_cell(), "fork")


def test_it_starts_threads_and_lowers_its_own_limits(open_cell: OpenCell) -> None:
    assert open_cell().call("thread", returns=bool, within=20)
    assert open_cell().call("limit", 0, returns=tuple[int, int], within=20) == (64, 64)


@landlock_scopes
def test_it_reaches_no_abstract_socket(open_cell: OpenCell) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        name = f"rotated-secrets-test-{os.getpid()}"
        server.bind("\0" + name)
        server.listen()
        refused(open_cell(), "connect_abstract", name)


@landlock_ports
def test_it_connects_to_the_ports_of_its_server_alone(open_cell: OpenCell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as database, socket.create_server(("127.0.0.1", 0)) as other:
        allowed, forbidden = database.getsockname()[1], other.getsockname()[1]
        open_cell(ports=(allowed,)).call("connect", allowed, returns=object, within=20)
        refused(open_cell(ports=(allowed,)), "connect", forbidden)
        refused(open_cell(), "connect", allowed)


UDP, RAW, SEQUENCED, STREAM = socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET, socket.SOCK_STREAM
SCTP, MPTCP, ICMP = 132, 262, socket.IPPROTO_ICMP


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [
        (socket.AF_INET, UDP, 0),
        (socket.AF_INET6, UDP, 0),
        (socket.AF_INET, UDP | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0),
        (socket.AF_INET, UDP, ICMP),
        (socket.AF_INET, RAW, ICMP),
        (socket.AF_INET, STREAM, MPTCP),
        (socket.AF_INET, STREAM, SCTP),
        (socket.AF_INET, SEQUENCED, SCTP),
        (socket.AF_NETLINK, RAW, 0),
        (socket.AF_PACKET, RAW, 0),
        (socket.AF_PACKET, UDP, 0),
        (socket.AF_VSOCK, STREAM, 0),
        (socket.AF_ALG, SEQUENCED, 0),
    ],
)
def test_it_has_nothing_of_the_network_but_tcp(open_cell: OpenCell, family: int, kind: int, protocol: int) -> None:
    with pytest.raises(CellFailed, match="PermissionError"):
        open_cell().call("socket", family, kind, protocol, returns=object, within=20)


@pytest.mark.parametrize("by_message", [False, True])
def test_it_cannot_connect_by_its_first_bytes(open_cell: OpenCell, by_message: bool) -> None:
    """Landlock checks the call that connects, which TCP Fast Open does without."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(CellFailed, match="PermissionError"):
        open_cell().call("send_at_once", other.getsockname()[1], by_message, returns=object, within=20)


def test_it_sends_nothing_by_dns(open_cell: OpenCell) -> None:
    refused(open_cell(), "ask_dns")


@pytest.mark.parametrize(
    ("family", "protocol"), [(socket.AF_INET, 0), (socket.AF_INET, socket.IPPROTO_TCP), (socket.AF_UNIX, 0)]
)
def test_it_has_sockets_for_tcp_and_for_this_machine(open_cell: OpenCell, family: int, protocol: int) -> None:
    kind = STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    open_cell().call("socket", family, kind, protocol, returns=object, within=20)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "127.0.0.1"])
def test_a_library_may_look_up_an_address(open_cell: OpenCell, address: str) -> None:
    """It asks the kernel for the machine's interfaces then, and gets no answer."""
    assert open_cell().call("resolve", address, returns=list[str], within=20) == [address]


@landlock_ports
def test_it_listens_nowhere(open_cell: OpenCell) -> None:
    refused(open_cell(), "listen")


@landlock
def test_it_runs_no_program(open_cell: OpenCell) -> None:
    refused(open_cell(), "run", sys.executable)


@landlock
def test_it_reads_what_libraries_need(open_cell: OpenCell) -> None:
    assert open_cell().call("read", str(Path(os.__file__)), returns=str, within=20)


def test_nothing_readable_holds_what_the_operator_is_given() -> None:
    for path in readable_paths():
        for given in ("/var/run/secrets", "/run/secrets", "/proc", "/tmp", "/root/.aws", "/root/.kube"):
            assert not Path(given).is_relative_to(path), path


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

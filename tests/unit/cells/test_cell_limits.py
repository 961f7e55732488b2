"""What a cell may use, and that the zygote and the other cells live when it uses more."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.cells import Cell, CellFailed, CellLimits, Cells
from rotated_secrets.cells.limits import MIB
from rotated_secrets.cells.wire import MOST_REQUEST
from tests.support.cell_work import Declared, Work

OpenCell = Callable[..., Cell]
MakeCells = Callable[..., Cells]


def opened(cells: Cells, tenant: str = "shop", **limits: Any) -> Cell:
    return cells.open(Work(), tenant=tenant, limits=CellLimits(**limits), declared=(Declared,))


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_hard_limits_are_set(open_cell: OpenCell) -> None:
    found = open_cell(cpu_seconds=7, files=40, memory=32 * MIB).call("limits", returns=dict[str, list[int]], within=20)
    assert found["CORE"] == [0, 0]
    assert found["CPU"] == [7, 8]
    assert found["NOFILE"] == [40, 40]
    assert found["FSIZE"] == [32 * MIB] * 2
    assert found["AS"][0] == found["AS"][1] > 32 * MIB


@pytest.mark.parametrize(("mebibytes", "fits"), [(8, True), (80, False)])
def test_memory_is_limited(open_cell: OpenCell, mebibytes: int, fits: bool) -> None:
    cell = open_cell(memory=40 * MIB)
    if fits:
        assert cell.call("allocate", mebibytes, returns=int, within=20) == mebibytes
        return
    with pytest.raises(CellFailed, match="needed more than 40 MiB of memory") as failed:
        cell.call("allocate", mebibytes, returns=int, within=20)
    assert failed.value.outcome == "memory"


def test_threads_of_drivers_fit_into_the_memory(open_cell: OpenCell) -> None:
    assert open_cell().call("thread_stack", returns=int, within=20) == 512 * 1024


def test_the_kernel_ends_cells_before_the_operator(make_cells: MakeCells) -> None:
    make_cells().start()
    scores = [Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in _zygotes()]
    assert scores
    assert set(scores) == {"1000"}


def test_cpu_time_is_limited(open_cell: OpenCell) -> None:
    with pytest.raises(CellFailed, match="used 1 s of CPU time without an end") as failed:
        open_cell(cpu_seconds=1).call("loop", returns=object, within=60)
    assert failed.value.outcome == "cpu"


def test_wall_time_is_limited_also_where_nothing_is_asked(open_cell: OpenCell) -> None:
    cell = open_cell(wall_seconds=0.2)
    with pytest.raises(CellFailed, match=r"did not end within 0\.2 s"):
        while True:
            cell.call("echo", 1, returns=int, within=20)


def test_output_is_thrown_away_counted_and_limited(make_cells: MakeCells, outcomes: Counter[str], capfd: Any) -> None:
    cells = make_cells()
    cell = opened(cells, output=1024)
    cell.call("print", "INFO all is well\n", 10, returns=object, within=20)
    with pytest.raises(CellFailed, match="printed more than 1 KiB") as failed:
        while True:
            cell.call("print", "x" * 1000, 10, returns=object, within=20)
    assert failed.value.outcome == "output"
    assert outcomes["output"] > 1024
    assert capfd.readouterr() == ("", "")


def test_all_cells_together_have_a_limit_and_the_largest_is_ended(make_cells: MakeCells) -> None:
    cells = make_cells(memory=60 * MIB)
    small = opened(cells, tenant="honest")
    ends: list[str] = []

    def hold(cell: Cell, mebibytes: int) -> None:
        try:
            cell.call("hold", mebibytes, returns=object, within=60)
        except CellFailed as failed:
            ends.append(failed.outcome)

    holders = [opened(cells, memory=64 * MIB) for _ in range(2)]
    threads = [threading.Thread(target=hold, args=(cell, 40)) for cell in holders]
    for thread in threads:
        thread.start()
    eventually(lambda: bool(ends))
    assert ends == ["crowded"]
    assert small.call("echo", 1, returns=int, within=20) == 1
    for cell in holders:
        cell.close()
    small.close()
    for thread in threads:
        thread.join()


def test_what_a_cell_copies_of_the_zygotes_memory_counts(make_cells: MakeCells) -> None:
    """It is resident from the start, and takes more memory only when it is written to."""
    cell = opened(make_cells(memory=MIB))
    with pytest.raises(CellFailed) as failed:
        while True:
            cell.call("echo", 1, returns=int, within=20)
    assert failed.value.outcome == "crowded"
    assert "all child processes together needed more memory than --cells-memory" in str(failed.value)


def test_many_small_cells_of_one_tenant_end_no_larger_one_of_another(make_cells: MakeCells) -> None:
    """Else a namespace whose servers have each login hold a little less than another's would end those for ever."""
    cells = make_cells(memory=100 * MIB)
    honest, ends = opened(cells, tenant="honest"), list[str]()

    def hold(cell: Cell, mebibytes: int) -> None:
        try:
            cell.call("hold", mebibytes, returns=object, within=60)
        except CellFailed as failed:
            ends.append(failed.outcome)

    greedy = [opened(cells, tenant="greedy") for _ in range(6)]
    sizes = [(honest, 40), *((cell, 25) for cell in greedy)]
    threads = [threading.Thread(target=hold, args=each) for each in sizes]
    for thread in threads:
        thread.start()
    eventually(lambda: len(ends) >= 3)
    assert set(ends) == {"crowded"}
    assert threads[0].is_alive(), "the honest one was ended"
    for cell, _ in sizes:
        cell.close()
    for thread in threads:
        thread.join()


def test_each_further_cell_of_one_tenant_yields_to_those_of_others(make_cells: MakeCells) -> None:
    cells = make_cells()
    many = [opened(cells, tenant="greedy") for _ in range(7)]
    own = os.nice(0)
    expected = [min(own + step, 19) for step in (0, 3, 6, 9, 12, 15, 15)]
    assert [each.call("niceness", returns=int, within=20) for each in many] == expected
    honest = opened(cells, tenant="honest")
    assert honest.call("niceness", returns=int, within=20) == own
    for cell in (*many, honest):
        cell.close()


def test_what_uses_much_cpu_time_yields_to_others(open_cell: OpenCell) -> None:
    cell = open_cell()
    threading.Thread(target=lambda: _ended(cell), daemon=True).start()
    eventually(lambda: any(_niceness(pid) == 19 for pid in _children_of_zygotes()))
    cell.close()


def test_a_cell_that_is_let_go_is_ended_though_it_does_not_end_itself(make_cells: MakeCells) -> None:
    cell = opened(make_cells())
    pid = cell.call("pid", returns=int, within=20)
    threading.Thread(target=lambda: _ended(cell), daemon=True).start()
    cell.close()
    eventually(lambda: pid not in _children_of_zygotes())


def test_cells_are_counted_until_they_end(make_cells: MakeCells, outcomes: Counter[str]) -> None:
    cells = make_cells()
    cell = opened(cells)
    assert cells.running == 1
    cell.close()
    cell.close()
    assert cells.running == 0
    assert outcomes["ok"] == 1


def test_a_cell_whose_object_cannot_be_sent_is_closed_and_not_counted(
    make_cells: MakeCells, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, before = make_cells(), set(_children_of_zygotes())
    with pytest.raises(TypeError, match="cannot pickle"):
        cells.open(threading.Lock(), tenant="shop", declared=(Declared,))
    assert cells.running == 0
    monkeypatch.setattr("rotated_secrets.cells.cell._SENDING_SECONDS", 0.2)
    with pytest.raises(CellFailed) as failed:
        cells.open([b"x" * 2 * MOST_REQUEST], tenant="shop", declared=(Declared,))
    assert failed.value.outcome in ("crash", "time")
    assert cells.running == 0
    eventually(lambda: set(_children_of_zygotes()) <= before)


def test_the_zygote_is_started_again_when_it_was_killed(make_cells: MakeCells, caplog: Any) -> None:
    cells = make_cells()
    cells.start()
    cell = opened(cells)
    assert cells._zygote is not None
    os.kill(cells._zygote._process.pid, signal.SIGKILL)

    def fails() -> bool:
        """The kernel kills the cell when its parent has ended, which takes a moment."""
        try:
            cell.call("echo", 1, returns=int, within=20)
        except CellFailed:
            return True
        return False

    def works() -> bool:
        try:
            return bool(opened(cells).call("echo", 1, returns=int, within=20))
        except CellFailed:
            return False

    eventually(fails)
    eventually(works)
    assert "started again" in caplog.text


def test_a_zygote_that_may_open_no_more_files_serves_again_when_cells_have_ended(make_cells: MakeCells) -> None:
    cells = make_cells()
    cells.start()
    assert cells._zygote is not None
    zygote = cells._zygote._process.pid
    resource.prlimit(zygote, resource.RLIMIT_NOFILE, (40, 40))
    for _ in range(4):
        assert opened_until_one_fails(cells) > 4
    assert cells._zygote._process.pid == zygote, "it is the same process"


def opened_until_one_fails(cells: Cells) -> int:
    """Returns how many ran; they are closed."""
    kept: list[Cell] = []
    with pytest.raises(CellFailed):
        while len(kept) < 40:
            kept.append(opened(cells))
            kept[-1].call("echo", 1, returns=int, within=20)
    for each in kept:
        each.close()
    eventually(lambda: not any(_is_zygote_of(cells, parent) for parent, _ in _parents().values()))
    return len(kept) - 1


def test_cells_end_with_the_operator(make_cells: MakeCells) -> None:
    cells = make_cells()
    cell = opened(cells)
    pid = cell.call("pid", returns=int, within=20)
    threading.Thread(target=lambda: _ended(cell), daemon=True).start()
    cells.close()
    eventually(lambda: pid not in _children_of_zygotes())
    with pytest.raises(CellFailed, match="is stopping"):
        opened(cells)


def test_a_module_that_cannot_be_imported_stops_no_cell(make_cells: MakeCells, caplog: Any) -> None:
    cells = make_cells()
    broken = Cells(type(cells._settings)(modules=("no_such_module", "tests.support.cell_work")))
    assert opened(broken).call("echo", 1, returns=int, within=20) == 1
    eventually(lambda: "cannot import or warm up no_such_module" in caplog.text)
    broken.close()


def test_a_module_that_has_something_to_warm_up_does_so_once_before_cells_are_forked(make_cells: MakeCells) -> None:
    cells = make_cells()
    first, second = (opened(cells).call("warmed_up_in", returns=list[int], within=20) for _ in range(2))
    assert cells._zygote is not None
    assert first == second == [cells._zygote._process.pid]


def _ended(cell: Cell) -> None:
    try:
        cell.call("loop", returns=object, within=60)
    except CellFailed:
        return


def _parents() -> dict[int, tuple[int, str]]:
    found = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                fields = (each / "stat").read_text().rpartition(")")[2].split()
                found[int(each.name)] = int(fields[1]), (each / "cmdline").read_text()
            except OSError:
                continue
    return found


def _zygotes() -> list[int]:
    return sorted(
        pid
        for pid, (parent, command) in _parents().items()
        if parent == os.getpid() and "rotated_secrets.cells.zygote" in command
    )


def _is_zygote_of(cells: Cells, pid: int) -> bool:
    return cells._zygote is not None and cells._zygote._process.pid == pid


def _children_of_zygotes() -> list[int]:
    zygotes = set(_zygotes())
    return [pid for pid, (parent, _) in _parents().items() if parent in zygotes]


def _niceness(pid: int) -> int:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return 0

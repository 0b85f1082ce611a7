"""The file of a rater's events: nothing confirmed is lost or written twice, torn lines are mended."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from annotation_desk import Now
from hypothesis import given
from hypothesis import strategies as st

from sightline.annotation import log as module
from sightline.annotation.events import Event, events_path, read_events
from sightline.annotation.log import EventLog, opened
from sightline.annotation.refusals import RefusedError
from sightline.errors import DamageError, UsageError


def answer(item: str, request: str = "", **more: object) -> Event:
    return Event(event="answer", rater="ann", item=item, request=request, **more)  # type: ignore[arg-type]


def test_events_are_numbered_timed_and_read_again(tmp_path: Path) -> None:
    clock = Now()
    with opened(tmp_path, "ann", clock=clock) as log:
        first = log.append(answer("a", "r1-------")).event
        clock.later(seconds=8)
        log.append(answer("b", "r2-------"))
    assert first.seq == 1
    found = list(read_events(events_path(tmp_path, "ann")))
    assert [(each.item, each.seq) for each in found] == [("a", 1), ("b", 2)]
    times = [each.at for each in found]
    assert times[0].endswith("Z")
    assert int(times[1][17:19]) - int(times[0][17:19]) == 8
    with opened(tmp_path, "ann") as log:
        assert log.append(answer("c")).event.seq == 3


def test_a_repeated_request_is_one_row_also_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path, "ann") as log:
        first = log.append(answer("a", "r1-------", shown_ms=5))
        again = log.append(answer("a", "r1-------", shown_ms=9))
        assert (first.again, again.again) == (False, True)
        assert again.event == first.event
    with opened(tmp_path, "ann") as log:
        assert log.append(answer("a", "r1-------")).again
        with pytest.raises(RefusedError, match="used before") as refused:
            log.append(answer("b", "r1-------"))
        assert refused.value.status == 409
    assert len(list(read_events(events_path(tmp_path, "ann")))) == 1


def test_each_event_is_forced_to_disk_before_it_is_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    write, sync = os.write, os.fsync
    monkeypatch.setattr(module.os, "write", lambda *a: (done.append("write"), write(*a))[1])
    monkeypatch.setattr(module.os, "fsync", lambda *a: (done.append("sync"), sync(*a))[1])
    with opened(tmp_path, "ann") as log:
        done.clear()
        log.append(answer("a"))
    assert done == ["write", "sync"]


@given(st.integers(0, 400), st.integers(1, 4))
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_takes_more(
    tmp_path_factory: pytest.TempPathFactory, cut: int, rows: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    with opened(folder, "ann") as log:
        for number in range(rows):
            log.append(answer(f"i{number}", f"request-{number}"))
    path = events_path(folder, "ann")
    data = path.read_bytes()
    left = data[: max(0, len(data) - cut)]
    path.write_bytes(left)
    whole = left.count(b"\n")
    complete = whole + (left not in (b"", data) and data[len(left) : len(left) + 1] == b"\n")
    with opened(folder, "ann") as log:
        assert [each.item for each in log.events] == [f"i{number}" for number in range(complete)]
        log.append(answer("more"))
    found = [each.item for each in read_events(path)]
    assert found == [*(f"i{number}" for number in range(complete)), "more"]
    assert path.read_bytes().startswith(left[: left.rfind(b"\n") + 1])


def test_zeros_at_the_end_are_a_torn_line_too(tmp_path: Path) -> None:
    with opened(tmp_path, "ann") as log:
        log.append(answer("a"))
    path = events_path(tmp_path, "ann")
    path.write_bytes(path.read_bytes() + bytes(4096))
    with opened(tmp_path, "ann") as log:
        log.append(answer("b"))
    assert [each.item for each in read_events(path)] == ["a", "b"]


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    path = events_path(tmp_path, "ann")
    path.parent.mkdir()
    content = orjson.dumps(answer("a")) + b"\n{broken\n" + orjson.dumps(answer("b")) + b"\n"
    path.write_bytes(content)
    with pytest.raises(DamageError, match=r"ann\.jsonl:2"):
        EventLog(tmp_path, "ann")
    assert path.read_bytes() == content


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > 20:
            return write(file, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(tmp_path, "ann") as log:
        log.append(answer("a", "r1-------"))
        with monkeypatch.context() as patch:
            patch.setattr(module.os, "write", full)
            with pytest.raises(OSError, match="No space"):
                log.append(answer("b", "r2-------", note="x" * 15))
        assert not log.knows("r2-------")
        log.append(answer("b", "r2-------"))
    found = list(read_events(events_path(tmp_path, "ann")))
    assert [(each.item, each.seq) for each in found] == [("a", 1), ("b", 2)]


def test_one_process_writes_a_file_at_a_time(tmp_path: Path) -> None:
    with (
        opened(tmp_path, "ann"),
        opened(tmp_path, "bo"),
        pytest.raises(UsageError, match="another process writes it"),
    ):
        EventLog(tmp_path, "ann")
    with opened(tmp_path, "ann") as log:
        assert log.events == []


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    path = events_path(tmp_path, "ann")
    path.parent.mkdir()
    other = tmp_path / "other"
    other.write_text("")
    path.symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        EventLog(tmp_path, "ann")
    assert other.read_text() == ""


def test_requests_that_come_at_once_are_rows_of_their_own(tmp_path: Path) -> None:
    with opened(tmp_path, "ann") as log, ThreadPoolExecutor(8) as pool:
        asked = [answer(f"i{number}", f"request-{number // 2}") for number in range(0, 80, 2)]
        saved = list(pool.map(log.append, [each for each in asked for _ in range(2)]))
    assert sum(each.again for each in saved) == 40
    found = list(read_events(events_path(tmp_path, "ann")))
    assert [each.seq for each in found] == list(range(1, 41))
    assert {each.request for each in found} == {each.request for each in asked}

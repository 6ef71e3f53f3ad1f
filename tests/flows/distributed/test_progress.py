"""Answers are counted by markers, each read once, until what they hold is looked at in the end."""

import logging
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Running

from flows.distributed import progress as partition_progress
from flows.distributed.progress import PartitionProgress
from storage.records import RejectedRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant

EXPECTED = {f"segment {number}": "digest" for number in range(8)}
RUNNING, ENDED = (
    [FlowRun(id=uuid4(), name="partition 1 of 1", flow_id=uuid4(), state=state)]
    for state in (Running(), Completed())
)


def answer(variant: Variant, *numbers: int, digest: str = "digest") -> None:
    rows = {
        name: RejectedRecord(item_id=name, stage="infer", reason="damaged")
        for name in (f"segment {number}" for number in numbers)
    }
    variant.commit(
        [ItemOutput(item_id=name, rows=(row,)) for name, row in rows.items()],
        dict.fromkeys(rows, digest),
    )


def test_each_marker_is_read_once_and_content_is_checked_when_all_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(partition_progress, "_SECONDS", 0)
    read, really_read = [], partition_progress.read_marker
    monkeypatch.setattr(
        partition_progress, "read_marker",
        lambda store, path: (read.append(path), really_read(store, path))[1],
    )  # fmt: skip
    variant = open_variant(Store(str(tmp_path)), "infer", version=1, settings={})
    answer(variant, 0, 1)
    variant.invalidate({"segment 1": "digest"})
    progress = PartitionProgress("infer", variant, EXPECTED)
    answer(variant, 2, 3, 0)
    answer(variant, 4, digest="of yesterday")
    lines = []
    for runs in (RUNNING, RUNNING):
        progress.report(runs)
    lines.append(caplog.messages[-1].partition(";")[0])
    assert len(read) == 2, "neither that of before, nor one a second time"
    answer(variant, 1, 3)
    progress.report(RUNNING)
    lines.append(caplog.messages[-1].partition(",")[0])
    assert len(read) == 3
    for table in (tmp_path / variant.path / "RejectedRecord").iterdir():
        table.write_bytes(b"damaged")
    progress.report(ENDED)
    lines.append(caplog.messages[-1].partition(";")[0].partition(",")[0])
    assert lines == ["infer: 2 of 7 segments", "infer: 3 of 7 segments", "infer: 0 of 7 segments"]

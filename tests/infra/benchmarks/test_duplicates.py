from dataclasses import replace

import pytest

from infra.benchmarks import duplicate_media, duplicates
from infra.benchmarks.duplicate_media import COPIES, Recording, encode, make_copy, make_innocents
from infra.benchmarks.duplicate_timing import time_of_search
from infra.benchmarks.duplicates import Row, hash_files, main, measure_copies
from tasks.media.probe import probe
from tasks.processes.tool import ToolLimits


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[Recording]:
    """Two recordings of 6 s of one person, with noise for audio."""
    folder = tmp_path_factory.mktemp("sources")
    found = []
    for number, scene in enumerate(("testsrc2", "mandelbrot")):
        path = folder / f"source-{number}.mp4"
        inputs = ("-f", "lavfi", "-i", f"{scene}=s=320x240:r=10", "-f", "lavfi", "-i",
                  f"anoisesrc=seed={number}:r=16000,tremolo=f=0.7:d=0.9")  # fmt: skip
        outputs = ("-t", "6", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
        encode(inputs, outputs, path)
        found.append(Recording(name=str(number), person="ann", path=path, seconds=6.0))
    return found


def seconds_of(path) -> float:
    return probe(path, limits=ToolLimits(seconds=60)).duration_seconds


@pytest.mark.parametrize(("name", "seconds"), [("excerpt, 50 %", 3.0), ("speed 1.10", 5.45)])
def test_a_copy_has_the_length_that_its_name_states(sources, tmp_path, name, seconds):
    path = tmp_path / "copy.mkv"
    make_copy(sources[0], name, path)
    assert seconds_of(path) == pytest.approx(seconds, abs=0.35)


def test_existing_files_are_kept(sources, tmp_path):
    path = tmp_path / "copy.mkv"
    path.write_text("kept")
    make_copy(sources[0], "mirrored", path)
    assert path.read_text() == "kept"


def test_innocents_have_a_file_per_recording(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(duplicate_media, "_TONES", {"silence": "anullsrc=r=16000:cl=mono"})
    groups = make_innocents(tmp_path, sources)
    assert len(groups) == 4
    assert {len(files) for files in groups.values()} == {len(sources)}
    assert all(path.is_file() for files in groups.values() for path in files)


def test_copies_are_counted_per_transformation(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, "COPIES", {"mirrored": COPIES["mirrored"]})
    (row,) = measure_copies(tmp_path, sources)
    assert (row.name, row.num_pairs) == ("mirrored", 2)
    assert 0 <= row.found_muted <= row.found <= 2


def test_files_are_hashed_by_the_segment_stages_own_code(sources):
    hashes = hash_files({"a": sources[0].path})
    assert hashes["a"].video_id == "a"
    assert len(hashes["a"].motion) == pytest.approx(6 * 8 - 5, abs=2)
    assert hashes["a"].audio


def test_only_the_copies_are_found_among_synthetic_hashes():
    assert time_of_search(60, 3) > 0


@pytest.mark.parametrize(
    ("found", "wrong", "status"), [(10, 0, 0), (9, 0, 0), (8, 0, 1), (10, 1, 1)]
)
def test_the_exit_status_states_whether_both_targets_hold(
    tmp_path, monkeypatch, capsys, found, wrong, status
):
    row = Row(name="mirrored", num_pairs=10, found=found, found_muted=7)
    monkeypatch.setattr(duplicates, "make_sources", lambda *_: [])
    monkeypatch.setattr(duplicates, "measure_copies", lambda *_: [row])
    innocents = [replace(row, name="silence", found=wrong, found_muted=0)]
    monkeypatch.setattr(duplicates, "measure_innocents", lambda *_: innocents)
    assert main(["--out", str(tmp_path / "set"), "--sizes"]) == status
    printed = capsys.readouterr().out
    assert f"| mirrored | 10 | {found} | 7 |" in printed
    assert f"| silence | 10 | {wrong} | 0 |" in printed

"""Precision and recall of the search for duplicates, and its time on large data sets.

``python -m infra.benchmarks.duplicates [--out FOLDER] [--people N] [--sizes N ...]``; exit status 1
if a pair is wrongly called a copy, or less than the target of the copies is found.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from infra.benchmarks.duplicate_media import (
    COPIES,
    Recording,
    make_copy,
    make_innocents,
    make_sources,
)
from infra.benchmarks.duplicate_timing import time_of_search
from storage.media_records import MediaHashRecord
from storage.records import VideoId
from tasks.labels.duplicates.find import find_duplicates
from tasks.media.cut_video import cut_video
from tasks.media.rules import CutRules

MIN_RECALL = 0.9
_RULES = CutRules(max_segment_ms=5_000, long_side=96, crf=35, min_decoded_fraction=0.9)
_MEMORY_MB = 4_096

Hashes = Mapping[str, MediaHashRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Found pairs of one kind, with all audio, and without audio in the second video."""

    name: str
    num_pairs: int
    found: int
    found_muted: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m infra.benchmarks.duplicates")
    parser.add_argument("--out", type=Path, default=Path(".waver/duplicates"))
    parser.add_argument("--people", type=int, default=6, help="two recordings of each")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_427, 10_000])
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    sources = make_sources(options.out, options.people, options.seed)
    copies = measure_copies(options.out, sources)
    innocents = measure_innocents(options.out, sources)
    _print_table("copies found", copies)
    _print_table("innocent pairs called copies", innocents)
    for size in options.sizes:
        print(f"{size:,} videos of 27 s: {time_of_search(size, 0):.0f} s, "
              f"{time_of_search(size, size // 20):.0f} s if 5 % of them have no audio")  # fmt: skip
    num_copies, num_found = (sum(getattr(r, f) for r in copies) for f in ("num_pairs", "found"))
    num_wrong = sum(row.found + row.found_muted for row in innocents)
    print(f"recall {num_found / num_copies:.3f}, wrong pairs {num_wrong}")
    return 0 if num_found >= MIN_RECALL * num_copies and not num_wrong else 1


def measure_copies(folder: Path, sources: Sequence[Recording]) -> list[Row]:
    """Compare every recording with each of its copies, among all recordings."""
    paths = {f"original {source.name}": source.path for source in sources}
    for number, name in enumerate(COPIES):
        for source in sources:
            path = folder / f"copy-{number}-{source.name}.mkv"
            make_copy(source, name, path)
            paths[f"{name} {source.name}"] = path
    hashes = hash_files(paths)
    rows = []
    for name in COPIES:
        expected = {(f"original {s.name}", f"{name} {s.name}") for s in sources}
        rows.append(_row(name, hashes, expected))
    return rows


def measure_innocents(folder: Path, sources: Sequence[Recording]) -> list[Row]:
    """Compare the recordings of each group that has something in common but no copies."""
    hashes = hash_files({f"original {source.name}": source.path for source in sources})
    people = {f"original {source.name}": source.person for source in sources}
    pairs = list(combinations(sorted(hashes), 2))
    same = {pair for pair in pairs if people[pair[0]] == people[pair[1]]}
    rows = [
        _row("same person, same background", hashes, same),
        _row("different people", hashes, set(pairs) - same),
    ]
    for name, files in make_innocents(folder, sources).items():
        group = hash_files({path.name: path for path in files})
        rows.append(_row(name, group, set(combinations(sorted(group), 2))))
    return rows


def _row(name: str, hashes: Hashes, pairs: set[tuple[str, str]]) -> Row:
    return Row(
        name=name,
        num_pairs=len(pairs),
        found=_count_found(hashes, pairs, muted=False),
        found_muted=_count_found(hashes, pairs, muted=True),
    )


def _count_found(hashes: Hashes, pairs: set[tuple[str, str]], *, muted: bool) -> int:
    """Count the pairs that are found if all their videos are one data set."""
    rows = {name: hashes[name] for pair in pairs for name in pair}
    if muted:
        for _, name in pairs:
            rows[name] = replace(rows[name], audio=b"")
    found = {(pair.one, pair.other) for pair in find_duplicates(list(rows.values()))}
    return sum((one, other) in found or (other, one) in found for one, other in pairs)


def hash_files(paths: Mapping[str, Path]) -> dict[str, MediaHashRecord]:
    """Hash files as the segment stage does."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(paths, pool.map(_hash_file, paths, paths.values()), strict=True))


def _hash_file(name: str, path: Path) -> MediaHashRecord:
    folder = Path(tempfile.mkdtemp(prefix="waver-duplicates-"))
    try:
        hashes = cut_video(path, folder, _RULES, _MEMORY_MB).hashes
    finally:
        shutil.rmtree(folder)
    return MediaHashRecord(video_id=VideoId(name), motion=hashes.motion, audio=hashes.audio)


def _print_table(title: str, rows: Sequence[Row]) -> None:
    print(f"\n| {title} | pairs | with audio | one without audio |\n|---|---|---|---|")
    for line in _lines(rows):
        print(line)
    print()


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        yield f"| {row.name} | {row.num_pairs} | {row.found} | {row.found_muted} |"


if __name__ == "__main__":
    sys.exit(main())

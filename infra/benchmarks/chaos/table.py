"""The table of all kills."""

from collections.abc import Iterator, Sequence

from infra.benchmarks.chaos.trial import Trial

_COLUMNS = (
    "victim", "signal", "kills", "re-runs", "items finished before", "items computed after",
    "items computed twice", "s per kill", "with problems",
)  # fmt: skip


def table_lines(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield the lines of a Markdown table with a row for each kind of victim and signal."""
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "|---" * len(_COLUMNS) + "|"
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.victim, trial.signal), []).append(trial)
    for (victim, signal), group in sorted(groups.items()):
        yield _row(victim, signal, group)
    yield _row("all", "", trials)


def _row(victim: str, signal: str, trials: Sequence[Trial]) -> str:
    counts = [
        sum(getattr(trial, name) for trial in trials)
        for name in (
            "num_reruns", "num_finished_before", "num_computed_after", "num_computed_twice",
        )
    ]  # fmt: skip
    seconds = sum(trial.seconds for trial in trials) / max(1, len(trials))
    num_problems = sum(bool(trial.problems) for trial in trials)
    cells = [victim, signal, len(trials), *counts, f"{seconds:.0f}", num_problems]
    return "| " + " | ".join(map(str, cells)) + " |"

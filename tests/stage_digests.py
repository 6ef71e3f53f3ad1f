"""Digests of the sources that decide what each stage computes, as a guard against stale caches.

A stage's `VERSION` is part of the identity of its results: a change of what the stage computes must
bump it, or results of the old code are taken for those of the new. `stage_digests.json` records a
digest of the sources behind each version, which `test_stage_digests.py` compares with the code.

    python -m tests.stage_digests                      # record, after a VERSION was bumped
    python -m tests.stage_digests --unchanged-results  # record although a VERSION was not bumped

The sources are derived: from each module with an integer constant `VERSION`, imports are followed
within `tasks` and `storage`, and so are module names in strings, which child processes run. `flows`
is not followed: what it passes to a stage is in the digests of the stage's items or settings.
Digests ignore comments, docstrings, formatting and log lines.
"""

import argparse
import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD_PATH = ROOT / "tests" / "stage_digests.json"

CANNOT_CHANGE_RESULTS = {
    "storage.datasets.dataset": "videos enter a stage by value, in its items' input digests",
    "storage.errors": "exception classes; the modules that raise them write the messages",
    "storage.store": "stores what it is given; its files' digests are not part of a result",
    "tasks.inference.engine_memory": "how much memory an engine may use",
    "tasks.inference.progress": "progress in the log and in the UI",
    "tasks.log": "the logger",
    "tasks.model.available_memory": "memory measured before a model is opened",
    "tasks.model.gpu": "GPU detection; GPUs are resources",
    "tasks.processes": "starts, monitors and ends processes",
    "tasks.stage": "which items are computed, and when they are stored",
    "tasks.training.model.memory": "an estimate of memory",
    "tasks.training.tracking.curve_artifact": "the loss curve in the UI",
    "tasks.training.tracking.throughput": "samples per second, for the log",
    "tasks.training.tracking.trackers": "metrics sent to other programs",
    "tasks.ui_artifacts": "progress in the UI",
}
# Modules of one class per table: a stage depends only on those that it imports.
_SPLIT_MODULES = ("storage.media_records", "storage.records", "storage.results")
_VERSION_NAME = re.compile(r"_?([A-Z]+_)?VERSION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Digests of all sources, and each stage's version and digest of its sources."""

    sources: Mapping[str, str]
    stages: Mapping[str, tuple[int, str]]


class SourceTree:
    """The modules of `tasks` and `storage` under a folder, and what each depends on.

    A source is named as a module, as a definition of a split module, or as a data file's path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._nodes: dict[str, ast.AST] = {}
        for path in sorted([*root.glob("tasks/**/*.py"), *root.glob("storage/**/*.py")]):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            tree = _parse(path.read_text())
            if module in _SPLIT_MODULES:
                self._nodes |= {f"{module}.{name}": node for name, node in _bindings(tree)}
            elif path.name != "__init__.py":
                self._nodes[module] = tree
        self._known: dict[str, list[str]] = {}
        self._versions = dict(self._find_versions())

    def record(self) -> Record:
        """Compute what is to be recorded for this tree."""
        sources = {stage: self.sources_of(stage) for stage in self._versions}
        digests = {name: self._digest(name) for name in sorted(set().union(*sources.values()))}
        stages = {
            stage: (version, _digest_of(*(f"{s} {digests[s]}" for s in sorted(sources[stage]))))
            for stage, version in self._versions.items()
        }
        return Record(sources=digests, stages=stages)

    def sources_of(self, stage: str) -> set[str]:
        """Return all that a stage's results depend on, except for other stages.

        Their versions count by the identity of their results, which is part of the stage's own.
        """
        stages = {module for module in self._versions if module.count(".") == 1}
        excluded = {*CANNOT_CHANGE_RESULTS, *stages} - {stage}
        found, waiting = set[str](), [stage]
        while waiting:
            source = waiting.pop()
            if source not in found and not any(f"{source}.".startswith(f"{e}.") for e in excluded):
                found.add(source)
                if source not in self._known:
                    self._known[source] = list(self._dependencies(source))
                waiting.extend(self._known[source])
        return found

    def _find_versions(self) -> Iterator[tuple[str, int]]:
        for module, tree in self._nodes.items():
            for name, node in _bindings(tree) if isinstance(tree, ast.Module) else ():
                value = getattr(node, "value", None)
                if (
                    _VERSION_NAME.fullmatch(name)
                    and isinstance(value, ast.Constant)
                    and isinstance(value.value, int)
                ):
                    yield module, value.value

    def _dependencies(self, source: str) -> Iterator[str]:
        if source not in self._nodes:  # a data file
            return
        module, _, _ = source.rpartition(".")
        strings = set()
        for node in ast.walk(self._nodes[source]):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield from self._resolve(f"{node.module}.{alias.name}", node.module or "")
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._resolve(alias.name)
            elif isinstance(node, ast.Name) and module in _SPLIT_MODULES:
                yield from self._resolve(f"{module}.{node.id}")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from self._resolve(node.value)
                strings.add(node.value)
        yield from self._data_files(source, strings)

    def _resolve(self, *names: str) -> Iterator[str]:
        """Yield the first name that is a source; for a split module, all of its definitions."""
        for name in names:
            if name in self._nodes:
                yield name
                return
            if name in _SPLIT_MODULES:
                yield from (node for node in self._nodes if node.startswith(f"{name}."))
                return

    def _data_files(self, module: str, strings: set[str]) -> Iterator[str]:
        """Yield all data files beside a module that names one of them, or a folder of them."""
        folder = self._root.joinpath(*module.split(".")[:-1])
        entries = [path for path in folder.glob("[!._]*") if _is_data(path)]
        if strings & {path.name for path in entries}:
            for path in entries:
                files = [path, *path.rglob("*")]
                yield from (f.relative_to(self._root).as_posix() for f in files if f.is_file())

    def _digest(self, source: str) -> str:
        if source in self._nodes:
            return _digest_of_node(self._nodes[source])
        return _digest_of((self._root / source).read_text())


class _WithoutProse(ast.NodeTransformer):
    """Removes docstrings and log lines."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        is_docstring = isinstance(value, ast.Constant) and isinstance(value.value, str)
        is_log = isinstance(value, ast.Call) and ast.unparse(value.func).startswith("LOGGER.")
        return None if is_docstring or is_log else node


@cache
def _parse(code: str) -> ast.Module:
    return _WithoutProse().visit(ast.parse(code))


@cache
def _digest_of_node(node: ast.AST) -> str:
    return _digest_of(ast.dump(node))


def _bindings(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that a module binds, except for those of other packages."""
    for node in getattr(tree, "body", ()):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ImportFrom) and f"{node.module}".startswith(("tasks", "storage")):
            yield from ((alias.asname or alias.name, node) for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((name.id, node) for name in targets if isinstance(name, ast.Name))


def _is_data(path: Path) -> bool:
    is_package = path.is_dir() and (path / "__init__.py").exists()
    return not is_package and path.suffix not in (".py", ".md")


def _digest_of(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def read_record() -> Record:
    """Read what was recorded."""
    content = json.loads(RECORD_PATH.read_text())
    stages = {name: (row["version"], row["digest"]) for name, row in content["stages"].items()}
    return Record(sources=content["sources"], stages=stages)


def write_record(record: Record) -> None:
    """Replace what was recorded."""
    stages = {
        name: {"version": version, "digest": digest}
        for name, (version, digest) in sorted(record.stages.items())
    }
    content = {"stages": stages, "sources": dict(record.sources)}
    RECORD_PATH.write_text(json.dumps(content, indent=1) + "\n")


def changes_without_version(recorded: Record, tree: SourceTree) -> dict[str, list[str]]:
    """Map the stages that changed under an unchanged version to the sources that changed."""
    current = tree.record()
    gone = recorded.sources.keys() - current.sources.keys()
    return {
        stage: sorted(
            {s for s in tree.sources_of(stage) if recorded.sources.get(s) != current.sources[s]}
            | gone
        )
        for stage, (version, digest) in current.stages.items()
        if stage in recorded.stages
        and recorded.stages[stage] != (version, digest)
        and recorded.stages[stage][0] == version
    }


def explain(changes: Mapping[str, Sequence[str]], recorded: Record) -> str:
    """Describe the changes, and what to do about each."""
    lines = [
        f"{stage}: the version is still {recorded.stages[stage][0]}, but these changed: "
        f"{', '.join(sources) or 'its imports'}"
        for stage, sources in changes.items()
    ]
    return "\n".join(
        [
            "Sources that decide the results of these stages changed without the stage's VERSION.",
            *lines,
            "If a stage now computes something else, bump the VERSION in its module and run "
            "`python -m tests.stage_digests`.",
            "If all results that were computed before are still valid (a refactoring, a change "
            "that the identity of the results already contains), run "
            "`python -m tests.stage_digests --unchanged-results`.",
        ]
    )


def main() -> None:
    """Record the digests; fails if results may have changed under an unchanged version."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--unchanged-results", action="store_true")
    arguments = parser.parse_args()
    tree = SourceTree(ROOT)
    recorded = read_record() if RECORD_PATH.exists() else Record(sources={}, stages={})
    changes = changes_without_version(recorded, tree)
    if changes and not arguments.unchanged_results:
        sys.exit(explain(changes, recorded))
    write_record(tree.record())


if __name__ == "__main__":
    main()

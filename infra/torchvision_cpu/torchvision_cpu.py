"""Lets a torchvision built for CUDA be imported beside a PyTorch built for the CPU.

Such a torchvision cannot load its compiled operators, yet registers shapes for two of them at
import and dies (``operator torchvision::nms does not exist``). Only detection needs them; the
image transforms are plain PyTorch. Declaring the two is enough. It has to happen at Python's
start, by a ``.pth`` file: vLLM imports torchvision in three kinds of process. Where the builds
match, nothing is done.

As a script it reports whether the repair is needed: status 0 where it is, 1 where it is not.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_declared: list[Any] = []  # a library's declarations live as long as the object does


def builds_differ() -> bool:
    """Whether torchvision was built for CUDA and torch was not, read off their versions' tags."""
    import importlib.metadata  # slow to import, and this module is imported at every start

    try:
        torchvision_tag = importlib.metadata.version("torchvision").partition("+")[2]
        return (torchvision_tag or _tag_in_file()).startswith("cu") and not _torch_has_cuda()
    except importlib.metadata.PackageNotFoundError:
        return False


def _tag_in_file() -> str:
    """PyPI's wheels carry their tag only in ``torchvision/version.py``."""
    spec = PathFinder.find_spec("torchvision")
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        with open(f"{folder}/version.py", encoding="utf-8") as lines:  # noqa: PTH123 - start-up
            return next(lines).partition("+")[2].strip().strip("'\"")
    return ""


def _torch_has_cuda() -> bool:
    import torch

    return torch.version.cuda is not None


def declare_operators() -> None:
    """Declare the operators that torchvision's import expects to exist."""
    import torch

    open_library: Any = torch.library.Library
    library = open_library("torchvision", "FRAGMENT")
    for operator in OPERATORS:
        library.define(operator + SCHEMA)
    _declared.append(library)


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        if not _declared and builds_differ():
            declare_operators()
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Have the cure applied when torchvision is first imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


if __name__ == "__main__":
    needed = builds_differ()
    print(
        "torchvision is built for CUDA, torch is not" if needed else "torch and torchvision match"
    )
    sys.exit(0 if needed else 1)

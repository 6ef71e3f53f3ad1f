"""The recogniser's model: a local CTranslate2 folder, or a name that the Hugging Face hub knows."""

import os
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import ModelError
from storage.fingerprint import digest_file, digest_of

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_NEEDED = ("model.bin", "config.json", "tokenizer.json")
_WAY_OUT = (
    "name a folder with a Whisper model converted for CTranslate2 (ct2-transformers-converter), "
    "or a model of the hub such as 'large-v3'"
)
_opening = threading.Lock()


def check_speech_model(model: str) -> None:
    """Refuse a model that could not be opened, without loading its weights.

    A hub model that is not in the local cache yet is downloaded.

    Raises:
        ModelError: the folder is not a model, or the hub does not give one of this name.
    """
    if not _is_folder(model):
        _download(model)
        return
    missing = [name for name in _NEEDED if not (Path(model) / name).is_file()]
    if missing:
        raise ModelError(
            f"The folder {model!r} is not a speech model ({', '.join(missing)} missing): "
            f"{_WAY_OUT}."
        )


def speech_model_identity(model: str) -> str:
    """Tell models apart by content: the same folder elsewhere is the same model.

    A hub name stands for itself: published weights do not change under their name.
    """
    folder = Path(model)
    if not folder.is_dir():
        return model
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    states = tuple((name, *_file_state(folder / name)) for name in names)
    return _folder_digest(model, states)


def open_speech_model(model: str, compute_type: str) -> "WhisperModel":
    """Load a model once in a process; later calls, from any thread, give the same one.

    Raises:
        ModelError: it is not a model, cannot be read, or the hub cannot be reached.
    """
    with _opening:
        return _load(model, compute_type)


@cache
def _load(model: str, compute_type: str) -> "WhisperModel":
    from faster_whisper import WhisperModel

    check_speech_model(model)
    try:
        return WhisperModel(model, compute_type=compute_type, cpu_threads=os.cpu_count() or 1)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"The speech model {model!r} cannot be opened as {compute_type!r} "
            f"({_first_line(error)}): {_WAY_OUT}."
        ) from error


def _download(model: str) -> None:
    """Find a hub model in the local cache, else fetch it."""
    from faster_whisper.utils import download_model

    try:
        download_model(model, local_files_only=True)
        return
    except OSError:  # not in the cache
        pass
    except ValueError as error:
        raise ModelError(
            f"There is no speech model {model!r}, neither a folder nor a name that the hub could "
            f"know: {_WAY_OUT}."
        ) from error
    try:
        download_model(model)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The speech model {model!r} is not on this machine and the hub did not give it "
            f"({_first_line(error)}): {_WAY_OUT}."
        ) from error


def _is_folder(model: str) -> bool:
    """A path that looks like one counts, so that a typing error is not looked up on the hub."""
    return Path(model).is_dir() or model.startswith(("/", "./", "../", "~/"))


def _file_state(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


@cache
def _folder_digest(model: str, states: tuple[tuple[str, int, int], ...]) -> str:
    """Read the files again only when their size or time of change moved."""
    return digest_of([(name, digest_file(Path(model) / name)) for name, _, _ in states])


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__

"""The speech model: a local CTranslate2 folder, or the name of a model on the Hugging Face Hub."""

import os
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import ModelError
from storage.fingerprint import digest_file, digest_of

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_REQUIRED_FILES = ("model.bin", "config.json", "tokenizer.json")
_REMEDY = (
    "name a folder with a Whisper model converted for CTranslate2 (ct2-transformers-converter), "
    "or a model on the Hub such as 'large-v3'"
)
_load_lock = threading.Lock()


def check_speech_model(model: str) -> None:
    """Raise if a model cannot be opened, without loading its weights.

    A Hub model that is not in the local cache is downloaded.

    Raises:
        ModelError: the folder is not a model, or the Hub has no such model.
    """
    if not _is_folder(model):
        _download(model)
        return
    missing = [name for name in _REQUIRED_FILES if not (Path(model) / name).is_file()]
    if missing:
        raise ModelError(
            f"The folder {model!r} is not a speech model ({', '.join(missing)} missing): {_REMEDY}."
        )


def speech_model_identity(model: str) -> str:
    """Identify a model by content: a copy of a folder is the same model.

    A Hub name is its own identity: published weights do not change under their name.
    """
    folder = Path(model)
    if not folder.is_dir():
        return model
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return digest_of([(name, digest_file(folder / name)) for name in names])


def open_speech_model(model: str, compute_type: str) -> "WhisperModel":
    """Load a model once per process; later calls, from any thread, return the same one.

    Raises:
        ModelError: it is not a model, cannot be read, or the Hub cannot be reached.
    """
    with _load_lock:
        return _load(model, compute_type)


@cache
def _load(model: str, compute_type: str) -> "WhisperModel":
    from faster_whisper import WhisperModel

    check_speech_model(model)
    try:
        return WhisperModel(model, compute_type=compute_type, cpu_threads=_num_threads())
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"The speech model {model!r} cannot be opened as {compute_type!r} "
            f"({_first_line(error)}): {_REMEDY}."
        ) from error


def _num_threads() -> int:
    """Return the number of cores for the model; Ray sets the variable to those of the task."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else os.cpu_count() or 1


def _download(model: str) -> None:
    """Find a Hub model in the local cache, or download it."""
    from faster_whisper.utils import download_model

    try:
        download_model(model, local_files_only=True)
        return
    except OSError:  # not in the cache
        pass
    except ValueError as error:
        raise ModelError(
            f"There is no speech model {model!r}, neither as a folder nor on the Hub: {_REMEDY}."
        ) from error
    try:
        download_model(model)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The speech model {model!r} is not in the local cache and cannot be downloaded "
            f"({_first_line(error)}): {_REMEDY}."
        ) from error


def _is_folder(model: str) -> bool:
    """Return whether ``model`` is a path; a mistyped path must not be looked up on the Hub."""
    return Path(model).is_dir() or model.startswith(("/", "./", "../", "~/"))


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__

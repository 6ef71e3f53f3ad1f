"""What a folder must hold to be opened as a model, and the fingerprint that names its weights.

A model is a Hugging Face folder of the Qwen3-Omni-MoE family: ``config.json``, weights as
safetensors, and the files of its tokenizer and processor. Pickled weights are refused and code
that comes with a model is never run. Nothing here opens the model.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage.errors import ModelError
from storage.fingerprint import digest_file, digest_of

MODEL_TYPE = "qwen3_omni_moe"
WEIGHTS_INDEX = "model.safetensors.index.json"
COMPUTED_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SERVED_ADAPTER = "served-adapter"

_DESCRIBING_FILES = (
    "config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.json",
)
_PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_READ_WHOLE_BYTES = 64 << 20
_BLOCK_BYTES = 4096
_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # as safetensors names them
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def check_model(name: str) -> Path:
    """Find a model by folder or hub name and check that it can be opened; gives its folder.

    Raises:
        ModelError: says what is missing or foreign, and what would do.
    """
    folder = find_model(name)
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file():
        raise ModelError(
            f"{name!r} is a peft adapter without its base model: name a whole model here; a run "
            "takes an adapter by --model."
        )
    _check_family(name, read_model_config(folder))
    _check_words_and_media(name, folder)
    for path in weight_paths(folder):
        _check_weights(path)
    return folder


def fingerprint_of(folder: Path) -> str:
    """Digest what decides a checked model's answers, without reading 60 GB.

    Covers the content of its configuration, tokenizer and processor files, and of each weight file
    the name, size and header (every tensor's name, type and shape) and its content: all of it in a
    file of up to 64 MiB, otherwise 4 KiB out of the middle of every tensor. A change that leaves
    all those blocks as they were goes unseen; training or merging moves whole tensors. Where the
    folder lies does not matter. An adapter that is served on the weights counts too.
    """
    described = {
        path.name: digest_file(path)
        for path in (folder / name for name in _DESCRIBING_FILES)
        if path.is_file()
    }
    weights = {path.name: _digest_weights(path) for path in weight_paths(folder)}
    parts: list[object] = [described, weights]
    if adapter := served_adapter(folder):
        parts.append([digest_file(path) for path in adapter_files(adapter)])
    return digest_of(*parts)


def served_adapter(folder: Path) -> Path | None:
    """Give the adapter that the engine serves on a folder's weights, if one is linked to them."""
    link = folder / SERVED_ADAPTER
    return link.resolve() if link.is_symlink() else None


def adapter_files(adapter: Path) -> list[Path]:
    """List the files that decide what a peft adapter does."""
    return [adapter / name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)]


def read_model_config(folder: Path) -> dict[str, Any]:
    """Read a model's ``config.json``."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(
            f"{str(folder)!r} is not a model: it holds no config.json. Name a Hugging Face folder "
            "of the Qwen3-Omni family."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is not valid JSON ({error}): copy it again.") from error
    if not isinstance(config, dict):
        raise ModelError(f"{str(path)!r} holds no settings of a model: copy it again.")
    return config


def stored_dtype(folder: Path) -> str:
    """Give the number type that a model's weights were saved in, as in ``bfloat16``."""
    config = read_model_config(folder)
    thinker = config.get("thinker_config", {})
    for section in (config, thinker, thinker.get("text_config", {})):
        if dtype := section.get("dtype") or section.get("torch_dtype"):
            return str(dtype).removeprefix("torch.")
    return "float32"


def computed_dtype(folder: Path, asked: str) -> str:
    """Give the number type that an engine computes in: ``auto`` is that of the model's weights.

    Raises:
        ModelError: nothing computes in the type that the weights were saved in.
    """
    if asked != "auto":
        return asked
    if (stored := stored_dtype(folder)) not in COMPUTED_BYTES:
        raise ModelError(
            f"The model {str(folder)!r} was saved in {stored}, in which nothing is computed: say "
            f"in which of {', '.join(COMPUTED_BYTES)} to compute (infer.dtype)."
        )
    return stored


def weight_paths(folder: Path) -> list[Path]:
    """List the safetensors files that make up a model's weights.

    Raises:
        ModelError: there are none, or the index names one that is not there.
    """
    index = folder / WEIGHTS_INDEX
    if index.is_file():
        names = _indexed_names(index)
        if absent := [name for name in names if not (folder / name).is_file()]:
            raise ModelError(
                f"The model {str(folder)!r} lacks {len(absent)} of its {len(names)} weight files, "
                f"among them {absent[0]!r}: copy them too."
            )
        return [folder / name for name in names]
    if found := sorted(folder.glob("*.safetensors")):
        return found
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLE_ENDINGS)
    if pickled:
        raise ModelError(
            f"The model {str(folder)!r} holds its weights only as pickle ({pickled[0]!r}), which "
            "can run code when opened: save it as safetensors (save_pretrained does)."
        )
    raise ModelError(f"The model {str(folder)!r} holds no weights (*.safetensors): copy them too.")


def weight_bytes(folder: Path, dtype: str) -> int:
    """Count what a checked model's weights take when they are computed with in a number type.

    Of other kinds than plain floats (8 bits, packed ones) an engine computes with what was saved.
    """
    tensors = [
        tensor
        for path in weight_paths(folder)
        for name, tensor in read_header(path)[0].items()
        if name != "__metadata__"
    ]
    return sum(
        (end - start) * COMPUTED_BYTES[dtype] // _FLOAT_BYTES.get(kind, COMPUTED_BYTES[dtype])
        for kind, (start, end) in ((t["dtype"], t["data_offsets"]) for t in tensors)
    )


def weight_names(folder: Path) -> list[str]:
    """List the names of all tensors of a checked model, as they were saved."""
    headers = (read_header(path)[0] for path in weight_paths(folder))
    return sorted(name for header in headers for name in header if name != "__metadata__")


def _indexed_names(index: Path) -> list[str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
        if not names or not all(Path(name).name == name for name in names):
            raise ValueError("it names no files")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{str(index)!r} is no index of weight files, or damaged "
            f"({type(error).__name__}): copy it again."
        ) from error
    return names


def find_model(name: str) -> Path:
    """Find a folder by its path or hub name; what it holds is not looked at.

    Raises:
        ModelError: there is none.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise ModelError(f"The model {name!r} is a file: expected a folder with a config.json.")
    if not may_be_on_hub(name):
        raise ModelError(f"There is no model folder {name!r}: name a folder or a hub name.")
    return _fetch(name)


def may_be_on_hub(name: str) -> bool:
    """Whether a name that is no path here has the form of one on the hub."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and " " not in name


def _fetch(name: str) -> Path:
    """Find a hub model in the local cache, or fetch it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = [*_DESCRIBING_FILES, WEIGHTS_INDEX, ADAPTER_CONFIG, "*.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise ModelError(
            f"The model {name!r} is no folder here and cannot be had from the hub "
            f"({type(error).__name__}): name a folder, or check the name and the connection."
        ) from error


def _check_family(name: str, config: dict[str, Any]) -> None:
    if config.get("model_type") != MODEL_TYPE:
        raise ModelError(
            f"The model {name!r} is of type {config.get('model_type')!r}: expected one of the "
            f"Qwen3-Omni family ({MODEL_TYPE!r})."
        )


def _check_words_and_media(name: str, folder: Path) -> None:
    there = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in there and not {"vocab.json", "merges.txt"} <= there:
        raise ModelError(
            f"The model {name!r} has no tokenizer (tokenizer.json, or vocab.json and merges.txt): "
            "copy its files from the base model."
        )
    if not there & {"processor_config.json", "preprocessor_config.json"}:
        raise ModelError(
            f"The model {name!r} has no processor (processor_config.json or "
            "preprocessor_config.json): copy its files from the base model."
        )


def _check_weights(path: Path) -> None:
    header, start = read_header(path)
    end = start + max((stop for _, stop in _extents(header)), default=0)
    if end != path.stat().st_size:
        raise ModelError(
            f"The weight file {str(path)!r} is incomplete: its header states {end} bytes, it holds "
            f"{path.stat().st_size}. Copy it again."
        )


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read a safetensors header and where its data begins (github.com/huggingface/safetensors)."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(length) if length <= _MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ModelError(
            f"The weight file {str(path)!r} is no safetensors file, or damaged: copy it again."
        ) from error
    return header, 8 + length


def _extents(header: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Give each tensor's first and last byte in the data, in order."""
    yield from sorted(
        tuple(tensor["data_offsets"]) for key, tensor in header.items() if key != "__metadata__"
    )


def _digest_weights(path: Path) -> str:
    if path.stat().st_size <= _READ_WHOLE_BYTES:
        return digest_file(path)
    header, start = read_header(path)
    state = hashlib.blake2b(digest_of(path.stat().st_size, header).encode(), digest_size=16)
    with path.open("rb") as stream:
        for first, end in _extents(header):
            length = min(_BLOCK_BYTES, end - first)
            stream.seek(start + first + (end - first - length) // 2)
            state.update(stream.read(length))
    return state.hexdigest()

"""The names of a model's tensors, without its weights."""

import json
from pathlib import Path

from storage.errors import ModelError
from tasks.model.model_folder import check_model, may_be_on_hub
from tasks.model.weights import WEIGHTS_INDEX, weight_names


def names_in_model(model: str) -> list[str]:
    """Return the tensor names of a local model, or of one on the hub by downloading its index only.

    Raises:
        ModelError: there is no such model, or its index cannot be downloaded.
    """
    if may_be_on_hub(model) and not Path(model).exists():
        return _names_on_hub(model)
    return weight_names(check_model(model))


def _names_on_hub(model: str) -> list[str]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        index = Path(hf_hub_download(model, WEIGHTS_INDEX))
        return sorted(json.loads(index.read_bytes())["weight_map"])
    except (OSError, ValueError, KeyError, HfHubHTTPError, HFValidationError) as error:
        raise ModelError(
            f"The model {model!r} is not a local folder, and its weight index cannot be downloaded "
            f"from the hub ({type(error).__name__}): name a folder, or check the name and the "
            "connection."
        ) from error

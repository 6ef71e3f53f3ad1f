"""The names of a model's tensors, known without its weights."""

import json
from pathlib import Path

from storage.errors import ModelError
from tasks.model.model_folder import check_model, may_be_on_hub
from tasks.model.weights import WEIGHTS_INDEX, weight_names


def names_in_model(model: str) -> list[str]:
    """List the tensors of a folder's model, or of one on the hub, of which the index alone is had.

    Raises:
        ModelError: there is no such model, or it cannot be had.
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
            f"The model {model!r} is no folder here, and the index of its weights cannot be had "
            f"from the hub ({type(error).__name__}): name a folder, or check the name and the "
            "connection."
        ) from error

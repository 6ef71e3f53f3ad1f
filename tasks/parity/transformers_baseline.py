"""Predictions of transformers, one segment at a time: what the engine's must equal."""

from pathlib import Path

from tasks.model.model_folder import read_model_config, served_adapter
from tasks.prompting.model_input import OmniInput, to_model_batch
from tasks.prompting.prediction import Prediction, check_log_probabilities, count_tokens
from tasks.prompting.prompt import answer_token_ids


class TransformersBaseline:
    """A model in transformers on the CPU, in float32, with a served adapter merged into it."""

    def __init__(self, model_path: Path) -> None:
        import torch
        from transformers import AutoProcessor, Qwen3OmniMoeForConditionalGeneration

        self._model_config = read_model_config(model_path)
        self._processor = AutoProcessor.from_pretrained(model_path, trust_remote_code=False)
        model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(
            model_path, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        if adapter := served_adapter(model_path):
            from tasks.adapters.merge import apply_adapter

            apply_adapter(model, adapter)
        self._thinker = model.thinker.eval()

    def predict(self, inputs: OmniInput) -> Prediction:
        """Predict one segment from log-probabilities over the full vocabulary."""
        import torch

        batch = to_model_batch(self._processor, [inputs])
        with torch.inference_mode():
            logits_V = self._thinker(**batch).logits[0, -1]
        logp = logits_V.float().log_softmax(-1)
        yes, no = answer_token_ids(self._processor.tokenizer)
        logp_yes, logp_no = logp[yes].item(), logp[no].item()
        check_log_probabilities(logp_yes, logp_no)
        return Prediction(
            logp_yes=logp_yes,
            logp_no=logp_no,
            token_counts=count_tokens(batch["input_ids"][0].tolist(), self._model_config),
        )

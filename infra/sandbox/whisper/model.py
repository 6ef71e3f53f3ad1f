"""The tiny Whisper (transformers' class, small numbers) and the losses that train it from scratch.

Besides cross-entropy on tokens, two targets that the generator knows are supervised directly: the
word of each 20 ms, and the positions that the last decoder layer's first head attends to for each
word. The latter is the alignment head from which faster-whisper takes word times.
"""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import WhisperConfig, WhisperForConditionalGeneration

from infra.sandbox.whisper.batches import NUM_MELS, Batch
from infra.sandbox.whisper.vocabulary import NUM_TIMES, Vocabulary

_WIDTH, _LAYERS, _HEADS = 64, 3, 2
ALIGNMENT_HEADS = [[_LAYERS - 1, 0]]
_TINY = 1e-6
_TIME_BLUR = torch.exp(-0.5 * (torch.arange(-4, 5) / 1.5) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The sum to minimize, and its parts for the log."""

    total: torch.Tensor
    parts: dict[str, float]


def make_whisper(vocabulary: Vocabulary) -> WhisperForConditionalGeneration:
    """Create the untrained network; timestamp tokens are initialized from encoder positions."""
    config = WhisperConfig(
        vocab_size=vocabulary.size,
        num_mel_bins=NUM_MELS,
        d_model=_WIDTH,
        encoder_layers=_LAYERS,
        decoder_layers=_LAYERS,
        encoder_attention_heads=_HEADS,
        decoder_attention_heads=_HEADS,
        encoder_ffn_dim=4 * _WIDTH,
        decoder_ffn_dim=4 * _WIDTH,
        pad_token_id=vocabulary.end,
        bos_token_id=vocabulary.end,
        eos_token_id=vocabulary.end,
        decoder_start_token_id=vocabulary.start,
        dropout=0.0,
        suppress_tokens=[],
        begin_suppress_tokens=[],
        attn_implementation="eager",  # the decoder must show its attention
    )
    whisper = WhisperForConditionalGeneration(config)
    encoder, embedding = whisper.model.encoder, whisper.model.decoder.embed_tokens.weight
    fast = copy.deepcopy(config)
    fast._attn_implementation = "sdpa"
    for module in encoder.modules():
        if hasattr(module, "config"):
            module.config = fast
    with torch.no_grad():
        positions = encoder.embed_positions.weight
        positions = torch.cat([positions, positions[-1:]])
        scale = embedding[: vocabulary.first_time].norm(dim=1).mean() / positions.norm(dim=1).mean()
        embedding[vocabulary.first_time : vocabulary.first_time + NUM_TIMES] = positions * scale
    return whisper


class Trainee(nn.Module):
    """The network with two frame classifiers that only training needs."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.whisper = make_whisper(vocabulary)
        num_classes = len(vocabulary.words) + 1
        self.word_now = nn.Linear(_WIDTH, num_classes)
        self.word_before = nn.Linear(_WIDTH, num_classes)

    def forward(self, batch: Batch) -> Losses:
        """Compute all losses of one batch."""
        hidden = self._encode(batch.features)
        decoder = self.whisper.model.decoder
        decoded = decoder(
            input_ids=batch.inputs,
            encoder_hidden_states=hidden,
            output_attentions=True,
            use_cache=False,
        )
        logits = decoded.last_hidden_state @ decoder.embed_tokens.weight.T
        token_loss, parts = self._token_loss(logits, batch.targets)
        last, before_last = decoded.cross_attentions[-1], decoded.cross_attentions[-2]
        has_target = (batch.heard.sum(-1) > 0).float()
        pointing = -((last[:, 0] + _TINY).log() * batch.heard).sum() / has_target.sum()
        near = [
            _mass_near(head, batch.near, has_target) for head in (last[:, 1], before_last[:, 0])
        ]
        now = _frame_loss(self.word_now(hidden), batch.words, batch.frame_weight)
        before = _frame_loss(self.word_before(hidden), batch.previous_words, batch.frame_weight)
        total = token_loss + 0.15 * pointing + 0.15 * near[0] + 0.1 * near[1]
        total = total + 0.5 * now + 0.25 * before
        parts |= {"pointing": pointing.item(), "frame": now.item(), "frame_before": before.item()}
        return Losses(total=total, parts=parts)

    def _encode(self, features: torch.Tensor) -> torch.Tensor:
        """Encode fewer than the 3,000 frames that transformers' encoder requires: far cheaper."""
        encoder = self.whisper.model.encoder
        with torch.autocast("cpu", torch.bfloat16):
            hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(features)))).permute(0, 2, 1)
            hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
            for layer in encoder.layers:
                out = layer(hidden, None)
                hidden = out[0] if isinstance(out, tuple) else out
            hidden = encoder.layer_norm(hidden)
        return hidden.float()

    def _token_loss(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Compute the cross-entropy; timestamps have soft targets over a few steps of 20 ms."""
        has_target = targets >= 0
        log_p, target = logits[has_target].log_softmax(-1), targets[has_target]
        loss = -log_p.gather(1, target[:, None])[:, 0]
        is_time = target >= self.vocabulary.first_time
        accuracy = (log_p.argmax(1) == target)[~is_time].float().mean().item()
        around = target[is_time][:, None] + torch.arange(-4, 5)
        inside = (around >= self.vocabulary.first_time) & (around < self.vocabulary.size)
        weight = _TIME_BLUR * inside
        weight = weight / weight.sum(1, keepdim=True)
        picked = log_p[is_time].gather(
            1, around.clamp(self.vocabulary.first_time, self.vocabulary.size - 1)
        )
        total = loss[~is_time].sum() - (picked * weight).sum()
        return total / len(target), {"token": (total / len(target)).item(), "accuracy": accuracy}


def _mass_near(
    attention: torch.Tensor, near: torch.Tensor, has_target: torch.Tensor
) -> torch.Tensor:
    """Return a loss that makes a head attend anywhere in the span; attention is [B, L, P]."""
    return (-((attention * near).sum(-1) + _TINY).log() * has_target).sum() / has_target.sum()


def _frame_loss(logits: torch.Tensor, words: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    each = F.cross_entropy(logits.flatten(0, 1), words.flatten(), reduction="none")
    return (each * weight.flatten()).sum() / weight.sum()

"""The child process of an ablation, with a toy engine that dies on one segment.

``python toy_child.py DEADLY JOB``. Media are really decoded; no model is opened.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from storage.errors import ItemFault
from tasks.ablation.child import main
from tasks.prompting.prediction import Prediction, TokenCounts


class ToyEngine:
    def __init__(self, deadly: str) -> None:
        self._deadly = deadly

    def predict(self, questions: Any) -> Any:
        """Predict in pairs: more than one segment is in flight when it dies."""
        waiting = []
        for key, question in questions:
            waiting.append((key, question))
            if len(waiting) == 2:
                yield from map(self._answer, waiting)
                waiting = []
        yield from map(self._answer, waiting)

    def _answer(self, waiting: Any) -> Any:
        key, question = waiting
        if self._deadly in key.segment_id:
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(question, ItemFault):
            return key, question
        num_audio = 0 if question.audio is None else 13
        token_counts = TokenCounts(
            num_text_tokens=9, num_video_tokens=4, num_audio_tokens=num_audio
        )
        return key, Prediction(logp_yes=-1.0, logp_no=-0.5, token_counts=token_counts)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[2]), lambda *_: (ToyEngine(sys.argv[1]), None)))  # type: ignore

"""Forget a participant: what a store holds of them is found, removed, and searched for again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.context.open import open_existing_store
from flows.context.request import STAGES
from flows.server.history_search import count_traces
from storage.datasets.erased import digest_of_participant, read_erased, take_up_again
from storage.datasets.open import read_dataset
from storage.erasure.erase import erase_participant, find_traces, is_unfinished, variant_paths
from storage.erasure.scan import Scan, scan_store
from storage.erasure.traces import Traces
from storage.errors import ConfigError, DataError, StoreError
from storage.fingerprint import digest_of
from storage.records import VideoRecord
from storage.results import ModelRecord, TrainedOnRecord
from storage.store.cache import remove_cache
from storage.store.part import read_parts, read_rows
from storage.store.store import Store

_MODELS = "finetune/"
_OUT_OF_REACH = (
    "the data folder, which is never changed: remove the videos and their annotation there",
    "exports, reports and copies made before, other stores, and backups",
    "waver-parity-*.log in the temporary folder, which `waver parity` keeps where it fails without "
    "--data, and kept with it before",
    "what training and inference keep outside a store: resources.finetune.checkpoint_folder and "
    "feature_folder, and for a remote store ~/.cache/waver on each machine that works on it",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model in the store; ``sides`` are those on which the participant's samples stood.

    Without ``sides`` nobody noted whom the model was trained on.
    """

    folder: str
    sides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a store holds of a participant, before anything is removed.

    ``fault`` says why the data set could not be read: then there is the store's own word alone.
    """

    store: Store
    traces: Traces
    models: tuple[TrainedModel, ...]
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseReport:
    """What was removed, by stage, and what a search of the whole store found after."""

    removed: Mapping[str, int]
    scan: Scan
    models: tuple[TrainedModel, ...]
    history: Path
    num_in_history: int | None
    fault: str | None = None

    def lines(self) -> list[str]:
        """Say it, a line each."""
        order = [*STAGES, *sorted(set(self.removed) - set(STAGES))]
        counts = ", ".join(f"{s} {self.removed[s]}" for s in order if s in self.removed)
        unread = [f"the data set was not asked: {self.fault}"] if self.fault else []
        return [*unread, f"removed: {counts or 'nothing was left'}", *_scan_lines(self.scan),
                *_model_lines(self.models), "out of reach:", f"  {self._history_line()}",
                *(f"  {line}" for line in _OUT_OF_REACH)]  # fmt: skip

    def _history_line(self) -> str:
        if self.num_in_history is None:
            return "Prefect's history, where a server elsewhere keeps it: its artifacts name videos"
        if not self.num_in_history:
            return f"Prefect's history in {str(self.history)!r} names them nowhere"
        return (
            f"Prefect's history in {str(self.history)!r}, of which {self.num_in_history} rows name "
            "them: remove that folder when no run is going on"
        )


def find_participant(store_url: str, participant_id: str, data: str | None) -> Found:
    """Look for a participant in a store, and in a data set where one is named; changes nothing.

    Raises:
        ConfigError: no participant is named.
        DataError: there is no such store, or it and the data set know no such participant.
    """
    participant_id = participant_id.strip()
    if not participant_id:
        raise ConfigError("No participant is named: give the id that the data set knows.")
    store = open_existing_store(store_url)
    own: set[str] = set()
    others: set[str] = set()
    videos, fault = _videos_of(data)
    for video in videos:
        if video.participant_id is not None:
            names = own if video.participant_id == participant_id else others
            names |= {video.video_id, video.path}
    traces = find_traces(store, participant_id, own, others)
    models = _models_trained_on(store, participant_id)
    known = traces.videos or any(model.sides for model in models)
    if not known and participant_id not in read_erased(store):
        where = f"the store {store_url!r}" + (f" or the data set {data!r}" if data else "")
        raise DataError(
            f"No such participant is known to {where}, and nothing was changed: check the id, and "
            "name the data set with --data where no manifest was made yet.",
            details=(participant_id,),
        )
    return Found(store=store, traces=traces, models=models, fault=fault)


def _videos_of(data: str | None) -> tuple[tuple[VideoRecord, ...], str | None]:
    """Read a data set's videos, whatever mistakes are made elsewhere in it.

    Where its annotation cannot be read at all, there are none, and the fault is told.
    """
    if data is None:
        return (), None
    try:
        return read_dataset(data).videos, None
    except DataError as error:
        if not Path(data).is_dir():
            raise
        return (), str(error)


def erase_found(found: Found, history: Path) -> EraseReport:
    """Remove what was found, leave the participant out from now on, and search what is left.

    Raises:
        StoreError: another process is writing to the store.
    """
    removed = erase_participant(found.store, found.traces)
    return EraseReport(
        removed=removed,
        scan=scan_store(found.store, found.traces),
        models=found.models,
        history=history,
        num_in_history=count_traces(history, found.traces),
        fault=found.fault,
    )


def undo_erasure(store_url: str, participant_id: str) -> None:
    """Let the next run use a forgotten participant's videos again.

    Raises:
        DataError: the store has not forgotten this participant.
        StoreError: it was stopped while it forgot them.
    """
    store = open_existing_store(store_url)
    if is_unfinished(store, participant_id.strip()):
        raise StoreError(
            f"Forgetting this participant in the store {store_url!r} was begun and did not end: "
            "run `waver erase` again to its end, and undo it after.",
            details=(participant_id,),
        )
    if not take_up_again(store, participant_id.strip()):
        raise DataError(
            f"The store {store_url!r} leaves no such participant out: nothing was changed.",
            details=(participant_id,),
        )
    remove_cache(store)  # it was kept without their annotation


def _models_trained_on(store: Store, participant_id: str) -> tuple[TrainedModel, ...]:
    salted = digest_of_participant(read_erased(store).salt, participant_id)
    expected = (salted, digest_of(participant_id))  # models of version 2 were noted without salt
    models = []
    for variant_path in variant_paths(store):
        for part in read_parts(store, variant_path) if variant_path.startswith(_MODELS) else ():
            seen = read_rows(store, variant_path, part, TrainedOnRecord)
            sides = tuple(row.split for row in seen if row.participant_digest in expected)
            for record in read_rows(store, variant_path, part, ModelRecord):
                if sides or not seen:
                    folder = store.full_path(str(Path(record.model_path).parent))
                    models.append(TrainedModel(folder=folder, sides=sides))
    return tuple(models)


def _scan_lines(scan: Scan) -> list[str]:
    searched = f"{scan.num_names} names, {scan.num_tables} tables and {scan.num_texts} texts"
    if scan.is_clean:
        return [f"searched {searched} of the store: nothing is left"]
    return [
        f"searched {searched} of the store: remove by hand what is left",
        *(f"  still names them: {path}" for path in scan.found),
        *(f"  cannot be read: {path}" for path in scan.unread),
    ]


def _model_lines(models: tuple[TrainedModel, ...]) -> list[str]:
    if not models:
        return ["no model in the store was trained on them"]
    message = [
        f"  {model.folder} ({' and '.join(model.sides) or 'nobody noted on whom'})"
        for model in models
    ]
    return [
        "models trained on them, kept until you remove their folders (the next run trains anew, "
        "without them):",
        *message,
    ]

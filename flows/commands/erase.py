"""Erase a participant from a store: find their results, remove them, search for what is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.context.context import open_existing_store
from flows.context.stage_names import STAGES
from flows.server.history_search import count_traces
from storage.datasets.erased import digests_of_participant, read_erased, unmark_erased
from storage.datasets.open import read_dataset
from storage.erasure.erase import erase_participant, find_traces, is_unfinished, variant_paths
from storage.erasure.scan import Scan, scan_store
from storage.erasure.traces import Traces
from storage.errors import ConfigError, DataError, StoreError
from storage.fingerprint import digest_of
from storage.identity import name_key, participant_key, quote_spelling
from storage.records import VideoRecord
from storage.results import ModelRecord, TrainedOnRecord
from storage.store.cache import remove_cache
from storage.store.part import read_parts, read_rows
from storage.store.store import Store

_MODELS = "finetune/"
_OUT_OF_REACH = (
    "the data folder, which is never changed: remove their videos and annotation there",
    "earlier exports, reports and copies, other stores, and backups",
    "waver-parity-*.log in the temporary folder, kept when `waver parity` fails without --data",
    "files that training and inference keep outside the store: "
    "resources.finetune.checkpoint_folder and feature_folder, and for a remote store "
    "~/.cache/waver on every node that worked on it",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model in the store and the splits in which it saw the participant's samples.

    ``splits`` is empty if the store has no record of the participants the model was trained on.
    """

    folder: str
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundParticipant:
    """Traces of a participant in a store, before anything is removed.

    ``data_error`` is why the data set could not be read; the traces are then from the store alone.
    """

    store: Store
    traces: Traces
    models: tuple[TrainedModel, ...]
    data_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseReport:
    """Number of removed results by stage, and what a search of the whole store then found."""

    spellings: tuple[str, ...]
    removed: Mapping[str, int]
    scan: Scan
    models: tuple[TrainedModel, ...]
    history: Path
    num_in_history: int | None
    data_error: str | None = None

    def lines(self) -> list[str]:
        """Format the report for the terminal."""
        order = [*STAGES, *sorted(set(self.removed) - set(STAGES))]
        counts = ", ".join(f"{s} {self.removed[s]}" for s in order if s in self.removed)
        unread = [f"the data set was not read: {self.data_error}"] if self.data_error else []
        return [
            *unread,
            *_spelling_lines(self.spellings),
            f"removed: {counts or 'nothing'}",
            *_scan_lines(self.scan),
            *_model_lines(self.models),
            "out of reach:",
            f"  {self._history_line()}",
            *(f"  {line}" for line in _OUT_OF_REACH),
        ]

    def _history_line(self) -> str:
        if self.num_in_history is None:
            return "the history of a Prefect server elsewhere: its artifacts name videos"
        if not self.num_in_history:
            return f"Prefect's history in {str(self.history)!r}: no row names them"
        return (
            f"Prefect's history in {str(self.history)!r}: {self.num_in_history} rows name them; "
            "remove that folder while no run is active"
        )


def find_participant(store_url: str, participant_id: str, data: str | None) -> FoundParticipant:
    """Find a participant's traces in a store, without changing it; ``data`` names more videos.

    Raises:
        ConfigError: the participant's id is empty.
        DataError: the store does not exist, or neither it nor the data set knows the participant.
    """
    participant_id = participant_id.strip()
    if not participant_key(participant_id):
        raise ConfigError(
            f"The participant's id {participant_id!r} is empty: use the id in the data set."
        )
    store = open_existing_store(store_url)
    own: set[str] = set()
    others: set[str] = set()
    spellings: set[str] = set()
    videos, data_error = _videos_of(data)
    for video in videos:
        if video.participant_id is None:
            continue
        is_own = participant_key(video.participant_id) == participant_key(participant_id)
        names = own if is_own else others
        names |= {video.video_id, video.path}
        spellings |= {video.participant_id} if is_own else set()
    traces = find_traces(store, participant_id, own, others, spellings)
    models = _models_trained_on(store, traces.spellings)
    known = traces.videos or any(model.splits for model in models)
    if not known and participant_id not in read_erased(store):
        searched = f"the store {store_url!r}" + (f" or the data set {data!r}" if data else "")
        raise DataError(
            f"Unknown participant in {searched}, so nothing was changed: check the id, and pass "
            "--data if the store has no manifest yet.",
            details=(participant_id,),
        )
    return FoundParticipant(store=store, traces=traces, models=models, data_error=data_error)


def _videos_of(data: str | None) -> tuple[tuple[VideoRecord, ...], str | None]:
    """Read a data set's videos, or return none and the error if its annotation cannot be read."""
    if data is None:
        return (), None
    try:
        return read_dataset(data).videos, None
    except DataError as error:
        if not Path(data).is_dir():
            raise
        return (), str(error)


def erase_found(found: FoundParticipant, history: Path) -> EraseReport:
    """Remove a participant's results, exclude them from future runs, and search for what is left.

    Raises:
        StoreError: another process is writing to the store.
    """
    removed = erase_participant(found.store, found.traces)
    return EraseReport(
        spellings=found.traces.spellings,
        removed=removed,
        scan=scan_store(found.store, found.traces),
        models=found.models,
        history=history,
        num_in_history=count_traces(history, found.traces),
        data_error=found.data_error,
    )


def undo_erasure(store_url: str, participant_id: str) -> None:
    """Let future runs use an erased participant's videos again.

    Raises:
        DataError: the participant is not erased from this store.
        StoreError: an earlier erasure of the participant was interrupted.
    """
    store = open_existing_store(store_url)
    if is_unfinished(store, participant_id.strip()):
        raise StoreError(
            f"Erasing this participant from the store {store_url!r} was interrupted: finish it by "
            "running `waver erase` again, then undo it.",
            details=(participant_id,),
        )
    if not unmark_erased(store, participant_id.strip()):
        raise DataError(
            f"This participant is not erased from the store {store_url!r}: nothing was changed.",
            details=(participant_id,),
        )
    remove_cache(store)  # the cache lacks their annotation


def _models_trained_on(store: Store, spellings: Sequence[str]) -> tuple[TrainedModel, ...]:
    salt = read_erased(store).salt
    digests = {digest_of(who) for who in spellings}  # of models of version 2, without salt
    digests.update(*(digests_of_participant(salt, who) for who in spellings))
    models = []
    for variant_path in variant_paths(store):
        for part in read_parts(store, variant_path) if variant_path.startswith(_MODELS) else ():
            trained_on = read_rows(store, variant_path, part, TrainedOnRecord)
            splits = tuple(row.split for row in trained_on if row.participant_digest in digests)
            for record in read_rows(store, variant_path, part, ModelRecord):
                if splits or not trained_on:
                    folder = store.location(str(Path(record.model_path).parent))
                    models.append(TrainedModel(folder=folder, splits=splits))
    return tuple(models)


def check_one_participant(found: FoundParticipant) -> None:
    """Raise if the ids that would be erased may be of several participants.

    Raises:
        ConfigError: they differ in leading zeros, which a spreadsheet drops.
    """
    spellings = found.traces.spellings
    if len({name_key(who) for who in spellings}) > 1:
        raise ConfigError(
            f"{len(spellings)} ids differ in leading zeros only and would be erased together: pass "
            "--yes if they are one participant's, else rename one in the data set first.",
            details=tuple(map(quote_spelling, spellings)),
        )


def _spelling_lines(spellings: Sequence[str]) -> list[str]:
    if len(spellings) == 1:
        return []
    return [f"ids that were erased as one: {', '.join(map(quote_spelling, spellings))}"]


def _scan_lines(scan: Scan) -> list[str]:
    searched = (
        f"searched {scan.num_names} names, {scan.num_tables} tables and {scan.num_texts} texts of "
        "the store"
    )
    if scan.is_clean:
        return [f"{searched}: nothing is left"]
    return [
        f"{searched}: remove the rest by hand",
        *(f"  still names them: {path}" for path in scan.found),
        *(f"  cannot be read: {path}" for path in scan.unread),
    ]


def _model_lines(models: tuple[TrainedModel, ...]) -> list[str]:
    if not models:
        return ["no model in the store was trained on them"]
    return [
        "models trained on them are kept; remove their folders, and the next run trains without "
        "them:",
        *(
            f"  {model.folder} ({' and '.join(model.splits) or 'participants not recorded'})"
            for model in models
        ),
    ]

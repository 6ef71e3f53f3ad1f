"""The request of a run: the one parameter of every flow."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.json_schema import SkipJsonSchema

from flows.context.overrides import SettingsOverrides
from flows.context.stage_names import STAGES, StageName

_OPENED = ("data", "videos", "profile", "store", "settings", "verify")
# Neither empty nor blank: an empty path would mean the current folder.
Name = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


def _require_data(schema: dict[str, Any]) -> None:
    """Show the data folder as required: a flow run that is created from JSON has no `videos`."""
    del schema["properties"]["data"]["default"]
    schema["required"] = ["data"]


class RunRequest(BaseModel):
    """Data, settings and stages of one run; Prefect keeps it as the parameter of its flow runs."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        field_title_generator=lambda name, _: name,
        json_schema_extra=_require_data,
    )

    data: Name = ""
    """Folder of the data set: BAH layout, or videos with or without a table of labels."""
    videos: SkipJsonSchema[tuple[str, ...]] = Field(default=(), exclude=True)
    """Absolute paths of single videos, instead of a data folder. A path may name a person, so it is
    not stored with the parameters of a flow run."""
    profile: Name = "default"
    """Name of a profile that comes with Waver, or a .toml file."""
    store: Name = ".waver/store"
    """Folder or fsspec URL that holds all results."""
    model: Name | tuple[Name, ...] | None = None
    """Infer with this model (folder or hub name) instead of training one; several predict together,
    as an ensemble."""
    settings: SettingsOverrides = SettingsOverrides()
    """Settings that override the profile's."""
    only: tuple[StageName, ...] = ()
    """Run just these stages; what they need must be in the store."""
    start_at: StageName | None = None
    """Run this stage and those after it."""
    force: tuple[StageName, ...] = ()
    """Compute these stages' results again even if they are cached."""
    continues: SkipJsonSchema[str | None] = None
    """Id of the run that this one continues (`waver retry`): what that one forced is not computed
    yet again."""
    verify: bool = False
    """Read all videos and stored files again, also those that have not changed since they were last
    read."""

    partition: str | None = None
    """Run the one stage that `only` names on partition K of N of its items, as K/N: for several
    nodes that know nothing of each other."""

    @model_validator(mode="after")
    def _names_videos(self) -> "RunRequest":
        if not (self.data or self.videos):
            raise ValueError("data is missing: name the folder of the data set")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """The models to infer with; empty if one is to be trained."""
        return (self.model,) if isinstance(self.model, str) else self.model or ()

    def stages(self) -> tuple[StageName, ...]:
        """List the stages that this request runs, in order."""
        first = STAGES.index(self.start_at) if self.start_at else 0
        return tuple(s for s in STAGES[first:] if not self.only or s in self.only)

    def opens_like(self, other: "RunRequest") -> bool:
        """Return whether another request has the same data, settings and store."""
        return all(getattr(self, name) == getattr(other, name) for name in _OPENED)

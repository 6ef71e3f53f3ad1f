"""Which stages a request runs."""

import pytest
from prefect.utilities.schema_tools.validation import ValidationError as Rejected
from prefect.utilities.schema_tools.validation import validate
from pydantic import ValidationError

from flows.context.request import RunRequest
from flows.context.stage_names import STAGES


def test_all_stages_run_in_order_by_default() -> None:
    assert RunRequest(data="d").stages() == STAGES


def test_from_runs_that_stage_and_the_later_ones() -> None:
    assert RunRequest(data="d", start_at="infer").stages() == ("infer", "aggregate")


def test_only_runs_the_named_stages_in_pipeline_order() -> None:
    request = RunRequest(data="d", only=("aggregate", "segment"))
    assert request.stages() == ("segment", "aggregate")


@pytest.mark.parametrize(
    ("named", "models"), [(None, ()), ("a", ("a",)), (["a"], ("a",)), (["a", "b"], ("a", "b"))]
)
def test_one_model_is_named_as_a_text_or_several_in_a_list(named, models) -> None:
    request = RunRequest.model_validate({"data": "d", "model": named})
    assert request.models == models
    assert RunRequest.model_validate_json(request.model_dump_json()).models == models
    assert hash(request) == hash(request.model_copy())


def test_a_deployment_takes_one_model_as_a_text_still() -> None:
    described = RunRequest.model_json_schema()["properties"]["model"]["anyOf"]
    assert {kind["type"] for kind in described} == {"string", "array", "null"}


def test_an_unknown_stage_is_rejected() -> None:
    with pytest.raises(ValidationError):
        RunRequest.model_validate({"data": "d", "only": ["segmnt"]})


def test_paths_of_single_videos_may_name_people_and_are_no_stored_parameter() -> None:
    request = RunRequest(videos=("/data/Anna Example.mp4",))
    assert "Anna" not in request.model_dump_json()
    assert request.model_copy(update={"only": ("segment",)}).videos == request.videos


@pytest.mark.parametrize("name", ["data", "store", "profile", "model"])
@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_path_is_rejected_and_not_the_current_folder(name: str, value: str) -> None:
    request = {"data": "d", "store": "s", name: value}
    with pytest.raises(ValidationError, match=name):
        RunRequest.model_validate(request)
    with pytest.raises(Rejected, match=name):  # as Prefect's server does
        validate(request, RunRequest.model_json_schema(), raise_on_error=True)


def test_a_request_without_data_is_rejected() -> None:
    with pytest.raises(ValidationError, match="data is missing: name the folder of the data set"):
        RunRequest.model_validate({"store": "s"})
    with pytest.raises(Rejected, match="data"):
        validate({"store": "s"}, RunRequest.model_json_schema(), raise_on_error=True)

from pathlib import Path

import pytest

from flows.request import RunRequest
from flows.run import open_run
from storage.errors import ConfigError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"content")
    return folder


@pytest.mark.parametrize("store", ["", "store", "deeper/store"])
@pytest.mark.parametrize("protocol", ["", "file://"])
def test_a_store_among_the_videos_is_refused_and_not_made(
    data: Path, store: str, protocol: str
) -> None:
    request = RunRequest(data=str(data), store=f"{protocol}{data / store}")
    with pytest.raises(ConfigError, match=r"lies inside the data folder .*--store"):
        open_run(request)
    assert [path.name for path in data.iterdir()] == ["a.mp4"]


def test_a_store_behind_a_link_into_the_data_is_refused_too(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(ConfigError, match="lies inside the data folder"):
        open_run(RunRequest(data=str(data), store=str(tmp_path / "link" / "store")))


@pytest.mark.parametrize("store", ["my data/.waver/store", "my data 2", "store"])
def test_a_store_where_no_video_is_looked_for_is_welcome(
    data: Path, tmp_path: Path, store: str
) -> None:
    for _ in range(2):
        run = open_run(RunRequest(data=str(data), store=str(tmp_path / store)))
        run.store.write_bytes("segment/x/files/0000.mp4", b"segment")
        assert list(run.paths) == ["a.mp4"]

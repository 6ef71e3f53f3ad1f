"""`waver deploy` on a real server: schedules that fire, workers, retries and notifications.

`flows.operations.deploy` and `flows.operations.schedules`.
"""

import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.context.stage_names import STAGES
from flows.operations import notifications
from flows.server.connection import post
from flows.server.environment import worker_environment
from flows.server.local_server import prefect_server
from flows.server.worker import stop_group
from tests.browser import read_page

pytestmark = [pytest.mark.operations, pytest.mark.timeout(900)]

HOME = Path(__file__).parents[2]
ENTRIES = yaml.safe_load((HOME / "infra" / "prefect.yaml").read_text())
NAMES = {"waver/nightly", "waver/retrain", *(f"{stage}/{stage}" for stage in STAGES)}
SOON = timedelta(seconds=4)
_WAIT_SECONDS = 300


class Api:
    """The server's API, and what it holds."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=60)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return post(self.client, path, body)

    def deployments(self) -> dict[str, dict[str, Any]]:
        flows = {row["id"]: row["name"] for row in self.post("/flows/filter", {})}
        rows = self.post("/deployments/filter", {})
        return {f"{flows[row['flow_id']]}/{row['name']}": row for row in rows}

    def run(self, deployment: str, request: dict[str, Any]) -> str:
        deployment_id = self.deployments()[deployment]["id"]
        body = {"parameters": {"request": request}}
        return str(self.post(f"/deployments/{deployment_id}/create_flow_run", body)["id"])

    def wait_for(self, run_id: str, state: str) -> dict[str, Any]:
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            row: dict[str, Any] = self.client.get(f"/flow_runs/{run_id}").json()
            if row["state_type"] == state:
                return row
            assert time.monotonic() < deadline, row["state"]
            time.sleep(0.2)

    def wait_for_message(self, run_id: str, part: str) -> None:
        """Wait until the log of a run, or of a flow in it, has a line with this text."""
        of_run = {"flow_runs": {"parent_flow_run_id": {"any_": [run_id]}}}
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            ids = [run_id, *(row["id"] for row in self.post("/flow_runs/filter", of_run))]
            rows = self.post("/logs/filter", {"logs": {"flow_run_id": {"any_": ids}}})
            if any(part in row["message"] for row in rows):
                return
            assert time.monotonic() < deadline, [row["message"] for row in rows]
            time.sleep(0.2)

    def automations(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.post("/automations/filter", {})}


class Received:
    """What a webhook and a mail server on this computer have received."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.mails: list[str] = []

    def wait_for(self, received: list[str], *parts: str) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not any(all(part in text for part in parts) for text in received):
            assert time.monotonic() < deadline, received
            time.sleep(0.2)


@contextmanager
def listening(received: Received) -> Iterator[tuple[str, str]]:
    """Yield the URLs of a webhook and of a mail server."""

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.texts.append(json.loads(body)["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Mail(socketserver.StreamRequestHandler):
        """As much of SMTP as a client needs to send one mail."""

        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            lines: list[str] | None = None
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                if lines is None:
                    word = line[:4].upper()
                    lines = [] if word == "DATA" else None
                    self.wfile.write({"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}.get(
                        word, b"250 ok\r\n"
                    ))  # fmt: skip
                elif line == ".":
                    received.mails.append("\n".join(lines))
                    lines = None
                    self.wfile.write(b"250 ok\r\n")
                else:
                    lines.append(line)

    servers = (
        ThreadingHTTPServer(("127.0.0.1", 0), Webhook),
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail),
    )
    for each in servers:
        each.daemon_threads = True
        threading.Thread(target=each.serve_forever, daemon=True).start()
    ports = [each.server_address[1] for each in servers]
    try:
        yield f"http://127.0.0.1:{ports[0]}/hook", f"smtp://127.0.0.1:{ports[1]}"
    finally:
        for each in servers:
            each.shutdown()
            each.server_close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, video: Callable[[str], Path]) -> Path:
    folder = tmp_path_factory.mktemp("deployed") / "data"
    folder.mkdir()
    shutil.copy(video("very-short.mp4"), folder)
    return folder


@pytest.fixture(scope="module")
def received() -> Received:
    return Received()


@pytest.fixture(scope="module")
def api(
    new_history: Callable[[pytest.MonkeyPatch], Path], data: Path, received: Received
) -> Iterator[Api]:
    """A server on which everything was deployed by relative paths, and a worker of each pool."""
    with pytest.MonkeyPatch.context() as patch, listening(received) as (webhook, smtp):
        new_history(patch)
        patch.delenv("PREFECT_LOGGING_EXTRA_LOGGERS", raising=False)
        patch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "2")
        patch.setenv("WAVER_SMTP", smtp)
        patch.chdir(data.parent)
        with prefect_server() as api_url, temporary_settings({PREFECT_API_URL: api_url}):
            patch.setenv("PREFECT_API_URL", api_url)
            with get_client(sync_client=True) as client:
                off = notifications.configure(client, [])
            assert [row.enabled for row in off] == [False] * 4, "until an address is configured"
            deploy(
                "--data", "data", "--store", "store", "--profile", "sandbox", "--webhook", webhook,
                "--email", "ops@example.org", "--nightly", "15 3 * * *",
                "--timezone", "Europe/Paris",
            )  # fmt: skip
            with worker("waver-cpu"), worker("waver-gpu"):
                api = Api(api_url)
                with api.client:
                    yield api


def deploy(*options: str) -> None:
    command = [sys.executable, "-m", "flows.cli.main", "deploy", *options]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@contextmanager
def worker(pool: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.server.worker", pool],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env=worker_environment(os.environ["PREFECT_API_URL"]),
    )
    with process:
        try:
            yield
        finally:
            stop_group(process.pid)


def test_every_entry_is_deployed_with_absolute_paths_and_one_run_at_a_time(
    api: Api, data: Path
) -> None:
    deployments = api.deployments()
    assert set(deployments) == NAMES, "predict-new needs a model"
    assert {f"{row['name']}" for row in ENTRIES["deployments"]} == {
        "predict-new", *(name.partition("/")[2] for name in NAMES)
    }  # fmt: skip
    for name, row in deployments.items():
        (step,) = row["pull_steps"]
        assert list(step.values()) == [{"directory": str(HOME)}]
        request = row["parameters"]["request"]
        assert request["data"] == str(data)
        assert request["store"] == str(data.parent / "store")
        assert request["profile"] == "sandbox"
        assert row["global_concurrency_limit"]["limit"] == 1
        on_gpu = name.startswith("waver/") or name.partition("/")[0] in ("finetune", "infer")
        assert row["work_pool_name"] == ("waver-gpu" if on_gpu else "waver-cpu")
        assert row["job_variables"]["env"]["PREFECT_LOGGING_EXTRA_LOGGERS"] == "waver"
    assert deployments["waver/retrain"]["parameters"]["request"]["force"] == ["finetune"]


def test_a_schedule_fires_and_its_run_completes_and_notifies(
    api: Api, data: Path, received: Received
) -> None:
    segment = api.deployments()["segment/segment"]
    schedule = {"interval": 86_400, "anchor_date": (datetime.now(UTC) + SOON).isoformat()}
    api.post(f"/deployments/{segment['id']}/schedules", [{"schedule": schedule, "active": True}])  # type: ignore[arg-type]
    first = {"flow_runs": {"deployment_id": {"any_": [segment["id"]]}},
             "sort": "EXPECTED_START_TIME_ASC", "limit": 1}  # fmt: skip
    deadline = time.monotonic() + _WAIT_SECONDS
    while not (runs := api.post("/flow_runs/filter", first)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert runs[0]["auto_scheduled"]
    api.wait_for(runs[0]["id"], "COMPLETED")
    api.wait_for_message(runs[0]["id"], "1 computed")
    received.wait_for(received.texts, "Waver: segment Completed")
    assert list((data.parent / "store" / "segment").rglob("*.parquet"))


def test_a_run_fails_notifies_is_retried_as_by_the_ui_and_computes_only_what_is_missing(
    api: Api, data: Path, received: Received, tmp_path: Path
) -> None:
    own = tmp_path / "data"
    shutil.copytree(data, own)
    request = {"data": str(own), "store": str(data.parent / "store"), "only": ["segment"]}
    shutil.copy(own / "very-short.mp4", own / "second.mp4")
    with (own / "second.mp4").open("ab") as file:
        file.write(b"other content")
    (own / "labels.csv").write_text("no table of labels\n")
    run_id = api.run("waver/nightly", request)
    failed = api.wait_for(run_id, "FAILED")
    assert "labels.csv" in failed["state"]["message"]
    page = f"{api.url.removesuffix('/api')}/runs/flow-run/{run_id}"
    received.wait_for(received.texts, "Waver: nightly Failed", "labels.csv", page)
    received.wait_for(received.mails, "Waver: nightly Failed")
    (own / "labels.csv").unlink()
    # Until the process of the first attempt has ended, Prefect would take a retry for a crash.
    api.wait_for_message(run_id, "exited with status code")
    state = {"type": "SCHEDULED", "name": "AwaitingRetry"}  # what the UI's Retry button sends
    api.post(f"/flow_runs/{run_id}/set_state", {"state": state, "force": True})
    retried = api.wait_for(run_id, "COMPLETED")
    assert retried["run_count"] == 2
    api.wait_for_message(run_id, "1 cached, 1 computed")
    received.wait_for(received.texts, "Waver: nightly Completed")
    received.wait_for(received.mails, "Waver: nightly Completed", "ops@example.org")


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"segment": {"crff": 3}}, "crff"), ({"segment": {"crf": 99}}, "segment.crf")],
)
def test_a_wrong_setting_in_the_form_is_rejected_by_the_server_with_its_name(
    api: Api, settings: dict[str, Any], name: str
) -> None:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        api.run("segment/segment", {"data": "/data", "settings": settings})
    assert name in caught.value.response.text


def test_the_form_of_a_deployment_shows_settings_with_bounds_and_descriptions(api: Api) -> None:
    deployment = api.deployments()["segment/segment"]["id"]
    url = f"{api.url.removesuffix('/api')}/deployments/deployment/{deployment}/run"
    shown = read_page(url, "max_segment_ms", "Constant rate factor of H.264", "at most 51")
    assert "Absolute paths of single videos" not in shown, "they are never stored"


def test_deploying_again_keeps_what_was_changed_in_the_ui_unless_it_is_given(
    api: Api, data: Path
) -> None:
    nightly = api.deployments()["waver/nightly"]
    (schedule,) = nightly["schedules"]
    assert schedule["schedule"] == {
        "cron": "15 3 * * *",
        "timezone": "Europe/Paris",
        "day_or": True,
    }
    api.client.patch(
        f"/deployments/{nightly['id']}/schedules/{schedule['id']}", json={"active": False}
    ).raise_for_status()
    note = api.automations()["waver: completion by email"]
    api.client.patch(f"/automations/{note['id']}", json={"enabled": False}).raise_for_status()
    model = HOME / "infra" / "sandbox" / "models" / "omni-base"
    deploy(
        "--data", str(data), "--store", "s3://bucket/store", "--model", str(model),
        "--schedule", "predict-new=0 4 * * *", "--schedule", "segment=off",
    )  # fmt: skip
    after = api.deployments()
    assert {row["parameters"]["request"]["profile"] for row in after.values()} == {"sandbox"}
    (kept,) = after["waver/nightly"]["schedules"]
    assert (kept["schedule"], kept["active"]) == (schedule["schedule"], False)
    assert after["segment/segment"]["schedules"] == []
    predict = after["waver/predict-new"]
    assert predict["schedules"][0]["schedule"]["cron"] == "0 4 * * *"
    assert predict["parameters"]["request"]["model"] == str(model)
    assert after["waver/nightly"]["parameters"]["request"]["store"] == "s3://bucket/store"
    notes = {name: row for name, row in api.automations().items() if " by " in name}
    enabled = {name for name, row in notes.items() if row["enabled"]}
    assert enabled == {
        "waver: failure by webhook", "waver: failure by email", "waver: completion by webhook",
    }  # fmt: skip
    watched = api.automations()["waver: failure by email"]["trigger"]["match_related"]
    assert f"prefect.deployment.{predict['id']}" in watched["prefect.resource.id"]

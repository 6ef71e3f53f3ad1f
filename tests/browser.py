"""Pages in headless Chromium, driven by its command line.

Each call is a browser of its own with an empty profile. Prefect's UI fetches what it shows, so a
page is opened again until it contains the expected text.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
)  # fmt: skip
_SIZE = (1400, 3000)  # lists show only the rows that fit, so the window is high
_FETCH_SECONDS = 10  # of virtual time, in which timers are fast and requests are waited for
_OPEN_SECONDS = 90  # of real time, on a busy computer
_PAUSE_SECONDS = 0.5
_NOT_SHOWN = {"script", "style", "title", "noscript", "template"}


def read_page(
    url: str, *until: str, size: tuple[int, int] = _SIZE, seconds: float = _OPEN_SECONDS
) -> str:
    """Return the text that a page shows, one line per element, once it contains all of ``until``.

    Fails the test if it does not within ``seconds``; skips it where there is no Chromium.
    """
    deadline = time.monotonic() + seconds
    while True:
        text = text_of(_chromium(url, ["--dump-dom"], size))
        missing = [each for each in until if each not in text]
        if not missing:
            return text
        if time.monotonic() > deadline:
            pytest.fail(f"{url} shows no {missing}, but:\n{text or '(nothing)'}", pytrace=False)
        time.sleep(_PAUSE_SECONDS)


def save_screenshot(url: str, path: Path, size: tuple[int, int] = (1400, 1000)) -> None:
    """Write a page as a PNG image of ``size`` pixels; call `read_page` first to wait for text."""
    _chromium(url, [f"--screenshot={path.absolute()}"], size)
    assert path.is_file(), f"{url} was not written to {path}"


def text_of(html: str) -> str:
    """Return the text of a page without scripts, one line per element."""
    reader = _TextReader()
    reader.feed(html)
    return "\n".join(reader.lines)


class _TextReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag in _NOT_SHOWN:
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag == self._hidden[-1]:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not self._hidden and (line := " ".join(data.split())):
            self.lines.append(line)


def _chromium(url: str, options: Sequence[str], size: tuple[int, int]) -> str:
    """Run Chromium once on a page and return its standard output."""
    with TemporaryDirectory() as profile:
        command = [
            _program(), *_OPTIONS, f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}", f"--virtual-time-budget={_FETCH_SECONDS}000",
            *options, url,
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            text=True, start_new_session=True,
        )  # fmt: skip
        try:
            return process.communicate(timeout=_OPEN_SECONDS)[0]
        except subprocess.TimeoutExpired:
            return ""  # the caller opens the page again
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _program() -> str:
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip("Chromium is not installed: run `infra/test_programs.sh` as root")

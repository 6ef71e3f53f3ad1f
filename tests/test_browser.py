from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.browser import read_page, save_screenshot, text_of

PAGE = """<html><head><title>not shown</title></head><body><p id="first">waiting</p><script>
fetch("answer.txt").then(r => r.text()).then(text => setTimeout(
  () => {document.getElementById("first").innerHTML = "<b>fetched:</b> " + text}, 3000));
</script></body></html>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text(PAGE)
    (folder / "answer.txt").write_text("four of five")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_page_is_read_after_what_it_fetches(site: str) -> None:
    assert read_page(site, "four of five") == "fetched:\nfour of five"


def test_a_page_without_the_expected_text_fails_and_shows_what_it_has(site: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"no \['six'\], but:\nfetched:"):
        read_page(site, "six", seconds=0)


def test_a_screenshot_has_the_size_of_the_window(site: str, tmp_path: Path) -> None:
    save_screenshot(site, tmp_path / "page.png", (640, 480))
    header = (tmp_path / "page.png").read_bytes()[:24]
    assert (header[16:20], header[20:24]) == ((640).to_bytes(4), (480).to_bytes(4))


def test_a_missing_browser_skips_the_test_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: str
) -> None:
    monkeypatch.setenv("PATH", "")
    for use in (lambda: read_page(site), lambda: save_screenshot(site, tmp_path / "page.png")):
        with pytest.raises(pytest.skip.Exception, match=r"infra/test_programs\.sh"):
            use()


def test_scripts_and_titles_are_not_text() -> None:
    assert text_of("<title>no</title><p>a <b>b</b></p><script>c</script>") == "a\nb"

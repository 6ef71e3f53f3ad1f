"""A real S3 server on loopback (moto's), which counts the requests that it gets."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import boto3
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

Answer = Callable[..., Iterable[bytes]]


class S3Server:
    """The server's URL, the environment in which programs find it, and its requests by kind."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self.log: list[tuple[str, str]] = []
        self.denied: set[str] = set()
        self.conflicts = 0  # how many of the next conditional writes get the answer 409

    @property
    def client(self) -> Any:
        """A client of its own, to change objects behind the store's back."""
        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="key",
            aws_secret_access_key="secret",
        )  # fmt: skip

    def new_bucket(self, name: str) -> str:
        """Create an empty bucket."""
        self.client.create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """List a bucket's objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [row["Key"] for page in pages for row in page.get("Contents", ())]

    def fill(self, bucket: str, keys: Iterable[str]) -> None:
        """Create many empty objects without a request for each."""
        backend = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
        for key in keys:
            backend.put_object(bucket, key, b"")

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Count the requests of the block by kind: HEAD, GET, LIST, PUT, POST, DELETE."""
        before, counts = len(self.log), Counter[str]()
        yield counts
        counts.update(kind for kind, _ in self.log[before:])

    def counting(self, app: Answer) -> Answer:
        """Wrap a WSGI application: log each request, and deny those in `denied`."""

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            kind, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            query = parse_qs(environ.get("QUERY_STRING", ""))
            if kind == "GET" and "list-type" in query:
                kind, path = "LIST", "/".join([path, *query.get("prefix", [])])
            self.log.append((kind, path))
            if kind in self.denied:
                start_response("403 Forbidden", [("Content-Type", "application/xml")])
                return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
            if self.conflicts and kind == "PUT" and "HTTP_IF_NONE_MATCH" in environ:
                self.conflicts -= 1
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response("409 Conflict", [("Content-Type", "application/xml")])
                return [b"<Error><Code>ConditionalRequestConflict</Code></Error>"]
            return app(environ, start_response)

        return answer


class _Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: object) -> None:
        pass


@contextmanager
def s3_on_loopback() -> Iterator[S3Server]:
    """Serve S3 from this process on a free port, until the block ends."""
    app = DomainDispatcherApplication(create_backend_app)
    http = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Silent)
    server = S3Server(http.server_port)
    http.app = server.counting(app)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()

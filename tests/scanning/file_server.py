"""A web server on this machine: with ranges and ETags or without, and with faults."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class FileServer:
    """What is served, by path; how; and the requests so far, as method, path and range."""

    files: dict[str, bytes]
    has_ranges: bool = True
    has_etags: bool = True
    has_sizes: bool = True
    failures: int = 0
    status: int = 503
    error_code: str = "EntryNotFound"
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""

    def folder_page(self, path: str) -> bytes | None:
        """A page of links to what is directly in a folder."""
        path = path.rstrip("/") + "/"
        below = {name[len(path) :] for name in self.files if name.startswith(path)}
        names = sorted({name.split("/")[0] + "/" * ("/" in name) for name in below})
        links = "".join(f'<a href="{name}">{name}</a>' for name in names)
        return f"<html>{links}</html>".encode() if names else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: FileServer

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        site, path = self.site, self.path.split("?")[0]
        wanted = self.headers.get("Range", "")
        site.requests.append((self.command, path, wanted))
        data = site.files.get(path, site.folder_page(path))
        if site.failures:
            site.failures -= 1
            self._send(site.status, b"", with_body=with_body)
        elif data is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.send_header("X-Error-Code", self.site.error_code)
            self.end_headers()
        elif site.has_ranges and (match := re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)):
            start, stop = int(match[1]), min(int(match[2]) + 1, len(data))
            self._send(
                206,
                data[start:stop],
                with_body=with_body,
                content_range=f"bytes {start}-{stop - 1}/{len(data)}",
            )
        else:
            self._send(200, data, with_body=with_body, etag=data)

    def _send(
        self,
        status: int,
        body: bytes,
        *,
        with_body: bool,
        content_range: str = "",
        etag: bytes = b"",
    ) -> None:
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        if etag and self.site.has_etags:
            self.send_header("ETag", f'"{sha256(etag).hexdigest()[:16]}"')
        if self.site.has_sizes or status != 200:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(body)
        if not self.site.has_sizes:
            self.close_connection = True


@contextmanager
def serve(files: dict[str, bytes], **options: bool) -> Iterator[FileServer]:
    """A server on a free port; the URL ends without a slash."""
    site = FileServer(files, **options)  # type: ignore[arg-type]
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

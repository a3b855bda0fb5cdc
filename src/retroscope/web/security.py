"""What a local server refuses: other hosts, other origins; and what a browser may load."""

from collections.abc import Collection, Iterable

Headers = Iterable[tuple[bytes, bytes]]

POLICY = "; ".join(
    (
        "default-src 'none'",
        "img-src 'self' data: blob:",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""A page loads what this server gives, and nothing else; no script or style stands in a page."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}
LOCAL = ("127.0.0.1", "localhost", "[::1]")


def known_hosts(host: str) -> frozenset[str]:
    """The names under which this server may be asked: a page of somebody else's whose name is made
    to lead here (DNS rebinding) asks under its own.

    >>> sorted(known_hosts("127.0.0.1"))
    ['127.0.0.1', '[::1]', 'localhost']
    """
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return frozenset({*LOCAL, bracketed.lower()})


def is_anywhere(host: str) -> bool:
    """Whether a host stands for all addresses of this machine, under whatever name."""
    return host in {"0.0.0.0", "::", ""}  # noqa: S104 - that is asked, not bound


def is_local(host: str) -> bool:
    return host.lower() in {*LOCAL, "::1"}


def host_allowed(headers: Headers, hosts: Collection[str] | None) -> bool:
    """Whether a request asks for one of our names, once; any will do where `hosts` is None."""
    asked = [value for name, value in headers if name == b"host"]
    if len(asked) != 1:
        return False
    return hosts is None or _bare(asked[0].decode("latin-1")) in hosts


def origin_allowed(headers: Headers) -> bool:
    """Whether a request that changes or computes something comes from one of our own pages.

    A browser says where a request comes from; a program that says nothing is not led by a page.
    """
    given = dict(headers)
    origin = given.get(b"origin")
    if origin is None:
        return given.get(b"sec-fetch-site", b"none") in {b"none", b"same-origin"}
    return origin.partition(b"://")[2] == given.get(b"host")


def _bare(host: str) -> str:
    """A host without its port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()

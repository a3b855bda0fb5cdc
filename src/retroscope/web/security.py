"""Protects the local server from other web sites: allowed hosts, origins and response headers."""

from collections.abc import Collection, Iterable
from ipaddress import ip_address

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
"""A page may load files from this server only, and no inline scripts or styles."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # without a referrer, forms do not say where they are from
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}
LOCAL = ("127.0.0.1", "localhost", "[::1]")


def allowed_hosts(host: str) -> frozenset[str]:
    """The values of the Host header that the server accepts.

    This prevents DNS rebinding: a foreign page whose domain is pointed at this machine sends its
    own domain.

    >>> sorted(allowed_hosts("127.0.0.1"))
    ['127.0.0.1', '[::1]', 'localhost']
    """
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return frozenset({*LOCAL, bracketed.lower()})


def is_wildcard(host: str) -> bool:
    """Whether this host means all addresses of this machine, so any Host header is accepted."""
    return host in {"0.0.0.0", "::", ""}  # noqa: S104 - compared, not bound


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server on this host.

    >>> is_local("127.0.0.2"), is_local("0.0.0.0"), is_local("example.org")
    (True, False, False)
    """
    if host.lower() in LOCAL:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name may stand for any address
        return False


def has_allowed_host(headers: Headers, hosts: Collection[str] | None) -> bool:
    """Whether a request has exactly one Host header, with an allowed value; None allows any."""
    values = [value for name, value in headers if name == b"host"]
    if len(values) != 1:
        return False
    return hosts is None or _without_port(values[0].decode("latin-1")) in hosts


def has_allowed_origin(headers: Headers) -> bool:
    """Whether a request comes from a page of this server, or from a program without a page.

    Browsers always send the origin with a POST request; other programs do not.
    """
    values = dict(headers)
    origin = values.get(b"origin")
    if origin is None:
        return values.get(b"sec-fetch-site", b"none") in {b"none", b"same-origin"}
    return origin.partition(b"://")[2] == values.get(b"host")


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()

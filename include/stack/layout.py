"""Where the local stack keeps its things: all under `settings.home`."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from include.errors import ConfigError

_SOCKET_PATH_LIMIT = 100  # the kernel's is 108 bytes, and supervisord adds its pid while it binds


@dataclass(frozen=True, slots=True)
class Layout:
    """The files and folders of one stack. Making a Layout touches nothing; `make` creates the folders."""

    home: Path

    @property
    def run(self) -> Path:
        """Generated configuration, pid files, the control socket: what a restart makes anew."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def airflow(self) -> Path:
        return self.home / "airflow"

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def aws(self) -> Path:
        return self.home / "aws"

    @property
    def dbt_docs(self) -> Path:
        return self.home / "dbt_docs"

    @property
    def data_docs(self) -> Path:
        return self.home / "data_docs"

    @property
    def stack_env(self) -> Path:
        """What `up` chose and generated; `include.settings` reads it. Holds passwords, so 0600."""
        return self.home / "stack.env"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets.json"

    @property
    def warmed_up(self) -> Path:
        """Exists once the simulated past is in."""
        return self.home / "warmed-up"

    @property
    def provisioned(self) -> Path:
        """What the local AWS made after its present start: written by its process, read by `up`."""
        return self.run / "aws.json"

    @property
    def supervisor_pid(self) -> Path:
        return self.run / "supervisord.pid"

    def socket(self) -> Path:
        """The control socket: in `run`, or in a private folder of the temp dir where that path is too long for one."""
        wanted = self.run / "supervisor.sock"
        if len(os.fsencode(wanted)) <= _SOCKET_PATH_LIMIT:
            return wanted
        folder = Path(tempfile.gettempdir()) / f"quantstream-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigError(
                f"{folder} must belong to you alone (it holds the control socket); remove it, "
                f"or set QUANTSTREAM_HOME to a shorter path than {self.home}"
            )
        return folder / f"{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]}.sock"

    def make(self) -> None:
        """Create the folders. Secrets are in files of their own with mode 0600."""
        for folder in (self.home, self.run, self.logs, self.airflow, self.airflow / "config", self.aws / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)


def fingerprint(files: Iterable[Path], *more: str) -> str:
    """One digest of the names and contents of files, and of further texts."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0".encode() + path.read_bytes() + b"\0")
    for text in more:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all at once: a reader sees the old text or the new."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)

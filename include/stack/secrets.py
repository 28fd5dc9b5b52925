"""The generated secrets of the local stack: made once, kept in `<home>/secrets.json` (0600), stable over restarts."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass, fields

from include.errors import ConfigError
from include.stack.layout import Layout, write_private
from include.stack.postgres import Passwords


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords of the database's roles, and what Airflow signs and encrypts with."""

    postgres: Passwords
    admin: str
    fernet_key: str
    jwt_secret: str
    secret_key: str

    @classmethod
    def generate(cls) -> Secrets:
        return cls(
            postgres=Passwords.generate(),
            admin=secrets.token_urlsafe(12),
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            jwt_secret=secrets.token_urlsafe(48),
            secret_key=secrets.token_urlsafe(32),
        )


def load_secrets(layout: Layout) -> Secrets:
    """The secrets of this home, generated the first time. Raises ConfigError if the file is damaged."""
    path = layout.secrets
    if not path.exists():
        made = Secrets.generate()
        write_private(path, json.dumps(asdict(made), indent=2) + "\n")
        return made
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        names = [field.name for field in fields(Secrets) if field.name != "postgres"]
        found = Secrets(postgres=Passwords(**read["postgres"]), **{name: str(read[name]) for name in names})
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is damaged ({type(error).__name__}: {error}): the passwords of the database are in it. "
            "Restore it, or start over with `quantstream clean` and `quantstream up`."
        ) from None
    if asdict(found) != read:  # an older platform's, which had fewer roles
        write_private(path, json.dumps(asdict(found), indent=2) + "\n")
    return found

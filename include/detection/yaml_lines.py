"""A YAML file as plain data, and the line that each place of it stands in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from include.errors import ConfigError

Place = tuple[str, ...]


class Document:
    """The data of a file; `problems` are its mistakes, each with its line."""

    def __init__(self, path: Path, setting: str) -> None:
        """Raises ConfigError if the file cannot be read or is no YAML; `setting` is what names it."""
        self.path = path
        self.lines: dict[Place, int] = {}
        self.problems: list[tuple[int, str]] = []
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except OSError as error:
            raise ConfigError(f"cannot read {path} (setting {setting}): {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no YAML: {error}") from None
        self.data: Any = self._plain(root, ()) if root else {}

    def wrong(self, at: Place, text: str) -> None:
        """Note a mistake at a place, or at the nearest one around it that is there."""
        while at and at not in self.lines:
            at = at[:-1]
        self.problems.append((self.lines.get(at, 1), text))

    def check(self, what: str) -> None:
        """Raises ConfigError with all mistakes, if there are any."""
        if self.problems:
            said = (f"{self.path}:{line}: {text}" for line, text in sorted(self.problems))
            raise ConfigError("\n  ".join([f"wrong {what}:", *said]))

    def _plain(self, node: yaml.Node, at: Place) -> Any:
        """The node as plain data, keys always as text (`ON` is a ticker, not true)."""
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            data = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                here = (*at, name)
                if name in data:
                    said = f"{'.'.join(here)} stands here twice (first in line {self.lines[here]})"
                    self.problems.append((line, said))
                self.lines.setdefault(here, line)
                data[name] = self._plain(value, here)
            return data
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(value, (*at, str(n))) for n, value in enumerate(node.value)]
        return yaml.SafeLoader("").construct_object(node)


def meant(word: str, known: Iterable[object]) -> str:
    """` (did you mean 'x'?)` for what is written nearly so, else nothing."""
    near = difflib.get_close_matches(word, [str(one) for one in known], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def explain(name: str, problem: Mapping[str, Any], description: str | None) -> str:
    """What pydantic says of one value, in one sentence."""
    wanted = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{name} is {problem['input']!r:.60}: {wanted}" + (f" ({description})" if description else "")

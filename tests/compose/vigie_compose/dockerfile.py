"""The Dockerfile as its stages, so far as ours goes."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction: its word in capitals, its flags (`--from=build`), and the rest."""

    word: str
    flags: tuple[tuple[str, str], ...]
    rest: str

    def flag(self, name: str) -> str:
        """The flag's value; empty where it is not given."""
        return next((value for key, value in self.flags if key == name), "")

    @property
    def words(self) -> list[str]:
        """The rest as words: a JSON list, or separated by spaces."""
        return [str(word) for word in json.loads(self.rest)] if self.rest.startswith("[") else shlex.split(self.rest)


@dataclass
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def last(self, word: str) -> Step | None:
        """The instruction of this kind that holds: the last one."""
        return next((step for step in reversed(self.steps) if step.word == word), None)

    def environment(self) -> dict[str, str]:
        """All ENV together."""
        pairs = (pair for step in self.steps if step.word == "ENV" for pair in step.words)
        return dict(pair.split("=", 1) for pair in pairs)

    def health(self) -> list[str]:
        """The health check's command."""
        step = self.last("HEALTHCHECK")
        return json.loads(step.rest.removeprefix("CMD ").strip()) if step else []


def parse(text: str) -> list[Stage]:
    """Reads the stages; an instruction before the first FROM is refused."""
    without_comments = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", without_comments).splitlines():
        if not line.strip():
            continue
        step = _step(line.strip())
        if step.word == "FROM":
            base, _, name = step.rest.partition(" AS ")
            stages.append(Stage(base, name))
        elif not stages:
            raise ValueError(f"{step.word} before FROM")
        else:
            stages[-1].steps.append(step)
    return stages


def read(path: Path) -> list[Stage]:
    """Reads a Dockerfile's stages."""
    return parse(path.read_text())


def _step(line: str) -> Step:
    word, _, rest = line.partition(" ")
    flags = []
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest.lstrip()):
        flags.append((match[1], match[2]))
        rest = rest.lstrip()[match.end() :]
    return Step(word.upper(), tuple(flags), rest.strip())

"""What of a `bundle.toml` training needs: fields, roles, features in their order, thresholds."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNITS = {"m": 60, "h": 3600, "d": 86400}


def window_us(text: str) -> int:
    """The length of a window such as `24h`, in microseconds."""
    return int(text[:-1]) * UNITS[text[-1]] * 1_000_000


@dataclass(frozen=True)
class Field:
    """One field of the event."""

    name: str
    source: str
    kind: str
    required: bool
    scale: int
    format: str

    @classmethod
    def parse(cls, name: str, table: dict[str, Any]) -> Field:
        """Reads one entry of `[schema.fields]`; times must be UTC, as they are in `card`."""
        if table["kind"] == "time" and table["zone"] != "UTC":
            raise ValueError(f"{name}: only the zone UTC is known here, found {table['zone']}")
        return cls(
            name=name,
            source=table.get("from", name),
            kind=table["kind"],
            required=table.get("required", False),
            scale=table.get("scale", 0),
            format=table.get("format", ""),
        )


@dataclass(frozen=True)
class Feature:
    """One input of the graph. `kind` is the event or the account kind of the contract."""

    name: str
    kind: str
    of: str
    of_account: bool
    window: str
    origin: tuple[str, ...]
    target: tuple[str, ...]

    @classmethod
    def parse(cls, table: dict[str, Any]) -> Feature:
        """Reads one `[[feature]]`."""
        return cls(
            name=table["name"],
            kind=table.get("account") or table["event"],
            of=table.get("of", ""),
            of_account="account" in table,
            window=table.get("window", ""),
            origin=tuple(table.get("from", ())),
            target=tuple(table.get("to", ())),
        )


@dataclass(frozen=True)
class Bundle:
    """A bundle's declaration."""

    path: Path
    name: str
    version: str
    fields: dict[str, Field]
    roles: dict[str, str]
    features: tuple[Feature, ...]

    @property
    def longest_window_us(self) -> int:
        """How far back the account's past reaches at most."""
        return max(window_us(feature.window) for feature in self.features if feature.window)

    def unit(self, name: str) -> int:
        """How many minor units make one of the amount field's major units."""
        return int(10 ** self.fields[name].scale)

    def is_text(self, feature: Feature) -> bool:
        """Whether the feature is a category: a string input of the graph."""
        return feature.kind == "value" and self.fields[feature.of].kind == "text"

    @property
    def text_features(self) -> tuple[str, ...]:
        """Names of the categories, in the bundle's order."""
        return tuple(feature.name for feature in self.features if self.is_text(feature))

    @property
    def number_features(self) -> tuple[str, ...]:
        """Names of the numbers, in the bundle's order."""
        return tuple(feature.name for feature in self.features if not self.is_text(feature))

    @property
    def amount_feature(self) -> str:
        """The feature that is the amount itself."""
        amount = self.roles["amount"]
        return next(f.name for f in self.features if f.kind == "value" and f.of == amount)


def read_bundle(path: Path) -> Bundle:
    """Reads `path/bundle.toml`."""
    with (path / "bundle.toml").open("rb") as file:
        table = tomllib.load(file)
    return Bundle(
        path=path,
        name=table["name"],
        version=table["version"],
        fields={name: Field.parse(name, entry) for name, entry in table["schema"]["fields"].items()},
        roles=table["roles"],
        features=tuple(Feature.parse(entry) for entry in table["feature"]),
    )


def write_thresholds(bundle: Bundle, review: float, block: float) -> None:
    """Puts the thresholds into `[policy]`, leaving every other character of the file alone."""
    path = bundle.path / "bundle.toml"
    head, policy = path.read_text(encoding="utf-8").split("[policy]")
    for name, value in (("review", review), ("block", block)):
        policy, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value:.4f}", policy)
        if found != 1:
            raise ValueError(f"{path}: expected one `{name} = …` in [policy], found {found}")
    path.write_text(f"{head}[policy]{policy}", encoding="utf-8")

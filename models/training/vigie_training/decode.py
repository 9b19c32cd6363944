"""One raw event to typed values: the reference's own decoder, for well-formed events only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from vigie_training.bundle import Bundle, Field

Value = str | int | float | None
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_json(text: str) -> Any:  # noqa: ANN401 - JSON is any of its types
    """Parses JSON without ever passing a number through a float."""
    return json.loads(text, parse_float=Decimal)


@dataclass(frozen=True)
class Event:
    """A decoded event. Amounts are in minor units, times in microseconds since 1970."""

    id: str
    account: str
    time: int
    values: dict[str, Value]


def decode(bundle: Bundle, event: dict[str, Any]) -> Event:
    """Reads the declared fields, all but the label: no feature may see it."""
    values = {
        field.name: _value(field, event.get(field.source))
        for field in bundle.fields.values()
        if field.kind != "label"
    }
    return Event(
        id=str(values[bundle.roles["id"]]),
        account=str(values[bundle.roles["account"]]),
        time=int(values[bundle.roles["time"]] or 0),
        values=values,
    )


def _value(field: Field, raw: Any) -> Value:  # noqa: ANN401
    if raw is None:
        if field.required:
            raise ValueError(f"{field.name} is required")
        return None
    match field.kind:
        case "text":
            return str(raw)
        case "integer":
            return int(raw)
        case "number":
            return float(raw)
        case "amount":
            return _minor_units(field, Decimal(raw))
        case "time":
            return _microseconds(field, raw)
    raise ValueError(f"{field.name}: unknown kind {field.kind}")


def _minor_units(field: Field, amount: Decimal) -> int:
    scaled = amount.scaleb(field.scale)
    if scaled != int(scaled):
        raise ValueError(f"{field.name}: more than {field.scale} decimals in {amount}")
    return int(scaled)


def _microseconds(field: Field, raw: str) -> int:
    moment = datetime.strptime(raw, field.format).replace(tzinfo=UTC)
    since = moment - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds

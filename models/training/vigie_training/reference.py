"""The feature contract by brute force, written from its text and sharing nothing with the serving code.

Every event looks at every event that arrived before it: O(n²), and meant to be. All events are one
partition, in the order given. The kinds are those that the bundle `card` uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from vigie_training.bundle import Bundle, Feature, window_us
from vigie_training.decode import Event, Value

HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US
LATENESS_US = 7 * DAY_US
EARTH_RADIUS_KM = 6371.0088


@dataclass
class Partition:
    """What one partition has accepted so far."""

    bundle: Bundle
    known: list[Event] = field(default_factory=list)
    identities: set[tuple[str, str, int]] = field(default_factory=set)
    watermark: int | None = None

    def take(self, event: Event) -> list[Value] | None:
        """The event's features in the bundle's order, then the event becomes part of the past.

        None for a duplicate: the same id of the same account on the same day, which changes nothing.
        """
        identity = (event.account, event.id, event.time // DAY_US)
        if identity in self.identities:
            return None
        self.identities.add(identity)
        features = [self._feature(feature, event) for feature in self.bundle.features]
        if event.time > self._horizon():
            self.known.append(event)
        self.watermark = event.time if self.watermark is None else max(self.watermark, event.time)
        return features

    def _horizon(self) -> float:
        if self.watermark is None:
            return -math.inf
        return self.watermark - self.bundle.longest_window_us - LATENESS_US

    def _past(self, event: Event, window: int) -> list[Event]:
        """The account's events with `t - window <= event_time < t` above the horizon, as they arrived."""
        horizon = self._horizon()
        if event.time <= horizon:
            return []
        return [
            other
            for other in self.known
            if other.account == event.account
            and event.time - window <= other.time < event.time
            and other.time > horizon
        ]

    def _feature(self, feature: Feature, event: Event) -> Value:
        if not feature.of_account:
            return of_event(self.bundle, feature, event)
        if feature.kind == "time_since_last":
            past = self._past(event, self.bundle.longest_window_us)
            return (event.time - max(other.time for other in past)) / 1_000_000 if past else None
        past = self._past(event, window_us(feature.window))
        if feature.kind == "count":
            return float(len(past))
        amounts = [_minor(feature, other) for other in past]
        return of_amounts(feature.kind, amounts, _minor(feature, event), self.bundle.unit(feature.of))


def reference(bundle: Bundle, events: Iterable[Event]) -> list[list[Value] | None]:
    """Features of each event, None for a duplicate."""
    partition = Partition(bundle)
    return [partition.take(event) for event in events]


def of_event(bundle: Bundle, feature: Feature, event: Event) -> Value:
    """A feature that reads nothing but the event."""
    match feature.kind:
        case "value" if bundle.fields[feature.of].kind == "amount":
            return _minor(feature, event) / bundle.unit(feature.of)
        case "value":
            return event.values[feature.of]
        case "hour_of_day":
            return float(event.time // HOUR_US % 24)
        case "day_of_week":
            return float((event.time // DAY_US + 3) % 7)  # 1970-01-01 was a Thursday, and Monday is 0
        case "age":
            born = event.values[feature.of]
            return None if born is None else (event.time - int(born)) // DAY_US / 365.25
        case "distance":
            points = [event.values[name] for name in (*feature.origin, *feature.target)]
            return None if None in points else haversine_km(*(float(point or 0) for point in points))
    raise ValueError(f"{feature.name}: unknown event kind {feature.kind}")


def of_amounts(kind: str, past: list[int], own: int, unit: int) -> Value:
    """An aggregate over exact minor units with a single division at its end."""
    match kind:
        case "sum":
            return sum(past) / unit
        case "mean":
            return sum(past) / (len(past) * unit) if past else None
        case "max":
            return max(past) / unit if past else None
        case "ratio":
            return own * len(past) / sum(past) if sum(past) else None
    raise ValueError(f"unknown account kind {kind}")


def haversine_km(lat: float, long: float, other_lat: float, other_long: float) -> float:
    """The great-circle distance of two points given in degrees."""
    a, b = math.radians(lat), math.radians(other_lat)
    half_lat, half_long = (b - a) / 2, math.radians(other_long - long) / 2
    h = math.sin(half_lat) ** 2 + math.cos(a) * math.cos(b) * math.sin(half_long) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, h)))


def _minor(feature: Feature, event: Event) -> int:
    return int(event.values[feature.of] or 0)

"""Sixteen features of a payment: six of the event, ten of its account's earlier payments.

Kept as simple as a single-purpose consumer may: an account's payments are taken to arrive in order of time,
and nothing is rebuilt after a restart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

HOUR, DAY = 3_600, 86_400
WINDOWS = (HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY)
EVENT_FEATURES = 6
FEATURES = EVENT_FEATURES + 2 * len(WINDOWS)
EARTH_RADIUS_KM = 6371.0088
# Payments that no window reads any more are dropped this many at a time.
DROP_AT = 512


class History:
    """One account's payments inside the longest window: times, and sums of the amounts up to each."""

    __slots__ = ("starts", "sums", "times")

    def __init__(self) -> None:
        """An account that has not paid yet."""
        self.times: list[int] = []
        self.sums: list[int] = [0]
        self.starts: list[int] = [0] * len(WINDOWS)

    def add(self, time: int, cents: int, out: list[float]) -> None:
        """Appends time since the last payment, count and sum per window to `out`; then knows this payment."""
        times, sums, starts = self.times, self.sums, self.starts
        known = len(times)
        total = sums[known]
        out.append(time - times[-1] if known else -1)
        for window, width in enumerate(WINDOWS):
            start, oldest = starts[window], time - width
            while start < known and times[start] < oldest:
                start += 1
            starts[window] = start
            out.append(known - start)
            out.append(total - sums[start])
        times.append(time)
        sums.append(total + cents)
        if starts[-1] >= DROP_AT:
            self._drop(starts[-1])

    def _drop(self, payments: int) -> None:
        del self.times[:payments]
        del self.sums[:payments]
        self.starts = [start - payments for start in self.starts]


class Features:
    """The features of one batch after the other; knows the accounts of its partitions."""

    def __init__(self) -> None:
        """Knows no account yet."""
        self._histories: dict[str, History] = {}

    def of(self, events: list[dict[str, Any]]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """A row of features for every event, and the amounts in cents."""
        amounts = np.array([event["amt"] for event in events], dtype=np.float64)
        cents = np.rint(amounts * 100).astype(np.int64)
        seconds = np.array([event["trans_date_trans_time"] for event in events], dtype="datetime64[s]")
        times = seconds.astype(np.int64)
        matrix = np.empty((len(events), FEATURES), dtype=np.float32)
        matrix[:, 0] = amounts
        matrix[:, 1] = times // HOUR % 24
        matrix[:, 2] = (times // DAY + 3) % 7
        matrix[:, 3] = _ages(events, times)
        matrix[:, 4] = _distances(events)
        matrix[:, 5:] = self._windows(events, times.tolist(), cents.tolist())
        return matrix, cents

    def _windows(
        self, events: list[dict[str, Any]], times: list[int], cents: list[int]
    ) -> npt.NDArray[np.float64]:
        histories = self._histories
        out: list[float] = []
        for event, time, amount in zip(events, times, cents, strict=True):
            account = event["cc_num"]
            history = histories.get(account)
            if history is None:
                history = histories[account] = History()
            history.add(time, amount, out)
        return np.array(out, dtype=np.float64).reshape(len(events), 1 + 2 * len(WINDOWS))


def _ages(events: list[dict[str, Any]], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    born = np.array([event["dob"] for event in events], dtype="datetime64[s]").astype(np.int64)
    ages: npt.NDArray[np.float64] = (times - born) / (365.25 * DAY)
    return ages


def _distances(events: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    degrees = [(event["lat"], event["long"], event["merch_lat"], event["merch_long"]) for event in events]
    lat, long, merch_lat, merch_long = np.radians(np.array(degrees, dtype=np.float64)).T
    chord = (
        np.sin((merch_lat - lat) / 2) ** 2
        + np.cos(lat) * np.cos(merch_lat) * np.sin((merch_long - long) / 2) ** 2
    )
    distances: npt.NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(chord))
    return distances

"""A scored batch as the rows of a COPY in text format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

REVIEW, BLOCK = 0.33, 0.45
# COPY's text format gives these a meaning. JSON cannot hold the last three unescaped.
ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


@dataclass(frozen=True)
class Batch:
    """What was polled: bodies, (partition, offset), and the bodies decoded."""

    payloads: list[bytes]
    places: list[tuple[int, int]]
    events: list[dict[str, Any]]


class Rows:
    """Writes rows; keeps an account's token, since a clear card number is stored nowhere."""

    def __init__(self, token_key: bytes) -> None:
        """Knows no token yet."""
        self._key = token_key
        self._tokens: dict[str, str] = {}

    def of(
        self,
        batch: Batch,
        matrix: npt.NDArray[np.float32],
        cents: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float32],
    ) -> bytes:
        """The batch's rows, columns as in `store.COLUMNS`."""
        features = matrix.tobytes().hex()
        width = len(features) // len(batch.events)
        decisions = ((scores >= REVIEW).astype(np.int8) + (scores >= BLOCK)).tolist()
        lines = []
        begin = 0
        for payload, (partition, offset), event, amount, score, decision in zip(
            batch.payloads,
            batch.places,
            batch.events,
            cents.tolist(),
            scores.tolist(),
            decisions,
            strict=True,
        ):
            number, merchant = event["trans_num"], event["merchant"]
            category, state = event["category"], event["state"]
            if b"\\" in payload:
                number, merchant = number.translate(ESCAPES), merchant.translate(ESCAPES)
                category, state = category.translate(ESCAPES), state.translate(ESCAPES)
            account = self._tokens.get(event["cc_num"]) or self._token(event["cc_num"])
            lines.append(
                f"{number}\t\\\\x{account}\t{event['trans_date_trans_time']}\t{amount}\t{merchant}\t{category}"
                f"\t{state}\t{score:.6f}\t{decision}\t\\\\x{features[begin : begin + width]}"
                f"\t{partition}\t{offset}\n"
            )
            begin += width
        return "".join(lines).encode()

    def _token(self, account: str) -> str:
        token = hashlib.blake2b(account.encode(), key=self._key, digest_size=16).hexdigest()
        self._tokens[account] = token
        return token

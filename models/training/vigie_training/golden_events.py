"""Invented raw events for the golden rows: ordinary days, two thefts, and every edge of the contract.

The card numbers are invented and fail the Luhn test, so that they can be nobody's.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import date, datetime, timedelta

START = datetime(2020, 1, 6, 7, 30)
DAYS = 58
EDGES_START = datetime(2020, 3, 9, 12, 0)
CATEGORIES = {
    "entertainment": 60, "food_dining": 45, "gas_transport": 63, "grocery_net": 52, "grocery_pos": 110,
    "health_fitness": 45, "home": 55, "kids_pets": 50, "misc_net": 60, "misc_pos": 30,
    "personal_care": 40, "shopping_net": 70, "shopping_pos": 60, "travel": 15,
}  # fmt: skip
THEFT = {"shopping_net": 1000, "misc_net": 790, "shopping_pos": 880, "grocery_pos": 310, "gas_transport": 11}


@dataclass(frozen=True)
class Token:
    """A JSON number that must appear exactly as written."""

    text: str


ABSENT = Token("")
Raw = str | int | float | Token | None


@dataclass(frozen=True)
class Person:
    """Who pays, with the rhythm of it."""

    card: str
    born: date
    lat: float
    long: float
    hours_between: float


def luhn(digits: str) -> bool:
    """Whether the digits pass the check of real card numbers."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def invented_card(rng: random.Random, length: int) -> str:
    """A number of that many digits that fails the Luhn test."""
    digits = str(rng.randrange(10 ** (length - 1), 9 * 10 ** (length - 1)))
    return digits[:-1] + str((int(digits[-1]) + 1) % 10) if luhn(digits) else digits


class Story:
    """Collects events in the order in which they arrive."""

    def __init__(self) -> None:
        """Starts with eight people and nothing bought."""
        self.rng = random.Random(20200106)  # noqa: S311 - invented data, the same every time
        self.lines: list[str] = []
        self.people = [self._person(length) for length in (11, 12, 13, 14, 15, 16, 18, 19)]

    def _person(self, length: int) -> Person:
        return Person(
            card=invented_card(self.rng, length),
            born=date(1935, 3, 1) + timedelta(days=self.rng.randrange(25000)),
            lat=round(self.rng.uniform(27, 48), 4),
            long=round(self.rng.uniform(-120, -70), 4),
            hours_between=self.rng.choice((24, 36, 60)),
        )

    def pay(self, who: int, at: datetime, category: Raw, amount: Raw, **changes: Raw) -> None:
        """One payment; `changes` replaces or removes fields of the usual event."""
        person = self.people[who]
        event: dict[str, Raw] = {
            "trans_date_trans_time": at.strftime("%Y-%m-%d %H:%M:%S"),
            "cc_num": person.card if self.rng.random() < 0.5 else Token(person.card),
            "merchant": self.rng.choice(("fraud_Moss, Green and Sons", "Café Zoë", 'A/B "Quick" Mart')),
            "category": category,
            "amt": amount,
            "first": "Ada",
            "gender": "F" if who % 2 else "M",
            "city": "Sõmeru",
            "state": ("NC", "TX", "WA", "NY")[who % 4],
            "lat": person.lat,
            "long": person.long,
            "city_pop": 1000 * who + 7,
            "job": "Engineer, building services",
            "dob": person.born.isoformat(),
            "trans_num": f"{self.rng.getrandbits(128):032x}",
            "merch_lat": round(person.lat + self.rng.uniform(-1, 1), 6),
            "merch_long": round(person.long + self.rng.uniform(-1, 1), 6),
            "is_fraud": 0,
        }
        event.update(changes)
        fields = (f"{json.dumps(k)}:{_json(v)}" for k, v in event.items() if v is not ABSENT)
        self.lines.append("{" + ",".join(fields) + "}")

    def usual_amount(self, mean: float) -> Raw:
        """An amount as the producers write it: a number, a text, now and then with an exponent."""
        cents = max(100, int(self.rng.lognormvariate(0, 0.8) * mean * 100))
        text = f"{cents // 100}.{cents % 100:02d}"
        form = self.rng.randrange(8)
        if form == 0:
            return Token(f"{cents // 100 * 100 / 100:.1E}") if cents < 10000 else Token(text)
        return text if form < 3 else Token(text)


def golden_events() -> list[str]:
    """The raw JSON events in the order of arrival, the same at every call."""
    story = Story()
    _ordinary_days(story)
    for edge in (_windows_to_the_second, _ties, _numbers_as_written, _missing_fields, _identities):
        edge(story)
    _late_events(story)
    _long_silence(story)
    return story.lines


def _ordinary_days(story: Story) -> None:
    rng, payments = story.rng, []
    for who, person in enumerate(story.people[:6]):
        at = START
        while (
            at := at + timedelta(seconds=int(rng.expovariate(1 / (person.hours_between * 3600))))
        ) < START + timedelta(DAYS):
            payments.append((at, who, rng.choice(list(CATEGORIES)), False))
    for who, day in ((1, 41), (4, 52)):
        for _ in range(11):
            at = START.replace(hour=22, minute=0) + timedelta(days=day, seconds=rng.randrange(20000))
            payments.append((at, who, rng.choice(list(THEFT)), True))
    for at, who, category, theft in sorted(payments):
        amount = (
            Token(f"{THEFT[category] * rng.uniform(0.9, 1.1):.2f}")
            if theft
            else story.usual_amount(CATEGORIES[category])
        )
        story.pay(who, at, category, amount, is_fraud=int(theft))


def _windows_to_the_second(story: Story) -> None:
    """Payments exactly as far apart as each window is long, and one second further."""
    lengths = [timedelta(hours=h) for h in (1, 6, 24, 48)] + [timedelta(days=7), timedelta(days=30)]
    moments = {EDGES_START}
    for length in lengths:
        moments |= {EDGES_START + length, EDGES_START + length + timedelta(seconds=1)}
    for at in sorted(moments):
        story.pay(6, at, "grocery_pos", story.usual_amount(100))


def _ties(story: Story) -> None:
    """Several payments of one card in one second do not see each other; the next one sees them all."""
    at = EDGES_START + timedelta(days=31)
    for amount in ("10.00", "20.50", "30.25"):
        story.pay(0, at, "misc_net", Token(amount))
    story.pay(1, at, "misc_net", Token("5.00"))
    story.pay(0, at + timedelta(seconds=1), "misc_net", Token("40.00"))


def _numbers_as_written(story: Story) -> None:
    """Exponents, texts, integers and nothing at all spent are exact amounts all the same."""
    at = EDGES_START + timedelta(days=32)
    amounts: tuple[Raw, ...] = (
        Token("1.0E2"), "1.0E2", Token("1e1"), Token("100"), "0100.10", Token("12345.6"), Token("1.999E1"),
        Token("0.01"), Token("99999999.99"),
    )  # fmt: skip
    for minute, amount in enumerate(amounts):
        story.pay(1, at + timedelta(minutes=minute), "home", amount)
    for minute in range(3):
        story.pay(7, at + timedelta(minutes=minute), "travel", Token("0.00"))
    story.pay(
        7, at + timedelta(minutes=5), "travel", Token("7.20"), lat="12.5", long="-45.25", merch_lat="1.3E1"
    )
    here: dict[str, Raw] = {"lat": 33.5, "long": -80.25, "merch_lat": 33.5, "merch_long": Token("-80.250")}
    story.pay(7, at + timedelta(minutes=6), "travel", "7.30", **here)
    story.pay(
        7, at + timedelta(minutes=7), "travel", "7.40", lat=10, long=179.5, merch_lat=-10, merch_long=-179.5
    )


def _missing_fields(story: Story) -> None:
    """Optional fields that are absent, null or never seen before."""
    at = EDGES_START + timedelta(days=33)
    changes: tuple[dict[str, Raw], ...] = (
        {"dob": ABSENT}, {"dob": None}, {"lat": ABSENT}, {"merch_long": None}, {"category": ABSENT},
        {"category": None}, {"category": "crypto_exchange"}, {"is_fraud": ABSENT},
        {"merchant": ABSENT, "city": None, "job": ABSENT},
        {"lat": None, "long": None, "merch_lat": None, "merch_long": None, "dob": None},
        {"dob": "2000-02-29"}, {"dob": "1970-01-01"}, {"state": ABSENT, "city_pop": ABSENT, "gender": None},
    )  # fmt: skip
    for minute, change in enumerate(changes):
        category = change.pop("category", "kids_pets")
        story.pay(2, at + timedelta(minutes=7 * minute), category, story.usual_amount(50), **change)


def _identities(story: Story) -> None:
    """One id on two days and on two cards: three payments."""
    at = EDGES_START + timedelta(days=34)
    for who, when in ((3, at), (3, at + timedelta(days=1)), (5, at + timedelta(days=1, minutes=1))):
        story.pay(who, when, "food_dining", story.usual_amount(45), trans_num="00ff" * 8)


def _late_events(story: Story) -> None:
    """Late by minutes, by weeks, at the horizon and below it; each time followed by one that is in time."""
    now = EDGES_START + timedelta(days=40)
    story.pay(4, now, "gas_transport", Token("61.00"))
    horizon = now - timedelta(days=37)
    second = timedelta(seconds=1)
    lateness = (
        timedelta(minutes=20), timedelta(minutes=10), timedelta(hours=30), timedelta(days=8),
        timedelta(days=20), timedelta(days=36), timedelta(days=45),
        now - horizon - second, now - horizon, now - horizon + second,
    )  # fmt: skip
    for minute, late in enumerate(lateness, start=1):
        for who in (4, 6):
            story.pay(who, now - late, "shopping_pos", story.usual_amount(40))
        story.pay(4, now - late + second, "shopping_pos", story.usual_amount(40))
        story.pay(
            4, now - timedelta(hours=1) + timedelta(minutes=minute), "gas_transport", story.usual_amount(60)
        )
    story.pay(4, now, "gas_transport", Token("62.00"))


def _long_silence(story: Story) -> None:
    """More than the longest window after everything else, then again within it."""
    at = EDGES_START + timedelta(days=75)
    for who in range(8):
        story.pay(who, at + timedelta(minutes=who), "grocery_net", story.usual_amount(50))
        story.pay(who, at + timedelta(days=29, hours=who), "grocery_net", story.usual_amount(50))


def _json(value: Raw) -> str:
    return value.text if isinstance(value, Token) else json.dumps(value, ensure_ascii=False)

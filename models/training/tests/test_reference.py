"""The brute-force reference on cases computed by hand."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest

from vigie_training.bundle import Bundle
from vigie_training.decode import Event, Value, decode
from vigie_training.reference import haversine_km, reference

NOON = datetime(2020, 3, 2, 12)  # a Monday


def payment(card: Bundle, at: datetime, amount: str, account: str = "12345678902", **more: object) -> Event:
    raw = {"trans_date_trans_time": str(at), "cc_num": account, "amt": amount, "trans_num": f"{at} {amount}"}
    return decode(card, {**raw, **more})


def features(card: Bundle, *events: Event) -> list[dict[str, Value]]:
    names = [feature.name for feature in card.features]
    return [dict(zip(names, row, strict=True)) for row in reference(card, events) if row is not None]


def test_features_of_the_event_itself(card: Bundle) -> None:
    (row,) = features(
        card,
        payment(
            card,
            NOON,
            "1.0E2",
            category="travel",
            dob="2019-03-02",
            lat="0",
            long=0,
            merch_lat=0,
            merch_long=90,
        ),
    )
    assert row["amt"] == 100.0
    assert row["category"] == "travel"
    assert (row["hour"], row["day_of_week"]) == (12, 0)
    assert row["age"] == 366 / 365.25
    assert row["home_merchant_km"] == pytest.approx(6371.0088 * math.pi / 2, rel=1e-12)


def test_age_counts_whole_days_only(card: Bundle) -> None:
    (row,) = features(card, payment(card, NOON, "1.00", dob="2020-03-02"))
    assert row["age"] == 0.0


def test_sunday_is_six(card: Bundle) -> None:
    (row,) = features(card, payment(card, NOON - timedelta(hours=13), "1.00"))
    assert (row["hour"], row["day_of_week"]) == (23, 6)


def test_missing_fields_are_missing_features(card: Bundle) -> None:
    (row,) = features(card, payment(card, NOON, "1.00", lat=1, long=2, merch_lat=3))
    assert row["category"] is None
    assert row["age"] is None
    assert row["home_merchant_km"] is None


def test_empty_windows_count_and_sum_to_zero_and_miss_the_rest(card: Bundle) -> None:
    (row,) = features(card, payment(card, NOON, "5.00"))
    assert (row["count_30d"], row["amt_sum_30d"]) == (0, 0)
    assert [row[f"amt_{kind}_30d"] for kind in ("mean", "max", "ratio")] == [None] * 3
    assert row["time_since_last"] is None


def test_aggregates_over_a_window(card: Bundle) -> None:
    first, second = NOON - timedelta(minutes=50), NOON - timedelta(seconds=90)
    row = features(
        card, payment(card, first, "10.01"), payment(card, second, "20.02"), payment(card, NOON, "45.00")
    )[2]
    assert row["count_1h"] == 2
    assert row["amt_sum_1h"] == 30.03
    assert row["amt_mean_1h"] == 3003 / 200
    assert row["amt_max_1h"] == 20.02
    assert row["amt_ratio_1h"] == 4500 * 2 / 3003
    assert row["time_since_last"] == 90.0


def test_a_window_holds_its_start_and_not_the_second_before(card: Bundle) -> None:
    start = NOON - timedelta(hours=1)
    row = features(
        card,
        payment(card, start - timedelta(seconds=1), "1.00"),
        payment(card, start, "2.00"),
        payment(card, NOON, "3.00"),
    )[2]
    assert (row["count_1h"], row["amt_sum_1h"]) == (1, 2.0)
    assert (row["count_6h"], row["amt_sum_6h"]) == (2, 3.0)


def test_ties_do_not_see_each_other(card: Bundle) -> None:
    rows = features(card, payment(card, NOON, "1.00"), payment(card, NOON, "2.00"))
    assert [row["count_1h"] for row in rows] == [0, 0]
    assert rows[1]["time_since_last"] is None


def test_accounts_do_not_see_each_other(card: Bundle) -> None:
    later = NOON + timedelta(minutes=1)
    rows = features(card, payment(card, NOON, "1.00"), payment(card, later, "2.00", account="98765432104"))
    assert rows[1]["count_1h"] == 0


def test_a_card_number_is_the_same_as_text_and_as_integer(card: Bundle) -> None:
    later = payment(card, NOON + timedelta(minutes=1), "2.00", cc_num=12345678902)
    assert features(card, payment(card, NOON, "1.00"), later)[1]["count_1h"] == 1


def test_a_late_event_sees_what_is_earlier_and_is_seen_by_what_arrives_after_it(card: Bundle) -> None:
    minutes = [timedelta(minutes=m) for m in (0, 10, 5, 20)]
    rows = features(card, *(payment(card, NOON + m, f"{1 + i}.00") for i, m in enumerate(minutes)))
    assert [row["amt_sum_1h"] for row in rows] == [0, 1.0, 1.0, 6.0]
    assert rows[2]["time_since_last"] == 300.0


def test_a_sum_of_zero_has_a_mean_and_no_ratio(card: Bundle) -> None:
    row = features(card, payment(card, NOON, "0.00"), payment(card, NOON + timedelta(minutes=1), "3.00"))[1]
    assert (row["amt_sum_1h"], row["amt_mean_1h"], row["amt_max_1h"]) == (0, 0, 0)
    assert row["amt_ratio_1h"] is None


def test_last_reaches_back_as_far_as_the_longest_window(card: Bundle) -> None:
    month = timedelta(days=30)
    inside = features(card, payment(card, NOON - month, "1.00"), payment(card, NOON, "2.00"))[1]
    outside = features(
        card, payment(card, NOON - month - timedelta(seconds=1), "1.00"), payment(card, NOON, "2.00")
    )[1]
    assert inside["time_since_last"] == 30 * 86400
    assert outside["time_since_last"] is None


def test_an_event_at_the_horizon_has_empty_windows_and_leaves_no_trace(card: Bundle) -> None:
    second = timedelta(seconds=1)
    horizon = NOON - timedelta(days=37)
    rows = features(
        card,
        payment(card, horizon - second, "1.00"),
        payment(card, NOON, "2.00", account="98765432104"),  # moves the watermark of the partition
        payment(card, horizon, "4.00"),
        payment(card, horizon + second, "8.00"),
        payment(card, horizon + 2 * second, "16.00"),
    )
    assert [row["amt_sum_30d"] for row in rows] == [0, 0, 0, 0, 8.0]


def test_windows_are_clipped_at_the_horizon(card: Bundle) -> None:
    kept, lost = NOON - timedelta(days=36), NOON - timedelta(days=38)
    late = NOON - timedelta(days=20)
    rows = features(
        card,
        payment(card, lost, "1.00"),
        payment(card, kept, "2.00"),
        payment(card, late, "4.00"),
        payment(card, NOON, "8.00", account="98765432104"),
        payment(card, late, "16.00"),
    )
    assert rows[2]["amt_sum_30d"] == 3.0
    assert rows[4]["amt_sum_30d"] == 2.0


def test_a_duplicate_has_no_features_and_changes_nothing(card: Bundle) -> None:
    again = payment(card, NOON, "1.00", trans_num="one")
    other_account = payment(card, NOON, "1.00", trans_num="one", account="98765432104")
    other_day = payment(card, NOON + timedelta(hours=13), "1.00", trans_num="one")
    rows = reference(card, [again, again, other_account, other_day])
    assert [row is None for row in rows] == [False, True, False, False]
    assert features(card, again, again, other_day)[1]["count_24h"] == 1


def test_distances() -> None:
    assert haversine_km(50.0, 8.0, 50.0, 8.0) == 0.0
    assert haversine_km(0, 179.5, 0, -179.5) == pytest.approx(6371.0088 * math.pi / 180, rel=1e-12)
    assert haversine_km(90, 0, -90, 0) == pytest.approx(6371.0088 * math.pi, rel=1e-12)

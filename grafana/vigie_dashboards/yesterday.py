"""Yesterday: the morning report's figures for one day, in the dashboard's span."""

from grafana_foundation_sdk.builders import barchart, dashboard, table

from .panels import (
    BLUE,
    DECISIONS,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    Look,
    Panel,
    Sql,
    bars,
    graph,
    in_column,
    in_rows,
    number,
    rows,
    spread,
    stacked,
)
from .sql import MONEY, SCORES, ZONE, variables

# The business zone's day that holds the middle of the span, or of its first day: for a viewer in that zone the day that
# was chosen, for others the one that shares the most hours with it.
MIDDLE = (
    "($__timeFrom()::timestamptz "
    "+ least(($__timeTo()::timestamptz - $__timeFrom()::timestamptz) / 2, INTERVAL '12 hours'))"
)
DAY = f"({MIDDLE} AT TIME ZONE {ZONE})::date"
OF_DAY = f"stream = $stream AND event_day = {DAY}"
REPORT = "FROM $schema.v_daily_fraud_report"


def build() -> dashboard.Dashboard:
    """The whole of it."""
    page = (
        dashboard.Dashboard("Yesterday")
        .uid("vigie-yesterday")
        .description("The day before today, as the morning report has it; another day by another span.")
        .tags(["vigie"])
        .time("now-1d/d", "now-1d/d")
        .timezone("browser")
        .readonly()
        .variables(variables())
    )
    return in_rows(
        page,
        ("The day", day_panels()),
        ("Against the days before", before_panels()),
        ("Where, and from whom", where_panels()),
        ("Nothing is missing", missing_panels()),
    )


def day_panels() -> list[Panel]:
    """The day in eight numbers."""

    def figure(title: str, says: str, look: Look, sql: str, money: str = "") -> Panel:
        query = f"SELECT {sql} AS value {REPORT} WHERE {OF_DAY}{money}"
        return number(title, says, look, Sql(query), size=(3, 4))

    blue = Look("short", steps=[(None, BLUE)])
    share = Look("percentunit", 2, steps=[(None, BLUE)])
    return [
        figure("Payments", "Scored.", blue, "sum(payments)::float8"),
        figure(
            "Amount",
            "Of all payments.",
            Look("short", 1, steps=[(None, BLUE)]),
            "sum(amount)::float8",
            f" AND {MONEY}",
        ),
        figure("Approved", "Share that was allowed.", share, "sum(allowed)::float8 / sum(payments)"),
        figure(
            "Sent to review",
            "Share.",
            Look("percentunit", 2, steps=[(None, ORANGE)]),
            "sum(reviewed)::float8 / sum(payments)",
        ),
        figure(
            "Blocked",
            "Share.",
            Look("percentunit", 2, steps=[(None, RED)]),
            "sum(blocked)::float8 / sum(payments)",
        ),
        figure(
            "Fraud, basis points",
            "Labelled payments that were fraud: 1 is one in ten thousand.",
            Look("none", 0, steps=[(None, RED)]),
            "10000 * sum(fraud)::float8 / nullif(sum(labelled), 0)",
        ),
        figure(
            "Precision",
            "Of the labelled payments that were not allowed: how many were fraud.",
            share,
            "sum(true_positives)::float8 / nullif(sum(true_positives + false_positives), 0)",
        ),
        figure(
            "Recall",
            "Of the labelled frauds: how many were not allowed.",
            share,
            "sum(true_positives)::float8 / nullif(sum(fraud), 0)",
        ),
    ]


def before_panels() -> list[Panel]:
    """What changed, and how the day went."""
    changes = f"""
        WITH days AS (
            SELECT event_day, sum(payments)::float8 AS payments, sum(allowed)::float8 AS allowed,
                   sum(reviewed)::float8 AS reviewed, sum(blocked)::float8 AS blocked, sum(fraud)::float8 AS fraud,
                   coalesce(sum(amount) FILTER (WHERE {MONEY}), 0)::float8 AS amount,
                   coalesce(sum(reviewed_amount + blocked_amount) FILTER (WHERE {MONEY}), 0)::float8 AS at_risk,
                   coalesce(sum(fraud_amount) FILTER (WHERE {MONEY}), 0)::float8 AS fraud_amount,
                   sum(alerts)::float8 AS alerts
            {REPORT} WHERE stream = $stream AND event_day BETWEEN {DAY} - 28 AND {DAY} GROUP BY event_day
        ), figures AS (
            SELECT event_day, number, figure, value
            FROM days, LATERAL (VALUES
                (1, 'Payments', payments), (2, 'Allowed', allowed), (3, 'Sent to review', reviewed),
                (4, 'Blocked', blocked), (5, 'Amount', amount), (6, 'Amount not allowed', at_risk),
                (7, 'Alerts', alerts), (8, 'Frauds by label', fraud), (9, 'Amount of these', fraud_amount)
            ) AS f (number, figure, value)
        ), compared AS (
            SELECT number, figure, sum(value) FILTER (WHERE event_day = {DAY}) AS value,
                   sum(value) FILTER (WHERE event_day = {DAY} - 1) AS before,
                   avg(value) FILTER (WHERE event_day < {DAY}) AS mean
            FROM figures GROUP BY number, figure
        )
        SELECT figure, value AS "the day", before AS "day before", value / nullif(before, 0) - 1 AS "change",
               mean AS "28-day mean", value / nullif(mean, 0) - 1 AS "change to it"
        FROM compared ORDER BY number
    """
    hours = f"""
        SELECT $__timeGroupAlias(hour, '1h'), decision AS metric, sum(payments)::float8 AS payments
        FROM $schema.v_hourly WHERE {OF_DAY} GROUP BY 1, 2 ORDER BY 1, 2
    """
    at_risk = f"""
        SELECT $__timeGroupAlias(hour, '1h'), decision AS metric, sum(amount)::float8 AS amount
        FROM $schema.v_hourly WHERE {OF_DAY} AND {MONEY} AND decision <> 'allow' GROUP BY 1, 2 ORDER BY 1, 2
    """
    changed = rows(
        "What changed",
        "Against the day before and the mean of the 28 days before, as far as there are any.",
        Look(),
        Sql(changes),
        size=(12, 8),
    )
    for column in ("the day", "day before", "28-day mean"):
        changed = in_column(changed, column, unit="locale", decimals=0)
    for column in ("change", "change to it"):
        changed = in_column(changed, column, unit="percentunit", decimals=1)
    return [
        changed,
        stacked(
            graph(
                "Payments by the hour",
                "By decision.",
                Look("short", colors=DECISIONS),
                Sql.series(hours),
                size=(6, 8),
            ),
            bars=True,
        ),
        stacked(
            graph(
                "Amounts at risk by the hour",
                "Of the payments that were not allowed.",
                Look("short", colors=DECISIONS),
                Sql.series(at_risk),
                size=(6, 8),
            ),
            bars=True,
        ),
    ]


def where_panels() -> list[Panel]:
    """Merchants, categories, countries, customers."""
    top = """
        SELECT coalesce({what}, 'unknown') AS {what}, sum(payments)::float8 AS payments,
               sum(flagged)::float8 AS "not allowed", sum(flagged_amount)::float8 AS "at risk",
               sum(fraud)::float8 AS fraud
        FROM $schema.v_daily_by_{what} WHERE {where}
        GROUP BY 1 HAVING sum(flagged) > 0 ORDER BY "at risk" DESC, 1 LIMIT 10
    """
    customers = f"""
        SELECT left(account, 8) AS account, sum(flagged)::float8 AS "not allowed",
               sum(flagged_amount)::float8 AS "at risk", max(highest_score)::float8 AS "highest score"
        FROM $schema.v_daily_by_customer WHERE {OF_DAY} AND {MONEY}
        GROUP BY account ORDER BY "at risk" DESC, 1 LIMIT 10
    """
    where = f"{OF_DAY} AND {MONEY}"
    says = "By the amount that was not allowed."
    return [
        *(
            _risk(rows(title, says, Look(), Sql(top.format(what=what, where=where)), size=(8, 8)))
            for title, what in (
                ("Merchants", "merchant"),
                ("Categories", "category"),
                ("Countries", "country"),
            )
        ),
        in_column(
            _risk(
                rows(
                    "Customers",
                    "An account is shown by the beginning of its token.",
                    Look(),
                    Sql(customers),
                    size=(8, 8),
                )
            ),
            "highest score",
            decimals=3,
        ),
        _scores(),
        _incidents(),
    ]


def missing_panels() -> list[Panel]:
    """Every record accounted for, and how late the day was."""
    consumed = f"""
        SELECT consumed::float8 AS consumed, scored::float8 AS scored, dead::float8 AS dead,
               duplicates::float8 AS duplicates, skipped::float8 AS skipped,
               (consumed - scored - dead - duplicates - skipped)::float8 AS missing
        FROM $schema.v_daily_consumed WHERE stream = $stream AND day = {DAY}
    """
    dead = f"""
        SELECT reason, sum(letters)::float8 AS letters FROM $schema.v_daily_dead_letters
        WHERE stream = $stream AND day = {DAY} GROUP BY reason ORDER BY 2 DESC
    """
    late = f"""
        WITH spread AS (
            SELECT at_most_seconds,
                   sum(sum(payments)) OVER (ORDER BY at_most_seconds) / sum(sum(payments)) OVER () AS share
            FROM $schema.v_latency_hourly WHERE {OF_DAY} GROUP BY at_most_seconds
        )
        SELECT min(at_most_seconds) FILTER (WHERE share >= 0.5) AS p50,
               min(at_most_seconds) FILTER (WHERE share >= 0.95) AS p95,
               min(at_most_seconds) FILTER (WHERE share >= 0.99) AS p99
        FROM spread
    """
    accounts = rows(
        "Every record accounted for",
        "Consumed = scored + dead + duplicates + skipped; without the canary.",
        Look(),
        Sql(consumed),
        size=(12, 6),
    )
    for column in ("consumed", "scored", "dead", "duplicates", "skipped"):
        accounts = in_column(accounts, column, unit="locale", decimals=0)
    return [
        in_column(accounts, "missing", decimals=0, steps=[(None, GREEN), (1, RED)]),
        bars(
            "Dead letters by reason",
            "Stored on the day.",
            Look("short", 0, colors={"letters": RED}),
            Sql(dead),
            size=(6, 6),
            lying=True,
        ),
        number(
            "From event to decision",
            "Half, 95 and 99 of 100 payments were decided within; of payments that were sent late, that is how late.",
            Look("s", steps=[(None, BLUE)]),
            Sql(late),
            size=(6, 6),
        ),
    ]


def _scores() -> barchart.Panel:
    sql = f"""
        SELECT to_char(score_from, 'FM0.00') AS score, sum(payments)::float8 AS payments
        FROM $schema.v_score_hourly WHERE {OF_DAY} GROUP BY score_from ORDER BY score_from
    """
    look = Look("short", colors={"payments": PURPLE})
    return spread(bars("Scores", SCORES, look, Sql(sql), size=(8, 8)))


def _incidents() -> table.Panel:
    sql = f"""
        SELECT opened_at AS "time", kind, severity, about, alerts::float8 AS alerts, amount::float8 AS "at risk"
        FROM $schema.v_incidents
        WHERE stream = $stream AND (opened_at AT TIME ZONE {ZONE})::date = {DAY}
        ORDER BY severity, opened_at DESC LIMIT 10
    """
    panel = rows("Incidents", "Opened on the day.", Look(), Sql(sql), size=(8, 8))
    return _risk(in_column(panel, "time", unit="dateTimeAsIso", width=150))


def _risk(panel: table.Panel) -> table.Panel:
    return in_column(panel, "at risk", unit="locale", decimals=2)

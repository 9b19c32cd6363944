"""Fraud: what is being stolen?"""

from grafana_foundation_sdk.builders import barchart, dashboard, table

from .panels import (
    BLUE,
    DECISIONS,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    YELLOW,
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
from .sql import DAYS, FLAGGED, HOURS, MONEY, SCORES, variables

RISK: list[tuple[float | None, str]] = [(None, GREEN), (0.5, ORANGE), (0.9, RED)]


def build() -> dashboard.Dashboard:
    """The whole of it."""
    page = (
        dashboard.Dashboard("Fraud")
        .uid("vigie-fraud")
        .description(
            "What is being stolen, where, from whom, and how well that is seen. Figures are by the hour and by the "
            "day: a span begins with a whole one."
        )
        .tags(["vigie"])
        .refresh("1m")
        .time("now-24h", "now")
        .timezone("browser")
        .readonly()
        .variables(variables())
    )
    return in_rows(
        page,
        ("What is being stolen?", now_panels()),
        ("Over time", over_time()),
        ("How well it is seen", quality_panels()),
        ("Which payments", payment_panels()),
        ("Where, and from whom", where_panels()),
    )


def now_panels() -> list[Panel]:
    """The span in eight numbers."""
    size = (3, 4)
    quality = f"FROM $schema.v_quality_hourly WHERE {HOURS}"
    return [
        number(
            "Payments",
            "Scored.",
            Look("short", steps=[(None, BLUE)]),
            Sql(f"SELECT sum(payments)::float8 AS payments FROM $schema.v_hourly WHERE {HOURS}"),
            size=size,
        ),
        number(
            "Not allowed",
            "Share of the payments that were sent to review or blocked.",
            Look("percentunit", 2, steps=[(None, ORANGE)]),
            Sql(f"""
                SELECT coalesce(sum(payments) FILTER (WHERE decision <> 'allow'), 0)::float8
                       / nullif(sum(payments), 0) AS share
                FROM $schema.v_hourly WHERE {HOURS}
            """),
            size=size,
        ),
        number(
            "Amount at risk",
            "Of the payments that were not allowed.",
            Look("short", 1, steps=[(None, ORANGE)]),
            Sql(f"""
                SELECT coalesce(sum(amount) FILTER (WHERE decision <> 'allow'), 0)::float8 AS amount
                FROM $schema.v_hourly WHERE {HOURS} AND {MONEY}
            """),
            size=size,
        ),
        number(
            "Fraud, basis points",
            "Labelled payments that were fraud, as far as labels have arrived: 1 is one in ten thousand.",
            Look("none", 0, steps=[(None, RED)]),
            Sql(f"SELECT 10000 * sum(fraud)::float8 / nullif(sum(labelled), 0) AS bp {quality}"),
            size=size,
        ),
        number(
            "Fraud that got through",
            "Amount of the labelled frauds that were allowed.",
            Look("short", 1, steps=[(None, RED)]),
            Sql(f"SELECT sum(fraud_amount - flagged_fraud_amount)::float8 AS amount {quality} AND {MONEY}"),
            size=size,
        ),
        number(
            "Precision",
            "Of the payments that were not allowed and have a label: how many were fraud.",
            Look("percentunit", 1, steps=[(None, BLUE)]),
            Sql(
                "SELECT sum(true_positives)::float8 / nullif(sum(true_positives + false_positives), 0) AS precision "
                f"{quality}"
            ),
            size=size,
        ),
        number(
            "Recall",
            "Of the labelled frauds: how many were not allowed.",
            Look("percentunit", 1, steps=[(None, BLUE)]),
            Sql(f"SELECT sum(true_positives)::float8 / nullif(sum(fraud), 0) AS recall {quality}"),
            size=size,
        ),
        number(
            "Customers exposed",
            "Accounts with a payment that was not allowed.",
            Look("short", 0, steps=[(None, ORANGE)]),
            Sql(f"SELECT count(DISTINCT account)::float8 AS accounts FROM $schema.v_daily_by_customer WHERE {DAYS}"),
            size=size,
        ),
    ]


def over_time() -> list[Panel]:
    """How it changes, by the hour or longer."""
    return [
        graph(
            "Fraud rate",
            "Share of the payments that were not allowed, and of the labelled payments that were fraud.",
            Look("percentunit", 2, colors={"not allowed": ORANGE, "labelled as fraud": RED}),
            Sql.series(f"""
                SELECT $__timeGroupAlias(hour, $__interval),
                       coalesce(sum(payments) FILTER (WHERE decision <> 'allow'), 0)::float8 / sum(payments)
                       AS "not allowed"
                FROM $schema.v_hourly WHERE {HOURS} GROUP BY 1 ORDER BY 1
            """),
            Sql.series(
                f"""
                SELECT $__timeGroupAlias(hour, $__interval), sum(fraud)::float8 / sum(labelled) AS "labelled as fraud"
                FROM $schema.v_quality_hourly WHERE {HOURS} GROUP BY 1 ORDER BY 1
                """,
                "B",
            ),
            size=(12, 8),
        ).interval("1h"),
        stacked(
            graph(
                "Amounts at risk",
                "Of the payments that were not allowed, by decision.",
                Look("short", colors=DECISIONS),
                Sql.series(f"""
                    SELECT $__timeGroupAlias(hour, $__interval), decision AS metric, sum(amount)::float8 AS amount
                    FROM $schema.v_hourly WHERE {HOURS} AND {MONEY} AND decision <> 'allow'
                    GROUP BY 1, 2 ORDER BY 1, 2
                """),
                size=(12, 8),
            ).interval("1h"),
            bars=True,
        ),
    ]


def quality_panels() -> list[Panel]:
    """The model against what became known."""
    return [
        stacked(
            graph(
                "Review and block",
                "Their shares of the payments; the rest was allowed.",
                Look("percentunit", 2, colors=DECISIONS),
                Sql.series(f"""
                    SELECT "time", decision AS metric, share FROM (
                        SELECT $__timeGroup(hour, $__interval) AS "time", decision, sum(payments)::float8
                               / sum(sum(payments)) OVER (PARTITION BY $__timeGroup(hour, $__interval)) AS share
                        FROM $schema.v_hourly WHERE {HOURS} GROUP BY 1, 2
                    ) AS mix
                    WHERE decision <> 'allow' ORDER BY 1, 2
                """),
                size=(8, 8),
            ).interval("1h"),
            bars=True,
        ),
        spread(
            bars(
                "Scores",
                SCORES,
                Look("short", colors={"payments": PURPLE}),
                Sql(f"""
                    SELECT to_char(score_from, 'FM0.00') AS score, sum(payments)::float8 AS payments
                    FROM $schema.v_score_hourly WHERE {HOURS} GROUP BY score_from ORDER BY score_from
                """),
                size=(8, 8),
            )
        ),
        graph(
            "Precision and recall",
            "By the day, against the labels that have arrived; young payments may have none yet.",
            Look("percentunit", 0, colors={"precision": BLUE, "recall": YELLOW}),
            Sql.series(f"""
                SELECT $__timeGroupAlias(hour, $__interval),
                       sum(true_positives)::float8 / nullif(sum(true_positives + false_positives), 0) AS precision,
                       sum(true_positives)::float8 / nullif(sum(fraud), 0) AS recall
                FROM $schema.v_quality_hourly WHERE {HOURS} GROUP BY 1 ORDER BY 1
            """),
            size=(8, 8),
        )
        .interval("1d")
        .max(1),
    ]


def payment_panels() -> list[Panel]:
    """The newest and the worst."""
    columns = """
        SELECT event_time AS "time", left(account, 8) AS account, merchant, category, country, amount::float8 AS amount,
               currency, score::float8 AS score, decision
    """
    newest = f"{columns} FROM $schema.v_flagged WHERE {FLAGGED} ORDER BY event_time DESC LIMIT 15"
    worst = f"{columns} FROM $schema.v_flagged WHERE {FLAGGED} ORDER BY score DESC NULLS LAST, amount DESC LIMIT 15"
    return [
        _payments(rows("Latest not allowed", "Sent to review or blocked.", Look(), Sql(newest), size=(12, 10))),
        _payments(rows("Highest risk", "By score, then by amount.", Look(), Sql(worst), size=(12, 10))),
    ]


def _payments(panel: table.Panel) -> table.Panel:
    widths = {"time": 142, "account": 68, "category": 94, "country": 58, "currency": 64, "decision": 62}
    for column, width in widths.items():
        panel = in_column(panel, column, width=width)
    panel = in_column(panel, "amount", unit="locale", decimals=2, width=66)
    return in_column(panel, "score", decimals=3, width=48, steps=RISK)


def where_panels() -> list[Panel]:
    """Merchants, categories, countries and customers."""
    risky = """
        SELECT {what}, sum(payments)::float8 AS payments, sum(flagged)::float8 AS "not allowed",
               sum(flagged)::float8 / sum(payments) AS share,
               coalesce(sum(flagged_amount) FILTER (WHERE {money}), 0)::float8 AS "at risk", sum(fraud)::float8 AS fraud
        FROM $schema.v_daily_by_{what} WHERE {days}
        GROUP BY {what} HAVING sum(flagged) > 0 ORDER BY {order} LIMIT {limit}
    """
    merchants = risky.format(what="merchant", money=MONEY, days=DAYS, order='"at risk" DESC', limit=12)
    shares = {
        what: f"""
            SELECT coalesce({what}, 'unknown') AS {what}, sum(flagged)::float8 / sum(payments) AS "not allowed"
            FROM $schema.v_daily_by_{what} WHERE {DAYS} GROUP BY 1 HAVING sum(flagged) > 0 ORDER BY 2 DESC LIMIT 12
        """
        for what in ("category", "country")
    }
    customers = f"""
        SELECT left(account, 8) AS account, sum(flagged)::float8 AS "not allowed", sum(blocked)::float8 AS blocked,
               coalesce(sum(flagged_amount) FILTER (WHERE {MONEY}), 0)::float8 AS "at risk",
               max(highest_score)::float8 AS "highest score"
        FROM $schema.v_daily_by_customer WHERE {DAYS} GROUP BY account ORDER BY "at risk" DESC LIMIT 12
    """
    incidents = """
        SELECT opened_at AS "time", kind, severity, about, alerts::float8 AS alerts, amount::float8 AS "at risk",
               currency, CASE WHEN is_open THEN 'open' ELSE 'closed' END AS state
        FROM $schema.v_incidents WHERE stream = $stream AND $__timeFilter(last_alert_at)
        ORDER BY is_open DESC, severity, last_alert_at DESC LIMIT 12
    """
    return [
        _risk(
            rows(
                "Merchants at risk",
                "By the amount that was not allowed.",
                Look(),
                Sql(merchants),
                size=(12, 9),
            )
        ),
        _shares("Categories at risk", shares["category"]),
        _shares("Countries at risk", shares["country"]),
        in_column(
            _risk(
                rows(
                    "Customers exposed",
                    "By the amount at risk; an account is shown by the beginning of its token.",
                    Look(),
                    Sql(customers),
                    size=(12, 9),
                )
            ),
            "highest score",
            decimals=3,
            steps=RISK,
        ),
        in_column(
            _risk(rows("Incidents", "What on-call was told of.", Look(), Sql(incidents), size=(12, 9))),
            "time",
            unit="dateTimeAsIso",
            width=150,
        ),
    ]


def _risk(panel: table.Panel) -> table.Panel:
    panel = in_column(panel, "at risk", unit="locale", decimals=2)
    return in_column(panel, "share", unit="percentunit", decimals=2)


def _shares(title: str, query: str) -> barchart.Panel:
    look = Look("percentunit", 1, colors={"not allowed": ORANGE})
    return bars(title, "Share of the payments that was not allowed.", look, Sql(query), size=(6, 9), lying=True)

"""What the SQL panels share: variables and filters."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import VariableModel, VariableRefresh

from .panels import POSTGRES

# In which a stream's days lie.
ZONE = "(SELECT business_zone FROM $schema.v_streams WHERE stream = $stream)"
# Of the span, for views by the hour and by the day. Hours are UTC's and a day is the business zone's, the span is the
# viewer's; at its ends whole hours and days are taken.
HOURS = (
    "stream = $stream AND hour BETWEEN date_trunc('hour', $__timeFrom()::timestamptz, 'UTC') "
    "AND $__timeTo()::timestamptz"
)
DAYS = (
    f"stream = $stream AND event_day BETWEEN ($__timeFrom()::timestamptz AT TIME ZONE {ZONE})::date "
    f"AND ($__timeTo()::timestamptz AT TIME ZONE {ZONE})::date"
)
FLAGGED = "stream = $stream AND $__timeFilter(event_time)"
# Amounts of different currencies are never added.
MONEY = "coalesce(currency, 'none') = '$currency'"
SCORES = "How many payments got which score; each step of the scale is ten times as many."


def variables() -> list[Builder[VariableModel]]:
    """Schema (a constant, which Grafana never shows), stream and currency."""
    schema = dashboard.ConstantVariable("schema").value("vigie")
    # A database without payments has something to choose as well, so that its panels are empty rather than wrong.
    streams = (
        "SELECT stream FROM (SELECT DISTINCT stream FROM $schema.v_daily_consumed) AS s "
        "UNION ALL SELECT 0 WHERE NOT EXISTS (SELECT FROM $schema.v_daily_consumed) ORDER BY 1"
    )
    currencies = (
        "SELECT coalesce(currency, 'none') FROM (SELECT currency, sum(payments) AS payments "
        "FROM $schema.v_daily_fraud_report WHERE stream = $stream GROUP BY 1 UNION ALL SELECT NULL, 0) AS c "
        "GROUP BY 1 ORDER BY sum(payments) DESC"
    )
    return [schema, _query("stream", "Stream", streams), _query("currency", "Currency", currencies)]


def _query(name: str, label: str, sql: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(label).datasource(POSTGRES).query(sql)
    return variable.refresh(VariableRefresh.ON_DASHBOARD_LOAD)

"""Operations: is it well?"""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import VariableRefresh, VariableSort

from .panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PROMETHEUS,
    PURPLE,
    RED,
    YELLOW,
    Look,
    Panel,
    graph,
    in_rows,
    now,
    nows,
    number,
    prom,
    proms,
    stacked,
)

# A processor, or all of them.
WHO = '{job="vigie", instance=~"$instance"}'
DEAD = WHO.replace("}", ', outcome="dead"}')
HELD = WHO.replace("}", ', state="held"}')
STAGES = {"poll": GREY, "decode": BLUE, "features": PURPLE, "score": ORANGE, "decide": GREEN, "commit": RED}
CALM: list[tuple[float | None, str]] = [(None, GREEN)]


def rate(metric: str, by: str = "") -> str:
    """How often a second, over all processors."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{WHO}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "", window: str = "$__rate_interval") -> str:
    """Of a histogram, over all processors."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{WHO}[{window}])))"


def build() -> dashboard.Dashboard:
    """The whole of it."""
    page = (
        dashboard.Dashboard("Operations")
        .uid("vigie-operations")
        .description("Is it well? In and out, how late, what goes wrong, whether people are told.")
        .tags(["vigie"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .readonly()
        .with_variable(instance())
    )
    return in_rows(
        page,
        ("Is it well?", now_panels()),
        ("In and out", flow_panels()),
        ("How fast", speed_panels()),
        ("What goes wrong", trouble_panels()),
        ("Are people told?", told_panels()),
        ("The processors themselves", process_panels()),
    )


def instance() -> dashboard.QueryVariable:
    """Which processors are looked at."""
    return (
        dashboard.QueryVariable("instance")
        .label("Processor")
        .datasource(PROMETHEUS)
        .query('label_values(up{job="vigie"}, instance)')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def now_panels() -> list[Panel]:
    """One number for each question that on-call asks first."""
    size = (3, 4)
    events = f"sum(increase(vigie_events_total{WHO}[10m]))"
    dead = f"sum(increase(vigie_events_total{DEAD}[10m]))"
    return [
        number(
            "Payments a second",
            "Scored, with duplicates and dead letters: what comes in.",
            Look("short", 0, steps=CALM),
            now(f"sum(rate(vigie_events_total{WHO}[1m]))"),
            size=size,
        ),
        number(
            "Oldest waiting payment",
            "How long the oldest record that was read and is not stored yet has waited.",
            Look("s", 1, steps=[(None, GREEN), (30, ORANGE), (300, RED)]),
            now(f"max(vigie_oldest_message_age_seconds{WHO})"),
            size=size,
        ),
        number(
            "99 of 100 within",
            "From the record's timestamp to its stored decision.",
            Look("s", steps=[(None, GREEN), (0.5, ORANGE), (1, RED)]),
            now(quantile(0.99, "vigie_end_to_end_seconds", window="5m")),
            size=size,
        ),
        number(
            "Dead letters, 10 min",
            "Share of the records that could not be scored.",
            Look("percentunit", 2, steps=[(None, GREEN), (0.01, ORANGE), (0.05, RED)]),
            now(f"{dead} / {events}"),
            size=size,
        ),
        number(
            "Partitions held",
            "Nothing is read from them until somebody releases them.",
            Look("short", 0, steps=[(None, GREEN), (1, RED)]),
            now(f"sum(vigie_partition_state{HELD})"),
            size=size,
        ),
        number(
            "Oldest unsent message",
            "How long a message to people has waited.",
            Look("s", steps=[(None, GREEN), (60, ORANGE), (300, RED)]),
            now(f"max(vigie_outbox_oldest_seconds{WHO})"),
            size=size,
        ),
        number(
            "Canary came through",
            "How long ago the synthetic fraud was sent that came all the way.",
            Look("s", steps=[(None, GREEN), (60, ORANGE), (120, RED)]),
            now(f"max(min by (topic) (vigie_canary_age_seconds{WHO}))"),
            size=size,
        ),
        number(
            "Open incidents",
            "Of fraud and of the system.",
            Look("short", 0, steps=[(None, GREEN), (1, ORANGE)]),
            now(f"sum(vigie_incidents_open{WHO})"),
            size=size,
        ),
    ]


def flow_panels() -> list[Panel]:
    """How much, and how late."""
    outcomes = Look("cps", colors={"scored": GREEN, "dead": RED, "duplicate": GREY, "published": BLUE})
    backfill = Look("cps", colors={"published": BLUE, "backfill": PURPLE})
    return [
        graph(
            "In and out",
            "Records by what became of them.",
            outcomes,
            *proms((rate("vigie_events_total", "outcome"), "{{outcome}}")),
            size=(9, 8),
        ),
        graph(
            "Lag in seconds",
            "Age of the oldest record that was read and is not stored yet; 0 while nothing is read.",
            Look("s"),
            prom(f"max by (instance) (vigie_oldest_message_age_seconds{WHO})", "{{instance}}"),
            size=(5, 8),
        ),
        graph(
            "Lag in records",
            "Per partition, between the next offset and the end.",
            Look("short"),
            prom(f"sum by (partition) (vigie_consumer_lag{WHO})", "{{partition}}"),
            size=(5, 8),
        ),
        graph(
            "Decisions out, and backfill",
            "Published to the output topic; payments loaded from the past.",
            backfill,
            *proms((rate("vigie_published_total"), "published"), (rate("vigie_backfill_total"), "backfill")),
            size=(5, 8),
        ),
    ]


def speed_panels() -> list[Panel]:
    """End to end, and where the time goes."""
    quantiles = {"p50": GREEN, "p95": ORANGE, "p99": RED}
    end_to_end = proms(*((quantile(float(f"0.{name[1:]}"), "vigie_end_to_end_seconds"), name) for name in quantiles))
    filled = proms(
        (f"{rate('vigie_batch_rows_sum')} / {rate('vigie_batch_rows_count')}", "mean"),
        (quantile(0.95, "vigie_batch_rows"), "p95"),
    )
    stages = [
        graph(
            f"Stages, {name}",
            "Time of one batch in each stage; poll is waiting for records.",
            Look("s", colors=STAGES),
            prom(quantile(share, "vigie_stage_seconds", "stage"), "{{stage}}"),
            size=(8, 8),
        )
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    ]
    return [
        graph(
            "End to end",
            "From the record's timestamp to its stored decision.",
            Look("s", colors=quantiles),
            *end_to_end,
            size=(12, 8),
        ),
        graph(
            "Batch fill",
            "Records in a batch; full is stream.batch_rows.",
            Look("short", colors={"mean": BLUE, "p95": PURPLE}),
            *filled,
            size=(12, 8),
        ),
        *stages,
    ]


def trouble_panels() -> list[Panel]:
    """What on-call looks at when a number is red."""
    states = {"running": GREEN, "warming": YELLOW, "paused": ORANGE, "held": RED}
    kinds = {"unavailable": ORANGE, "fenced": YELLOW, "refused": RED}
    return [
        stacked(
            graph(
                "Dead letters by reason",
                "Records that could not be scored.",
                Look("cps"),
                prom(rate("vigie_dead_letters_total", "reason"), "{{reason}}"),
                size=(8, 8),
            )
        ),
        graph(
            "Commits that failed",
            "Retried without being computed again.",
            Look("cps", colors=kinds),
            prom(rate("vigie_commit_errors_total", "kind"), "{{kind}}"),
            size=(5, 8),
        ),
        graph(
            "Decided without a score",
            "By the policy's fallback.",
            Look("cps", colors={"fallbacks": RED}),
            prom(rate("vigie_scorer_fallback_total"), "fallbacks"),
            size=(5, 8),
        ),
        stacked(
            graph(
                "Partitions by state",
                "What is done with them.",
                Look("short", 0, colors=states),
                prom(f"sum by (state) (vigie_partition_state{WHO})", "{{state}}"),
                size=(6, 8),
            )
        ),
    ]


def told_panels() -> list[Panel]:
    """From an alert to a person."""
    outbox = proms(
        (f"max(vigie_outbox_depth{WHO})", "messages"),
        (f"max(vigie_outbox_oldest_seconds{WHO})", "oldest, seconds"),
    )
    return [
        graph(
            "Outbox",
            "Messages that wait, and how long the oldest has.",
            Look("short", colors={"messages": BLUE, "oldest, seconds": ORANGE}),
            *outbox,
            size=(6, 8),
        ),
        graph(
            "Messages",
            "Sent, failed and suppressed in ten minutes, by channel.",
            Look("short"),
            prom(
                f"sum by (channel, result) (increase(vigie_messages_total{WHO}[10m]))",
                "{{channel}} {{result}}",
            ),
            size=(6, 8),
        ),
        graph(
            "Canary",
            "Age of the last synthetic fraud that came through.",
            Look("s"),
            prom(f"min by (topic) (vigie_canary_age_seconds{WHO})", "{{topic}}"),
            size=(6, 8),
        ),
        graph(
            "Incidents",
            "Opened or raised in an hour, by kind and severity.",
            Look("short"),
            prom(f"sum by (kind, severity) (increase(vigie_incidents_total{WHO}[1h]))", "{{kind}} {{severity}}"),
            size=(6, 8),
        ),
    ]


def process_panels() -> list[Panel]:
    """What they use, and what they run."""
    versions = nows(
        (f"max by (name, version) (vigie_model_info{WHO}) == 1", "model {{name}} {{version}}"),
        (f"max by (version) (vigie_policy_info{WHO}) == 1", "policy {{version}}"),
    )
    return [
        graph(
            "CPU",
            "Cores in use; counted in whole seconds, so that it takes a minute to show.",
            Look("short", 2),
            prom(f"rate(process_cpu_seconds_total{WHO}[$__rate_interval])", "{{instance}}"),
            size=(4, 7),
        ).interval("15s"),
        graph(
            "Memory",
            "Resident.",
            Look("bytes"),
            prom(f"process_resident_memory_bytes{WHO}", "{{instance}}"),
            size=(4, 7),
        ),
        graph(
            "Account histories",
            "Memory of the windows.",
            Look("bytes"),
            prom(f"sum by (instance) (vigie_velocity_bytes{WHO})", "{{instance}}"),
            size=(4, 7),
        ),
        graph(
            "Database sessions",
            "Of each processor: one per lane, and those of the notifier.",
            Look("short", 0),
            prom(f"sum by (instance) (vigie_db_sessions{WHO})", "{{instance}}"),
            size=(4, 7),
        ),
        graph(
            "HTTP",
            "Answers a second.",
            Look("reqps"),
            prom(rate("vigie_http_request_seconds_count", "route, status"), "{{route}} {{status}}"),
            size=(4, 7),
        ),
        number("Versions", "Which model and which policy decide.", Look(steps=CALM), *versions, size=(4, 7)).text_mode(
            BigValueTextMode.NAME
        ),
    ]

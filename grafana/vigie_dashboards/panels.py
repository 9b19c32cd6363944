"""The kinds of panels that the dashboards are made of, on top of Grafana's own library."""

from dataclasses import dataclass, field
from typing import Self, TypeVar

from grafana_foundation_sdk.builders import (
    barchart,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)

PROMETHEUS = DataSourceRef("prometheus", "prometheus")
POSTGRES = DataSourceRef("grafana-postgresql-datasource", "postgres")

GREEN, YELLOW, ORANGE, RED = "#73BF69", "#F2CC0C", "#FF9830", "#F2495C"
BLUE, PURPLE, GREY = "#5794F2", "#B877D9", "#8E8E8E"
DECISIONS = {"allow": GREEN, "review": ORANGE, "block": RED}

Panel = timeseries.Panel | stat.Panel | table.Panel | barchart.Panel
P = TypeVar("P", timeseries.Panel, stat.Panel, table.Panel, barchart.Panel)


@dataclass
class SqlQuery(Dataquery):
    """A query of the PostgreSQL data source, for which the library has no type."""

    raw_sql: str
    format: str
    ref_id: str

    def to_json(self) -> dict[str, object]:
        """As Grafana stores it."""
        return {
            "datasource": POSTGRES,
            "editorMode": "code",
            "format": self.format,
            "rawQuery": True,
            "rawSql": self.raw_sql,
            "refId": self.ref_id,
        }


@dataclass
class Sql(Builder[Dataquery]):
    """Builds one; `series` where the first column is the time."""

    text: str
    format: str = "table"
    ref_id: str = "A"

    @classmethod
    def series(cls, text: str, ref_id: str = "A") -> Self:
        """A query whose rows are points in time, sorted by it."""
        return cls(text, "time_series", ref_id)

    def build(self) -> SqlQuery:
        """What the dashboard keeps."""
        return SqlQuery("\n".join(line.rstrip() for line in self.text.strip().splitlines()), self.format, self.ref_id)


@dataclass
class Look:
    """What a panel's numbers are, and how they are shown."""

    unit: str = "short"
    decimals: int | None = None
    colors: dict[str, str] = field(default_factory=dict)
    # From which value on a number is shown in which colour; the first is the colour below all of them.
    steps: list[tuple[float | None, str]] = field(default_factory=list)


def prom(expression: str, legend: str = "__auto", ref_id: str = "A") -> prometheus.Dataquery:
    """A PromQL query over the dashboard's span."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref_id).range()


def now(expression: str, legend: str = "__auto", ref_id: str = "A") -> prometheus.Dataquery:
    """A PromQL query as of the span's end."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref_id).instant()


def proms(*pairs: tuple[str, str]) -> list[prometheus.Dataquery]:
    """Several, each with its legend."""
    return [prom(expression, legend, chr(ord("A") + at)) for at, (expression, legend) in enumerate(pairs)]


def nows(*pairs: tuple[str, str]) -> list[prometheus.Dataquery]:
    """The same, as of the span's end."""
    return [now(expression, legend, chr(ord("A") + at)) for at, (expression, legend) in enumerate(pairs)]


def graph(title: str, says: str, look: Look, *queries: Builder[Dataquery], size: tuple[int, int]) -> timeseries.Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(8)
        .show_points(shapes.VisibilityMode.NEVER)
        .min(0)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI))
    )
    return _finished(panel, title, says, look, queries, size)


def stacked(panel: timeseries.Panel, *, percent: bool = False, bars: bool = False) -> timeseries.Panel:
    """The same, one series upon the other."""
    mode = shapes.StackingMode.PERCENT if percent else shapes.StackingMode.NORMAL
    panel = panel.stacking(common.StackingConfig().mode(mode).group("A")).fill_opacity(60)
    return panel.draw_style(shapes.GraphDrawStyle.BARS).fill_opacity(80) if bars else panel


def number(title: str, says: str, look: Look, *queries: Builder[Dataquery], size: tuple[int, int]) -> stat.Panel:
    """The last value, large."""
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"])
    panel = (
        stat.Panel()
        .reduce_options(reduce)
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .color_mode(shapes.BigValueColorMode.VALUE)
    )
    return _finished(panel, title, says, look, queries, size)


def rows(title: str, says: str, look: Look, *queries: Builder[Dataquery], size: tuple[int, int]) -> table.Panel:
    """A table; whatever stands in a cell is shown as text."""
    return _finished(table.Panel().show_header(True), title, says, look, queries, size)


def bars(
    title: str,
    says: str,
    look: Look,
    *queries: Builder[Dataquery],
    size: tuple[int, int],
    lying: bool = False,
) -> barchart.Panel:
    """A bar per row; the first column names it."""
    way = shapes.VizOrientation.HORIZONTAL if lying else shapes.VizOrientation.VERTICAL
    panel = (
        barchart.Panel()
        .orientation(way)
        .fill_opacity(80)
        .line_width(0)
        .legend(_legend())
        .show_value(shapes.VisibilityMode.NEVER)
        .x_tick_label_spacing(100)
    )
    return _finished(panel, title, says, look, queries, size)


def spread(panel: barchart.Panel) -> barchart.Panel:
    """On a scale of powers of ten, where a few high bars would hide the low ones."""
    return panel.scale_distribution(common.ScaleDistributionConfig().type(shapes.ScaleDistribution.LOG).log(10))


def in_column(
    panel: table.Panel,
    column: str,
    unit: str | None = None,
    decimals: int | None = None,
    width: int | None = None,
    steps: list[tuple[float | None, str]] | None = None,
) -> table.Panel:
    """How one column of a table is shown; with steps, its text is coloured by them."""
    plain = {"unit": unit, "decimals": decimals, "custom.width": width}
    properties = [DynamicConfigValue(name, value) for name, value in plain.items() if value is not None]
    if steps:
        listed = [{"value": value, "color": color} for value, color in steps]
        properties.append(DynamicConfigValue("thresholds", {"mode": "absolute", "steps": listed}))
        properties.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    return panel.override_by_name(column, properties)


def _legend() -> common.VizLegendOptions:
    options = common.VizLegendOptions().show_legend(True).placement(shapes.LegendPlacement.BOTTOM)
    return options.display_mode(shapes.LegendDisplayMode.LIST).calcs([])


def _finished(
    panel: P,
    title: str,
    says: str,
    look: Look,
    queries: tuple[Builder[Dataquery], ...],
    size: tuple[int, int],
) -> P:
    panel = panel.title(title).description(says).unit(look.unit).span(size[0]).height(size[1])
    if look.decimals is not None:
        panel = panel.decimals(look.decimals)
    if look.steps:
        steps = [Threshold(value, color) for value, color in look.steps]
        panel = panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        panel = panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    elif not isinstance(panel, table.Panel):
        panel = panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    for name, color in look.colors.items():
        fixed = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})
        panel = panel.override_by_name(name, [fixed])
    sources = {isinstance(query, Sql) for query in queries}
    panel = panel.datasource(POSTGRES if sources == {True} else PROMETHEUS)
    for query in queries:
        panel = panel.with_target(query)
    return panel


def in_rows(page: dashboard.Dashboard, *rows: tuple[str, list[Panel]]) -> dashboard.Dashboard:
    """The page with these panels, row by row under their titles."""
    for title, panels in rows:
        page = page.with_row(dashboard.Row(title))
        for panel in panels:
            page = page.with_panel(panel)
    return page

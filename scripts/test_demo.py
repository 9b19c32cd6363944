#!/usr/bin/env python3
"""What the demo shows, read from a page of metrics as the processor writes it."""

import unittest

from demo_figures import Page, quantile

PAGE = """\
# HELP vigie_events_total Records by what became of them: scored, dead or duplicate.
# TYPE vigie_events_total counter
vigie_events_total{outcome="scored"} 100
vigie_events_total{outcome="dead"} 2
vigie_decisions_total{decision="allow"} 96
vigie_decisions_total{decision="block"} 1
vigie_consumer_lag{partition="0"} 7
vigie_consumer_lag{partition="11"} 1
vigie_oldest_message_age_seconds NaN
vigie_end_to_end_seconds_bucket{le="0.01"} 50
vigie_end_to_end_seconds_bucket{le="0.02"} 100
vigie_end_to_end_seconds_bucket{le="+Inf"} 100
vigie_end_to_end_seconds_sum 1.2
process_open_fds 20
"""


class Figures(unittest.TestCase):
    def test_series_are_summed_over_the_labels_that_are_not_asked_for(self) -> None:
        page = Page.parse(PAGE)
        self.assertEqual(page.total("vigie_consumer_lag"), 8)
        self.assertEqual(page.total("vigie_consumer_lag", partition="11"), 1)
        self.assertEqual(page.total("vigie_nothing"), 0)

    def test_payments_are_counted_without_the_canary(self) -> None:
        page = Page.parse(PAGE)
        self.assertEqual(page.scored, 97)
        self.assertEqual(page.events(), 99)

    def test_a_quantile_lies_within_its_bucket(self) -> None:
        latencies = Page.parse(PAGE).latencies()
        self.assertAlmostEqual(quantile(0.25, latencies, {}), 0.005)
        self.assertAlmostEqual(quantile(0.99, latencies, {}), 0.0198)

    def test_a_quantile_looks_only_at_what_came_since(self) -> None:
        before = Page.parse(PAGE).latencies()
        after = {0.01: 50.0, 0.02: 104.0, float("inf"): 104.0}
        self.assertAlmostEqual(quantile(0.5, after, before), 0.015)
        self.assertIsNone(quantile(0.5, before, before))
        self.assertIsNone(quantile(0.5, {}, {}))

    def test_beyond_the_last_bound_the_last_bound_is_said(self) -> None:
        self.assertEqual(quantile(0.99, {0.01: 0.0, float("inf"): 5.0}, {}), 0.01)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""What the demo shows, read from a page of metrics as the processor writes it; and what it does when a part fails."""

import os
import signal
import sys
import tempfile
import unittest
from pathlib import Path

from demo_figures import Page, quantile
from demo_processes import Failed, sourced, step
from demo_results import attempt
from demo_signals import Signals, Stopped

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


class Settings(unittest.TestCase):
    def test_a_stack_s_settings_are_read_whatever_its_folder_is_called(self) -> None:
        with tempfile.TemporaryDirectory(prefix="a space, a 'quote' and a $ ") as folder:
            file = Path(folder) / "env"
            file.write_text("export VIGIE_DATABASE__NAME='two words'\n")
            env = sourced(file, {"PATH": os.environ["PATH"], "KEPT": "yes"})
        self.assertEqual((env["VIGIE_DATABASE__NAME"], env["KEPT"]), ("two words", "yes"))

    def test_settings_that_are_not_there_are_a_failure(self) -> None:
        with self.assertRaises(Failed):
            sourced(Path("/nowhere/env"), {"PATH": os.environ["PATH"]})


class Leavings(unittest.TestCase):
    def test_what_could_not_be_made_is_told_and_costs_nothing_else(self) -> None:
        made = [("mails", Path("mails"))]

        def fails() -> list[tuple[str, Path]]:
            step([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ))
            return []

        problems = attempt(made, "the report", fails)
        problems += attempt(made, "the pictures", lambda: [("dashboard fraud", Path("fraud.png"))])
        self.assertEqual([name for name, _ in made], ["mails", "dashboard fraud"])
        self.assertEqual(len(problems), 1)
        self.assertIn("the report could not be made", problems[0])
        self.assertIn("exit code 3", problems[0])


class CtrlC(unittest.TestCase):
    def setUp(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.signals = Signals()
        self.signals.listen()

    def test_the_first_ends_the_payments_and_the_second_everything(self) -> None:
        self.signals.payments_flow = True
        os.kill(os.getpid(), signal.SIGINT)
        self.assertTrue(self.signals.asked)
        with self.assertRaises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)

    def test_before_the_first_payment_it_ends_everything(self) -> None:
        with self.assertRaises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
        self.assertFalse(self.signals.asked)

    def test_who_asks_otherwise_does_not_want_to_wait_for_results(self) -> None:
        self.signals.payments_flow = True
        with self.assertRaises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)

    def test_a_demo_that_is_ending_is_not_disturbed(self) -> None:
        with self.assertRaises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    unittest.main()

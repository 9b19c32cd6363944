#!/usr/bin/env python3
"""The imitation of the demo API: what it sends is, byte for byte, what the original would have sent."""

import http.client
import json
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import demo_api

SERVER = Path(__file__).with_name("demo_api.py")
HEADER = ",trans_date_trans_time," + ",".join(demo_api.COLUMNS)
# Nineteen digits, which no double holds; they fail the check that a card's number passes.
ROW = ('1,2020-06-21 12:14:25,4497913965512794051,"fraud_Berge, Kautzer and Harris",personal_care,60.16,Scott,Edwards,M,'
       '838 Amy Street,Pembroke,NC,28372,34.6902,-79.1834,14783,Television/film producer,1955-11-07,abc,34.38451,-78.621062,0')
INNER = ('{"columns":["cc_num","merchant","category","amt","first","last","gender","street","city","state","zip","lat","long",'
         '"city_pop","job","dob","trans_num","merch_lat","merch_long","is_fraud","current_time"],"index":[0],"data":'
         '[[4497913965512794051,"fraud_Berge, Kautzer and Harris","personal_care",60.16,"Scott","Edwards","M",'
         '"838 Amy Street","Pembroke","NC",28372,34.6902,-79.1834,14783,"Television\\/film producer","1955-11-07","abc",'
         '34.38451,-78.621062,0,%d]]}')
DEADLINE = 20.0


class ApiTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "rows.csv").write_text(f"{HEADER}\n{ROW}\n")
        port_file = self.folder / "port"
        server = subprocess.Popen([sys.executable, SERVER, "--rows", self.folder / "rows.csv", "--port-file", port_file,
                                   "--mode-file", self.folder / "mode"], stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        deadline = time.monotonic() + DEADLINE
        while not port_file.exists():
            self.assertIsNone(server.poll(), "the server ended while starting")
            self.assertLess(time.monotonic(), deadline, "the server did not open its port in time")
            time.sleep(0.02)
        self.port = int(port_file.read_text())

    def get(self, mode: str) -> tuple[int, str, bytes]:
        (self.folder / "mode").write_text(mode)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        self.addCleanup(connection.close)
        connection.request("GET", demo_api.PATH, headers={"accept": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()

    def test_a_row_is_a_string_that_holds_the_table(self) -> None:
        before = time.time_ns() // 1_000_000
        status, kind, body = self.get("normal")
        inner = json.loads(body)
        moment = json.loads(inner)["data"][0][-1]
        self.assertEqual((status, kind, inner), (200, "application/json", INNER % moment))
        self.assertTrue(body.startswith(b'"{\\"columns\\":[\\"cc_num\\",'))
        self.assertIn(b"Television\\\\/film", body)
        self.assertTrue(before <= moment <= time.time_ns() // 1_000_000)

    def test_the_same_row_is_the_same_for_ever(self) -> None:
        self.assertEqual(self.get("same"), self.get("same"))

    def test_a_host_that_sleeps_sends_a_page(self) -> None:
        for mode, expected in (("html200", 200), ("html503", 503)):
            status, kind, body = self.get(mode)
            self.assertEqual((status, kind), (expected, "text/html; charset=utf-8"))
            self.assertIn(b"<html>", body)

    def test_half_a_body_breaks_off(self) -> None:
        with self.assertRaises(http.client.IncompleteRead):
            self.get("half")
        with self.assertRaises(ValueError):
            json.loads(self.get("cut")[2])


if __name__ == "__main__":
    unittest.main()

"""What the signals mean that the demo is sent."""

import signal

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody asked the demo to stop at once; the argument is the signal."""


class Signals:
    """Ctrl-C while payments flow ends the payments alone, and the results follow; anything else stops at once."""

    def __init__(self) -> None:
        self.payments_flow = False
        # Whether the payments are to end.
        self.asked = False

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.arrive)
        # Started with nohup, it outlives its terminal.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self.arrive)

    def arrive(self, number: int, _frame: object) -> None:
        if number == signal.SIGINT and self.payments_flow and not self.asked:
            self.asked = True
            return
        ignore()
        raise Stopped(number)


def ignore() -> None:
    """From here on a signal finds the demo ending."""
    for number in ALL:
        signal.signal(number, signal.SIG_IGN)

"""Waiting for something to become true, with a bound and a message that says what was last seen."""
import time


def wait_until(check, timeout=30.0, what="it", interval=0.05):
    """Calls check() until it returns something true, and returns that."""
    end = time.monotonic() + timeout
    last = None
    while True:
        last = check()
        if last:
            return last
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g}s for {what}; last seen: {last!r}")
        time.sleep(interval)

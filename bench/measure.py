"""What every part of the bench uses: printing of rows, figures of processes."""
import re
import sys
from pathlib import Path


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def row(name, value, reach=""):
    print(f"{name:<70} {value:>22}  {reach}", flush=True)


def milliseconds(seconds):
    return f"{seconds * 1000:.1f} ms"


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def anonymous_kib(pid):
    return int(re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()).group(1))


def cpu_seconds(pid):
    """Of all its threads, to the nanosecond: /proc/PID/stat counts in hundredths. Threads that ended are missing; ours do not."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9

"""What every part of the bench uses: printing of rows, figures of processes."""
import os
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
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""The figures of `make bench`, measured on the real programs; the peers run in the same minute on the same machine."""
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import cache_rows  # noqa: E402
import claims  # noqa: E402
import cli  # noqa: E402
import log_rows  # noqa: E402
import raw  # noqa: E402
import runner_rows  # noqa: E402
import source_rows  # noqa: E402
from measure import anonymous_kib, milliseconds, row, say  # noqa: E402

from helpers import process, where  # noqa: E402


# ---- start -------------------------------------------------------------------------------------------------------
def start_times(folder, count, fresh):
    """Seconds from exec to the first 200 of /readyz."""
    took = []
    port = 18420 + os.getpid() % 1000
    for i in range(count):
        data = folder / (f"start{i}" if fresh else "start")
        began = time.perf_counter()
        server = subprocess.Popen([where.slipway(), "serve", "--data", data, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=process.environment(folder))
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    took.append(time.perf_counter() - began)
                    break
            except OSError:
                time.sleep(0.0005)
            finally:
                connection.close()
            if time.perf_counter() - began > 20:
                raise SystemExit("the server does not start")
        server.terminate()
        server.wait(20)
    return took


# ---- masking -----------------------------------------------------------------------------------------------------
def mask_rows():
    """One of ten secrets is a private key, the others are tokens of 40 characters."""
    say("masking")
    for secrets in (0, 10, 100):
        found = json.loads(subprocess.run([os.environ["SLIPWAY_BENCH_MASK"], str(secrets), "256"], capture_output=True, text=True, check=True).stdout)
        row(f"masking of a log by {secrets} secrets, one processor", f"{found['mask']} MB/s, with lines {found['lines']} MB/s; {found['set_ms']:.1f} ms to begin", "reach: 100 MB/s")


def main():
    folder = Path(tempfile.mkdtemp(prefix="slipway-bench-"))
    try:
        print(f"slipway of {where.build()}, {os.cpu_count()} cores, pulumi {subprocess.run([where.tools() / 'pulumi', 'version'], capture_output=True, text=True).stdout.strip()}")
        print(f"{cli.durability()}; load of the machine before: {os.getloadavg()[0]:.1f}\n")
        say("starting and stopping the server")
        row("server start to first 200, new data folder (median of 10)", milliseconds(statistics.median(start_times(folder, 10, True))))
        row("server start to first 200 (median of 20)", milliseconds(statistics.median(start_times(folder, 20, False))), "reach: 50 ms")

        server = process.Server(folder / "dev")
        time.sleep(3)
        children = [pid for pid in server.children()]
        row("idle memory, server (RssAnon)", f"{anonymous_kib(server.pid) / 1024:.1f} MB", "reach: 8 MB")
        for pid in children:
            row("idle memory, agent (RssAnon)", f"{anonymous_kib(pid) / 1024:.1f} MB", "reach: 4 MB")

        claims.rows(folder)
        print()
        source_rows.rows(folder)
        print()

        mask_rows()
        print()
        raw.rows(folder)
        print()
        log_rows.rows(folder)
        print()
        cache_rows.rows(folder)
        print()
        runner_rows.rows(folder)
        print()
        cli.rows(folder, server)
        row("idle memory after all that, server (RssAnon)", f"{anonymous_kib(server.pid) / 1024:.1f} MB")
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()

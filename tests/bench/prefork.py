#!/usr/bin/python3
"""Refreshes with rotation over HTTP, of examples/prefork: in batches of what a turn of the loop has read, or one by one.

    prefork.py PROGRAM FOLDER [--rounds 5] [--seconds 4] [--processes 4] [--connections 8,32,128]

The two take turns, on one store, so that whatever else the machine does is done to both; the figures are medians of
the rounds. wrk gives each connection a token, and its successor to the next request. Fails where a refresh does, or
does not rotate. The store is made in FOLDER, which should be on the disk that is meant.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

SPARE_TOKENS = 64  # of which no connection waits for another's
LEAST_SESSIONS = 2000
MODES = {"one by one": ["--one-by-one"], "in batches": []}
SCRIPT = pathlib.Path(__file__).parent / "http" / "refresh.lua"


def read_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=os.path.abspath)
    parser.add_argument("folder", type=os.path.abspath)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")], default=[8, 32, 128])
    return parser.parse_args()


class Server:
    """The program on a port of its own, until the end of a `with`."""

    def __init__(self, options, store, mode):
        command = [options.program, store, "--rotate-always", "--processes", str(options.processes), "--port", "0"]
        self.process = subprocess.Popen([*command, *MODES[mode]], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        if self.process.wait() != 0 and exception == (None, None, None):
            sys.exit(f"the server ended with {self.process.returncode}")

    def cpu_s(self):
        """What its processes have spent."""
        pid = self.process.pid
        spent = 0
        for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            fields = pathlib.Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            spent += int(fields[11]) + int(fields[12])
        return spent / os.sysconf("SC_CLK_TCK")


def load(server, tokens, connections, seconds):
    """wrk's figures."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(tokens) + "\n")
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", SCRIPT, server.url]
        before = server.cpu_s()
        done = subprocess.run([*command, "--", file.name, "none", "client_id=app"], capture_output=True, text=True)
        after = server.cpu_s()
    if done.returncode != 0:
        sys.exit(f"wrk: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    if told["refused"] + told["unchanged"] + told["errors"] > 0 or told["answered"] == 0:
        sys.exit(f"not every refresh was answered with another token: {told}\n{done.stderr}")
    return {
        "refreshes/s": told["requests"] * 1e6 / told["us"],
        "p50 ms": told["p50"] / 1000,
        "p99 ms": told["p99"] / 1000,
        "CPU us each": (after - before) * 1e6 / told["answered"],
    }


def issue(options, store, count):
    done = subprocess.run([options.program, store, "--issue", str(count)], stdout=subprocess.PIPE, text=True)
    tokens = done.stdout.split()
    if done.returncode != 0 or len(tokens) != count:
        sys.exit("the sessions could not be made")
    return tokens


def measure(options, store):
    """{(connections, mode): [the figures of a round]}"""
    need = options.rounds * len(MODES) * sum(n + SPARE_TOKENS for n in options.connections)
    tokens = issue(options, store, max(need, LEAST_SESSIONS))
    seen = {(n, mode): [] for n in options.connections for mode in MODES}
    for number in range(options.rounds):
        for connections in options.connections:
            for mode in list(MODES)[:: 1 if number % 2 else -1]:
                taken, tokens = tokens[: connections + SPARE_TOKENS], tokens[connections + SPARE_TOKENS :]
                with Server(options, store, mode) as server:
                    seen[connections, mode].append(load(server, taken, connections, options.seconds))
    return seen


def show(options, seen):
    print(f"examples/prefork, {options.processes} processes on {os.cpu_count()} processors, rotation at each refresh;")
    print(f"medians of {options.rounds} rounds of {options.seconds} s, and from the least to the most\n")
    print(f"connections  {'':10}  refreshes/s  {'':13}  {'p50 ms':>8}  {'p99 ms':>8}  CPU us each")
    for (connections, mode), rounds in seen.items():
        rates = [figures["refreshes/s"] for figures in rounds]
        median = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
        print(
            f"{connections:11}  {mode:10}  {median['refreshes/s']:11.0f}  {min(rates):6.0f}-{max(rates):<6.0f}  "
            f"{median['p50 ms']:8.2f}  {median['p99 ms']:8.2f}  {median['CPU us each']:11.0f}"
        )


def main():
    options = read_options()
    os.makedirs(options.folder, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="prefork-", dir=options.folder)
    try:
        show(options, measure(options, os.path.join(folder, "id")))
    finally:
        shutil.rmtree(folder)


main()

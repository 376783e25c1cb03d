# SPDX-License-Identifier: MIT
"""The server and its helpers from Python: stack_cli.mjs at the other end of two pipes; and how a file of tests runs."""

import json
import os
import pathlib
import subprocess
import sys
import time
import unittest


class Stack:
    """A running stack, and a browser without JavaScript."""

    def __init__(self, **options):
        script = pathlib.Path(__file__).with_name("stack_cli.mjs")
        self._node = subprocess.Popen([os.environ["OTOK_E2E_NODE"], str(script)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        started = self.call("start", **options)
        self.issuer, self.environment = started["issuer"], started["environment"]
        self.folder = pathlib.Path(started["folder"])

    def call(self, command, **options):
        self._node.stdin.write(json.dumps({"command": command, **options}) + "\n")
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        answer = json.loads(line) if line else {"error": "the stack has ended"}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def browse(self, url, **options):
        """What a person at a browser ends at: {"left": URL}, or a page's url, status and text."""
        return self.call("browse", url=url, **options)

    def stop(self):
        self._node.stdin.close()
        status = self._node.wait(timeout=30)
        self._node.stdout.close()
        if status:
            raise RuntimeError(f"the stack ended with {status}")


class StackCase(unittest.TestCase):
    """Tests that share a stack, started with `options`. A failure shows the log of its programs."""

    options = {}
    stack = None

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(**cls.options)
        cls.addClassCleanup(cls.stack.stop)

    def run(self, result=None):
        bad = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > bad:
            print(self.stack.call("log")["log"], flush=True)


def poll(question, seconds=30):
    """Asks about four times a second until the answer is true; that answer."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} seconds")
        time.sleep(0.25)


def main():
    """Runs the tests of the program, and ends with the summary of Check, which tests/run.sh counts."""
    tests = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(tests)
    failures, errors, checks = len(result.failures), len(result.errors), result.testsRun
    checks = max(checks, failures + errors)  # a class that does not start has run no test
    print(f"{100 * (checks - failures - errors) // max(checks, 1)}%: "
          f"Checks: {checks}, Failures: {failures}, Errors: {errors}")
    sys.exit(0 if checks and not failures and not errors else 1)

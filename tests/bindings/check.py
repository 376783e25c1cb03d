"""What the checks of the bindings share: a run that ends with the summary of Check, which tests/run.sh counts."""

import sys
import unittest


def run(module):
    """Runs the tests of a module, and returns the exit status. What Python ignores, such as an exception that leaves a
    callback, is an error too."""
    ignored = []
    sys.unraisablehook = lambda unraisable: ignored.append(unraisable.exc_value)
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(module))
    for exception in ignored:
        print(f"ignored: {exception!r}", file=sys.stderr)
    failures, errors = len(result.failures), len(result.errors) + len(ignored)
    checks = result.testsRun + len(ignored)
    print(f"{100 * (checks - failures - errors) // max(checks, 1)}%: "
          f"Checks: {checks}, Failures: {failures}, Errors: {errors}")
    return 0 if checks and not failures and not errors else 1

# SPDX-License-Identifier: Apache-2.0
"""unitmain.py RESULTS FILE: runs one test file of unittest cases and writes a line a test to RESULTS:
`ok NAME`, `fail NAME`, `skip NAME REASON`, each followed by the seconds it took. For tests/lib/runner.py."""

import faulthandler
import importlib.util
import os
import signal
import sys
import time
import unittest


class Recorder(unittest.TextTestResult):
    def __init__(self, out, *args):
        super().__init__(*args)
        self.out = out
        self.began = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def note(self, outcome, test, reason=""):
        name = getattr(test, "_testMethodName", "")
        name = "%s.%s" % (type(test).__name__, name) if name else str(test)
        self.out.write("%s\t%s\t%.1f\t%s\n" % (outcome, name, time.monotonic() - self.began, " ".join(reason.split())))
        self.out.flush()

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note("ok", test)

    def addError(self, test, err):
        super().addError(test, err)
        self.note("fail", test, self.brief(err))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note("fail", test, self.brief(err))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note("fail", test, "%s %s" % (subtest._subDescription(), self.brief(err)))

    @staticmethod
    def brief(err):
        return ("%s: %s" % (err[0].__name__, err[1])).splitlines()[0][:200]

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note("skip", test, reason)

    def addExpectedFailure(self, test, err):
        self.addError(test, err)  # there are none here: a test says what is


def main():
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # where it is, when its time is up
    results, path = sys.argv[1:]
    sys.path[:0] = [os.path.dirname(os.path.abspath(path)), os.path.dirname(os.path.abspath(__file__))]
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with open(results, "w") as out:
        try:
            spec.loader.exec_module(module)
        except unittest.SkipTest as skip:
            out.write("skip\t%s\t0.0\t%s\n" % (spec.name, skip))
            sys.exit(77)
        suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        runner = unittest.TextTestRunner(verbosity=2, resultclass=lambda *args: Recorder(out, *args))
        result = runner.run(suite)
        if not result.testsRun and not result.skipped and not result.errors:
            out.write("fail\t%s\t0.0\tno test in it\n" % spec.name)
            sys.exit(1)
    sys.exit(0 if result.wasSuccessful() else 1)


main()

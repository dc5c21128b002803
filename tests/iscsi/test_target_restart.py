# SPDX-License-Identifier: Apache-2.0
# time-limit: 180
"""A target that dies in mid-copy and comes back on the same port with the same LUNs."""

import unittest

from scenario import Copy, MIB

SIZE = 512 * MIB


class TargetRestart(Copy):
    def begin(self, extra=""):
        self.prepare(SIZE)
        self.job = self.job_of(self.attach("setting.rate_limit=%d %s" % (150 * MIB, extra)))
        self.await_percent(self.job, 15)

    def lose(self, target):
        target.kill()
        self.await_state("Partitioned")
        self.assertNotEqual(self.relationship("last_error"), "")
        return self.percent(self.job)

    def full_speed(self):
        self.write("relationships/db/settings/rate_limit", "0")

    def goes_on_by_itself(self, target):
        self.begin()
        before = self.lose(target())
        target().start()
        self.full_speed()
        self.assert_right(self.job)
        self.assertGreaterEqual(before, 15)

    def test_target_dies(self):
        self.goes_on_by_itself(lambda: self.dest)

    def test_source_dies(self):
        self.goes_on_by_itself(lambda: self.source)

    def test_three_deaths(self):
        self.begin()
        for percent, target in ((15, self.dest), (30, self.source), (45, self.dest)):
            self.await_percent(self.job, percent)
            self.lose(target)
            target.start()
            self.await_state("UnSynchronized")
        self.full_speed()
        self.assert_right(self.job)

    def test_manual_recovery(self):
        self.begin("setting.copy_recovery_mode=Manual")
        self.dest.kill()
        self.await_state("Partitioned", "Suspended")
        self.dest.start()
        self.await_state("Suspended")
        percent = self.percent(self.job)
        self.full_speed()
        self.await_that("b Online", lambda: self.read("elements/b/state") == "Online", 30)
        self.assertEqual(self.relationship("copy_state"), "Suspended", "it went on without being told to")
        self.assertEqual(self.percent(self.job), percent)
        self.write("relationships/db/operation", "Resume")
        self.assert_right(self.job)

    def test_both_die(self):
        self.begin()
        self.source.kill()
        self.lose(self.dest)
        self.source.start()
        self.dest.start()
        self.full_speed()
        self.assert_right(self.job)


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
# time-limit: 180
"""SIGKILL five times at random moments of a copy: it goes on where it was, and what was copied is not copied again."""

import unittest

from scenario import Copy, GIB, MIB, SANITIZED, scaled

KILLS = 5


class SigkillCopy(Copy):
    def read_percent(self):
        """percent_complete, which may never decrease, over restarts either."""
        now = self.percent(self.job)
        self.assertGreaterEqual(now, self.highest, "percent_complete went backwards")
        self.highest = now
        return now

    def kill_at(self, percent):
        self.await_that("%d %%" % percent, lambda: self.read_percent() >= percent, 60)
        self.assertNotEqual(self.relationship("copy_state"), "Synchronized", "too late to kill it in mid-copy")
        self.m.sigkill()
        self.m.start()
        self.assertEqual(self.relationship("sync_type"), "Mirror")
        self.read_percent()

    def run_copy(self, size, extra):
        self.prepare(size)
        self.highest = 0
        self.dest_wchar = self.dest.wchar()
        self.job = self.job_of(self.attach(extra))
        # progress is shown in steps of a checkpoint: the last of them are too near to the end to be hit
        moments = sorted(self.random.sample(range(4, min(90, 100 - 100 * 48 * MIB // size)), KILLS))
        print("killing at", moments)
        for percent in moments:
            self.kill_at(percent)
        self.await_that("the end of the copy", lambda: self.read_percent() == 100, 60)
        self.assert_right(self.job)

    def test_five_kills(self):
        size = scaled(2 * GIB)
        slow = " setting.rate_limit=%d" % (size // 5) if SANITIZED else ""  # a small LUN is copied in no time
        self.run_copy(size, "setting.verify=none" + slow)
        written = self.dest.wchar() - self.dest_wchar
        print("the target wrote %.3f times the LUN" % (written / size))
        self.assertLessEqual(written, 1.1 * size if size == 2 * GIB else 2 * size)

    def test_five_kills_with_verification(self):
        size = scaled(GIB)
        self.run_copy(size, "setting.rate_limit=%d" % (size // 5))

    def test_stop_and_start(self):
        """SIGTERM parks the job; the next start goes on with it."""
        self.prepare(512 * MIB)
        self.highest = 0
        self.job = self.job_of(self.attach("setting.rate_limit=%d" % (200 * MIB)))
        self.await_that("30 %", lambda: self.read_percent() >= 30)
        self.m.stop()
        self.m.start()
        self.assertGreaterEqual(self.read_percent(), 30)
        self.write("relationships/db/settings/rate_limit", "0")
        self.assert_right(self.job)


if __name__ == "__main__":
    unittest.main()

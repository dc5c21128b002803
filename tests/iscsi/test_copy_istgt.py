# SPDX-License-Identifier: Apache-2.0
# time-limit: 120
"""The main job on istgt: another target's view of the protocol (256 KiB segments, R2T for every write, LUN 0)."""

import unittest

from scenario import Copy, GIB, Istgt, MIB, scaled


class CopyOnIstgt(Copy):
    kind = Istgt

    def test_copy_with_verification(self):
        self.prepare(scaled(GIB))
        self.assert_right(self.job_of(self.attach()))
        self.assertEqual(self.relationship("percent_synced"), "100")

    def test_target_killed_and_back(self):
        self.prepare(scaled(GIB))
        job = self.job_of(self.attach("setting.rate_limit=%d" % (200 * MIB)))
        self.await_percent(job, 20)
        self.dest.kill()
        self.await_state("Partitioned", "Broken")
        self.dest.start()
        self.write("relationships/db/settings/rate_limit", "0")
        self.assert_right(job)


if __name__ == "__main__":
    unittest.main()

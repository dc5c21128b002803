# SPDX-License-Identifier: Apache-2.0
# time-limit: 60
"""How much memory one running copy takes."""

import re
import unittest

from scenario import Copy, GIB, MIB, SANITIZED


@unittest.skipIf(SANITIZED, "figures of a sanitizer build say nothing")
class Memory(Copy):
    def test_one_copy(self):
        self.prepare(2 * GIB)
        self.attach("wait_for_copy_state=Synchronized timeout=60")
        with open("/proc/%d/status" % self.m.pid) as f:
            peak = int(re.search(r"VmHWM:\s+(\d+) kB", f.read()).group(1)) << 10
        print("VmHWM %.1f MiB" % (peak / MIB))
        self.assertLessEqual(peak, 64 * MIB)


if __name__ == "__main__":
    unittest.main()

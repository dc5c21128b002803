# SPDX-License-Identifier: Apache-2.0
# time-limit: 150
# run-alone
"""A portal that swallows: nothing of the tree may wait for it, and a copy goes on when it answers again."""

import os
import stat
import time
import unittest

from scenario import Copy, MIB, SANITIZED
from targets import Proxy

LIMIT = 1.0 if SANITIZED else 0.1


class BlackHole(Copy):
    def timed(self, what, action, *args):
        began = time.monotonic()
        result = action(*args)
        took = time.monotonic() - began
        self.assertLess(took, LIMIT, "%s took %.3f s" % (what, took))
        return result

    def read_whole(self, path):
        with open(path, "rb") as f:
            return f.read()

    def walk_and_read(self):
        """Every entry looked up, every folder listed, every readable attribute read; each within the limit."""
        files, folders = 0, [self.m.path]
        while folders:
            folder = folders.pop()
            for name in self.timed("ls " + folder, os.listdir, folder):
                path = os.path.join(folder, name)
                info = self.timed("stat " + path, os.lstat, path)
                if stat.S_ISDIR(info.st_mode):
                    folders.append(path)
                elif stat.S_ISREG(info.st_mode) and info.st_mode & 0o444 and name != "data":
                    self.timed("cat " + path, self.read_whole, path)
                    files += 1
        return files

    def through_proxy(self):
        self.source_file = self.random_file("source", 256 * MIB)
        self.target_file = self.blank_file("target", 256 * MIB)
        self.source, self.dest = self.target(self.source_file), self.target(self.target_file)
        self.proxy = Proxy(self.dest.port)
        self.proxy.start()
        self.addCleanup(self.proxy.stop)
        self.mount()
        self.add("a", self.source.url())
        self.add("b", self.dest.url().replace(":%d/" % self.dest.port, ":%d/" % self.proxy.port))

    def test_attributes_answer_while_the_network_swallows(self):
        self.through_proxy()
        job = self.job_of(self.attach("setting.rate_limit=%d" % (64 * MIB)))
        self.await_percent(job, 10)
        self.proxy.hole()
        for _ in range(3):
            self.assertGreater(self.walk_and_read(), 60)
            time.sleep(0.5)
        self.await_state("Partitioned", "Broken", seconds=60)
        self.assertGreater(self.walk_and_read(), 60)
        self.proxy.cut()
        self.proxy.open()
        self.write("relationships/db/settings/rate_limit", "0")
        self.assert_right(job)

    def test_target_that_stops_answering(self):
        """tgtd stopped in mid-copy: Partitioned with the reason; goes on by itself when it answers again."""
        self.prepare(256 * MIB)
        job = self.job_of(self.attach("setting.rate_limit=%d" % (64 * MIB)))
        self.await_percent(job, 10)
        self.dest.pause()
        try:
            self.walk_and_read()
            self.await_state("Partitioned", "Broken", seconds=60)
            self.assertIn("b", self.relationship("last_error"))
        finally:
            self.dest.resume()
        self.write("relationships/db/settings/rate_limit", "0")
        self.assert_right(job)


if __name__ == "__main__":
    unittest.main()

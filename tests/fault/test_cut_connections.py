# SPDX-License-Identifier: Apache-2.0
# time-limit: 120
"""Connections that break again and again in mid-copy, to either side: every break is got over by itself, and what
arrives is right."""

import time
import unittest

from scenario import Copy, MIB
from targets import Proxy

SIZE = 256 * MIB
CUTS = 6


class CutConnections(Copy):
    def behind_proxy(self, target):
        proxy = Proxy(target.port)
        proxy.start()
        self.addCleanup(proxy.stop)
        return proxy, target.url().replace(":%d/" % target.port, ":%d/" % proxy.port)

    def begin(self, extra=""):
        self.source_file = self.random_file("source", SIZE)
        self.target_file = self.blank_file("target", SIZE)
        source, dest = self.target(self.source_file), self.target(self.target_file)
        self.proxies = []
        self.mount()
        for name, target in (("a", source), ("b", dest)):
            proxy, url = self.behind_proxy(target)
            self.proxies.append(proxy)
            self.add(name, url)
        self.job = self.job_of(self.attach("setting.rate_limit=%d %s" % (40 * MIB, extra)))

    def reconnects(self):
        return [int(self.read("elements/%s/statistics" % name).split("reconnects=")[1].split()[0]) for name in "ab"]

    def test_cuts_on_both_sides(self):
        self.begin()
        for i in range(CUTS):
            self.await_percent(self.job, 8 * (i + 1))
            before = sum(self.reconnects())
            self.proxies[i % 2].cut()
            self.await_that("the reconnection", lambda: sum(self.reconnects()) > before, 20)
            self.await_state("UnSynchronized", seconds=20)
        self.write("relationships/db/settings/rate_limit", "0")
        self.assert_right(self.job)
        self.assertEqual(self.relationship("mismatch_count"), "0")

    def test_storm(self):
        """Cuts at random moments, whatever is going on."""
        self.begin()
        for _ in range(20):
            time.sleep(self.random.uniform(0, 0.2))
            self.random.choice(self.proxies).cut()
        self.write("relationships/db/settings/rate_limit", "0")
        self.assert_right(self.job)

    def test_stop_while_cut_off(self):
        """The daemon ends cleanly while a side is away, and goes on at its next start."""
        self.begin()
        self.await_percent(self.job, 10)
        self.proxies[1].hole()
        self.proxies[1].cut()
        self.await_state("Partitioned", "Broken", seconds=30)
        self.m.stop()
        self.m.start()
        self.assertIn(self.relationship("copy_state"), ("Partitioned", "UnSynchronized", "Broken"))
        self.assertGreaterEqual(self.percent(self.job), 5)
        self.proxies[1].cut()
        self.proxies[1].open()
        self.write("relationships/db/settings/rate_limit", "0")
        self.assert_right(self.job)


if __name__ == "__main__":
    unittest.main()

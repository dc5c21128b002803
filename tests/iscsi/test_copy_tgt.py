# SPDX-License-Identifier: Apache-2.0
# time-limit: 120
"""The main job on tgtd: LUN to LUN, verified, through the tree."""

import os
import unittest

from scenario import Copy, GIB, MIB, Scenario, blank_file, scaled


class FullCopy(Copy):
    size = scaled(2 * GIB)

    def test_copy_with_verification(self):
        self.prepare(self.size)
        self.assertEqual(self.read("elements/a/state"), "Online")
        self.assertEqual(int(self.read("elements/a/size")), self.size)
        self.assertEqual(int(self.read("elements/a/block_size")), 512)
        reply = self.attach()
        self.assertEqual(reply["return_value"], "4096")
        self.assertEqual(reply["synchronization"], "relationships/db")
        job = self.job_of(reply)
        seen = [0]

        def on():
            seen.append(self.percent(job))
            return self.relationship("copy_state") == "Synchronized"

        self.await_that("the end of the copy", on)
        self.assertEqual(seen, sorted(seen), "percent_complete went backwards")
        self.assert_right(job)
        self.assertEqual(int(self.read(job + "/bytes_total")), self.size)
        self.assertEqual(self.relationship("percent_synced"), "100")
        self.assertEqual(self.relationship("sync_type"), "Mirror")
        self.assertEqual(self.relationship("mode"), "Synchronous")
        self.assertEqual(self.relationship("pending_bytes"), "0")
        self.assertEqual(self.relationship("target_consistent"), "1")
        self.assertEqual(os.readlink(os.path.join(self.m.path, "relationships/db/job")).split("/")[-1], job.split("/")[-1])


class SmallCopy(Copy):
    def test_request_that_waits(self):
        self.prepare(256 * MIB)
        reply = self.attach("wait_for_copy_state=Synchronized timeout=60")
        self.assertIn(reply["return_value"], ("0", "4096"))
        self.assertEqual(self.relationship("copy_state"), "Synchronized")
        self.assert_copied(self.source_file, self.target_file)

    def test_every_copy_type(self):
        self.prepare(32 * MIB)
        for copy_type, sync_type in (("Async", "Mirror"), ("Sync", "Mirror"), ("UnSyncAssoc", "Clone")):
            with self.subTest(copy_type=copy_type):
                blank_file(self.target_file, 32 * MIB)
                reply = self.attach("force=1", copy_type=copy_type)
                self.assertEqual(self.relationship("sync_type"), sync_type)
                self.assert_right(self.job_of(reply))
                self.write("relationships/db/operation", "Detach force=1")
                self.assertEqual(os.listdir(os.path.join(self.m.path, "relationships")), [])

    def test_clone_that_ends_its_association(self):
        self.prepare(32 * MIB)
        self.attach("wait_for_copy_state=Synchronized timeout=60", copy_type="UnSyncUnAssoc")
        self.await_that("the association gone", lambda: not os.listdir(os.path.join(self.m.path, "relationships")), 10)
        self.assert_copied(self.source_file, self.target_file)

    def test_without_verification(self):
        self.prepare(64 * MIB)
        self.assert_right(self.job_of(self.attach("setting.verify=none")))
        self.assertEqual(self.read("relationships/db/settings/verify"), "none")

    def test_blocks_of_4096_bytes(self):
        self.prepare(64 * MIB, block_size=4096)
        self.assertEqual(self.read("elements/b/block_size"), "4096")
        self.assert_right(self.job_of(self.attach()))

    def test_odd_size(self):
        """A LUN that ends within a region and within a transfer."""
        self.prepare(33 * MIB + 5 * 512)
        self.assert_right(self.job_of(self.attach()))

    def test_larger_target(self):
        self.prepare(16 * MIB, target_size=24 * MIB)
        self.attach("wait_for_copy_state=Synchronized timeout=60")
        with open(self.source_file, "rb") as a, open(self.target_file, "rb") as b:
            self.assertEqual(a.read(), b.read(16 * MIB))
            self.assertEqual(b.read().strip(b"\0"), b"")


class ThinCopy(Scenario):
    def test_holes_of_a_thin_source(self):
        """What is unmapped on the source arrives as zeros over a target full of other data."""
        size = 256 * MIB
        source = self.blank_file("source", size)
        with open(source, "r+b") as f:
            for offset in range(0, size, 32 * MIB):
                f.seek(offset + self.random.randrange(0, 16 * MIB, 4096))
                f.write(os.urandom(3 * MIB + 4096))
        target = self.random_file("target", size)
        a, b = self.target(source, thin=True), self.target(target, thin=True)
        self.mount()
        self.add("a", a.url())
        self.add("b", b.url())
        self.attach("wait_for_copy_state=Synchronized timeout=100 force=1")
        self.assert_copied(source, target)


if __name__ == "__main__":
    unittest.main()

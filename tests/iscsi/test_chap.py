# SPDX-License-Identifier: Apache-2.0
# time-limit: 120
"""CHAP, one way and both ways, on both targets; and no secret to be seen anywhere."""

import errno
import os
import tempfile
import unittest

from scenario import Istgt, MIB, Scenario, Tgtd

SECRET, MUTUAL, WRONG = "verysecret-12", "mutualsecret3", "wrongsecret-4"


class Chap:
    kind = None

    def setUp(self):
        super().setUp()
        self.mount()

    def guarded(self, *account):
        target = self.kind(folder=tempfile.mkdtemp(prefix="t", dir=self.tmp))
        target.chap(*account)
        target.add_lun(self.blank_file("lun", 16 * MIB))
        return self.start_target(target)

    def no_secret_to_be_seen(self):
        for folder, _, files in os.walk(self.m.path):
            for name in files:
                path = os.path.join(folder, name)
                if name == "data" or os.path.islink(path):
                    continue
                try:
                    with open(path, "rb") as f:
                        text = f.read()
                except OSError as err:
                    self.assertEqual(err.errno, errno.EACCES, path)
                    continue
                for secret in (SECRET, MUTUAL, WRONG):
                    self.assertNotIn(secret.encode(), text, path)
        with open("/proc/%d/cmdline" % self.m.pid, "rb") as f:
            self.assertNotIn(SECRET.encode(), f.read())

    def test_one_way(self):
        target = self.guarded("anna", SECRET)
        self.add("a", target.url(), username="anna", password=SECRET)
        self.assertEqual(self.read("elements/a/state"), "Online")
        self.no_secret_to_be_seen()

    def test_wrong_secret(self):
        target = self.guarded("anna", SECRET)
        message = self.refused(errno.EACCES, ["elements?[ /]a", "username", "password"],
                               lambda: self.add("a", target.url(), username="anna", password=WRONG))
        self.assertNotIn(WRONG, message)
        self.assertEqual(self.read("elements/a/url"), "")
        self.no_secret_to_be_seen()
        self.write("elements/a/password", SECRET)
        self.write("elements/a/url", target.url())
        self.assertEqual(self.read("elements/a/state"), "Online")

    def test_no_secret_given(self):
        target = self.guarded("anna", SECRET)
        self.refused(errno.EACCES, ["elements?[ /]a", "username"], self.add, "a", target.url())

    def test_both_ways(self):
        target = self.guarded("anna", SECRET, "store", MUTUAL)
        self.add("a", target.url(), username="anna", password=SECRET, target_username="store", target_password=MUTUAL)
        self.assertEqual(self.read("elements/a/state"), "Online")
        self.no_secret_to_be_seen()

    def test_target_cannot_prove_itself(self):
        target = self.guarded("anna", SECRET, "store", MUTUAL)
        self.refused(errno.EACCES, ["elements?[ /]a", "target_password"], lambda: self.add(
            "a", target.url(), username="anna", password=SECRET, target_username="store", target_password=WRONG))

    def test_secret_survives_a_restart_of_the_daemon(self):
        target = self.guarded("anna", SECRET)
        self.add("a", target.url(), username="anna", password=SECRET)
        self.m.stop()
        self.m.start()
        self.await_that("a Online", lambda: self.read("elements/a/state") == "Online", 15)
        self.no_secret_to_be_seen()

    def test_set_takes_all_in_one_request(self):
        target = self.guarded("anna", SECRET)
        os.mkdir(os.path.join(self.m.path, "elements/a"))
        self.write("elements/a/set", "username=anna password=%s url=%s" % (SECRET, target.url()))
        self.assertEqual(self.read("elements/a/state"), "Online")
        self.no_secret_to_be_seen()


class ChapOnTgtd(Chap, Scenario):
    kind = Tgtd


class ChapOnIstgt(Chap, Scenario):
    kind = Istgt


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
# time-limit: 150
"""Targets that say late, or in the words of newer standards, what became of the data: the copy must not end in step and
different."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pduproxy import DATA_IN, RESPONSE, PduProxy, check_condition, sense
from scenario import Copy, MIB

SIZE = 64 * MIB
RATE = 32 * MIB
BLOCK = 512
HIT = 40  # the write at which it happens: some have been acknowledged and read back, few or none are flushed
WRITE16, SYNC10, SYNC16, SERVICE_IN = 0x8A, 0x35, 0x91, 0x9E
READ_CAPACITY16, GET_LBA_STATUS = 0x10, 0x12
MEDIUM_ERROR, UNIT_ATTENTION = 3, 6


def is_service(cdb, action):
    return cdb[0] == SERVICE_IN and cdb[1] & 0x1F == action


class LyingTarget(Copy):
    def setUp(self):
        super().setUp()
        self.writes = []  # offsets, in order of their answers

    def prepare_behind(self, which, command, answer):
        """Two targets; that of element `which` answers through a proxy."""
        self.source_file = self.random_file("source", SIZE)
        self.target_file = self.blank_file("target", SIZE)
        self.source, self.dest = self.target(self.source_file, thin=True), self.target(self.target_file, thin=True)
        self.mount()
        for name, target in (("a", self.source), ("b", self.dest)):
            url = target.url()
            if name == which:
                proxy = PduProxy(target.port, command, answer)
                self.addCleanup(proxy.stop)
                url = url.replace(":%d/" % target.port, ":%d/" % proxy.port)
            self.add(name, url)

    def spoil(self, offset):
        """What was acknowledged there and only in the cache is gone."""
        with open(self.target_file, "r+b") as f:
            f.seek(offset)
            f.write(b"\xee" * 65536)
        self.spoiled = offset

    def test_lba_status_of_sbc4(self):
        """3 is mapped (or unknown), not unmapped: the source's data is read."""
        changed = []

        def command(cdb):
            return "lba" if is_service(cdb, GET_LBA_STATUS) else None

        def answer(_, header, data, length):
            if header[0] & 0x3F != DATA_IN:
                return None
            for at in range(8, length - 15, 16):
                if data[at + 12] & 15 == 0:
                    data[at + 12] = 3
                    changed.append(at)
            return header, data

        self.prepare_behind("a", command, answer)
        self.attach()
        self.assert_right()
        self.assertTrue(changed)

    def test_deferred_error(self):
        """The medium lost a write that was acknowledged a moment ago; this comes with the answer to another one."""
        def command(cdb):
            return int.from_bytes(cdb[2:10], "big") * BLOCK if cdb[0] == WRITE16 else None

        def answer(offset, header, _data, _length):
            if header[0] & 0x3F != RESPONSE:
                return None
            self.writes.append(offset)
            if len(self.writes) != HIT:
                return None
            self.spoil(self.writes[-3])
            return check_condition(header, sense(MEDIUM_ERROR, 0x0C, 0x02, deferred=True))

        self.prepare_behind("b", command, answer)
        self.attach("setting.rate_limit=%d" % RATE)
        self.assert_right()
        self.assertGreater(self.writes.count(self.spoiled), 1)

    def test_deferred_errors_for_ever(self):
        """Every flush brings one: nothing is gained, so the pair fails and says why; it does not flap for ever."""
        flushes = []

        def command(cdb):
            return "flush" if cdb[0] in (SYNC10, SYNC16) else None

        def answer(_, header, _data, _length):
            flushes.append(1)
            return check_condition(header, sense(MEDIUM_ERROR, 0x0C, 0x02, deferred=True))

        self.prepare_behind("b", command, answer)
        self.attach()
        self.await_state("Broken", seconds=90)
        self.assertRegex(self.relationship("last_error"), "lost writes it had acknowledged, 5 times")
        self.assertGreaterEqual(len(flushes), 5)

    def test_reset_told_to_read_capacity(self):
        """A capacity change makes the capacity be read again, and that command hears of the reset that lost the
        cache."""
        told = []

        def command(cdb):
            if cdb[0] == WRITE16:
                return int.from_bytes(cdb[2:10], "big") * BLOCK
            return "capacity" if is_service(cdb, READ_CAPACITY16) and len(self.writes) >= HIT else None

        def answer(tag, header, _data, _length):
            if tag == "capacity":
                if told:
                    return None
                told.append(1)
                self.spoil(self.writes[-3])
                return check_condition(header, sense(UNIT_ATTENTION, 0x29, 0))
            if header[0] & 0x3F != RESPONSE:
                return None
            self.writes.append(tag)
            return check_condition(header, sense(UNIT_ATTENTION, 0x2A, 0x09)) if len(self.writes) == HIT else None

        self.prepare_behind("b", command, answer)
        self.attach("setting.rate_limit=%d" % RATE)
        self.assert_right()
        self.assertTrue(told)
        self.assertGreater(self.writes.count(self.spoiled), 1)


if __name__ == "__main__":
    unittest.main()

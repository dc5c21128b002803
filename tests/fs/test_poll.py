# SPDX-License-Identifier: Apache-2.0
"""Rule 6 and the events: poll(2) wakes on change, and only then."""

import errno
import json
import os
import re
import select
import threading
import time
import unittest

from fsbase import FsCase, LIMIT, MIB, SLOWER

SOON = 20000 * SLOWER  # milliseconds


class Poll(FsCase):
    def poller(self, path, wanted=select.POLLIN):
        fd = os.open(self.at(path), os.O_RDONLY)
        self.addCleanup(self.close, fd)
        poll = select.poll()
        poll.register(fd, wanted)
        return fd, poll

    def test_copy_state(self):
        job = self.slow_copy()
        fd, poll = self.poller("relationships/db/copy_state")
        self.assertEqual(os.read(fd, 100), b"UnSynchronized\n")
        self.assertEqual(poll.poll(300), [])
        timer = threading.Timer(0.2, self.m.write, ("relationships/db/operation", "Suspend"))
        timer.start()
        self.assertEqual(poll.poll(SOON), [(fd, select.POLLIN)])
        timer.join()
        self.m.wait_for(lambda: self.m.read("relationships/db/copy_state") == "Suspended", LIMIT)
        self.assertEqual(os.pread(fd, 100, 0), b"Suspended\n")
        self.assertEqual(poll.poll(100), [])
        self.m.write("relationships/db/operation", "Resume")
        self.assertTrue(poll.poll(SOON))
        self.assertTrue(job)

    def test_job(self):
        job = self.slow_copy(16 * MIB)
        state, state_poll = self.poller(job + "/job_state")
        percent, percent_poll = self.poller(job + "/percent_complete")
        self.m.write("relationships/db/settings/rate_limit", str(16 * MIB))
        self.assertTrue(percent_poll.poll(SOON))
        seen = [int(os.pread(percent, 10, 0))]
        while seen[-1] < 100:
            self.assertTrue(percent_poll.poll(SOON), seen)
            seen.append(int(os.pread(percent, 10, 0)))
        self.assertEqual(seen, sorted(seen))
        while os.pread(state, 100, 0) != b"Completed\n":
            self.assertTrue(state_poll.poll(SOON))

    def test_events(self):
        fd, poll = self.poller("events")
        self.assertTrue(poll.poll(SOON), "there is history to be read")
        history = self.read_all(fd)
        self.assertEqual(poll.poll(200), [])
        self.two_elements()
        self.attach()
        self.assertTrue(poll.poll(SOON))
        more = self.read_all(fd)
        while '"copy_state":"Synchronized"' not in more:  # the last line may come after the answer
            self.assertTrue(poll.poll(SOON))
            more += self.read_all(fd)
        lines = [json.loads(line) for line in (history + more).splitlines()]
        self.assertEqual([line["seq"] for line in lines], list(range(1, len(lines) + 1)))
        self.assertIn("relationships/db", [line.get("object") for line in lines])
        self.assertEqual(os.stat(self.at("events")).st_size, len(history + more))
        with open(self.at("events"), encoding="utf-8") as f:
            self.assertTrue(f.read().startswith(history + more))

    def test_gone(self):
        self.two_elements()
        job = self.attach()["job"]
        fd, poll = self.poller(job + "/job_state")
        os.read(fd, 100)
        self.assertEqual(poll.poll(100), [])
        timer = threading.Timer(0.2, os.rmdir, (self.at(job),))
        timer.start()
        events = poll.poll(SOON)
        timer.join()
        self.assertTrue(events and events[0][1] & select.POLLHUP)

    def test_always_ready(self):
        self.element("a")
        for path in ("README", "elements/a/size", "status.json", "service/attach_replica"):
            _, poll = self.poller(path)
            self.assertTrue(poll.poll(0), path)
        fd = self.write_fd("elements/a/url")
        _, ready, _ = select.select([], [fd], [], 0)
        self.assertEqual(ready, [fd])

    def test_many_pollers(self):
        self.slow_copy()
        pollers = [self.poller("relationships/db/copy_state") for _ in range(100)]
        began = time.monotonic()
        threads = [threading.Thread(target=p.poll, args=(SOON,)) for _, p in pollers]
        for t in threads:
            t.start()
        self.m.write("relationships/db/operation", "Suspend wait_for_copy_state=Suspended timeout=30")
        for t in threads:
            t.join()
        self.assertLess(time.monotonic() - began, 15 * SLOWER)


class Documents(FsCase):
    def test_status(self):
        job = self.slow_copy()
        self.m.wait_for(lambda: int(self.m.read(job + "/bytes_done")) > 0, LIMIT, "the first bytes")
        text = self.m.read("status")
        self.assertRegex(text, r"(?m)^db : a -> b  Mirror/Synchronous  UnSynchronized")
        self.assertRegex(text, r"(?m)\[=*>?\.*\] +\d+\.\d% \(\d+/64 MiB\) \d+ MiB/s eta (\d+:\d\d|\?) .* " + job + "$")
        self.m.write(job + "/request_state_change", "Terminate")

    def test_status_order(self):
        """What is broken comes first, then by name; a refused request is no illness."""
        for name in "zam":
            for side in "st":
                self.element(name + side, 64 * MIB)
            self.m.call("service/attach_replica", "source=%ss target=%st copy_type=Sync name=%s setting.rate_limit=%d "
                        "setting.verify=none setting.detect_zeroes=0" % (name, name, name, MIB))

        def order():
            text = self.m.read("status")
            return re.findall(r"(?m)^(\w+) : ", text), re.findall(r"(?m)^elements/(\w+) : ", text)

        self.assertEqual(order(), (["a", "m", "z"], []))
        self.refused(errno.EBUSY, self.m.write, "relationships/a/operation", "Resume")
        self.assertNotIn("error:", self.m.read("status"))
        self.m.stop()
        for name in ("zs", "ms"):
            os.rename(os.path.join(self.tmp, name + ".img"), os.path.join(self.tmp, name + ".away"))
        self.m.start()
        self.m.wait_for(lambda: self.m.read("relationships/z/copy_state") == "Partitioned" ==
                        self.m.read("relationships/m/copy_state"), 15, "the missing volumes noticed")
        self.assertEqual(order(), (["m", "z", "a"], ["ms", "zs"]), self.m.read("status"))

    def test_json(self):
        self.two_elements()
        job = self.attach()["job"]
        document = json.loads(self.m.read("status.json"))
        element = document["elements"][0]
        self.assertEqual((element["name"], element["size"], element["state"]), ("a", MIB, "Online"))
        self.assertEqual(element["relationships"], ["relationships/db"])
        relationship = document["relationships"][0]
        self.assertEqual((relationship["source"], relationship["target"], relationship["job"]),
                         ("elements/a", "elements/b", job))
        self.assertEqual(relationship["copy_state"], "Synchronized")
        self.assertEqual(relationship["percent_synced"], 100)
        self.assertEqual(relationship["settings"]["verify"], "copied")
        self.assertEqual(document["jobs"][0]["percent_complete"], 100)
        self.assertEqual(document["generation"], document["service"]["generation"])
        files = set(os.listdir(self.at("elements/a"))) - {"password", "target_password", "set", "wait"}
        self.assertEqual(set(element) - {"name"}, files)
        files = set(os.listdir(self.at("relationships/db"))) - {"operation", "wait"}
        self.assertEqual(set(relationship) - {"name"}, files)

    def test_json_follows(self):
        for i in range(20):
            os.mkdir(self.at("elements/e%d" % i))
            self.assertEqual(len(json.loads(self.m.read("status.json"))["elements"]), i + 1)

    def test_json_odd_bytes(self):
        self.element("a")
        self.refused(errno.EINVAL, self.m.write, "elements/a/username", "\udcff\udcfe")
        self.m.write("elements/a/username", "tab\there \u00fc\u2028 \\\"")
        self.assertIn("tab", json.loads(self.m.read("status.json"))["elements"][0]["username"])


if __name__ == "__main__":
    unittest.main()

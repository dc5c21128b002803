# SPDX-License-Identifier: Apache-2.0
"""A portal in front of another one that understands iSCSI well enough to change answers: what real targets say only when
their hardware fails."""

import socket
import struct
import threading

COMMAND, RESPONSE, DATA_IN = 0x01, 0x21, 0x25
HEADER = 48


def receive(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def receive_pdu(sock):
    """Header, additional headers, data with its padding, the data's length."""
    header = receive(sock, HEADER)
    length = int.from_bytes(header[5:8], "big")
    return bytearray(header), receive(sock, header[4] * 4), bytearray(receive(sock, (length + 3) & ~3)), length


def sense(key, asc, ascq, deferred=False):
    """Fixed format."""
    return bytes([0x71 if deferred else 0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0])


def check_condition(header, data):
    """A SCSI Response made of another answer's header: CHECK CONDITION with this sense data."""
    header = bytearray(header)
    if header[0] & 0x3F == DATA_IN:
        header[20:24] = b"\xff" * 4  # of a transfer tag; reserved here
    header[0], header[1], header[2], header[3] = RESPONSE, 0x80, 0, 2
    segment = struct.pack(">H", len(data)) + data
    header[5:8] = len(segment).to_bytes(3, "big")
    header[36:48] = b"\0" * 12
    return header, segment + b"\0" * (-len(segment) % 4)


class PduProxy:
    """command(cdb) returns a tag for the commands whose answers answer(tag, header, data, length) is to see; this
    returns (header, data) to have them changed, or None."""

    def __init__(self, upstream, command, answer):
        self.upstream, self.command, self.answer = upstream, command, answer
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.listener.close()
        for sock in self.sockets:
            self._end(sock)

    @staticmethod
    def _end(sock):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.upstream))
            except OSError:
                client.close()
                continue
            tags = {}
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sockets.append(sock)
            for relay in (self._to_target, self._to_initiator):
                threading.Thread(target=self._run, args=(relay, client, server, tags), daemon=True).start()

    def _run(self, relay, client, server, tags):
        try:
            while True:
                relay(client, server, tags)
        except (EOFError, OSError):
            self._end(client)
            self._end(server)

    def _to_target(self, client, server, tags):
        header, extra, data, _ = receive_pdu(client)
        if header[0] & 0x3F == COMMAND:
            tag = self.command(bytes(header[32:48]))
            if tag is not None:
                tags[bytes(header[16:20])] = tag
        server.sendall(bytes(header) + extra + bytes(data))

    def _to_initiator(self, client, server, tags):
        header, extra, data, length = receive_pdu(server)
        op, task = header[0] & 0x3F, bytes(header[16:20])
        if op in (RESPONSE, DATA_IN) and task in tags:
            changed = self.answer(tags[task], header, data, length)
            if op == RESPONSE or header[1] & 1:
                del tags[task]
            if changed:
                header, data = changed
        client.sendall(bytes(header) + extra + bytes(data))

"""Messages as bytes: four bytes with the length, little-endian, then as many bytes of JSON."""

import json
import os
import struct
import sys

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 20


class WireError(Exception):
    """The conversation with the host broke."""


class Link:
    """Both directions of the conversation."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer

    @classmethod
    def of_process(cls):
        """Takes the process's standard input and output. What is printed from now on goes to the standard error, which is the host's log."""
        reader = os.fdopen(os.dup(0), "rb")
        writer = os.fdopen(os.dup(1), "wb")
        sys.stdout.flush()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        # Below Python too: libraries in C print as well.
        os.dup2(2, 1)
        return cls(reader, writer)

    def read(self):
        """The next message, or None when the host has ended."""
        prefix = self._reader.read(4)
        if not prefix:
            return None
        if len(prefix) < 4:
            raise WireError("the message ended within its length")
        (length,) = struct.unpack("<I", prefix)
        if length > MAX_MESSAGE_BYTES:
            raise WireError(f"a message of {length} bytes; {MAX_MESSAGE_BYTES} are allowed")
        body = self._reader.read(length)
        if len(body) < length:
            raise WireError(f"the message ended after {len(body)} of {length} bytes")
        try:
            message = json.loads(body)
        except ValueError as error:
            raise WireError(f"not a message: {error}") from error
        if not isinstance(message, dict):
            raise WireError("not a message: no object")
        return message

    def write(self, kind, **fields):
        """Sends a message."""
        body = json.dumps({"type": kind, **fields}, allow_nan=False).encode()
        if len(body) > MAX_MESSAGE_BYTES:
            raise WireError(f"a message of {len(body)} bytes; {MAX_MESSAGE_BYTES} are allowed")
        try:
            self._writer.write(struct.pack("<I", len(body)) + body)
            self._writer.flush()
        except OSError as error:
            raise WireError(f"the pipe broke: {error}") from error

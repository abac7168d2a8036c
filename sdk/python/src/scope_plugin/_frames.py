"""Pictures in files that the host has open too: packed 8-bit RGB rows from the top."""

import os

import numpy as np


class Picture:
    """A picture of a chunk."""

    def __init__(self, array, captured_at_us):
        #: ``uint8`` of shape ``(height, width, 3)``, RGB.
        self.array = array
        #: When it was captured, in microseconds on the host's clock.
        self.captured_at_us = captured_at_us


class InputFile:
    """Pictures from the host."""

    def __init__(self, path):
        self._file = os.open(path, os.O_RDONLY)

    def read(self, about):
        height, width = about["height"], about["width"]
        size = height * width * 3
        pixels = bytearray(size)
        view = memoryview(pixels)
        done = 0
        while done < size:
            read = os.preadv(self._file, [view[done:]], about["offset"] + done)
            if read == 0:
                raise OSError("the file of pictures ended too early")
            done += read
        array = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        return Picture(array, about["captured_at_us"])


class OutputFile:
    """Places for pictures for the host."""

    def __init__(self, about):
        self._file = os.open(about["path"], os.O_WRONLY)
        self.slots = about["slots"]
        self._slot_bytes = about["slot_bytes"]

    def write(self, slot, array):
        pixels = memoryview(array).cast("B")
        if len(pixels) > self._slot_bytes:
            raise ValueError(f"a picture of {len(pixels)} bytes; {self._slot_bytes} are possible")
        done = 0
        while done < len(pixels):
            done += os.pwrite(self._file, pixels[done:], slot * self._slot_bytes + done)


def as_rgb(array):
    """A picture as the host wants it: values are 0 to 255, rounded if they are not integers; grey becomes RGB."""
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"a picture has the shape (height, width, 3), not {array.shape}")
    if array.dtype != np.uint8:
        # nan is black, so that it is seen.
        array = np.clip(np.nan_to_num(np.rint(array), nan=0.0), 0, 255).astype(np.uint8)
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array)

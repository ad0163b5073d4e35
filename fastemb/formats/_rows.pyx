"""Rows of a file, read one by one without the GIL."""

from libc.stdint cimport int64_t, uint8_t
from posix.types cimport off_t
from posix.unistd cimport pread


def read_rows(int descriptor, int64_t place, const int64_t[::1] rows, int64_t num_rows, uint8_t[:, ::1] out):
    """Read rows of a table in a file, whose first byte is at `place`, into the lines of `out`.

    Raises
    ------
    IndexError
        If a row is not in ``[0, num_rows)``.
    OSError
        If the file ends before, or cannot be read.
    """
    cdef Py_ssize_t i, done, got, size = out.shape[1]
    cdef int64_t bad = -1
    if rows.shape[0] != out.shape[0]:
        raise ValueError(f"out must have {rows.shape[0]} lines, got {out.shape[0]}")
    if size == 0 or rows.shape[0] == 0:
        return
    for i in range(rows.shape[0]):
        if not 0 <= rows[i] < num_rows:
            raise IndexError(f"rows must be in [0, {num_rows}), got {rows[i]}")
    with nogil:
        for i in range(rows.shape[0]):
            done = 0
            while done < size:
                got = pread(descriptor, &out[i, done], size - done, <off_t>(place + rows[i] * size + done))
                if got <= 0:
                    break
                done += got
            if done < size:
                bad = rows[i]
                break
    if bad >= 0:
        raise OSError(f"row {bad} cannot be read: was the file cut off?")

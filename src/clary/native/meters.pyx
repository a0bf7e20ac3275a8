# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Latencies in microseconds, counted by buckets of equal ratio."""

from libc.math cimport INFINITY, log2

cdef enum:
    STEPS = 8  # buckets for each doubling
    BUCKETS = 400  # up to 2⁵⁰ µs


cdef class Latencies:
    """See ``serving.meter``."""

    cdef readonly long long count
    cdef readonly double total
    cdef readonly double low
    cdef readonly double high
    cdef unsigned int _buckets[BUCKETS]

    def __cinit__(self):
        self.low = INFINITY

    def add(self, double seconds) -> None:
        """Count one."""
        cdef double micros = seconds * 1e6
        cdef int bucket = 0
        self.count += 1
        self.total += micros
        if micros < self.low:
            self.low = micros
        if micros > self.high:
            self.high = micros
        if micros > 1:
            bucket = min(<int> (log2(min(micros, 1e15)) * STEPS), BUCKETS - 1)
        self._buckets[bucket] += 1

    @property
    def buckets(self) -> dict[int, int]:
        """How many are in each bucket that has any."""
        cdef int i
        return {i: self._buckets[i] for i in range(BUCKETS) if self._buckets[i]}

# cython: language_level=3, boundscheck=False, wraparound=False
"""Requests for InvokeEndpoint, and containers' answers, that came in one piece, as nearly all do: read without a call for
each header.

What is unusual in any way is left to the parser of HTTP that reads all the others.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp


cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int milliseconds)
    short POLLIN


cdef enum:
    MOST = 48  # headers of a request
    LONGEST = 64  # bytes of a header's name

cdef bytes _LENGTH = b"content-length", _CONNECTION = b"connection"
cdef frozenset _UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"))


cdef inline bint _same(bytes known, const char *text, Py_ssize_t size) noexcept:
    return PyBytes_GET_SIZE(known) == size and memcmp(PyBytes_AS_STRING(known), text, size) == 0


cdef class Reader:
    """Reads requests. Consecutive ones look alike: the texts of the last one are taken where they are the same."""

    cdef list _names  # as they were written, at each place
    cdef list _lower
    cdef list _values
    cdef bytes _url

    def __cinit__(self):
        self._names = [b""] * MOST
        self._lower = [b""] * MOST
        self._values = [b""] * MOST
        self._url = b""

    def read(self, bytes data not None) -> tuple[bytes, dict[bytes, bytes], bytes] | None:
        """URL, headers (names in lower case) and body of a POST on a connection that stays; None for anything else."""
        cdef const char *p = PyBytes_AS_STRING(data)
        cdef const char *end = p + PyBytes_GET_SIZE(data)
        cdef const char *line
        cdef Py_ssize_t size
        if end - p < 64 or memcmp(p, b"POST ", 5) != 0:
            return None
        p += 5
        line = <const char *> memchr(p, c"\r", end - p)
        if line == NULL or line - p < 10 or line + 1 == end or memcmp(line - 9, b" HTTP/1.1\r\n", 11) != 0:
            return None
        size = line - 9 - p
        if memchr(p, c" ", size) != NULL:
            return None
        if not _same(self._url, p, size):
            self._url = PyBytes_FromStringAndSize(p, size)
        headers = {}
        p = self._headers(line + 2, end, headers)
        return None if p == NULL else (self._url, headers, PyBytes_FromStringAndSize(p, end - p))

    def answer(self, bytes data not None) -> tuple[int, dict[bytes, bytes], bytes] | None:
        """Status, headers and body of an answer that comes with a body on a connection that stays; None for anything else."""
        cdef const char *p = PyBytes_AS_STRING(data)
        cdef const char *end = p + PyBytes_GET_SIZE(data)
        cdef const char *line
        cdef int status
        if end - p < 17 or memcmp(p, b"HTTP/1.1 ", 9) != 0 or p[12] != c" ":
            return None
        if not (c"2" <= p[9] <= c"5" and c"0" <= p[10] <= c"9" and c"0" <= p[11] <= c"9"):
            return None
        status = 100 * (p[9] - c"0") + 10 * (p[10] - c"0") + (p[11] - c"0")
        line = <const char *> memchr(p, c"\r", end - p)
        if status == 204 or status == 304 or line == NULL or line + 1 == end or line[1] != c"\n":
            return None
        if not _plain(p, line):
            return None
        headers = {}
        p = self._headers(line + 2, end, headers)
        return None if p == NULL else (status, headers, PyBytes_FromStringAndSize(p, end - p))

    cdef const char *_headers(self, const char *p, const char *end, dict headers) except? NULL:
        """Read headers; where the body begins, which is all that follows, or NULL when they are not usual ones."""
        cdef const char *stop
        cdef const char *line
        cdef const char *colon
        cdef Py_ssize_t length = -1
        cdef int place = 0
        cdef bytes name, value
        while True:
            line = <const char *> memchr(p, c"\r", end - p)
            if line == NULL or line + 1 == end or line[1] != c"\n":
                return NULL
            if line == p:
                p += 2
                break
            colon = <const char *> memchr(p, c":", line - p)
            if colon == NULL or place == MOST:
                return NULL
            if not _same(<bytes> self._names[place], p, colon - p) and not self._learn(place, p, colon - p):
                return NULL
            name = <bytes> self._lower[place]
            p, stop = colon + 1, line
            while p < stop and (p[0] == c" " or p[0] == c"\t"):
                p += 1
            while stop > p and ((stop - 1)[0] == c" " or (stop - 1)[0] == c"\t"):
                stop -= 1
            value = <bytes> self._values[place]
            if not _same(value, p, stop - p):
                if not _plain(p, stop):
                    return NULL
                value = PyBytes_FromStringAndSize(p, stop - p)
                self._values[place] = value
            if name in headers:
                return NULL
            headers[name] = value
            place += 1
            if name == _LENGTH:
                if not 0 < stop - p < 9:
                    return NULL
                length = 0
                while p < stop:
                    if not c"0" <= p[0] <= c"9":
                        return NULL
                    length = length * 10 + (p[0] - c"0")
                    p += 1
            elif name == _CONNECTION:
                if value.lower() != b"keep-alive":
                    return NULL
            p = line + 2
        return p if length == end - p else NULL

    cdef bint _learn(self, int place, const char *text, Py_ssize_t size) except -1:
        """Note a header's name at a place; False when it is no usual one."""
        cdef Py_ssize_t i
        if not 0 < size <= LONGEST:
            return False
        for i in range(size):
            if not (c"a" <= text[i] <= c"z" or c"A" <= text[i] <= c"Z" or c"0" <= text[i] <= c"9" or text[i] == c"-"):
                return False
        name = PyBytes_FromStringAndSize(text, size)
        if name.lower() in _UNUSUAL:
            return False
        self._names[place] = name
        self._lower[place] = name.lower()
        return True


cdef bint _plain(const char *p, const char *stop) noexcept:
    """Whether a value has no control characters."""
    while p < stop:
        if <unsigned char> p[0] < 32 and p[0] != c"\t" or p[0] == 127:
            return False
        p += 1
    return True


def quiet(int fd) -> bool:
    """Whether there is nothing to be read from a descriptor, not even its end."""
    cdef pollfd asked
    asked.fd, asked.events, asked.revents = fd, POLLIN, 0
    return poll(&asked, 1, 0) == 0

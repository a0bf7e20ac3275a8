# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Rows of plain numbers through trees: text to floats, floats to margins, margins to text.

Every function gives the very bits that its counterpart in Python gives, or says that it cannot.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, strlen


cdef extern from "Python.h":
    double PyOS_string_to_double(const char *s, char **endptr, PyObject *overflow_exception) except? -1.0
    char *PyOS_double_to_string(double val, char format_code, int precision, int flags, int *ptype) except NULL
    int Py_DTSF_ADD_DOT_0


cdef extern from "<math.h>" nogil:
    float expf(float x)


cdef struct Node:
    float limit
    int32_t feature
    int32_t left  # the right one follows it; a leaf leads to itself, for nothing is at or above its limit, NaN
    float value


cdef enum:
    SIDE_BY_SIDE = 16  # trees walked at a time: a processor follows several chains of loads at once


cdef class Trees:
    """A forest's nodes. What it is given must be a forest: children inside the table, features below ``width``."""

    cdef Node *_nodes
    cdef int32_t *_roots
    cdef int32_t *_depths  # of each group of trees
    cdef Py_ssize_t _count
    cdef readonly Py_ssize_t width

    def __cinit__(
        self,
        const float[::1] limits not None,
        const Py_ssize_t[::1] features not None,
        const Py_ssize_t[::1] lefts not None,
        const float[::1] values not None,
        const Py_ssize_t[::1] roots not None,
        const Py_ssize_t[::1] depths not None,
        Py_ssize_t width,
    ):
        cdef Py_ssize_t i, size = limits.shape[0], trees = roots.shape[0]
        if not (features.shape[0] == lefts.shape[0] == values.shape[0] == size and depths.shape[0] == trees):
            raise ValueError("a forest's columns differ in length")
        for i in range(size):
            if not (0 <= features[i] < width and 0 <= lefts[i] < size and (lefts[i] == i or lefts[i] + 1 < size)):
                raise ValueError(f"node {i} leads outside the forest")
        for i in range(trees):
            if not 0 <= roots[i] < size:
                raise ValueError(f"tree {i} lies outside the forest")
        groups = (trees + SIDE_BY_SIDE - 1) // SIDE_BY_SIDE
        self._nodes = <Node *> PyMem_Malloc(max(size, 1) * sizeof(Node))
        self._roots = <int32_t *> PyMem_Malloc(max(trees, 1) * sizeof(int32_t))
        self._depths = <int32_t *> PyMem_Malloc(max(groups, 1) * sizeof(int32_t))
        if self._nodes == NULL or self._roots == NULL or self._depths == NULL:
            raise MemoryError
        for i in range(size):
            self._nodes[i] = Node(limits[i], <int32_t> features[i], <int32_t> lefts[i], values[i])
        for i in range(trees):
            self._roots[i] = <int32_t> roots[i]
            if i % SIDE_BY_SIDE == 0 or depths[i] > self._depths[i // SIDE_BY_SIDE]:
                self._depths[i // SIDE_BY_SIDE] = <int32_t> depths[i]
        self._count, self.width = trees, width

    def __dealloc__(self):
        PyMem_Free(self._nodes)
        PyMem_Free(self._roots)
        PyMem_Free(self._depths)

    def margins(self, const float[:, ::1] rows not None, float base, float[::1] sums not None) -> None:
        """For each row (no missing values) the base and the leaves, added in float32 one tree after another."""
        if rows.shape[1] != self.width or sums.shape[0] < rows.shape[0]:
            raise ValueError(f"rows of {rows.shape[1]} columns for a forest of {self.width}")
        cdef Py_ssize_t r
        with nogil:
            for r in range(rows.shape[0]):
                sums[r] = self._walk(&rows[r, 0], base)

    def chances(self, float[::1] margins not None) -> None:
        """Margins to probabilities, in place: ``Sigmoid`` of xgboost's ``src/common/math.h``."""
        cdef Py_ssize_t i
        cdef float one = 1, least = <float> 1e-16, most = <float> 88.7, power
        for i in range(margins.shape[0]):
            power = -margins[i]
            power = expf(most if power > most else power)
            margins[i] = one / (power + one + least)

    cdef float _walk(self, const float *row, float total) noexcept nogil:
        cdef int32_t at[SIDE_BY_SIDE]
        cdef Py_ssize_t first, i, beside
        cdef int32_t level
        cdef const Node *nodes = self._nodes
        cdef const Node *node
        first = 0
        while first < self._count:
            beside = min(<Py_ssize_t> SIDE_BY_SIDE, self._count - first)
            for i in range(beside):
                at[i] = self._roots[first + i]
            for level in range(self._depths[first // SIDE_BY_SIDE]):
                for i in range(beside):
                    node = nodes + at[i]
                    at[i] = node.left + (row[node.feature] >= node.limit)
            for i in range(beside):
                total += nodes[at[i]].value
            first += SIDE_BY_SIDE
        return total


cdef double _TENS[23]
for _i in range(23):
    _TENS[_i] = float(10**_i)


cdef inline bint _digit(const char *p, const char *end) noexcept:
    return p < end and c"0" <= p[0] <= c"9"


cdef bint _number(const char **text, const char *end, double *value) except -1:
    """Read one number as JSON spells them; the value is right once it is a float. False when there is none."""
    cdef const char *p = text[0]
    cdef const char *start = p
    cdef bint minus = p < end and p[0] == c"-", down
    cdef uint64_t digits = 0
    cdef int seen = 0, scale = 0, power = 0
    if minus:
        p += 1
    if p < end and p[0] == c"0":
        p += 1
        if _digit(p, end):
            return False
    elif _digit(p, end):
        while _digit(p, end):
            digits = digits * 10 + (p[0] - c"0")
            seen += 1
            p += 1
    else:
        return False
    if p < end and p[0] == c".":
        p += 1
        if not _digit(p, end):
            return False
        while _digit(p, end):
            digits = digits * 10 + (p[0] - c"0")
            seen += digits != 0
            scale -= 1
            p += 1
    if p < end and (p[0] == c"e" or p[0] == c"E"):
        p += 1
        down = p < end and p[0] == c"-"
        if p < end and (p[0] == c"+" or p[0] == c"-"):
            p += 1
        if not _digit(p, end):
            return False
        while _digit(p, end):
            if power < 10000:
                power = power * 10 + (p[0] - c"0")
            p += 1
        scale += -power if down else power
    text[0] = p
    cdef uint64_t bits
    if seen <= 19 and -22 <= scale <= 22:
        # Up to 15 digits are an exact double, as is the power: one operation rounds once (Clinger, 1990). Up to 19 make it three
        # roundings, at most two units off in the last place: which float is next is not changed by that, unless the double is
        # as near to the middle of two floats (its lower 29 bits are then near to 1 << 28).
        value[0] = digits * _TENS[scale] if scale >= 0 else digits / _TENS[-scale]
        memcpy(&bits, value, sizeof(bits))
        if seen <= 15 or (1e-37 < value[0] and ((bits & 0x1FFFFFFF) < 0xFFFFFF0 or (bits & 0x1FFFFFFF) > 0x10000010)):
            if minus and not (digits == 0 and p - start == 2):  # an integer has but one zero
                value[0] = -value[0]
            return True
    cdef bytes token = PyBytes_FromStringAndSize(start, p - start)
    cdef char *stop
    value[0] = PyOS_string_to_double(PyBytes_AS_STRING(token), &stop, NULL)
    return stop == PyBytes_AS_STRING(token) + (p - start)


cdef bint _row(const char *p, const char *end, float[:, ::1] rows, Py_ssize_t at) except -1:
    """One line of comma-separated plain numbers into ``rows[at]``; False for anything else."""
    cdef Py_ssize_t column, columns = rows.shape[1]
    cdef double value
    for column in range(columns):
        while p < end and p[0] == c" ":
            p += 1
        if not _number(&p, end, &value) or not -3.4e38 < value < 3.4e38:
            return False
        rows[at, column] = <float> value
        while p < end and p[0] == c" ":
            p += 1
        if column < columns - 1:
            if p == end or p[0] != c",":
                return False
            p += 1
    while p < end and (p[0] == c"\r" or p[0] == c"\n"):
        p += 1
    return columns > 0 and p == end


def read_row(bytes body not None, float[:, ::1] rows not None, Py_ssize_t at) -> bool:
    """One line of comma-separated plain numbers into ``rows[at]``; False when the body is anything else."""
    if not 0 <= at < rows.shape[0]:
        raise IndexError(at)
    cdef const char *text = PyBytes_AS_STRING(body)
    return _row(text, text + PyBytes_GET_SIZE(body), rows, at)


cdef Py_ssize_t _line(float value, char *out) except -1:
    """A value as Python writes it, and the end of the line, into 32 bytes; its length."""
    cdef char *text = PyOS_double_to_string(value, c"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    cdef Py_ssize_t size = strlen(text)
    if size > 31:
        size = 31
    memcpy(out, text, size)
    PyMem_Free(text)
    out[size] = c"\n"
    return size + 1


cdef inline uint32_t _read(const unsigned char *at) noexcept:
    return at[0] | <uint32_t> at[1] << 8 | <uint32_t> at[2] << 16 | <uint32_t> at[3] << 24


cdef inline char *_put(char *at, uint32_t value) noexcept:
    at[0], at[1], at[2], at[3] = <char> value, <char> (value >> 8), <char> (value >> 16), <char> (value >> 24)
    return at + 4


def answers(
    const unsigned char[::1] data not None,
    Py_ssize_t at,
    Py_ssize_t size,
    bytes head not None,
    bytes said not None,
    Trees trees not None,
    float base,
    bint logistic,
    float[:, ::1] rows not None,
    float[::1] margins not None,
) -> bytes | None:
    """The message that answers a message (``serving.frames``) of plain rows that all have one head; ``said`` is the head of
    each answer. None for a message of anything else, or with more requests than there are ``rows``.
    """
    cdef Py_ssize_t count, i, width = PyBytes_GET_SIZE(head), said_size = PyBytes_GET_SIZE(said), length, total
    cdef const unsigned char *lengths
    cdef const char *text
    if at < 0 or size < 2 or at + size > data.shape[0]:
        return None
    count = data[at] | <Py_ssize_t> data[at + 1] << 8
    if not 0 < count <= min(rows.shape[0], margins.shape[0]) or 2 + 8 * count > size:
        return None
    lengths, total = &data[at] + 2, 2 + 8 * count
    for i in range(2 * count):
        total += _read(lengths + 4 * i)
    if total != size:
        return None
    text = <const char *> lengths + 8 * count
    for i in range(count):
        length = _read(lengths + 8 * i + 4)
        if _read(lengths + 8 * i) != <uint32_t> width or memcmp(text, PyBytes_AS_STRING(head), width) != 0:
            return None
        text += width
        if not _row(text, text + length, rows, i):
            return None
        text += length
    trees.margins(rows[:count], base, margins)
    if logistic:
        trees.chances(margins[:count])
    cdef char *made = <char *> PyMem_Malloc(6 + count * (8 + said_size + 32))
    if made == NULL:
        raise MemoryError
    try:
        out = made + 6 + 8 * count
        for i in range(count):
            memcpy(out, PyBytes_AS_STRING(said), said_size)
            length = _line(margins[i], out + said_size)
            _put(_put(made + 6 + 8 * i, <uint32_t> said_size), <uint32_t> length)
            out += said_size + length
        _put(made, <uint32_t> (out - made - 4))
        made[4], made[5] = <char> count, <char> (count >> 8)
        return PyBytes_FromStringAndSize(made, out - made)
    finally:
        PyMem_Free(made)


def write(const float[::1] values not None, Py_ssize_t count) -> list[bytes]:
    """The first ``count`` values as lines of text, each as Python writes a float."""
    cdef char line[32]
    cdef Py_ssize_t i, size
    if count > values.shape[0]:
        raise IndexError(count)
    lines = []
    for i in range(count):
        size = _line(values[i], line)
        lines.append(PyBytes_FromStringAndSize(line, size))
    return lines

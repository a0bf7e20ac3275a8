# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Points through random cut trees: down to a leaf, and up again as long as boxes do not hold the point.

``algorithms/randomcutforest/forest.py`` has the formulas, and does the same for all points at once with numpy.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport log2


cdef enum:
    NONE = -1


cdef inline float _beyond(float low, float value, float high) noexcept nogil:
    """How far outside of its bounds a value is."""
    cdef float below = low - value, above = value - high
    return (below if below > 0 else 0) + (above if above > 0 else 0)


cdef class Cuts:
    """The nodes of all trees, of one array each, as in ``forest.Forest``. Children lie behind their parents."""

    cdef const int[::1] _roots, _left, _right, _parent, _depth, _dimension, _mass
    cdef const float[::1] _cut
    cdef const float[:, ::1] _low, _high
    cdef double *_reach  # the sum of a box's sides
    cdef readonly Py_ssize_t width

    def __cinit__(
        self,
        const int[::1] roots not None,
        const int[::1] left not None,
        const int[::1] right not None,
        const int[::1] parent not None,
        const int[::1] depth not None,
        const int[::1] dimension not None,
        const float[::1] cut not None,
        const int[::1] mass not None,
        const float[:, ::1] low not None,
        const float[:, ::1] high not None,
    ):
        cdef Py_ssize_t i, k, size = left.shape[0], width = low.shape[1]
        cdef double reach
        if not (
            right.shape[0] == parent.shape[0] == depth.shape[0] == dimension.shape[0] == cut.shape[0] == size
            and mass.shape[0] == low.shape[0] == high.shape[0] == size
            and high.shape[1] == width
        ):
            raise ValueError("a forest's columns differ in length")
        for i in range(size):
            if not (
                (left[i] == right[i] == NONE or (i < left[i] < size and i < right[i] < size))
                and NONE <= parent[i] < i
                and 0 <= dimension[i] < width
                and depth[i] >= 0
                and mass[i] > 0
            ):
                raise ValueError(f"node {i} leads outside the forest")
        for i in range(roots.shape[0]):
            if not 0 <= roots[i] < size:
                raise ValueError(f"tree {i} lies outside the forest")
        self._reach = <double *> PyMem_Malloc(max(size, 1) * sizeof(double))
        if self._reach == NULL:
            raise MemoryError
        for i in range(size):
            reach = 0
            for k in range(width):
                reach += high[i, k] - low[i, k]
            self._reach[i] = reach
        self._roots, self._left, self._right, self._parent = roots, left, right, parent
        self._depth, self._dimension, self._cut, self._mass = depth, dimension, cut, mass
        self._low, self._high, self.width = low, high, width

    def __dealloc__(self):
        PyMem_Free(self._reach)

    def add(self, const float[:, ::1] points not None, double[::1] sums not None) -> None:
        """Add what each tree says of each point: how odd it is."""
        if points.shape[1] != self.width or sums.shape[0] < points.shape[0]:
            raise ValueError(f"points of {points.shape[1]} columns for a forest of {self.width}")
        cdef Py_ssize_t r, t
        with nogil:
            for t in range(self._roots.shape[0]):  # a tree's boxes stay in the processor's cache for all points
                for r in range(points.shape[0]):
                    sums[r] += self._score(&points[r, 0], self._roots[t])

    cdef double _score(self, const float *point, int node) noexcept nogil:
        cdef double total = self._mass[node], score, apart
        while self._left[node] != NONE:
            node = self._left[node] if point[self._dimension[node]] <= self._cut[node] else self._right[node]
        if self._is(point, node):
            score = (1 - self._mass[node] / (2 * total)) / (self._depth[node] + log2(self._mass[node] + 1.0))
        else:
            score = 1.0 / (self._depth[node] + 1)
        while self._parent[node] != NONE:
            node = self._parent[node]
            apart = self._separated(point, node)
            score = apart / (self._depth[node] + 1) + (1 - apart) * score
            if apart <= 0:  # boxes further up hold the point too
                break
        return score * log2(total + 1)

    cdef bint _is(self, const float *point, int node) noexcept nogil:
        cdef Py_ssize_t k
        for k in range(self.width):
            if point[k] != self._low[node, k]:
                return False
        return True

    cdef double _separated(self, const float *point, int node) noexcept nogil:
        cdef const float *low = &self._low[node, 0]
        cdef const float *high = &self._high[node, 0]
        cdef Py_ssize_t k
        cdef double added, whole
        cdef double sums[4]  # of every fourth side each: no sum waits for the one before
        sums[0] = sums[1] = sums[2] = sums[3] = 0
        for k in range(0, self.width - 3, 4):
            sums[0] += _beyond(low[k], point[k], high[k])
            sums[1] += _beyond(low[k + 1], point[k + 1], high[k + 1])
            sums[2] += _beyond(low[k + 2], point[k + 2], high[k + 2])
            sums[3] += _beyond(low[k + 3], point[k + 3], high[k + 3])
        added = (sums[0] + sums[1]) + (sums[2] + sums[3])
        for k in range(self.width & ~3, self.width):
            added += _beyond(low[k], point[k], high[k])
        whole = self._reach[node] + added
        return added / whole if whole > 0 else 0

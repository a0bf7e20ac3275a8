# cython: language_level=3, boundscheck=False, wraparound=False
"""Messages between the front and replicas, as ``serving.frames`` describes them, and the texts around an answer."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy


cdef inline char *_put(char *at, bytes text) noexcept:
    memcpy(at, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return at + PyBytes_GET_SIZE(text)


cdef inline char *_number(char *at, uint32_t value) noexcept:
    at[0], at[1], at[2], at[3] = <char> value, <char> (value >> 8), <char> (value >> 16), <char> (value >> 24)
    return at + 4


cdef inline uint32_t _read(const unsigned char *at) noexcept:
    return at[0] | <uint32_t> at[1] << 8 | <uint32_t> at[2] << 16 | <uint32_t> at[3] << 24


def pack(items) -> bytes:
    """One message of heads and bodies."""
    cdef Py_ssize_t size = 2, count = len(items)
    cdef bytes head, body
    if count > 0xFFFF:
        raise ValueError(f"{count} items in one message")
    for head, body in items:
        if head is None or body is None:
            raise TypeError("an item has no head or no body")
        size += 8 + PyBytes_GET_SIZE(head) + PyBytes_GET_SIZE(body)
    if size > 0xFFFFFFFF:
        raise ValueError(f"a message of {size} bytes")
    message = PyBytes_FromStringAndSize(NULL, 4 + size)
    cdef char *at = _number(PyBytes_AS_STRING(message), <uint32_t> size)
    at[0], at[1] = <char> count, <char> (count >> 8)
    at += 2
    cdef char *texts = at + 8 * count
    for head, body in items:
        at = _number(_number(at, <uint32_t> PyBytes_GET_SIZE(head)), <uint32_t> PyBytes_GET_SIZE(body))
        texts = _put(_put(texts, head), body)
    return message


cdef class Message:
    """A message's lengths, checked against its size."""

    cdef const unsigned char *_lengths
    cdef const char *_texts
    cdef Py_ssize_t _count

    cdef int _find(self, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t size) except -1:
        cdef Py_ssize_t i
        cdef uint64_t total
        if at < 0 or size < 2 or at + size > data.shape[0]:
            raise ValueError("a message is cut short")
        self._count = data[at] | <Py_ssize_t> data[at + 1] << 8
        total = 2 + 8 * self._count
        if total > <uint64_t> size:
            raise ValueError("a message's lengths do not add up")
        self._lengths = &data[at] + 2
        self._texts = <const char *> self._lengths + 8 * self._count
        for i in range(2 * self._count):
            total += _read(self._lengths + 4 * i)
        if total != <uint64_t> size:
            raise ValueError("a message's lengths do not add up")
        return 0


def unpack(const unsigned char[::1] data not None, Py_ssize_t at, Py_ssize_t size) -> list[tuple[bytes, bytes]]:
    """Heads and bodies of the message whose count stands at ``at`` and which is ``size`` bytes long."""
    cdef Message message = Message()
    message._find(data, at, size)
    cdef const char *text = message._texts
    cdef Py_ssize_t i, head, body
    items = []
    for i in range(message._count):
        head, body = _read(message._lengths + 8 * i), _read(message._lengths + 8 * i + 4)
        items.append((PyBytes_FromStringAndSize(text, head), PyBytes_FromStringAndSize(text + head, body)))
        text += head + body
    return items


cdef bytes _last_type = b""


def answers(
    const unsigned char[::1] data not None,
    Py_ssize_t at,
    Py_ssize_t size,
) -> list[tuple[int, bytes, bytes, bytes]]:
    """The same of a message of answers: status, content type, custom attributes with notes, and body of each."""
    global _last_type
    cdef Message message = Message()
    message._find(data, at, size)
    cdef const char *text = message._texts
    cdef const char *end
    cdef const char *first
    cdef const char *second
    cdef const char *digit
    cdef Py_ssize_t i, head, body, status
    cdef bytes kind
    items = []
    for i in range(message._count):
        head, body = _read(message._lengths + 8 * i), _read(message._lengths + 8 * i + 4)
        end = text + head
        first = <const char *> memchr(text, 0, head)
        second = <const char *> memchr(first + 1, 0, end - first - 1) if first != NULL else NULL
        if second == NULL or not 0 < first - text < 10:
            raise ValueError("an answer's head has no status")
        status, digit = 0, text
        while digit < first:
            if not c"0" <= digit[0] <= c"9":
                raise ValueError("an answer's status is no number")
            status = status * 10 + (digit[0] - c"0")
            digit += 1
        first += 1
        kind = _last_type
        if PyBytes_GET_SIZE(kind) != second - first or memcmp(PyBytes_AS_STRING(kind), first, second - first) != 0:
            kind = _last_type = PyBytes_FromStringAndSize(first, second - first)
        second += 1
        custom = b"" if second == end else PyBytes_FromStringAndSize(second, end - second)
        items.append((status, kind, custom, PyBytes_FromStringAndSize(end, body)))
        text = end + body
    return items


cdef bytes _TYPE = b"content-type", _CUSTOM = b"x-amzn-sagemaker-custom-attributes"
cdef bytes _MODEL = b"x-amzn-sagemaker-target-model"
cdef bytes _INFERENCE = b"x-amzn-sagemaker-inference-id", _SESSION = b"x-amzn-sagemaker-session-id"


cdef inline bytes _of(dict headers, bytes name):
    cdef PyObject *found = PyDict_GetItem(headers, name)
    return <bytes?> <object> found if found != NULL else b""


def head(bytes content_type not None, dict headers not None, bytes accept not None, bytes model not None) -> bytes:
    """The head of a request. ``accept`` is the name of the header that says what is accepted; empty: nobody asks that."""
    cdef bytes accepted = _of(headers, accept) if accept else b"", custom = _of(headers, _CUSTOM)
    cdef bytes inference = _of(headers, _INFERENCE)
    cdef PyObject *session = PyDict_GetItem(headers, _SESSION)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(content_type) + PyBytes_GET_SIZE(accepted) + PyBytes_GET_SIZE(custom)
    made = PyBytes_FromStringAndSize(NULL, size + PyBytes_GET_SIZE(inference) + PyBytes_GET_SIZE(model) + 4)
    cdef char *at = PyBytes_AS_STRING(made)
    for text in (content_type, accepted, custom, inference):
        at = _put(at, text)
        at[0] = 0
        at += 1
    _put(at, model)
    return made if session == NULL else made + b"\0" + <bytes?> <object> session


cdef bytes _decimal(double seconds):
    cdef long long micros = <long long> (seconds * 1e6 + 0.5)
    cdef char text[32]
    cdef int at = 32, place = 0
    if micros < 0:
        raise ValueError(seconds)
    while micros or place < 7:
        at -= 1
        if place == 6:
            text[at] = c"."
            at -= 1
        text[at] = c"0" + <char> (micros % 10)
        micros //= 10
        place += 1
    return PyBytes_FromStringAndSize(text + at, 32 - at)


def captured(
    dict headers not None,
    bytes accept not None,
    bytes custom not None,
    double at,
    double seconds,
    tuple pieces not None,
) -> bytes:
    """The fields of a request that is captured; ``accept`` is the name of the header that says what is accepted."""
    return b"\0".join((
        _of(headers, _TYPE), _of(headers, accept), _of(headers, _INFERENCE), _of(headers, _CUSTOM) or custom,
        _of(headers, _MODEL), _decimal(at), _decimal(seconds),
        b",".join([b"%d" % size for size in pieces]) if pieces else b"",
    ))  # fmt: skip


cdef const char *_HEX = "0123456789abcdef"
cdef bytes _OK = b"HTTP/1.1 200 OK\r\n", _KIND = b"Content-Type: ", _VARIANT = b"\r\nx-Amzn-Invoked-Production-Variant: "
cdef bytes _LINE = b"\r\n", _ID = b"x-amzn-RequestId: ", _SIZE = b"\r\nContent-Length: ", _BLANK = b"\r\n\r\n"


def response(
    bytes date not None,
    bytes content_type not None,
    bytes variant not None,
    bytes noted not None,
    bytes prefix not None,
    uint64_t number,
    bytes body not None,
) -> bytes:
    """An answer as the client gets it. Its id is a prefix and a number; ``date`` and ``noted`` are whole lines."""
    cdef char digits[20]
    cdef int count = 0, i
    cdef Py_ssize_t left = PyBytes_GET_SIZE(body)
    while left or not count:
        digits[count] = c"0" + <char> (left % 10)
        left //= 10
        count += 1
    cdef Py_ssize_t size = (
        PyBytes_GET_SIZE(_OK) + PyBytes_GET_SIZE(date) + PyBytes_GET_SIZE(_KIND) + PyBytes_GET_SIZE(content_type)
        + PyBytes_GET_SIZE(_VARIANT) + PyBytes_GET_SIZE(variant) + PyBytes_GET_SIZE(_LINE) + PyBytes_GET_SIZE(noted)
        + PyBytes_GET_SIZE(_ID) + PyBytes_GET_SIZE(prefix) + 12 + PyBytes_GET_SIZE(_SIZE) + count
        + PyBytes_GET_SIZE(_BLANK) + PyBytes_GET_SIZE(body)
    )
    made = PyBytes_FromStringAndSize(NULL, size)
    cdef char *at = _put(_put(_put(PyBytes_AS_STRING(made), _OK), date), _KIND)
    at = _put(_put(_put(_put(_put(at, content_type), _VARIANT), variant), _LINE), noted)
    at = _put(_put(at, _ID), prefix)
    for i in range(12):
        at[11 - i] = _HEX[number & 15]
        number >>= 4
    at = _put(at + 12, _SIZE)
    for i in range(count):
        at[i] = digits[count - 1 - i]
    _put(_put(at + count, _BLANK), body)
    return made

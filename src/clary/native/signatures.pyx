# cython: language_level=3, boundscheck=False, wraparound=False
"""SigV4 signatures of requests whose body is here: three hashes and a MAC without an object for each.

The hash is OpenSSL's, by the functions that need no context of their own; where Python's OpenSSL does not show them,
``AVAILABLE`` is False. (OpenSSL 3's general interface takes longer to prepare a hash than to hash a small request.)
"""

import _hashlib

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy


cdef extern from "<dlfcn.h>" nogil:
    void *dlopen(const char *path, int flags)
    void *dlsym(void *handle, const char *name)
    int RTLD_NOW


cdef extern from *:
    """
    /* SHA256_CTX of openssl/sha.h: eight words of state, two of length, a block, two numbers; room to spare. */
    typedef struct { unsigned long long words[32]; } Sha;
    typedef int (*sha_init)(Sha *);
    typedef int (*sha_update)(Sha *, const void *, size_t);
    typedef int (*sha_final)(unsigned char *, Sha *);
    """
    ctypedef struct Sha:
        pass
    ctypedef int (*sha_init)(Sha *) noexcept
    ctypedef int (*sha_update)(Sha *, const void *, size_t) noexcept
    ctypedef int (*sha_final)(unsigned char *, Sha *) noexcept


cdef sha_init _begin = NULL
cdef sha_update _add = NULL
cdef sha_final _end = NULL
cdef bytes _path = getattr(_hashlib, "__file__", "").encode()
cdef void *_library = dlopen(PyBytes_AS_STRING(_path) if _path else NULL, RTLD_NOW)
if _library != NULL:
    _begin = <sha_init> dlsym(_library, "SHA256_Init")
    _add = <sha_update> dlsym(_library, "SHA256_Update")
    _end = <sha_final> dlsym(_library, "SHA256_Final")
AVAILABLE = _begin != NULL and _add != NULL and _end != NULL

cdef const char *_HEX = "0123456789abcdef"


cdef inline void _put(Sha *sha, bytes text) noexcept:
    _add(sha, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef inline bint _of_the_service(bytes name) noexcept:
    return PyBytes_GET_SIZE(name) >= 6 and memcmp(PyBytes_AS_STRING(name), b"x-amz-", 6) == 0


cdef void _hexadecimal(Sha *sha, char *text) noexcept:
    """The end of a hash, as 64 characters."""
    cdef unsigned char digest[32]
    cdef int i
    _end(digest, sha)
    for i in range(32):
        text[2 * i] = _HEX[digest[i] >> 4]
        text[2 * i + 1] = _HEX[digest[i] & 15]


cdef class Signer:
    """One signing key. HMAC (RFC 2104) begins with a block made of the key, twice: both are hashed once a key."""

    cdef Sha _inner
    cdef Sha _outer

    def __cinit__(self, bytes key not None):
        if not AVAILABLE or len(key) > 64:
            raise ValueError("OpenSSL's functions are not to be had, or the key is longer than a block")
        padded = key.ljust(64, b"\0")
        _begin(&self._inner)
        _put(&self._inner, bytes([b ^ 0x36 for b in padded]))
        _begin(&self._outer)
        _put(&self._outer, bytes([b ^ 0x5C for b in padded]))

    def signature(
        self,
        bytes path not None,
        tuple names not None,
        dict headers not None,
        bytes signed not None,
        bytes date not None,
        bytes scope not None,
        bytes body not None,
    ) -> bytes | None:
        """The signature, in hex, of a POST to a canonical path and query; KeyError for a signed header that is missing.

        None where a header of the service (``x-amz-…``) is present and not among the signed ones.
        """
        cdef Sha sha
        cdef char text[64]
        cdef unsigned char digest[32]
        cdef char body_text[64]
        cdef bytes name
        for name in headers:
            if _of_the_service(name) and name not in names:
                return None
        _begin(&sha)
        _put(&sha, body)
        _hexadecimal(&sha, body_text)
        _begin(&sha)
        _add(&sha, b"POST\n", 5)
        _put(&sha, path)
        for name in names:
            _add(&sha, b"\n", 1)
            _put(&sha, name)
            _add(&sha, b":", 1)
            _put(&sha, <bytes?> headers[name])
        _add(&sha, b"\n\n" if names else b"\n\n\n", 2 if names else 3)
        _put(&sha, signed)
        _add(&sha, b"\n", 1)
        _add(&sha, body_text, 64)
        _hexadecimal(&sha, text)
        memcpy(&sha, &self._inner, sizeof(Sha))
        _add(&sha, b"AWS4-HMAC-SHA256\n", 17)
        _put(&sha, date)
        _add(&sha, b"\n", 1)
        _put(&sha, scope)
        _add(&sha, b"\n", 1)
        _add(&sha, text, 64)
        _end(digest, &sha)
        memcpy(&sha, &self._outer, sizeof(Sha))
        _add(&sha, digest, 32)
        _hexadecimal(&sha, text)
        return PyBytes_FromStringAndSize(text, 64)

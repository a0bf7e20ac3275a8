"""HTTP/1.1 over sockets: connections, bounded bodies, files sent without copying. Knows nothing of AWS."""

from .message import Body, BodyTooLarge, Disconnected, FileSlice, FileSlices, Overloaded, Request, Response
from .server import App, Connection, Connections, Limits, serving

__all__ = [
    "App",
    "Body",
    "BodyTooLarge",
    "Connection",
    "Connections",
    "Disconnected",
    "FileSlice",
    "FileSlices",
    "Limits",
    "Overloaded",
    "Request",
    "Response",
    "serving",
]

"""One module a protocol: bytes to parameters, results and errors to bytes."""

from .base import Protocol
from .cbor import RpcV2Cbor
from .json import AwsJson
from .query import Query
from .rest_json import RestJson
from .rest_xml import RestXml

PROTOCOLS: dict[str, type[Protocol]] = {
    "json": AwsJson,
    "smithy-rpc-v2-cbor": RpcV2Cbor,
    "query": Query,
    "rest-json": RestJson,
    "rest-xml": RestXml,
}
"""Protocol classes by the name that the service models use."""

__all__ = ["PROTOCOLS", "AwsJson", "Protocol", "Query", "RestJson", "RestXml", "RpcV2Cbor"]

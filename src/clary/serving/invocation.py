"""One prediction, from its signature to its answer: authenticate, route, forward, answer. No database on the way."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from . import frames, sessions
from .address import Address
from .authenticate import Denied, Principal
from .capture import Streamed
from .capture import fields as captured
from .library import Fetched
from .line import Line
from .link import Asker, Link, Ticket
from .meter import Meter
from .model_error import model_error
from .pieces import Pieces
from .router import LiveEndpoint, LiveVariant
from .waiting import WAIT_SECONDS, Gauge

if TYPE_CHECKING:
    from .connection import Connection
    from .front import Front

perf_counter: Final = time.perf_counter
wall: Final = time.time
INVOKE_SECONDS = 60.0
STREAM_SECONDS = 480.0
LARGE = 256 << 10
"""Bodies from this size go to the replica on a line of their own."""
MAX_OUTSTANDING = 4096
MAX_TRIES = 8


class Invocation(Asker):
    """A request whose body is here. ``client`` hears once how it ended."""

    __slots__ = (
        "_address", "_at", "_began", "_body", "_captured", "_client", "_fetches", "_front", "_headers", "_in_pieces",
        "_model", "_noted", "_parked", "_pieces", "_principal", "_streamed", "_submitted", "_ticket", "_tries", "_waited",
        "_waits", "_way", "endpoint", "gauge", "variant",
    )  # fmt: skip

    def __init__(self, front: Front, client: Connection, address: Address, headers: dict[bytes, bytes], body: bytes):
        self._front = front
        self._client = client
        self._address = address
        self._headers = headers
        self._body = body
        self._began = self._submitted = perf_counter()
        self._ticket: Ticket | Line | None = None
        self._in_pieces = address.in_pieces
        self._pieces: Pieces | None = None  # the answer may come in pieces
        self._captured = False
        self._streamed: Streamed | None = None
        self._principal: Principal | None = None
        self._waits = False
        self._parked = 0.0  # when it began to wait for a replica
        self._fetches = False  # its model is being fetched
        self._waited = 0.0  # seconds that that took
        self.gauge: Gauge | None = None  # counts it, if it is to a serverless variant
        self._model = ""  # of many: its id and name
        self._noted = b""  # header lines of the answer beside the usual ones
        self._tries = 0
        self._way: tuple[Link, ...] = ()  # the processes that it goes through
        self._at = 0  # the one that has it
        self.endpoint: LiveEndpoint | None = None
        self.variant: LiveVariant | None = None

    def start(self) -> None:
        """Check who asks, and pass the request on – or refuse it."""
        front, headers, refuse = self._front, self._headers, self._client.refuse
        try:
            principal = front.authenticator.check(self._address.canonical, headers, self._body)
        except Denied as error:
            refuse(error.status, error.code.encode(), str(error))
            return
        self._principal = principal
        self.route()

    def route(self) -> None:
        """Choose a replica and pass the request on; wait where there is none just now."""
        self._wait_no_more()
        front, headers, refuse, principal = self._front, self._headers, self._client.refuse, self._principal
        assert principal is not None
        name = self._address.endpoint
        endpoint = front.router.find(principal.account, principal.region, name)
        if endpoint is None:
            refuse(400, b"ValidationError", f"Endpoint {name} of account {principal.account} not found.")
            return
        if endpoint.asynchronous:
            text = f"Endpoint {name} is configured for asynchronous inference: call InvokeEndpointAsync."
            refuse(400, b"ValidationError", text)
            return
        variant: LiveVariant | None
        if b"x-amzn-sagemaker-session-id" in headers and not self._may_begin(endpoint):
            return
        if endpoint.components is not None or b"x-amzn-sagemaker-inference-component" in headers:
            if (variant := self._component(endpoint)) is None:
                return
        elif (target := headers.get(b"x-amzn-sagemaker-target-variant")) is not None:
            variant = endpoint.by_name.get(target.decode("latin-1"))
            if variant is None and endpoint.beside is not None:
                endpoint = endpoint.beside
                variant = endpoint.by_name.get(target.decode("latin-1"))
            if variant is None:
                refuse(400, b"ValidationError", f"Variant {target.decode('latin-1')} not found for Request")
                return
        else:
            variant = endpoint.choose()
        link = self._pick(variant)
        if link is None and endpoint.beside is not None:  # a fleet that just lost its last replica harms no request
            endpoint = endpoint.beside
            variant = endpoint.by_name.get(variant.name) if variant is not None else endpoint.choose()
            link = self._pick(variant)
        self.endpoint, self.variant = endpoint, variant
        if variant is not None and variant.serverless:
            if not self._counts(endpoint, variant, link):
                return
            if link is not None and link.full():  # another instance may be there sooner
                link = None
        if variant is not None and (variant.library or b"x-amzn-sagemaker-target-model" in headers):
            if not self._has_model(variant):
                return
            link = variant.pick_for(self._model)
        if link is None:
            self._waits = variant is not None and front.waiting.enter(self)
            if self._waits and self.gauge is not None:
                self.gauge.waiting += 1
            self._parked = self._parked or perf_counter()
            if not self._waits:
                self._no_replica()
        elif link.outstanding >= MAX_OUTSTANDING:
            refuse(429, b"ThrottlingException", "Rate exceeded")
        elif self._parts(link):
            self._submit(endpoint)

    def _wait_no_more(self) -> None:
        if self._waits and self.gauge is not None:
            self.gauge.waiting -= 1
        self._waits = False

    def _pick(self, variant: LiveVariant | None) -> Link | None:
        """The replica of a variant that the request goes to, if one is there."""
        if variant is None:
            return None
        return variant.pick_alike(self._body) if variant.prefix else variant.pick()

    def _may_begin(self, endpoint: LiveEndpoint) -> bool:
        """Whether the request goes to any replica, to begin a session there; else it is refused or on its way."""
        session = self._headers[b"x-amzn-sagemaker-session-id"]
        if session == sessions.NEW:
            if not self._in_pieces:
                return True
            text = "A session cannot be created by InvokeEndpointWithResponseStream: call InvokeEndpoint first."
            self._client.refuse(400, b"ValidationError", text)
            return False
        replica = self._front.sessions.find(endpoint.id, session)
        for its in filter(None, (endpoint, endpoint.beside)):
            for variant in its.targets():
                for link in variant.links:
                    if link.replica.id == replica and link.alive:
                        self.endpoint, self.variant = its, variant
                        if self._parts(link):
                            self._submit(its)
                        return False
        self._front.sessions.end(endpoint.id, session)
        text = f"Session {session.decode('latin-1')[:256]} of endpoint {endpoint.name} does not exist, has expired or was closed."
        self._client.refuse(400, b"ValidationError", text)
        return False

    def _component(self, endpoint: LiveEndpoint) -> LiveVariant | None:
        """The inference component that the request names; None when it was refused."""
        name = self._headers.get(b"x-amzn-sagemaker-inference-component", b"").decode("latin-1")
        if endpoint.components is None:
            text = f"Inference Component Name header is not supported: endpoint {endpoint.name} hosts no components."
        elif not name:
            text = (
                "Inference Component Name header is required for endpoints to which you plan to deploy inference "
                "components. Please include Inference Component Name header or consider using SageMaker models."
            )
        elif (found := endpoint.components.get(name)) is None:
            text = f"Inference Component {name} of endpoint {endpoint.name} not found."
        elif found.copies or found.links:
            return found
        else:
            self._meter(found).no_capacity += 1
            text = (
                "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress "
                "(if configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
            )
        self._client.refuse(400, b"ValidationError", text)
        return None

    def _counts(self, endpoint: LiveEndpoint, variant: LiveVariant, link: Link | None) -> bool:
        """Count a request to a serverless variant, and ask for instances; False when it is one too many."""
        if self.gauge is None:
            if variant.running.under_way >= variant.serverless:
                self._client.refuse(400, b"ThrottlingException", "Rate exceeded")
                return False
            self.gauge = variant.running
            self.gauge.under_way += 1
        if link is None or link.outstanding:  # none there, or none that is idle
            self._front.waker.ask(endpoint.id, variant.name, variant.running.under_way)
        return True

    def close(self) -> None:
        """The request is over."""
        if (gauge := self.gauge) is not None:
            gauge.under_way -= 1
            self.gauge = None
            self._front.waiting.call_of(gauge)

    def _has_model(self, variant: LiveVariant) -> bool:
        """Whether the model that the request is for lies ready; else it is refused, or fetched and routed again."""
        name = self.endpoint.name if self.endpoint is not None else ""
        target = self._headers.get(b"x-amzn-sagemaker-target-model", b"").decode("latin-1")
        if bool(target) != bool(variant.library):
            text = f"Target model header is required: endpoint {name} is a multi-model endpoint."
            if target:
                text = f"Target model header is not supported: endpoint {name} is not a multi-model endpoint."
            self._client.refuse(400, b"ValidationError", text)
            return False
        found = self._front.library.find(variant.library, variant.name, target)
        if found is not None:
            self._model = f"{found}:{target}"
            return True
        self._fetches = True
        self._front.library.fetch(variant.library, variant.name, target, self._fetched)
        return False

    def _fetched(self, found: Fetched) -> None:
        """The model lies ready, or cannot be had."""
        if not self._fetches:
            return
        self._fetches = False
        self._waited = perf_counter() - self._began
        if found.id:
            self.route()
        elif found.error == "NotReady":
            self._not_ready()
        else:
            self._client.refuse(400, b"ValidationError", found.error)

    def _fetch_again(self, variant: LiveVariant) -> None:
        """The model's files were removed since it was found to be ready."""
        target = self._headers.get(b"x-amzn-sagemaker-target-model", b"").decode("latin-1")
        self._front.library.lost(variant.library, variant.name, target)
        self._tries += 1
        if self._tries < MAX_TRIES:
            self.route()
        else:
            self._not_ready()

    def _not_ready(self) -> None:
        text = "Model is not ready: it is still being loaded. Please try again."
        self._client.refuse(429, b"ModelNotReadyException", text)

    def _no_replica(self) -> None:
        name = self.endpoint.name if self.endpoint is not None else ""
        if self.variant is not None and self.variant.serverless:
            self._not_ready()
            return
        text = f"No instance of endpoint {name} is ready to take requests; it is being restarted or has no capacity."
        self._client.refuse(503, b"ServiceUnavailable", text)

    def _parts(self, link: Link) -> bool:
        """The processes of the instance that the request goes through; False when it was refused."""
        variant, target = self.variant, self._headers.get(b"x-amzn-sagemaker-target-container-hostname")
        assert variant is not None and self.endpoint is not None
        if target is None and not variant.pipeline:
            self._way, self._at = (link,), 0
            return True
        named, name = (target or b"").decode("latin-1"), self.endpoint.name
        if target is not None and not variant.direct:
            text = (
                f"TargetContainerHostname is not supported: endpoint {name} does not run its containers in Direct mode."
            )
        elif target is None and variant.direct:
            text = f"TargetContainerHostname is required: endpoint {name} runs its containers in Direct mode."
        elif target is not None and named not in variant.containers:
            text = f"Container {named} not found in endpoint {name}; it has {', '.join(variant.containers)}."
        else:
            way = (link, *link.more)
            self._at = variant.containers.index(named) if variant.direct else 0
            self._way = way[: self._at + 1] if variant.direct else way
            return True
        self._client.refuse(400, b"ValidationError", text)
        return False

    def _submit(self, endpoint: LiveEndpoint) -> None:
        if endpoint.capture is not None:
            self._captured = random.random() * 100 < endpoint.capture.percent
        self._submitted = perf_counter()
        if endpoint.shadow is not None and random.random() < endpoint.shadowed:
            self._shadow(endpoint, self._head(self._headers.get(b"content-type", b""), last=True))
        self._send(self._headers.get(b"content-type", b""), self._body)

    def _head(self, content_type: bytes, last: bool) -> bytes:
        accept = b"" if not last else b"x-amzn-sagemaker-accept" if self._in_pieces else b"accept"
        return frames.request_head(content_type, self._headers, accept, self._model.encode("latin-1"))

    def _send(self, content_type: bytes, body: bytes) -> None:
        """To the next process on the way."""
        link, last = self._way[self._at], self._at == len(self._way) - 1
        head = self._head(content_type, last)
        if self._in_pieces and last:
            self._pieces = Pieces(self._client.transport)
            self._ticket = Line(link, head + frames.IN_PIECES, body, self._took, self._ended)
        elif len(body) > LARGE:
            self._ticket = Line(link, head, body, self._took_whole, self._ended)
        else:
            self._ticket = ticket = Ticket(head, body, self)
            link.submit(ticket)

    def _shadow(self, endpoint: LiveEndpoint, head: bytes) -> None:
        """Send a copy of the request to the shadow variant; its answer is only measured."""
        shadow, body = endpoint.shadow, self._body
        link = shadow.pick() if shadow is not None else None
        if shadow is None or link is None or link.outstanding >= MAX_OUTSTANDING:
            return
        asker = _Shadow(self._front, shadow)
        if len(body) > LARGE:
            Line(link, head, body, asker.took, asker.ended)
        else:
            link.submit(Ticket(head, body, asker))

    def answered(self, status: int, content_type: bytes, custom: bytes, body: bytes) -> None:
        self._ticket = None
        variant = self.variant
        assert variant is not None
        if custom:
            if custom.endswith(frames.ABSENT):
                self._fetch_again(variant)
                return
            custom = self._read_notes(variant, custom)
        if not 200 <= status < 300:
            self._model_error(status, body)
            return
        if self._at < len(self._way) - 1:
            self._at += 1
            self._send(content_type, body)
            return
        front = self._front
        front.requests += 1
        self._client.transport.write(
            frames.response(
                front.date, content_type, variant.name_header, self._noted, front.request_prefix, front.requests, body
            )
        )
        self._measure(200)
        self._client.done(200)
        if self._captured:
            self._capture(content_type, custom, body)

    def _read_notes(self, variant: LiveVariant, custom: bytes) -> bytes:
        """Act on what a replica says beside its answer; the answer's custom attributes alone."""
        custom, *notes = custom.translate(None, b"\r\n").split(frames.SEPARATOR)
        endpoint = self.endpoint
        assert endpoint is not None
        lines = [b"X-Amzn-SageMaker-Custom-Attributes: " + custom + b"\r\n"] if custom else []
        for note in notes:
            name, _, value = note.partition(b"=")
            if name == b"model":
                numbers = [int(number) for number in value.split(b",")]
                unloading = numbers[2] if len(numbers) > 2 else 0  # replicas of earlier versions do not say
                self._meter(variant).loaded(numbers[0] / 1e6, unloading / 1e6, self._waited, numbers[1])
            elif name == b"new-session" and self._headers.get(b"x-amzn-sagemaker-session-id") == sessions.NEW:
                self._front.sessions.begin(endpoint.id, value, self._way[0].replica.id)
                lines.append(b"X-Amzn-SageMaker-New-Session-Id: " + value + b"\r\n")
            elif name == b"closed-session":
                self._front.sessions.end(endpoint.id, value)
                lines.append(b"X-Amzn-SageMaker-Closed-Session-Id: " + value + b"\r\n")
        self._noted = b"".join(lines)
        return custom

    def _capture(self, content_type: bytes, custom: bytes, answer: bytes, pieces: tuple[int, ...] = ()) -> None:
        endpoint, variant, captures = self.endpoint, self.variant, self._front.captures
        if endpoint is None or variant is None or endpoint.capture is None:
            return
        gathered = variant.captures
        if gathered is None or variant.captures_turn != captures.turn:
            named = (endpoint.account, endpoint.region, endpoint.name, variant.name)
            gathered = variant.captures = captures.of(endpoint.capture, named)
            variant.captures_turn = captures.turn
        seconds = perf_counter() - self._began
        accept = b"x-amzn-sagemaker-accept" if pieces else b"accept"
        fields = captured(self._headers, accept, custom, wall() - seconds, seconds, pieces)
        captures.add(gathered, (fields, self._body), (content_type, answer))

    def _took_whole(self, head: bytes, body: bytes) -> None:
        status, content_type, custom = head.split(frames.SEPARATOR, 2)
        if isinstance(self._ticket, Line):
            self._ticket.cancel()  # its end is of no interest any more: the next container may have the request by then
        self.answered(int(status), content_type, custom, body)

    def _took(self, head: bytes, body: bytes) -> None:
        """A piece of an answer: the first decides whether it is one."""
        assert self._pieces is not None and self._ticket is not None and self.variant is not None
        if head != frames.MORE:
            status, content_type, custom = head.split(frames.SEPARATOR, 2)
            if not 200 <= int(status) < 300:
                self._ticket.cancel()
                self._ticket = None
                if custom.endswith(frames.ABSENT):
                    self._fetch_again(self.variant)
                    return
                self._model_error(int(status), body)
                return
            if custom:
                custom = self._read_notes(self.variant, custom)
            front = self._front
            self._pieces.begin(front.date, content_type, self.variant.name_header, self._noted, front.request_id())
            if self._captured:
                self._streamed = Streamed(content_type, custom)
        self._pieces.put(body)
        if self._streamed is not None and not self._streamed.add(body):
            self._streamed = None

    def _break_off(self, code: str, text: str) -> None:
        assert self._pieces is not None
        self._pieces.break_off(code, text)
        self._measure(0)
        self._client.done(500, keep_alive=False)

    def _ended(self, reason: str | None, sent: bool) -> None:
        """A line has ended."""
        if self._ticket is None:
            return  # answered whole
        self._ticket = None
        if self._pieces is None or not self._pieces.begun:
            self._unanswered(reason or "the model sent no answer", sent)
        elif reason is None:
            self._pieces.finish()
            self._measure(200)
            self._client.done(200)
            if (told := self._streamed) is not None:
                sizes = tuple(len(part) for part in told.parts)
                self._capture(told.content_type, told.custom, b"".join(told.parts), sizes)
        else:
            self._break_off("StreamBroken", reason)

    def failed(self, reason: str, sent: bool) -> None:
        """The replica went away with the request."""
        self._ticket = None
        self._unanswered(reason, sent)

    def _unanswered(self, reason: str, sent: bool) -> None:
        """A request that no replica can have seen goes to another one; one that may have been seen fails."""
        self._tries += 1
        if sent or self._tries > MAX_TRIES or (self._at and self.variant is not None and not self.variant.direct):
            self._model_error(500, reason.encode())
        else:
            self.route()

    def _model_error(self, status: int, body: bytes, timed_out: bool = False) -> None:
        endpoint, variant = self.endpoint, self.variant
        assert endpoint is not None and variant is not None
        self._measure(status)
        message, members = model_error(
            endpoint, variant, variant.containers[self._at], status, body.decode("utf-8", "replace"), timed_out
        )
        self._client.refuse(424, b"ModelError", message, members=members)

    def _meter(self, variant: LiveVariant) -> Meter:
        """A variant's meter, until what was counted is handed over."""
        meters = self._front.meters
        found = variant.meter
        if found is None or variant.turn != meters.turn:
            found = variant.meter = meters.of(variant.key)
            variant.turn = meters.turn
        return found

    def _measure(self, status: int) -> None:
        """Count a request that reached a model, and where its time went."""
        endpoint, variant = self.endpoint, self.variant
        if endpoint is None or variant is None:
            return
        end = perf_counter()
        meter = self._meter(variant)
        setup = self._submitted - self._parked if self._parked and variant.serverless else 0.0
        meter.answered(status, len(variant.links), end - self._submitted, self._submitted - self._began - setup)
        if setup:
            meter.setup.add(setup)

    # ---- while it is under way -------------------------------------------------------------------------------------

    def expire(self, seconds: float) -> None:
        """Answer for a model that did not, if it has had its time."""
        patience = INVOKE_SECONDS if self.gauge is not None else WAIT_SECONDS
        if self._waits and seconds > patience:
            self.cancel()
            self._no_replica()
            return
        if self._fetches and seconds > INVOKE_SECONDS:
            self.cancel()
            self._not_ready()
            return
        if self._ticket is None or seconds <= (INVOKE_SECONDS if self._pieces is None else STREAM_SECONDS):
            return
        self.cancel()
        if self._pieces is not None and self._pieces.begun:
            self._break_off("ModelInvocationTimeExceeded", "The model did not end its answer in 8 minutes.")
        else:
            self._model_error(0, b"", timed_out=True)

    def cancel(self) -> None:
        """Nobody waits any more."""
        if self._waits:
            self._wait_no_more()
            self._front.waiting.leave(self)
        self.close()
        self._fetches = False
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None

    def pause(self) -> None:
        """The client reads slowly."""
        if isinstance(self._ticket, Line):
            self._ticket.pause()

    def resume(self) -> None:
        """The client reads again."""
        if isinstance(self._ticket, Line):
            self._ticket.resume()


class _Shadow(Asker):
    """Asks a shadow variant; its answers are only counted."""

    def __init__(self, front: Front, variant: LiveVariant):
        self._front = front
        self._variant = variant
        self._began = perf_counter()

    def answered(self, status: int, content_type: bytes, custom: bytes, body: bytes) -> None:
        """An answer."""
        seconds = perf_counter() - self._began
        self._front.meters.of(self._variant.key).answered(status, len(self._variant.links), seconds, 0.0)

    def failed(self, reason: str, sent: bool) -> None:
        """None."""
        self.answered(500, b"", b"", b"")

    def took(self, head: bytes, body: bytes) -> None:
        """An answer that came on a line."""
        self.answered(int(head.partition(frames.SEPARATOR)[0]), b"", b"", body)

    def ended(self, reason: str | None, sent: bool) -> None:
        """The line's end, whose answer is counted already."""

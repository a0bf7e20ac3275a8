"""Brings stacks to what was asked for: one resource at a time, each after those that it needs.

What is about to be made is recorded with its name before the call is made, so that a crash between the two can be mended.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from copy import deepcopy
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, EndpointConnectionError

from ...clock import now
from ...control.loop import Outcome, passes
from ...faults import CODES, whole_import
from ...ids import token
from ...provider.context import context_of
from ...provider.errors import AwsError
from ...provider.once import called, forget
from ...provider.platform import Platform
from ...store.rows import Row
from ..process_environment import address
from . import schemas
from . import template as templates
from .calls import Calls, stamp
from .catalogue import kind_of, replacing
from .intrinsics import Scope, order
from .kind import Failed, Later, Made, Work
from .resources.stacks import LEAVING
from .stack import event, going_back, scope

log = logging.getLogger(__name__)

Json = dict[str, Any]
_SESSION_SECONDS = 3600.0
_LOOK_SECONDS = 0.3  # between two looks at a resource that takes its time
_ATTEMPTS = 4  # of a call: tokens make another one harmless
_LETTERS = string.ascii_uppercase + string.digits
_STACK = "AWS::CloudFormation::Stack"
_CANCELLED = {"CREATE": "creation", "UPDATE": "update"}
_PRESENT = (
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_FAILED",
)  # of resources that are there, whatever became of them


class StackReconciler:
    """Stacks."""

    kind = "Stack"

    def __init__(self, platform: Platform):
        self._platform = platform
        self._clients: dict[tuple[str, ...], tuple[float, Any]] = {}

    async def reconcile(self, row: Row) -> Outcome:
        """One step of what is under way."""
        private = deepcopy(row.private)  # steps change parts of it in place; what was read must stay as it was
        granted: tuple[str, ...] = ()
        if "operation" in row.wish:
            before, private["plan"] = private.get("plan") or {}, deepcopy(row.wish["operation"])
            if private["plan"]["kind"] == "delete" and before.get("replaced"):  # of an update that is cut short
                private["plan"]["replaced"] = before["replaced"]
            granted = ("operation",)
        cancelled = "cancel" in row.wish
        if cancelled:
            granted = (*granted, "cancel")
        if not private.get("plan"):
            return Outcome(row.status, private, row.state, granted=granted)
        status = deepcopy(row.status)
        if cancelled and private["plan"]["kind"] == "update":
            self._go_back(row, private, status, private["plan"], "User Initiated")
        again, gone = await asyncio.to_thread(self._step, row, private, status)
        return Outcome(status, private, status["StackStatus"], again, delete=gone, granted=granted)

    # ---- steps -----------------------------------------------------------------------------------------------------

    def _step(self, row: Row, private: Json, status: Json) -> tuple[float | None, bool]:
        """Do the next thing of a plan; seconds until the one after it, and whether the stack is gone."""
        plan = private["plan"]
        if plan["kind"] in ("delete", "rollback", "cleanup"):
            return self._remove(row, private, status, plan)
        try:
            document = templates.parse(plan["template"])
            with self._platform.database.read() as tx:
                names = scope(
                    tx, row, document, plan["parameters"], private["resources"], context_of(self._platform, row, tx)
                )
                logical = next((n for n in order(document, names) if n not in plan["done"]), None)
                if logical is None:
                    outputs = _outputs(document, names)
                else:
                    resource = document["Resources"][logical]
                    props: Json = names.resolve(resource.get("Properties") or {}) or {}
                    props = schemas.tagged(resource["Type"], props, plan.get("tags", row.spec.get("Tags") or []))
        except Exception as error:  # whatever it is, the stack must not stay where it is
            if _passes(error):
                raise  # the loop takes the step again
            return self._failed(row, private, status, plan, [], _words(error)), False
        if logical is None:
            return self._made_all(row, private, status, plan, outputs), False
        return self._make(row, private, status, plan, logical, resource, props), False

    def _make(
        self, row: Row, private: Json, status: Json, plan: Json, logical: str, resource: Json, props: Json
    ) -> float | None:
        kind, before, interrupted = kind_of(resource["Type"]), private["resources"].get(logical), None
        if before is not None and _interrupted(before):
            if before.get("Plan", plan["kind"]) == plan["kind"]:
                interrupted, before = before, before.get("old")  # it is done again, with the properties it began with
                props = interrupted["Properties"] if "Token" in interrupted else props
            else:
                before = self._settle(row, private, plan, logical, before)
        if (kept := _kept(plan, logical, props)) is not None and before is not None:
            plan["replaced"] = [*(r for r in plan["replaced"] if r is not kept), {**before, "Logical": logical}]
            private["resources"] = {**private["resources"], logical: kept}
            plan["done"] = [*plan["done"], logical]
            return 0
        if before is not None and before["ResourceType"] != resource["Type"]:
            return self._failed(
                row,
                private,
                status,
                plan,
                [logical],
                f"Update of resource type is not permitted. The new template modifies resource type of the following resources: [{logical}]",
            )
        if before is not None and before.get("waits"):
            return self._await(row, private, status, plan, logical)
        if (
            before is not None
            and before["ResourceStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
            and before["Properties"] == props
        ):
            plan["done"] = [*plan["done"], logical]
            return 0
        changed = before is not None and before["ResourceStatus"] in _PRESENT
        replaces = changed and (
            kind.update is None or any(before["Properties"].get(f) != props.get(f) for f in replacing(resource["Type"]))
        )
        verb = "UPDATE" if changed else "CREATE"
        if replaces and kind.named and props.get(kind.named) and props[kind.named] == before.get("Name"):
            text = f"CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename {props[kind.named]} and update the stack again."
            return self._failed(row, private, status, plan, [logical], text)
        named = before if changed and not replaces else interrupted or (before if not changed else None)
        name = (named or {}).get("Name") or _name(row.name, logical, kind, props)
        state: Json = {
            "ResourceType": resource["Type"], "PhysicalResourceId": before.get("PhysicalResourceId", "") if changed and not replaces else "",
            "ResourceStatus": f"{verb}_IN_PROGRESS", "Timestamp": now(), "Properties": props, "Name": name,
            "Attributes": ((before if changed else interrupted) or {}).get("Attributes", {}),
            "DeletionPolicy": resource.get("DeletionPolicy", "Delete"), "Plan": plan["kind"],
            "Token": (interrupted or {}).get("Token") or token(24),
        }  # fmt: skip
        reason = (
            "Requested update requires the creation of a new physical resource; hence creating one." if replaces else ""
        )
        old = dict(before) if before else None
        private["resources"] = {**private["resources"], logical: {**state, "old": old}}
        event(
            row, private, logical, state["PhysicalResourceId"], resource["Type"], state["ResourceStatus"], reason, props
        )
        self._save(row, private)
        work = self._work(row, logical, state)
        try:
            given = schemas.checked(resource["Type"], props)
            if changed and not replaces:
                assert kind.update is not None and old is not None
                was = schemas.coerced(resource["Type"], old["Properties"])
                made = kind.update(work, old["PhysicalResourceId"], was, given)
            else:
                if interrupted is not None and "Token" not in interrupted and kind.named and not props.get(kind.named):
                    kind.delete(work, name, given)  # half made, perhaps, and nobody else has its name
                    work = self._work(row, logical, {**state, "Attributes": {}})
                made = kind.create(work, given)
        except Later as later:  # what was half made is being removed
            private["resources"][logical] |= {"Attributes": later.attributes}
            del private["resources"][logical]["Token"]  # it must be removed before it is made
            return _LOOK_SECONDS
        except Exception as error:  # whatever it is, the stack must not stay where it is
            if _passes(error):
                raise  # the loop takes the step again
            text = _words(error)
            if old is not None and changed and not replaces:  # half changed, perhaps: going back changes it again
                private["resources"][logical] = {**old, "Properties": props, "ResourceStatus": "UPDATE_FAILED"}
            elif old is not None:
                private["resources"][logical] = old
            else:
                if kind.named and self._acted(row, state):  # half made: going back removes it
                    state["PhysicalResourceId"] = name
                private["resources"][logical] = {**state, "ResourceStatus": f"{verb}_FAILED"}
            event(row, private, logical, state["PhysicalResourceId"], resource["Type"], f"{verb}_FAILED", text, props)
            return self._failed(row, private, status, plan, [logical], text)
        if not changed:
            event(
                row,
                private,
                logical,
                made.id,
                resource["Type"],
                "CREATE_IN_PROGRESS",
                "Resource creation Initiated",
                props,
            )
        if replaces and old is not None:
            plan["replaced"] = [*plan.get("replaced", []), {**old, "Logical": logical}]
        state |= {"PhysicalResourceId": made.id, "Attributes": made.attributes, "verb": verb, "waits": True}
        if changed and not replaces and old is not None:
            state["was"] = {"PhysicalResourceId": old["PhysicalResourceId"], "Properties": old["Properties"]}
        private["resources"][logical] = state
        return self._await(row, private, status, plan, logical)

    def _settle(self, row: Row, private: Json, plan: Json, logical: str, interrupted: Json) -> Json | None:
        """Find out what a step has made that another plan interrupted, and return the resource as it is now.

        A replacement goes to the plan's replaced resources; the old resource stays.
        """
        old: Json | None = interrupted.get("old")
        if interrupted["PhysicalResourceId"] and old is not None:  # half changed, perhaps
            found: Json | None = {**old, "Properties": interrupted["Properties"], "ResourceStatus": "UPDATE_FAILED"}
        else:
            found, made = old, self._made_before(row, logical, interrupted)
            if made is not None:
                state = {k: v for k, v in interrupted.items() if k != "old"}
                state |= {
                    "PhysicalResourceId": made.id,
                    "Attributes": made.attributes,
                    "ResourceStatus": "CREATE_COMPLETE",
                }
                if old is None:
                    found = state
                else:
                    plan["replaced"] = [*plan.get("replaced", []), {**state, "Logical": logical}]
        others = {k: v for k, v in private["resources"].items() if k != logical}
        private["resources"] = {**others, logical: found} if found is not None else others
        return found

    def _made_before(self, row: Row, logical: str, state: Json) -> Made | None:
        """Return what an interrupted create has made; None if none of its calls acted.

        A create that needs several calls is finished by the way.
        """
        if "Token" not in state:
            return Made(state["Name"])
        if not self._acted(row, state):
            return None
        try:
            given = schemas.checked(state["ResourceType"], state["Properties"])
            return kind_of(state["ResourceType"]).create(self._work(row, logical, state), given)
        except Exception as error:  # its later calls fail: what has the name is removed
            if _passes(error):
                raise
            log.warning("what stack %s has made as %s is known by its name alone", row.name, logical, exc_info=True)
            return Made(state["Name"])

    def _acted(self, row: Row, state: Json) -> bool:
        """Return whether one of a step's calls has acted."""
        with self._platform.database.read() as tx:
            return called(tx, row.account, row.region, state["Token"])

    def _await(self, row: Row, private: Json, status: Json, plan: Json, logical: str) -> float | None:
        """Wait until a resource has settled."""
        state = dict(private["resources"][logical])
        kind, verb = kind_of(state["ResourceType"]), state["verb"]
        try:
            if kind.ready is not None:
                settled = kind.ready(self._work(row, logical, state), state["PhysicalResourceId"])
                if settled is None:
                    return _LOOK_SECONDS
                was = state.pop("was", None)
                if was is not None and settled.id != was["PhysicalResourceId"]:  # a custom resource made another one
                    plan["replaced"] = [*plan.get("replaced", []), {**state, **was, "Logical": logical}]
                state |= {"PhysicalResourceId": settled.id, "Attributes": settled.attributes}
        except Exception as error:  # whatever it is, the stack must not stay where it is
            if _passes(error):
                raise  # the loop takes the step again
            text = _words(error)
            private["resources"][logical] = {**state, "ResourceStatus": f"{verb}_FAILED", "waits": False}
            event(row, private, logical, state["PhysicalResourceId"], state["ResourceType"], f"{verb}_FAILED", text)
            return self._failed(row, private, status, plan, [logical], text)
        state |= {"ResourceStatus": f"{verb}_COMPLETE", "Timestamp": now(), "waits": False}
        private["resources"] = {**private["resources"], logical: state}
        plan["done"] = [*plan["done"], logical]
        ignored = [name for name in kind.ignores if name in state["Properties"]]
        reason = f"Clary takes and does not act on: {', '.join(ignored)}" if ignored else ""
        event(
            row, private, logical, state["PhysicalResourceId"], state["ResourceType"], state["ResourceStatus"], reason
        )
        return 0

    def _made_all(self, row: Row, private: Json, status: Json, plan: Json, outputs: list[Json]) -> float | None:
        """Every resource is there: what is no longer wanted goes."""
        self._save(row, private)
        status["Outputs"] = outputs
        status["Parameters"] = [{"ParameterKey": k, "ParameterValue": v} for k, v in plan["shown"].items()]
        status["Description"] = plan.get("description", "")
        private |= {
            "template": plan["template"],
            "original": plan.get("original", ""),
            "parameters": plan["parameters"],
            "shown": plan["shown"],
            "tags": plan.get("tags", []),
        }
        if plan["kind"] == "create":
            self._state(row, private, status, "CREATE_COMPLETE")
            private["plan"] = None
            return None
        back = plan["kind"] == "update_rollback"
        self._state(row, private, status, f"UPDATE_{'ROLLBACK_' if back else ''}COMPLETE_CLEANUP_IN_PROGRESS")
        unwanted = [name for name in private["resources"] if name not in plan["done"]]
        private["plan"] = {
            "kind": "cleanup",
            "unwanted": unwanted,
            "replaced": plan.get("replaced", []),
            "end": f"UPDATE_{'ROLLBACK_' if back else ''}COMPLETE",
        }
        return 0

    def _failed(self, row: Row, private: Json, status: Json, plan: Json, names: list[str], text: str) -> float | None:
        """Go back – or, where that was asked for or is what failed, stay."""
        kind = plan["kind"]
        if kind == "create":
            reason = f"The following resource(s) failed to create: [{', '.join(names)}]. " if names else f"{text} "
            action = plan.get("on_failure", "ROLLBACK")
            if action == "DO_NOTHING":
                self._state(row, private, status, "CREATE_FAILED", reason.strip())
                private["plan"] = None
                return None
            self._state(
                row,
                private,
                status,
                "ROLLBACK_IN_PROGRESS" if action == "ROLLBACK" else "DELETE_IN_PROGRESS",
                f"{reason}Rollback requested by user.",
            )
            private["plan"] = {"kind": "rollback" if action == "ROLLBACK" else "delete"}
            return 0
        reason = f"The following resource(s) failed to update: [{', '.join(names)}]. " if names else text
        if kind == "update" and plan.get("on_failure") == "DO_NOTHING":
            self._state(row, private, status, "UPDATE_FAILED", reason)
            private["interrupted"], private["plan"] = plan, None
            return None
        if kind == "update":
            self._go_back(row, private, status, plan, reason)
            return 0
        self._state(row, private, status, "UPDATE_ROLLBACK_FAILED", reason)
        private["interrupted"], private["plan"] = plan, None
        return None

    def _go_back(self, row: Row, private: Json, status: Json, plan: Json, reason: str) -> None:
        """Bring the stack to what it was before an update, without waiting for what that had begun."""
        for logical, state in private["resources"].items():
            if state.get("waits"):
                failed, text = f"{state['verb']}_FAILED", f"Resource {_CANCELLED[state['verb']]} cancelled"
                private["resources"] = {**private["resources"], logical: {**state, "ResourceStatus": failed, "waits": False}}  # fmt: skip
                event(row, private, logical, state["PhysicalResourceId"], state["ResourceType"], failed, text)
        self._state(row, private, status, "UPDATE_ROLLBACK_IN_PROGRESS", reason)
        private["plan"] = going_back(private, plan, status.get("Description", ""))

    # ---- removing --------------------------------------------------------------------------------------------------

    def _remove(self, row: Row, private: Json, status: Json, plan: Json) -> tuple[float | None, bool]:
        """Remove the next resource, later ones first; end when none is left."""
        for logical, state in list(private["resources"].items()):
            if _interrupted(state):
                self._settle(row, private, plan, logical, state)
        replaced = [r for r in plan.get("replaced", ()) if not _is_current(private, r)]
        if plan["kind"] == "cleanup":
            left = [(n, private["resources"][n]) for n in plan["unwanted"] if n in private["resources"]]
            if not left and not replaced:
                self._state(row, private, status, plan["end"])
                private["plan"] = None
                return None, False
            if replaced and not left:
                return self._remove_replaced(row, private, plan, replaced[-1])
            logical, state = left[-1]
        elif replaced:
            return self._remove_replaced(row, private, plan, replaced[-1])
        else:
            remaining = private["resources"]
            if not remaining:
                return self._removed_all(row, private, status, plan)
            logical, state = list(remaining.items())[-1]
        kept = state.get("DeletionPolicy") == "Retain" and plan["kind"] != "rollback"
        text = ""
        if kept:
            event(row, private, logical, state["PhysicalResourceId"], state["ResourceType"], "DELETE_SKIPPED")
        else:
            try:
                text = self._delete(row, private, logical, state)
            except Later as later:
                private["resources"][logical] = {**state, "Attributes": later.attributes}
                return _LOOK_SECONDS, False
        if text:
            if plan["kind"] == "cleanup":
                plan["unwanted"] = [n for n in plan["unwanted"] if n != logical]
                return 0, False
            done = "DELETE_FAILED" if plan["kind"] == "delete" else "ROLLBACK_FAILED"
            self._state(row, private, status, done, f"The following resource(s) failed to delete: [{logical}]. ")
            private["resources"] = {
                **private["resources"],
                logical: {
                    **state,
                    "ResourceStatus": "DELETE_FAILED",
                    "ResourceStatusReason": text,
                    "Attributes": {k: v for k, v in (state.get("Attributes") or {}).items() if k != LEAVING},
                },
            }
            private["plan"] = None
            return None, False
        private["resources"] = {k: v for k, v in private["resources"].items() if k != logical}
        return 0, False

    def _remove_replaced(self, row: Row, private: Json, plan: Json, old: Json) -> tuple[float | None, bool]:
        """Remove a resource that another one has replaced; a failure is an event and nothing more."""
        try:
            self._delete(row, private, old["Logical"], old)
        except Later as later:
            old["Attributes"] = later.attributes
            return _LOOK_SECONDS, False
        plan["replaced"] = [r for r in plan["replaced"] if r is not old]
        return 0, False

    def _delete(self, row: Row, private: Json, logical: str, state: Json) -> str:
        """Remove one resource; why that failed, if it did. Later when it takes its time."""
        if state.get("ResourceStatus") == "CREATE_FAILED" and not state.get("PhysicalResourceId"):
            return ""
        kind, physical = kind_of(state["ResourceType"]), state.get("PhysicalResourceId") or state["Name"]
        if LEAVING not in (state.get("Attributes") or {}):
            event(row, private, logical, physical, state["ResourceType"], "DELETE_IN_PROGRESS")
            self._save(row, private)
        try:
            given = schemas.coerced(state["ResourceType"], state["Properties"])
            kind.delete(self._work(row, logical, state), physical, given)
        except Later:
            raise
        except Exception as error:  # whatever it is, the stack must not stay where it is
            if _passes(error):
                raise  # the loop takes the step again
            text = _words(error)
            event(row, private, logical, physical, state["ResourceType"], "DELETE_FAILED", text)
            return text
        event(row, private, logical, physical, state["ResourceType"], "DELETE_COMPLETE")
        return ""

    def _removed_all(self, row: Row, private: Json, status: Json, plan: Json) -> tuple[float | None, bool]:
        self._save(row, private)
        private["plan"] = None
        if plan["kind"] == "rollback":
            self._state(row, private, status, "ROLLBACK_COMPLETE")
            return None, False
        self._state(row, private, status, "DELETE_COMPLETE")
        status["DeletionTime"] = now()
        kept = Row(
            "DeletedStack", row.account, row.region, row.arn, f"{row.arn}#deleted", row.spec, status, private,
            state="DELETE_COMPLETE", created=row.created,
        )  # fmt: skip
        with self._platform.database.write() as tx:
            if tx.rows.get("DeletedStack", row.account, row.region, row.arn) is None:
                tx.rows.add(kept)
            for change_set in tx.rows.list("ChangeSet", row.account, row.region):
                if change_set.spec["StackName"] == row.name:
                    tx.rows.delete(change_set)
        return None, True

    # ---- tools -----------------------------------------------------------------------------------------------------

    def _state(self, row: Row, private: Json, status: Json, state: str, reason: str = "") -> None:
        status["StackStatus"] = state
        status.pop("StackStatusReason", None)
        if reason:
            status["StackStatusReason"] = reason
        event(row, private, row.name, row.arn, _STACK, state, reason)

    def _save(self, row: Row, private: Json) -> None:
        """Record what is about to be done, and forget the calls whose answers are stored."""
        done = [
            state.pop("Token")
            for state in (*private["resources"].values(), *((private.get("plan") or {}).get("replaced") or ()))
            if "Token" in state and not _interrupted(state)
        ]
        with self._platform.database.write() as tx:
            forget(tx, row.account, row.region, done)
            fresh = tx.rows.get(*row.key)
            if fresh is not None:
                tx.rows.save(fresh, private=private, modified=fresh.modified)

    def _work(self, row: Row, logical: str, state: Json) -> Work:
        token = state.get("Token", "") if _interrupted(state) else ""
        calls = Calls(token)
        return Work(
            lambda service: calls.through(self._client(row, service)), row.account, row.region, row.name, logical,
            state["Name"], state["ResourceType"], state.get("Attributes") or {}, row.arn, token,
        )  # fmt: skip

    def _client(self, row: Row, service: str) -> Any:
        """A client of the platform's own API, as the stack's role or as the account."""
        with whole_import():
            import boto3
            from botocore.config import Config

        key = (row.account, row.region, row.spec.get("RoleARN", ""), service)
        kept = self._clients.get(key)
        if kept is not None and kept[0] > now():
            return kept[1]
        if role := row.spec.get("RoleARN"):
            arn, kind = f"arn:aws:sts::{row.account}:assumed-role/{role.rpartition('/')[2]}/AWSCloudFormation", "role"
        else:
            arn, kind = f"arn:aws:iam::{row.account}:root", "root"
        credential, token = self._platform.keyring.session(row.account, arn, row.account, kind, _SESSION_SECONDS)
        config = Config(
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            read_timeout=120,
            user_agent_extra="AWSCloudFormation",
        )
        client = boto3.session.Session().client(
            service, region_name=row.region, endpoint_url=address(self._platform.settings),
            aws_access_key_id=credential.access_key, aws_secret_access_key=credential.secret, aws_session_token=token,
            config=config,
        )  # fmt: skip
        client.meta.events.register("before-call", stamp)
        self._clients[key] = (now() + _SESSION_SECONDS / 2, client)
        return client


def _interrupted(state: Json) -> bool:
    """Whether a step was begun and its end not recorded: control died, or the database was away."""
    return bool(state["ResourceStatus"].endswith("_IN_PROGRESS") and not state.get("waits"))


def _kept(plan: Json, logical: str, props: Json) -> Json | None:
    """Going back: the resource that the update had replaced and that is still there."""
    if plan["kind"] != "update_rollback":
        return None
    found = (r for r in plan.get("replaced", ()) if r["Logical"] == logical and r["Properties"] == props)
    return next(found, None)


def _is_current(private: Json, old: Json) -> bool:
    """Whether a replaced resource is the one that is in use again (after a rollback)."""
    present = private["resources"].get(old["Logical"]) or {}
    return bool(present.get("PhysicalResourceId") == old["PhysicalResourceId"])


def _name(stack: str, logical: str, kind: Any, props: Json) -> str:
    """A resource's physical name: its own, or one that is made."""
    if kind.named and props.get(kind.named):
        return str(props[kind.named])
    tail = "".join(secrets.choice(_LETTERS) for _ in range(12))
    room = kind.limit - len(tail) - 2
    half = max(1, (room - min(len(logical), room // 2)))
    name = f"{stack[:half]}-{logical[: room - len(stack[:half])]}-{tail}"
    return name.lower() if kind.lower else name


def _outputs(document: Json, names: Scope) -> list[Json]:
    found = []
    for key, output in (document.get("Outputs") or {}).items():
        if "Condition" in output and not names.condition(output["Condition"]):
            continue
        value = names.resolve(output["Value"])
        shown = {"OutputKey": key, "OutputValue": value if isinstance(value, str) else str(value)}
        if output.get("Description"):
            shown["Description"] = output["Description"]
        if export := output.get("Export"):
            shown["ExportName"] = names.resolve(export["Name"])
        found.append(shown)
    return found


def _passes(error: Exception) -> bool:
    """Return whether a step failed because the platform is being restarted or short of something: it is taken again."""
    if isinstance(error, ClientError):
        return error.response["Error"].get("Code") in CODES
    return isinstance(error, (EndpointConnectionError, ConnectionClosedError)) or passes(error)


def _words(error: Exception) -> str:
    """A failure as stacks tell it; one that nobody foresaw is also logged with its traceback."""
    if isinstance(error, AwsError):
        return error.message
    if isinstance(error, ClientError):
        told = error.response["Error"]
        request = error.response["ResponseMetadata"].get("RequestId", "")
        status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        service = error.operation_name
        return f'Resource handler returned message: "{told.get("Message", "")} (Operation: {service}, Status Code: {status}, Code: {told.get("Code", "")}, Request ID: {request})"'
    if isinstance(error, KeyError):
        return f"Property validation failure: [The property {{/{error.args[0]}}} is required]"
    if not isinstance(error, Failed | BotoCoreError | ValueError):
        log.error("a stack's resource failed", exc_info=error)
        return f"Internal Failure: {type(error).__name__}: {error}"
    return str(error)

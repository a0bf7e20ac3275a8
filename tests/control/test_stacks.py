"""Stacks whose control died, or whose update failed, half-way: what is made, changed and left alone."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from clary.services.cloudformation import reconcile
from clary.services.cloudformation.kind import Kind, Later, Made, Work
from clary.services.cloudformation.reconcile import StackReconciler
from clary.store.rows import Row

Json = dict[str, Any]
TYPE = {"Type": "T::T::T"}


class Stack:
    """One resource of a stack, and the calls that are made for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.calls: list[str] = []

        self.raising = False
        self.raises: list[Exception] = []  # by the next call

        def called(what: str, name: str) -> None:
            self.calls.append(f"{what} {name}")
            if self.raises:
                self.raising = True
                raise self.raises.pop()

        def made(what: str, name: str) -> Made:
            called(what, name)
            return Made(name)

        kind = Kind(
            lambda w, p: made("create", w.name), lambda w, i, p: called("delete", i),
            lambda w, i, o, p: made("update", i), ("fixed",), named="Name",
        )  # fmt: skip
        monkeypatch.setattr(reconcile, "kind_of", {"T::T::T": kind}.__getitem__)
        monkeypatch.setattr(reconcile, "replacing", lambda name: frozenset(kind.fixed))
        self.reconciler = StackReconciler.__new__(StackReconciler)
        monkeypatch.setattr(self.reconciler, "_save", lambda row, private: None)
        monkeypatch.setattr(self.reconciler, "_work", lambda row, logical, state: Work(
            lambda service: None, "1", "r", "s", logical, state["Name"], state["ResourceType"], state["Attributes"]))  # fmt: skip

    def make(self, before: Json | None, props: Json, kind: str = "update", **plan: Any) -> Json:
        """One step with the resource A as it was before; the private part of the row after it."""
        plan = {"kind": kind, "done": [], "replaced": [], **plan}
        private: Json = {
            "resources": {"A": before} if before else {}, "events": [], "plan": plan, "template": "{}", "parameters": {},
            "shown": {},
        }  # fmt: skip
        row = Row("Stack", "1", "r", "s", "arn", {})
        self.reconciler._make(row, private, {}, plan, "A", TYPE, props)
        assert self.raising or plan["done"] == ["A"]
        return private


def state(name: str, status: str = "CREATE_COMPLETE", **props: Any) -> Json:
    return {
        "ResourceType": "T::T::T", "PhysicalResourceId": name, "ResourceStatus": status, "Timestamp": 0.0,
        "Properties": props, "Name": name, "Attributes": {},
    }  # fmt: skip


def test_what_was_half_made_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(monkeypatch)
    stack.make({**state("n", "CREATE_IN_PROGRESS", v=1), "old": None}, {"v": 1}, kind="create")
    assert stack.calls == ["delete n", "create n"]


def test_what_has_a_name_of_its_own_is_never_removed_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(monkeypatch)
    stack.make({**state("mine", "CREATE_IN_PROGRESS", Name="mine"), "old": None}, {"Name": "mine"}, kind="create")
    assert stack.calls == ["create mine"]


def test_an_update_that_was_cut_off_is_done_again_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(monkeypatch)
    stack.make({**state("n", "UPDATE_IN_PROGRESS", v=2), "old": state("n", v=1)}, {"v": 2})
    assert stack.calls == ["update n"]


def test_a_replacement_that_was_cut_off_keeps_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(monkeypatch)
    private = stack.make({**state("new", "UPDATE_IN_PROGRESS", fixed=2), "old": state("n", fixed=1)}, {"fixed": 2})
    assert stack.calls == ["delete new", "create new"]
    assert [r["PhysicalResourceId"] for r in private["plan"]["replaced"]] == ["n"]


def test_going_back_takes_up_what_was_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(monkeypatch)
    replaced = [{**state("n", fixed=1), "Logical": "A"}]
    private = stack.make(state("new", fixed=2), {"fixed": 1}, kind="update_rollback", replaced=replaced)
    assert stack.calls == []
    assert private["resources"]["A"]["PhysicalResourceId"] == "n"
    assert [r["PhysicalResourceId"] for r in private["plan"]["replaced"]] == ["new"]


def test_what_was_half_changed_is_changed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(monkeypatch)
    stack.raises = [AttributeError("nobody foresaw it")]
    private = stack.make(state("n", v=1), {"v": 2})
    assert "Internal Failure: AttributeError: nobody foresaw it" in private["events"][-2]["ResourceStatusReason"]
    assert private["plan"]["kind"] == "update_rollback"
    stack.raising = False
    private = stack.make(private["resources"]["A"], {"v": 1}, "update_rollback")
    assert stack.calls == ["update n", "update n"]
    assert private["resources"]["A"]["Properties"] == {"v": 1}


def test_what_was_half_made_may_take_its_time_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(monkeypatch)
    stack.raises = [Later({"leaving": True})]
    private = stack.make({**state("n", "CREATE_IN_PROGRESS", v=1), "old": None}, {"v": 1}, kind="create")
    assert private["resources"]["A"]["Attributes"] == {"leaving": True}
    stack.raising = False
    stack.make(private["resources"]["A"], {"v": 1}, kind="create")
    assert stack.calls == ["delete n", "delete n", "create n"]


@pytest.mark.parametrize(
    "fault",
    [
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        ClientError({"Error": {"Code": "ServiceUnavailable", "Message": ""}}, "CreateThing"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=["restarted", "unavailable", "disk"],
)
def test_a_step_that_met_a_passing_fault_is_taken_again(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """A platform that is being restarted, or whose disk is full, is no reason to go back."""
    stack = Stack(monkeypatch)
    stack.raises = [fault]
    with pytest.raises(type(fault)):
        stack.make(None, {"v": 1}, kind="create")
    stack.raising = False
    private = stack.make(None, {"v": 1}, kind="create")
    assert private["resources"]["A"]["ResourceStatus"] == "CREATE_COMPLETE"

"""What a first start makes: the account's root key, the execution role, the folders."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from pathlib import Path

from sqlalchemy import insert, select

from .clock import now
from .ids import access_key as new_access_key
from .provider.platform import Platform
from .services.iam.roles import new_role
from .sessions import Credential
from .settings import EXECUTION_ROLE, Settings
from .store.credentials import Keyring
from .store.database import Database
from .store.rows import Row
from .store.schema import access_key

SESSION_SECONDS = 7 * 86400


def folders(settings: Settings) -> None:
    """Make the home folder and its parts, readable by their owner alone."""
    for part in ("", "blobs", "runs", "run", "log"):
        folder = settings.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    _name(settings.folder / "node")


def _name(path: Path) -> None:
    """Give a home a name that no other has, by which what its processes hold in a shared database is known."""
    if not path.exists():
        aside = path.with_suffix(".new")
        aside.write_text(uuid.uuid4().hex)
        aside.rename(path)


def account(database: Database, settings: Settings) -> None:
    """Make the account's root key and its execution role, if they are not there."""
    name = settings.account
    with database.write() as tx:
        if tx.rows.get("Role", name, "", EXECUTION_ROLE) is None:
            tx.rows.add(_execution_role(name))
        where = (access_key.c.account == name) & access_key.c.user_name.is_(None)
        if tx.connection.execute(select(access_key.c.id).where(where)).first() is None:
            key_id, secret = new_access_key()
            values = {"id": key_id, "account": name, "user_name": None, "secret": secret, "state": "Active"}
            tx.connection.execute(insert(access_key), {**values, "created": now()})


def _execution_role(name: str) -> Row:
    """The role that ``get_execution_role()`` finds: SageMaker and the account itself may assume it."""
    principals = ({"Service": "sagemaker.amazonaws.com"}, {"AWS": f"arn:aws:iam::{name}:root"})
    statements = [{"Effect": "Allow", "Principal": p, "Action": "sts:AssumeRole"} for p in principals]
    trust = json.dumps({"Version": "2012-10-17", "Statement": statements})
    row = new_role(name, EXECUTION_ROLE, trust, "/service-role/", Description="Made by Clary's first start")
    policies = [f"arn:aws:iam::aws:policy/{p}" for p in ("AmazonSageMakerFullAccess", "AdministratorAccess")]
    return replace(row, private={**row.private, "attached": policies})


def role_session(database: Database, keyring: Keyring, settings: Settings) -> tuple[Credential, str]:
    """Credentials that work as the execution role, as in a notebook on AWS: what ``clary env`` prints."""
    with database.read() as tx:
        role = tx.rows.get("Role", settings.account, "", EXECUTION_ROLE)
    assert role is not None, "the first start makes the execution role"
    arn = f"arn:aws:sts::{settings.account}:assumed-role/{EXECUTION_ROLE}/SageMaker"
    user_id = f"{role.spec['RoleId']}:SageMaker"
    return keyring.session(settings.account, arn, user_id, "role", SESSION_SECONDS)


def write_session(platform: Platform, path: Path) -> None:
    """Put fresh role credentials where the command line reads them."""
    credential, token = role_session(platform.database, platform.keyring, platform.settings)
    with platform.database.read() as tx:
        where = (access_key.c.account == platform.settings.account) & access_key.c.user_name.is_(None)
        root = tx.connection.execute(select(access_key).where(where)).mappings().first()
    document = {
        "AccessKeyId": credential.access_key, "SecretAccessKey": credential.secret, "SessionToken": token,
        "Expiration": credential.expires,
        "Root": {"AccessKeyId": root["id"], "SecretAccessKey": root["secret"]} if root else None,
    }  # fmt: skip
    aside = path.with_suffix(".new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(document, file)
    os.rename(aside, path)

"""Passwords, hashed with argon2id in a thread of their own: a check takes tens of milliseconds and 64 MiB."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher(type=Type.ID)
# One at a time bounds the memory and the processor that logging in can take from calls.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")


async def hash_password(password: str) -> str:
    """The text to store."""
    return await asyncio.get_running_loop().run_in_executor(_thread, _hasher.hash, password)


async def verify_password(stored: str | None, password: str) -> bool:
    """Whether ``password`` is the one that ``stored`` was made from.

    ``None``, where there is no such user: ``False``, in the time that it takes otherwise.
    """
    return await asyncio.get_running_loop().run_in_executor(_thread, _verify, stored, password)


@cache
def _nobodys() -> str:
    # made when it is first needed: 0.3 s that a start need not take
    return _hasher.hash("nobody has this password")


def _verify(stored: str | None, password: str) -> bool:
    # whoever has not chosen a password yet is answered in the same time, too
    hashed = stored is not None and stored.startswith("$")
    try:
        return _hasher.verify(stored if stored is not None and hashed else _nobodys(), password) and hashed
    except (VerificationError, InvalidHashError):
        return False

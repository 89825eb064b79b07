"""What the tests of remote tables share: one table asked in this process, and Debian's postmap's answer to the same."""

import asyncio
import dataclasses
from concurrent.futures import ThreadPoolExecutor

import uvloop
from tables_tools import Tools

from fastrelay.tables import TableError
from fastrelay.tables.options import Surroundings, TableSettings
from fastrelay.tables.pending import answer
from fastrelay.tables.registry import open_table

ERROR = "error"


def open_remote(spec, said=None, parameters=None, **limits):
    settings = dataclasses.replace(TableSettings(), **limits)
    complain = (said if said is not None else []).append
    return open_table(spec, around=Surroundings(settings, (parameters or {}).get, complain))


def run(scene):
    """It ends, whatever a server does."""
    return uvloop.run(asyncio.wait_for(scene, 100))  # as in a worker


async def look_up(table, key):
    """The value, None, or ERROR."""
    try:
        return await answer(table.get, key)
    except TableError:
        return ERROR


def ask_ours(spec, keys, **limits):
    """The answers of one table that is opened anew, each key after the other."""

    async def scene():
        table = open_remote(spec, fastrelay_table_retry_time=0.0, **limits)
        try:
            return [await look_up(table, key) for key in keys]
        finally:
            if hasattr(table, "close"):
                await table.close()

    return run(scene())


def ask_postmap(tools: Tools, spec: str, key: bytes):
    """Debian's answer in the same terms; an error must end the program with status 1 and a "fatal" line."""
    done = tools.postfix("-q", key, spec)
    if done.status == 0:
        return done.out[:-1]
    assert done.status == 1
    assert not done.out
    return ERROR if "fatal" in done.err else None


def compare(tools: Tools, questions):
    """(spec, key) pairs: what both answer, which must be the same."""
    with ThreadPoolExecutor(24) as pool:  # postmap sleeps a second before it ends with an error
        theirs = list(pool.map(lambda each: ask_postmap(tools, *each), questions))
    ours = [ask_ours(spec, [key])[0] for spec, key in questions]
    pairs = zip(questions, ours, theirs, strict=True)
    assert not [(question, our, their) for question, our, their in pairs if our != their]
    return ours

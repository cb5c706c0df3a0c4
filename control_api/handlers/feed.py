"""Feed and uplink: how a region hears the control plane and answers it, with its own key.

The bodies are the structs of `models.planes.feed`; nothing is decided here.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from control_api.call import Answer, Call
from models.errors import Invalid, NotJson
from models.planes.feed import Uplink

WAIT_MAX: Final = 30.0
_AFTER: Final = re.compile(r"-1|[0-9]{1,18}")
_WAIT: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")

_NOTHING: Final = Uplink()
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Uplink).decode


async def poll(call: Call) -> Answer:
    """GET /regions/{region}/feed. after=-1, or left out, asks for everything."""
    after, wait = call.query.get("after", "-1"), call.query.get("wait", "0")
    errors = []
    if not _AFTER.fullmatch(after):
        errors.append(("after", "must be a revision, or -1 for everything"))
    if not _WAIT.fullmatch(wait) or float(wait) > WAIT_MAX:
        errors.append(("wait", f"must be a number of seconds up to {WAIT_MAX:g}"))
    if errors:
        raise Invalid("A query parameter cannot be accepted", errors=tuple(errors))
    found = await call.services.feed.poll(call.params["region"], int(after), float(wait))
    return Answer(200, _encode(found))


async def uplink(call: Call) -> Answer:
    """POST /regions/{region}/uplink. A report of records alone says nothing else of its region."""
    try:
        report = _decode(call.body)
    except msgspec.ValidationError:
        raise Invalid("The report cannot be read", errors=(("body", "is not an uplink report"),)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotJson("The body is not JSON") from None
    region = call.params["region"]
    if report.records:
        await call.services.records.take(region, report.records)
        report = msgspec.structs.replace(report, records=())
        if report == _NOTHING:
            return Answer(204)
    await call.services.feed.uplink(region, report)
    return Answer(204)

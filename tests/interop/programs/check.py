"""One line of JSON for each check: what it was, whether it held, what was seen. Knows nothing of what is checked."""
import json
import sys
import time
import traceback


def check(name, run):
    began = time.monotonic()
    try:
        note = run()
        row = {"name": name, "ok": True, "note": note or ""}
    except BaseException as error:  # noqa: BLE001 - a failed check must not hide the following ones
        place = traceback.extract_tb(error.__traceback__)[-1]
        row = {"name": name, "ok": False, "note": f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"[:600]}
    row["ms"] = round((time.monotonic() - began) * 1000)
    print(json.dumps(row), flush=True)
    sys.stdout.flush()


def must(condition, seen):
    if not condition:
        raise AssertionError(seen)

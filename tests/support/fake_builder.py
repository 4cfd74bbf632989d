#!/usr/bin/env python3
"""A builder of another toolchain that builds nothing: it answers as `FAKE_BUILDER` (JSON, by operation) says.

It is a real program, started as one. What it was asked goes to the file `record`, a JSON document on each line.
"""

import json
import pathlib
import subprocess
import sys
import time


def main() -> int:
    settings = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    request = json.load(sys.stdin)
    with pathlib.Path(settings["record"]).open("a", encoding="utf-8") as record:
        record.write(json.dumps({"request": request, "folder": str(pathlib.Path.cwd())}) + "\n")
    behaviour = settings[request["operation"]]
    sys.stderr.write("pulling the toolchain\n")
    if "child" in behaviour:
        child = subprocess.Popen(["sleep", "600"])
        pathlib.Path(behaviour["child"]).write_text(str(child.pid), encoding="utf-8")
    if "sleep" in behaviour:
        time.sleep(behaviour["sleep"])
    if "flood" in behaviour:
        sys.stdout.write("x" * behaviour["flood"])
    if "fail" in behaviour:
        sys.stderr.write(behaviour["fail"] + "\n")
        return 3
    sys.stdout.write(behaviour["text"] if "text" in behaviour else json.dumps({"version": 1, **behaviour["answer"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The `openai` Node client, in a process of its own."""

import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
HOME = HERE.parents[1] / "target" / "sdk" / "node"


def test_openai_node(weir):
    script = HOME / "node.mjs"
    shutil.copy(HERE / "node.mjs", script)
    run = subprocess.run(["node", script, f"{weir.url}/v1", weir.key], cwd=HOME,
                         capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and run.stdout.strip() == "ok", run.stderr

"""The Node clients, each script in a process of its own."""

import pathlib
import shutil
import subprocess

from conftest import FORMATS

HERE = pathlib.Path(__file__).resolve().parent
HOME = HERE.parents[1] / "target" / "sdk" / "node"


def run(name, *arguments):
    script = HOME / name
    shutil.copy(HERE / name, script)
    ran = subprocess.run(["node", script, *arguments], cwd=HOME,
                         capture_output=True, text=True, timeout=180)
    assert ran.returncode == 0 and ran.stdout.strip() == "ok", ran.stderr


def test_openai(weir):
    run("node.mjs", f"{weir.url}/v1", weir.key)


def test_every_client_of_every_other_format(weir):
    run("translate.mjs", weir.url, weir.key, *FORMATS)

"""Where the programs under test and the tools are."""
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@lru_cache
def build() -> Path:
    """The build folder under test: $SLIPWAY_BUILD, else the sanitized build, else the plain one."""
    named = os.environ.get("SLIPWAY_BUILD")
    for folder in [Path(named)] if named else [ROOT / "build-asan", ROOT / "build"]:
        if (folder / "slipway").exists():
            return folder.resolve()
    raise RuntimeError("no slipway to test: run `make sanitize`, or set SLIPWAY_BUILD")


def slipway() -> str:
    return str(build() / "slipway")


@lru_cache
def has_test_clock() -> bool:
    return b"SLIPWAY_TEST_CLOCK" in Path(slipway()).read_bytes()


@lru_cache
def tools() -> Path:
    """The folder of the Pulumi programs, Node host included."""
    named = os.environ.get("SLIPWAY_TEST_TOOLS")
    if named:
        return Path(named)
    out = subprocess.run([ROOT / "tools/get-pulumi", "--with", "node"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(out.stdout.splitlines()[-1])


@lru_cache
def node_sdk() -> Path:
    """The folder that holds node_modules with @pulumi/pulumi."""
    named = os.environ.get("SLIPWAY_TEST_NODE_SDK")
    if named:
        return Path(named)
    out = subprocess.run([ROOT / "tools/get-node-sdk"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(out.stdout.splitlines()[-1])


@lru_cache
def managers() -> Path:
    """The folder of yarn, pnpm, uv and poetry."""
    named = os.environ.get("SLIPWAY_TEST_MANAGERS")
    if named:
        return Path(named)
    out = subprocess.run([ROOT / "tools/get-managers"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(out.stdout.splitlines()[-1])


@lru_cache
def path() -> str:
    """PATH of everything that the tests start: the tools first, then node, then the system."""
    folders = [str(tools())]
    if os.environ.get("SLIPWAY_TEST_NODE_SDK") or shutil.which("node"):
        folders.append(str(node_sdk() / "bin"))
        node = shutil.which("node")
        if node:
            folders.append(str(Path(node).parent))
    folders += ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return ":".join(dict.fromkeys(folders))


def clean_environment(home: Path, **more) -> dict:
    """An environment made from nothing, so that nobody's settings leak into a test."""
    env = {"PATH": path(), "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
           "USER": "tester", "LOGNAME": "tester", "no_proxy": "*", "NO_PROXY": "*",
           "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    env.update({k: str(v) for k, v in more.items() if v is not None})
    return env

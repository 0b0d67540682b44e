"""`lane doctor`: is everything there that lane_hf needs?"""

import argparse
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any

from ..display import first_line, printable
from ..errors import InputError
from .output import add_json_argument, as_json, say, say_table

_EXTRAS = {
    "demo": "the packaged encoder, so that nothing is downloaded",
    "report": "the HTML report and figures",
    "translate": "back-translation",
}


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("doctor", help="check versions, devices, and what is missing")
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the status is 1 if something that is needed is missing, too old or damaged."""
    needed, extras = packages()
    problems = [f"{line['name']} {line['problem']}" for line in needed if line["problem"]]
    devices: dict[str, Any] = {}
    if not problems:
        try:
            devices = _devices()
        except (ImportError, OSError, InputError) as error:  # such as a library of torch's that is not there
            problems.append(first_line(error))
    facts = {"packages": needed, "extras": extras, "devices": devices, "problems": problems, "ok": not problems}
    if arguments.json:
        say(as_json({"python": platform.python_version(), "platform": platform.platform(), **facts}))
    else:
        _say(facts)
    return int(bool(problems))


def _say(facts: dict[str, Any]) -> None:
    say(f"Python {platform.python_version()} on {platform.platform()}\n")
    lines = [(line["name"], line["version"], line["needed"], line["problem"]) for line in facts["packages"]]
    say_table([("package", "installed", "needed", ""), *lines])
    say("")
    for name, extra in facts["extras"].items():
        how = f"missing {', '.join(extra['missing'])}: pip install 'lane_hf[{name}]'"
        say(f"Extra {name} ({extra['gives']}): {how if extra['missing'] else 'installed'}")
    for name, value in facts["devices"].items():
        say(printable(f"{name}: {value}"))
    say("\nEverything that is needed is there." if facts["ok"] else "")
    for problem in facts["problems"]:
        say(printable(f"Problem: {problem}"))
    if not facts["ok"]:
        wrong = [line["name"] + line["needed"] for line in facts["packages"] if line["problem"]]
        names = " ".join(f"'{name}'" for name in wrong if not name.startswith("Python"))
        say(f"Install what is missing or damaged anew: pip install --upgrade {names}" if names else "")


def packages() -> tuple[list[dict[str, str]], dict[str, dict[str, Any]]]:
    """Return the packages that are needed, each with its problem, and what is missing of each extra.

    Raises:
        InputError: there is nothing to compare with.
    """
    try:
        from packaging.requirements import Requirement
        from packaging.specifiers import SpecifierSet

        own, wanted = metadata("lane_hf"), requires("lane_hf") or []
    except PackageNotFoundError as error:
        raise InputError("lane_hf is not installed, so it does not say what it needs: install it with pip") from error
    except ImportError as error:
        raise InputError("the package packaging is missing: pip install packaging") from error
    extras: dict[str, dict[str, Any]] = {name: {"gives": gives, "missing": []} for name, gives in _EXTRAS.items()}
    needed = [_line("Python", platform.python_version(), SpecifierSet(own["Requires-Python"] or ""))]
    for requirement in map(Requirement, wanted):
        line = _line(requirement.name, _version(requirement.name), requirement.specifier)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed.append(line)
            continue
        for name, extra in extras.items():
            if requirement.marker.evaluate({"extra": name}) and line["problem"]:
                extra["missing"].append(requirement.name)
    return needed, extras


def _line(name: str, installed: str | None, specifier: Any) -> dict[str, str]:
    fits = installed is not None and specifier.contains(installed, prereleases=True)
    problem = "" if fits else "is missing" if installed is None else f"does not fit {specifier}"
    return {"name": name, "version": installed or "", "needed": str(specifier), "problem": problem}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    import torch
    from huggingface_hub.constants import HF_HOME

    from ..packaged_model import default_model
    from ..run_arguments import has_fast_bf16

    free = shutil.disk_usage(next(path for path in (Path(HF_HOME), *Path(HF_HOME).parents) if path.exists())).free
    model = default_model()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "Processor cores": f"{usable} of {os.cpu_count()} may be used",
        "Threads of torch": torch.get_num_threads(),
        "Memory": _memory(),
        "Accelerators": _accelerators(torch),
        "Trains in bfloat16 by default": "yes" if has_fast_bf16() else "no",
        "Default encoder": "packaged" if Path(model).exists() else f"downloaded when first used ({model})",
        "Cache of the Hub": f"{HF_HOME} ({free / 2**30:.0f} GiB free)",
    }


def _memory() -> str:
    import psutil  # type: ignore[import-untyped]  # comes with accelerate

    memory = psutil.virtual_memory()
    return f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB free"


def _accelerators(torch: Any) -> str:
    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "none"

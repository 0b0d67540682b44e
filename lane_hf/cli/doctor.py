"""`lane doctor`: is everything there that lane_hf needs?"""

import argparse
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from .output import as_json, say, say_table

_EXTRAS = {
    "demo": "the packaged encoder, so that nothing is downloaded",
    "report": "the HTML report and figures",
    "translate": "back-translation",
}


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("doctor", help="check versions, devices, and what is missing")
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the status is 1 if a package that is needed is missing or too old."""
    needed, extras = _packages()
    problems = [line for line in needed if line["problem"]]
    devices = _devices() if not problems else {}
    if arguments.json:
        say(as_json({"packages": needed, "extras": extras, "devices": devices, "ok": not problems}))
        return bool(problems)
    say(f"Python {platform.python_version()} on {platform.platform()}\n")
    say_table(
        [
            ("package", "installed", "needed", ""),
            *((p["name"], p["version"], p["needed"], p["problem"]) for p in needed),
        ]
    )
    say("")
    for name, extra in extras.items():
        state = "installed" if not extra["missing"] else f"missing: {', '.join(extra['missing'])}"
        say(f"Extra {name} ({extra['gives']}): {state}")
    for name, value in devices.items():
        say(f"{name}: {value}")
    say(
        "\nEverything that is needed is there."
        if not problems
        else "\nInstall what is missing: pip install -U lane_hf"
    )
    return bool(problems)


def _packages() -> tuple[list[dict[str, str]], dict[str, dict[str, Any]]]:
    from packaging.requirements import Requirement

    needed, extras = [], {name: {"gives": gives, "missing": []} for name, gives in _EXTRAS.items()}
    for text in requires("lane_hf") or []:
        requirement = Requirement(text)
        installed = _version(requirement.name)
        fits = installed is not None and requirement.specifier.contains(installed, prereleases=True)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            problem = "" if fits else "missing" if installed is None else "does not fit"
            line = {"name": requirement.name, "version": installed or "", "needed": str(requirement.specifier)}
            needed.append({**line, "problem": problem})
            continue
        for name, extra in extras.items():
            if requirement.marker.evaluate({"extra": name}) and not fits:
                extra["missing"].append(requirement.name)
    return needed, extras


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
    return {
        "Processor cores": os.cpu_count(),
        "Threads of torch": torch.get_num_threads(),
        "Accelerators": _accelerators(torch),
        "Trains in bfloat16 by default": "yes" if has_fast_bf16() else "no",
        "Default encoder": "packaged" if Path(model).exists() else f"downloaded when first used ({model})",
        "Cache of the Hub": f"{HF_HOME} ({free / 2**30:.0f} GiB free)",
    }


def _accelerators(torch: Any) -> str:
    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "none"

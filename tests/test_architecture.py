"""The import arrows: which part of the package may know which. An arrow may skip a step, never turn back."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "segue"

ANYONE = {"labels", "errors", "files", "options"}  # leaves: labels and errors of all, and files written in one stroke
LAYERS = {
    "allocation": set(),
    "layers": set(),
    "backbones": {"layers"},
    "losses": set(),
    "models": {"backbones", "layers", "losses"},
    "metrics": set(),
    "crf": set(),
    "schedule": set(),
    "progress": set(),
    "reading": set(),
    "pictures": set(),
    "prediction": {"models", "crf"},
    "model": {"prediction", "models", "convert", "pictures", "reading"},
    "convert": {"models", "backbones", "layers", "losses"},
    "rasters": {"prediction", "reading"},
    "evaluation": {"prediction", "models", "metrics"},
    "data": {"reading", "progress"},
    "initialise": set(),
    "training": {"evaluation", "prediction", "models", "data", "metrics", "schedule"},
    "report": {"metrics", "pictures"},
    "recipe": {"schedule", "losses"},
    "run": {
        "recipe", "training", "evaluation", "prediction", "model", "models", "backbones", "data", "initialise",
        "report", "pictures", "progress", "feed", "history", "log", "",
    },
    "feed": {"data", "progress", "recipe", "training"},
    "data_speed": {"recipe", "data", "evaluation", "feed", "prediction", "progress", "run", "training"},
    "apply": {"recipe", "prediction", "model", "data", "progress", "sharpening"},
    "anomalies": {"explain", "prediction"},
    "assessment": {
        "anomalies", "apply", "evaluation", "explain", "log", "recipe", "prediction", "model", "data", "report",
        "pictures", "progress", "metrics", "sharpening",
    },
    "predicting": {
        "evaluation", "model", "prediction", "pictures", "progress", "rasters", "reading", "sharpening",
    },
    "sharpening": {"crf", "metrics", "prediction", "report"},
    "tuning": {"apply", "crf", "data", "metrics", "model", "prediction", "progress", "sharpening"},
    "importing": {"convert", "backbones", "model", "models", "prediction"},
    "field": {"models"},
    "figures": {"field", "models"},
    "history": set(),
    "log": set(),
    "seeds": {"log", "report", "run"},
    "scheduling": {"data", "recipe", "report", "schedule", ""},
    "explain": {
        "apply", "crf", "data", "field", "figures", "history", "layers", "model", "models", "pictures", "prediction",
        "report", "sharpening",
    },
    "listing": {"recipe", "figures", "data", "backbones"},
    "check": {"data", "pictures", "progress", "reading", "report"},
    "cli": {
        "allocation", "assessment", "seeds", "check", "data", "data_speed", "explain", "importing", "listing", "model",
        "models", "predicting", "progress", "recipe", "report", "run", "scheduling", "tuning",
    },
    "__main__": {"cli"},
    "": {"labels", "model", "models"},
}  # fmt: skip
"""part -> the parts that it may import; "" is the package itself."""


def part_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported_parts(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "segue":
                part = name.split(".")[1] if "." in name else ""
                found.append(
                    (node.lineno, part if (SOURCE / part).is_dir() or (SOURCE / f"{part}.py").is_file() else "")
                )
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_imports_only_what_its_part_may_know(path):
    part = part_of(path)
    assert part in LAYERS or part in ANYONE, f"{path}: {part!r} has no place in the picture: give it one"
    allowed = LAYERS.get(part, set()) | ANYONE | {part}
    for line, imported in imported_parts(path):
        assert imported in allowed, f"{path}:{line}: {part or 'segue'} must not import {imported or 'segue'}"


def test_the_arrows_never_turn_back():
    done: list[str] = []

    def visit(part: str, trail: tuple[str, ...]) -> None:
        assert part not in trail, f"a circle: {' -> '.join([*trail, part])}"
        if part not in done:
            for other in LAYERS.get(part, set()) - {""}:
                visit(other, (*trail, part))
            done.append(part)

    for part in LAYERS:
        visit(part, ())


def test_training_names_no_network():
    from segue.models import MODELS

    words = {
        node.value
        for node in ast.walk(ast.parse((SOURCE / "training.py").read_text()))
        if isinstance(node, ast.Constant)
    }
    assert not words & set(MODELS)


def test_the_command_line_and_the_package_import_nothing_heavy():
    heavy = "torch", "numpy", "PIL", "matplotlib", "timm", "accelerate"
    code = f"import sys, segue, segue.cli; print([name for name in {heavy!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"

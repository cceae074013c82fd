"""A hash of the code that features depend on: where it changes, stored features are stale.

Only the modules that compute features count, found by their imports, and in them only code: not
comments and docstrings. So a change elsewhere in the package leaves stored features valid.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

# where numbers are computed: imports are followed into these, not into others
PACKAGES = ("ops", "audio", "auditory", "asymmetry", "feature_extraction")
FIRST = ("training/cuts.py", "training/cut_features.py", "training/feature_store.py")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def code_version(home: Path) -> str:
    """Return a hash of the code that features depend on, in the package in `home`."""
    digest = hashlib.sha256()
    for name, tree in sorted(feature_modules(home).items()):
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                node.body[0] = ast.Pass()
        digest.update(f"{name}\n{ast.unparse(tree)}\n".encode())
    return digest.hexdigest()


def feature_modules(home: Path) -> dict[str, ast.Module]:
    """Return {path: code} of the modules that features depend on, imports in functions included."""
    found: dict[str, ast.Module] = {}
    waiting = [*FIRST]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = ast.parse((home / name).read_bytes())
            waiting += _imported(found[name], home)
    return found


def _imported(tree: ast.Module, home: Path) -> list[str]:
    """Return the modules of `PACKAGES` that a module imports."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):  # of a module, or of a name in it
            names += [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
    parts = [name.split(".")[1:] for name in names if name.startswith("speechasym.")]
    paths = [Path(*part).with_suffix(".py") for part in parts if part[0] in PACKAGES]
    return [path.as_posix() for path in paths if (home / path).is_file()]

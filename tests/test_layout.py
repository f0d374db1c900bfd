"""What holds of the repository as a whole."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import ats_core

ROOT = Path(__file__).parents[1]
PACKAGES = ("ats_core", "pipelines", "jobs", "benchmarks")


def _modules(*packages: str) -> list[str]:
    files = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    names = [path.relative_to(ROOT).with_suffix("") for path in files]
    return [".".join(name.parts).removesuffix(".__init__") for name in names]


def _fresh_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_the_core_imports_torch_alone() -> None:
    allowed = {*sys.stdlib_module_names, "ats_core", "torch", "safetensors", "jaxtyping"}
    for path in (ROOT / "ats_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    roots = {name.name.partition(".")[0] for name in names}
                case ast.ImportFrom(level=0, module=str(module)):
                    roots = {module.partition(".")[0]}
                case _:
                    continue
            assert roots <= allowed, f"{path.name}, line {node.lineno}"


def test_the_core_needs_no_ray() -> None:
    imports = ", ".join(_modules("ats_core"))
    loaded = _fresh_python(f"import sys, {imports}; print(*sys.modules)").split()
    assert not {"ray", "fsspec", "pyarrow", "pipelines"} & set(loaded)


def test_importing_draws_no_random_number_and_starts_no_ray() -> None:
    code = f"""
import importlib, json, random, ray, torch, numpy as np
def state():
    return [hash(random.getstate()), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()]
before = state()
for name in {_modules(*PACKAGES)!r}:
    importlib.import_module(name)
print(json.dumps([before == state(), ray.is_initialized()]))
"""
    assert json.loads(_fresh_python(code)) == [True, False]


def test_every_job_can_be_submitted_by_its_name() -> None:
    jobs = [path for path in (ROOT / "jobs").glob("*.py") if path.name != "__init__.py"]
    assert jobs
    for job in jobs:
        assert os.access(job, os.X_OK), job
        assert job.read_text().startswith("#!/usr/bin/env python3\n"), job


def test_shapes_are_checked_while_testing() -> None:
    assert type(ats_core.__spec__.loader).__module__.startswith("jaxtyping")

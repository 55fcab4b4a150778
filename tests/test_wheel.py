"""The wheel: it carries `conf/` and works from another folder (slow: it builds one)."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the installed wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(SOURCE)], check=True)
    (wheel,) = folder.glob("*.whl")
    plugins = {f"hydra_plugins/lf_experiments_{name}.py" for name in ("sweeper", "checkpoints")}
    assert {"lf_experiments/conf/config.yaml", *plugins} <= set(zipfile.ZipFile(wheel).namelist())
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder


def test_the_installed_package_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed / "site"), "LF_EXPERIMENTS_CACHE": str(tmp_path / "cache")}

    def command(*arguments: str) -> str:
        found = subprocess.run(
            [sys.executable, "-m", "lf_experiments", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    assert str(installed / "site" / "lf_experiments" / "conf") in command("--info", "searchpath")
    assert "step: 3000" in command("--cfg", "job", "--package", "checkpoint", "model=pythia-1b", "checkpoint=step3000")
    assert "apertus-70b (" in command("--help")
    assert "default 100" in command("--help", "dataset.sentences")
    command("experiment=smoke")
    assert len(list((tmp_path / "outputs").rglob("report.html"))) == 1
    command("--multirun", "experiment=smoke", "hydra.sweeper.grids=[{seed: '0,1'}]", "stages=[capture]")
    assert len(list((tmp_path / "multirun").rglob("run.json"))) == 2

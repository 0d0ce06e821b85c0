"""What `deploy/` holds is what this version takes, as far as it can be told without an engine."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e._sidecar import Running
from tests.needs import need
from zombiewatch.settings import Settings, gather

DEPLOY = Path(__file__).parents[2] / "deploy"
TOKEN = "0123456789abcdef" * 2


def _unit() -> str:
    return (DEPLOY / "zombiewatch.service").read_text()


def _said(unit: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{name}=")]


def test_the_unit_is_sound_and_shut_in(tmp_path: Path) -> None:
    """Systemd finds no fault with it, and little that it leaves open (0 is best, 10 worst)."""
    systemd = need("systemd-analyze", "apt-get install systemd")
    copy = tmp_path / "zombiewatch.service"
    copy.write_text(_unit().replace("/opt/zombiewatch/bin/zombiewatch", sys.executable))
    for words in (["verify"], ["security", "--offline=yes", "--no-pager", "--threshold=20"]):
        command = [systemd, *words, str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_never_gives_up_and_never_hurries() -> None:
    """A start that fails is tried again for ever, at a pace that no crash loop has."""
    unit = _unit()
    assert _said(unit, "StartLimitIntervalSec") == ["0"]
    assert int(_said(unit, "RestartSec")[0].removesuffix("s")) >= 10
    assert _said(unit, "RestartPreventExitStatus") == ["2"], "settings do not mend themselves"


def _options(words: list[str]) -> dict[str, Any]:
    """Return what these words of `zombiewatch run` set."""
    names = {"--preset": "presets", "--broker": "celery.broker", "--results": "celery.results"}
    pairs = [word.partition("=")[::2] for word in words if "=" in word]
    return {names[name]: [value] if name == "--preset" else value for name, value in pairs}


def _compose() -> Settings:
    said = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["zombiewatch"]
    assert said["command"][0] == "run"
    env = {
        name: TOKEN if "TOKEN" in value else value for name, value in said["environment"].items()
    }
    return gather(None, _options(said["command"][1:]), env)


def _manifest() -> dict[str, Any]:
    said = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {one["kind"]: one for one in said}


def _kubernetes(folder: Path) -> Settings:
    found = {
        one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    }
    (folder / "config.yaml").write_text(found["ConfigMap"]["data"]["config.yaml"])
    [container] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["run", "--config", "/etc/zombiewatch/config.yaml"]
    env = {one["name"]: TOKEN for one in container["env"]}
    return gather(folder / "config.yaml", {}, env)


@pytest.mark.parametrize("kind", ["compose", "kubernetes"])
def test_its_settings_are_taken(kind: str, tmp_path: Path) -> None:
    """Each is one, and what can be reached from outside asks for a token."""
    config = (_compose() if kind == "compose" else _kubernetes(tmp_path)).config
    assert config.presets == ("celery",)
    assert config.celery.broker is not None
    assert config.celery.broker.get_secret_value().startswith("redis://")
    assert config.http.host == "0.0.0.0"  # noqa: S104 - in a container
    assert config.http.token is not None


def test_ports_and_paths_of_the_manifest_are_ours(tmp_path: Path) -> None:
    """Probes ask what there is, at the ports that the settings name."""
    config = _kubernetes(tmp_path).config
    found = {
        one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    }
    pod = found["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"http": config.http.port, "otlp": config.otlp.port}
    assert found["Deployment"]["spec"]["replicas"] == 1
    assert found["Deployment"]["spec"]["strategy"]["type"] == "Recreate"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    mounts = {one["name"] for one in container["volumeMounts"]}
    assert mounts == {one["name"] for one in pod["volumes"]}


@pytest.mark.slow
def test_the_health_check_of_the_container_file_tells_ready_from_not(tmp_path: Path) -> None:
    """Its very words, against a sidecar that asks for a token, and against none."""
    text = (DEPLOY / "Dockerfile").read_text()
    [line] = [one for one in text.splitlines() if one.startswith("  CMD [")]
    words = yaml.safe_load(line.strip().removeprefix("CMD "))
    assert words[:2] == ["/opt/zombiewatch/bin/python", "-c"]
    with Running(tmp_path / "sidecar", {"http": {"token": TOKEN}}) as sidecar:
        code = words[2].replace("http://127.0.0.1:9797", sidecar.url())
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
        assert sidecar.stop() == 0
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode != 0


def test_the_container_file_copies_what_there_is() -> None:
    """It is built from the whole repository, and installs by our constraints."""
    text = (DEPLOY / "Dockerfile").read_text()
    pip = next(line for line in text.splitlines() if "pip install" in line)
    named = shlex.split(pip.strip(" &\\"))
    root = DEPLOY.parent
    assert (root / named[named.index("-c") + 1]).is_file()
    assert named[-1] == ".[celery]"
    assert 'ENTRYPOINT ["/opt/zombiewatch/bin/zombiewatch"]' in text


_ON_A_READ_ONLY_ROOT = """
mount --make-rprivate / && mount -t tmpfs tmpfs "$1" && mount -o remount,bind,ro / || exit 99
cd / && shift && exec timeout --signal=TERM 60 "$@"
"""


def test_it_runs_where_only_its_folder_can_be_written(tmp_path: Path) -> None:
    """As the containers of compose and Kubernetes do: `read_only`, and one volume."""
    said = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["zombiewatch"]
    assert said["read_only"] is True
    unshare = need("unshare", "apt-get install util-linux")
    run = [sys.executable, "-m", "zombiewatch", "run", "--leash", f"--data-dir={tmp_path}"]
    ports = [word for one in ("http", "otlp", "grpc") for word in ("--set", f"{one}.port=0")]
    words = [unshare, "--mount", "sh", "-c", _ON_A_READ_ONLY_ROOT, "sh", str(tmp_path), *run]
    with subprocess.Popen(
        [*words, *ports, "--broker=redis://127.0.0.1:1/0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        if "ermission denied" in first or "not permitted" in first:
            pytest.skip(f"no mounts of one's own here: {first}")
        rest, _ = process.communicate()  # its standard input ends, and so does it
    assert "zombiewatch is ready" in first, first + rest
    assert process.returncode == 0, first + rest

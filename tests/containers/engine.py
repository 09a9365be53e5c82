"""Podman with a store of its own, and stand-ins for the images of registries, made of Debian's packages."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
DEBIAN = "docker.io/library/debian:bookworm-slim"
PLACES = (str(Path(sys.executable).parent), "/usr/sbin", "/usr/lib/podman", "/usr/libexec/podman")
EXTRAS = ("metrics", "serial", "monitor")
# As Debian's image on the registries: no documentation, no caches of apt.
SLIM = "path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n"
NO_CACHE = 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
ENGINE = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""


def tool(name: str) -> str:
    """Path of a program; where it is missing the test fails in CI and is skipped elsewhere."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *PLACES]))
    if found is None:
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain(
            f"{name} is not installed: apt install podman runc netavark aardvark-dns iptables debootstrap; "
            "pip install podman-compose"
        )
    return found


class Engine:
    """A container engine whose images and containers all lie in ``folder``."""

    def __init__(self, folder: Path) -> None:
        for name in ("runc", "netavark", "aardvark-dns", "iptables", "debootstrap"):
            tool(name)
        self._folder, self._podman, self._compose = folder, tool("podman"), tool("podman-compose")
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        (folder / "containers.conf").write_text(ENGINE.format(folder=folder))
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n'
        )
        self._environment = os.environ | {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "BROKER_ADDRESS": "127.0.0.88",
        }

    def podman(self, *arguments: object, stdin: bytes | None = None) -> str:
        """What podman prints on stdout."""
        return self._run([self._podman, *arguments], stdin)

    def compose(self, file: Path, *arguments: object) -> str:
        """The same of podman-compose."""
        return self._run([self._compose, "-f", file, *arguments])

    def inspect(self, container: str) -> dict[str, Any]:
        """All that the engine knows of a container."""
        return json.loads(self.podman("container", "inspect", container))[0]

    def healthy(self, container: str) -> bool:
        """Run the container's own health check now."""
        return self._ends([self._podman, "healthcheck", "run", container])

    def build(self, dockerfile: Path, tag: str, context: Path = PROJECT) -> None:
        """Build a Dockerfile; pip finds the wheels of this machine in place of an index."""
        wheels, settings = self._folder / "wheels", self._folder / "pip.conf"
        settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        mounts = ["-v", f"{wheels}:/wheels:ro", "-v", f"{settings}:/etc/pip.conf:ro"]
        options = ["--isolation", "chroot", "--format", "docker", "--pull=never", "--layers", "-t", tag]
        self.podman("build", *options, *mounts, "-f", dockerfile, context)

    def fetch(self) -> None:
        """Debian's image, made by debootstrap where it is not there yet, and the wheels that the images install."""
        if not self._ends([self._podman, "image", "exists", DEBIAN]):
            root = self._folder / "debian"
            shutil.rmtree(root, ignore_errors=True)
            self._run([tool("debootstrap"), "--variant=minbase", "bookworm", root, MIRROR])
            for name in ("doc", "man", "locale"):
                shutil.rmtree(root / "usr/share" / name)
            (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(SLIM)
            (root / "etc/apt/apt.conf.d/no-cache").write_text(NO_CACHE)
            for name in ("var/cache/apt/archives", "var/lib/apt/lists"):
                shutil.rmtree(root / name)
                (root / name / "partial").mkdir(parents=True)
            archive = self._folder / "debian.tar"
            self._run(["tar", "-C", root, "-cf", archive, "."])
            self.podman("import", "-q", archive, DEBIAN)
            shutil.rmtree(root)
            archive.unlink()
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
        needed = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
        needed += [one for extra in EXTRAS for one in project["project"]["optional-dependencies"][extra]]
        options = ["--only-binary=:all:", "--python-version=3.11", "--quiet", "-d", self._folder / "wheels"]
        self._run([sys.executable, "-m", "pip", "download", *options, *needed])

    def _run(self, command: list[object], stdin: bytes | None = None) -> str:
        done = subprocess.run([str(word) for word in command], env=self._environment, input=stdin, capture_output=True)
        assert done.returncode == 0, (command, done.stdout.decode()[-3000:], done.stderr.decode()[-3000:])
        return done.stdout.decode()

    def _ends(self, command: list[object]) -> bool:
        return subprocess.run(command, env=self._environment, capture_output=True).returncode == 0

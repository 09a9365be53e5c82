"""``fleet.json``: what a fleet is, and every certificate that was issued in its name. Nothing in it is secret."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedtiny.config import PublicKey
from fedtiny.errors import ConfigError
from fedtiny.protocol.topics import ID_PATTERN
from fedtiny.provisioning.access import Role
from fedtiny.store import atomic_write

NAME = "fleet.json"

Id = Annotated[str, Field(pattern=rf"^{ID_PATTERN}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Issued(_Entry):
    """A certificate. ``serial``: 40 hex digits. ``key``: its holder's. ``revoked``: since when it counts no more."""

    name: Id
    role: Role
    serial: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    key: PublicKey
    not_after: datetime
    revoked: datetime | None = None


class Registry(_Entry):
    """``host``: where the broker is found; ``port``: by devices; ``staff_port``: by coordinator and operators."""

    version: Literal[1] = 1
    fleet: Id
    host: str
    port: Port
    staff_port: Port
    certificates: tuple[Issued, ...] = ()

    def valid(self, name: str | None = None) -> list[Issued]:
        """Those not revoked, of ``name`` or of all. Whether one has expired is for the broker's clock to say."""
        return [one for one in self.certificates if one.revoked is None and name in (None, one.name)]


def read_registry(folder: Path) -> Registry:
    """The registry in ``folder``; ConfigError when it is not there or not one."""
    path = folder / NAME
    try:
        return Registry.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; expected a folder of fedtiny fleet init"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def write_registry(folder: Path, registry: Registry) -> None:
    """Replace the registry in ``folder``, whole."""
    atomic_write(folder / NAME, registry.model_dump_json(indent=1).encode() + b"\n")

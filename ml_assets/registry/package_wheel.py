"""This package as a wheel, stored with a logged model so that it can be loaded anywhere.

The package is not on PyPI. The wheel contains the code at the time of logging and declares no
dependencies: the requirements for loading are pinned in the ``requirements.txt`` beside it, without
Dagster.
"""

import base64
import functools
import hashlib
import io
import zipfile
from importlib import metadata
from pathlib import Path

import ml_assets

DISTRIBUTION = "ml_assets"
_PACKAGE = Path(ml_assets.__file__).parent
_EXCLUDED = ("__pycache__", "swagger_ui")
"""Folders that loading a model does not need; the second is half a megabyte when compressed."""

_METADATA = """\
Metadata-Version: 2.1
Name: ml-assets
Version: {version}
Summary: The code of a logged model; its dependencies are pinned in the requirements.txt beside it
Requires-Python: >=3.11
"""
_WHEEL = """\
Wheel-Version: 1.0
Generator: ml-assets
Root-Is-Purelib: true
Tag: py3-none-any
"""
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
"""The earliest date of a zip archive; fixed, so that equal code gives equal bytes."""


def wheel_name() -> str:
    """Return the file name of the wheel."""
    return f"{DISTRIBUTION}-{_version()}-py3-none-any.whl"


def write_wheel(folder: Path) -> Path:
    """Write the wheel into an existing folder, and return the file."""
    file = folder / wheel_name()
    file.write_bytes(_content())
    return file


@functools.cache
def _content() -> bytes:
    info = f"{DISTRIBUTION}-{_version()}.dist-info"
    files = {
        f"{DISTRIBUTION}/{path.relative_to(_PACKAGE).as_posix()}": path.read_bytes()
        for path in sorted(_PACKAGE.rglob("*"))
        if path.is_file() and not {*_EXCLUDED} & {*path.parts}
    }
    files[f"{info}/METADATA"] = _METADATA.format(version=_version()).encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    record = "".join(f"{name},{_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _TIMESTAMP)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def _version() -> str:
    try:
        return metadata.version("ml-assets")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "0.0.0"

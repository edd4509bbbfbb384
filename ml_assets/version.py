"""Which code made an asset: the package's version and a digest of the domain's own source."""

import functools
import hashlib
from importlib import metadata
from pathlib import Path

_DOMAIN = ("trips", "modeling")


@functools.cache
def code_version() -> str:
    """``{package version}+{8 hex digits}``; the digits change when domain code changes."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for folder in _DOMAIN:
        for source in sorted((package / folder).rglob("*.py")):
            digest.update(source.relative_to(package).as_posix().encode())
            digest.update(source.read_bytes())
    return f"{_package_version()}+{digest.hexdigest()[:8]}"


def _package_version() -> str:
    try:
        return metadata.version("ml-assets")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "0.0.0"

"""Which version this is."""

from importlib.metadata import PackageNotFoundError, version


def ours() -> str:
    """Return the version that is installed, `unknown` where it runs from a source tree."""
    try:
        return version("zombiewatch")
    except PackageNotFoundError:
        return "unknown"

"""Versions of Pillow, and of the libraries by which it reads and writes formats: they decide pixels and bytes."""

from __future__ import annotations

from shardpack.errors import MissingDependencyError

_LIBRARIES = {  # our name -> (name of the library to Pillow, a variant of it)
    "jpg": ("jpg", "libjpeg_turbo"),
    "zlib": ("zlib", "zlib_ng"),
    "webp": ("webp", ""),
    "avif": ("avif", ""),
    "tif": ("libtiff", ""),
    "jp2": ("jpg_2000", ""),
    "lcms": ("littlecms2", ""),
}


def pillow_versions(*libraries: str) -> dict[str, str]:
    """Return the versions of Pillow and of some of its libraries.

    Args:
        libraries: Some of "jpg", "zlib", "webp", "avif", "tif", "jp2" and "lcms".

    Raises:
        MissingDependencyError: This Pillow was built without one of them.
    """
    import PIL

    found = {"pillow": PIL.__version__}
    for name in libraries:
        version = _version(name)
        if version is None:
            raise MissingDependencyError(
                f"{name} needs a Pillow that was built with it, which {PIL.__version__} here was not; "
                'run pip install "pillow>=11.3"'
            )
        found[name] = version
    return found


def all_pillow_versions() -> dict[str, str]:
    """Return the versions of Pillow and of all its libraries, without those that it was built without."""
    return pillow_versions(*(name for name in _LIBRARIES if _version(name) is not None))


def _version(name: str) -> str | None:
    from PIL import features

    library, variant = _LIBRARIES[name]
    if library not in {**features.modules, **features.codecs} or not features.check(library):
        return None
    if variant in features.features and features.check_feature(variant):
        return f"{variant} {features.version_feature(variant)}"
    version = str(features.version(library))
    if name == "avif":
        from PIL import _avif

        version += f" ({_avif.codec_versions()})"  # what it encodes with
    return version

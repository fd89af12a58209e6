"""What there is on this machine: versions, processor and memory, GPUs, and what is missing, with the way to get it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch

from .engines import dali
from .engines.cpu.cache import is_compiled, kernels_folder
from .memory import available_bytes
from .placement import cores

INSTALL_DALI = "pip install 'viewmill[dali]'"
PACKAGES = ("torch", "torchvision", "timm", "numba", "llvmlite", "numpy", "simplejpeg", "pillow")


def versions() -> dict[str, str]:
    """By name; "missing" where a package is not there. Beside two of them, the JPEG library that they bring along."""
    found = {"python": platform.python_version(), "viewmill": _own_version()}
    for name in PACKAGES:
        found[name] = _version(name)
    for name, library in (("simplejpeg", _bundled_jpeg()), ("pillow", _pillows_jpeg())):
        if library:
            found[name] += f" (libjpeg-turbo {library})"
    names = {str(each.metadata["Name"]) for each in metadata.distributions()}
    installed = sorted(name for name in names if name.startswith("nvidia-dali"))
    found["nvidia-dali"] = ", ".join(f"{_version(name)} ({name})" for name in installed) or "missing"
    return found


def machine() -> dict[str, Any]:
    """The system and what this process may use of it. Bytes; memory_limit_bytes: what can still be had, see `memory`."""
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    return {"system": platform.platform(), "cpu": _cpu(), "cores": cores(), "memory_bytes": page * pages,
            "available_bytes": available_bytes(), "kernels_folder": kernels_folder(), "kernels_compiled": is_compiled()}


def devices() -> dict[str, Any]:
    """CUDA as torch sees it, the GPUs, DALI, and `missing`: what is not there and what to do about it, a line each."""
    gpus = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            gpus.append({"name": about.name, "memory_bytes": about.total_memory, "capability": f"{about.major}.{about.minor}"})
    return {"cuda_driver": _cuda_driver(), "cuda_runtime": torch.version.cuda or "none", "gpus": gpus,
            "jpeg_decoder": jpeg_decoder() if gpus else "none", "dali": not dali.missing(), "missing": _missing(bool(gpus))}


def jpeg_decoder() -> str:
    """Whether the first GPU decodes JPEGs in hardware, as nvJPEG tells: how many engines, "none", or "unknown"."""
    library = _nvjpeg()
    if library is None:
        return "unknown"
    handle, engines, each = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()
    if library.nvjpegCreateSimple(ctypes.byref(handle)) != 0:
        return "unknown"
    try:
        status = library.nvjpegGetHardwareDecoderInfo(handle, ctypes.byref(engines), ctypes.byref(each))
    finally:
        library.nvjpegDestroy(handle)
    if status != 0:
        return "unknown"
    return f"{engines.value} engines of {each.value} cores" if engines.value else "none"


def _missing(has_gpu: bool) -> list[str]:
    found = []
    if not has_gpu and torch.version.cuda is None:
        found.append("this torch was built without CUDA: for a GPU, install one with it (https://pytorch.org/get-started)")
    elif not has_gpu:
        found.append("torch sees no CUDA device: GPU checks are skipped, the cpu engine makes the views")
    if reason := dali.missing():
        found.append(reason)
    return found


def _cuda_driver() -> str:
    """The newest CUDA that the driver can run, as in 13.0, or "none"."""
    for name in ("libcuda.so.1", "libcuda.dylib"):
        with contextlib.suppress(OSError):
            number = ctypes.c_int()
            if ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(number)) == 0:
                return f"{number.value // 1000}.{number.value % 1000 // 10}"
    return "none"


def _nvjpeg() -> Any:
    """The library of the wheels that DALI brings, or the system's; None where neither can be loaded or answer."""
    found = [str(path) for name in ("nvidia-nvjpeg-cu13", "nvidia-nvjpeg-cu12", "nvidia-nvjpeg") for path in _files(name)
             if re.fullmatch(r"libnvjpeg\.so\.\d+", path.name)]
    for name in (*found, "libnvjpeg.so.13", "libnvjpeg.so.12"):
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(name)
            if hasattr(library, "nvjpegGetHardwareDecoderInfo"):
                return library
    return None


def _files(distribution: str) -> list[Path]:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return [Path(str(path.locate())) for path in metadata.files(distribution) or ()]
    return []


def _own_version() -> str:
    from .. import __version__

    return __version__


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _bundled_jpeg() -> str:
    """simplejpeg does not tell, but its library carries the text."""
    spec = util.find_spec("simplejpeg")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob("_jpeg*.so"):
            if found := re.search(rb"libjpeg-turbo version ([0-9.]+)", path.read_bytes()):
                return found[1].decode()
    return ""


def _pillows_jpeg() -> str:
    from PIL import features

    return str(features.version("libjpeg_turbo") or "")


def _cpu() -> str:
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo") as info:
        return next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    return platform.processor() or platform.machine()

"""Compiles the operators while the distribution is built, when torch can be imported; see aunet_ops/build.py."""

import runpy
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

HERE = Path(__file__).resolve().parent
driver = runpy.run_path(str(HERE / "aunet_ops" / "build.py"))


class BuildWithOperators(build_py):
    """Adds the libraries (and, in a wheel, their sources) to the package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            package = HERE / "aunet_ops"
        else:
            package = Path(self.build_lib) / "aunet_ops"
            shutil.rmtree(package / "csrc", ignore_errors=True)  # of an earlier build
            shutil.copytree(HERE / "csrc", package / "csrc", dirs_exist_ok=True)
        status = driver["build_all"](package / "_lib")
        if status:
            sys.exit(status)


class PlatformWheel(bdist_wheel):
    """py3-none-PLATFORM with libraries inside, py3-none-any without: the stable ABI needs no Python tag."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        libraries = Path(self.get_finalized_command("build_py").build_lib) / "aunet_ops" / "_lib"
        built = any(libraries.glob("*.so"))
        return ("py3", "none", super().get_tag()[2] if built else "any")


class WithLibraries(Distribution):
    """A distribution that installs into platlib."""

    def has_ext_modules(self) -> bool:
        return True


setup(cmdclass={"build_py": BuildWithOperators, "bdist_wheel": PlatformWheel}, distclass=WithLibraries)

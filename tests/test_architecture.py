"""What must stay true of the whole house: exports, import cost, settings, no word of elsewhere."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mien

REPOSITORY = Path(__file__).parents[1]


def test_the_public_objects_are_these() -> None:
    assert sorted(mien.__all__) == [
        "Analyzer",
        "ExpressionClassifier",
        "FaceResult",
        "Frame",
        "FrameResult",
        "MienError",
        "Sink",
        "Source",
        "Span",
        "analyze",
        "list_models",
        "open_sink",
        "open_source",
    ]
    for name in mien.__all__:
        assert inspect.getdoc(getattr(mien, name)), f"{name} has no docstring"
    assert dir(mien) == sorted(["__version__", *mien.__all__])
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        mien.nonesuch  # type: ignore[attr-defined]  # noqa: B018  (which type checkers know, too)


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    script = f"import sys\n{code}\nprint(*sorted(set(m.split('.')[0] for m in sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_is_cheap() -> None:
    """Only the standard library; objects load their room when they are first used."""
    loaded = modules_after("import mien")
    assert not loaded & {"numpy", "onnxruntime", "cv2", "av", "torch", "pandas", "matplotlib"}


def test_the_runtime_needs_no_torch_and_no_pandas(portrait_file: Path) -> None:
    loaded = modules_after(
        f"import mien; mien.analyze({str(portrait_file)!r}); mien.open_sink; mien.list_models()"
    )
    assert {"onnxruntime", "numpy"} <= loaded
    assert not loaded & {"torch", "pandas", "matplotlib", "onnx", "sklearn", "scipy"}


def test_onnx_runtime_is_silenced_before_it_is_loaded() -> None:
    """Its official builds report their use unless they are told not to before that."""
    script = """if True:
        import os, sys
        class Watch:
            def find_spec(name, *_):
                if name == "onnxruntime":
                    print(os.environ.get("ORT_DISABLE_TELEMETRY"))
        sys.meta_path.insert(0, Watch)
        import mien.training.quantize
    """
    free = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=free
    )
    assert done.stdout.split() == ["1"]


def test_every_module_says_what_it_is_for() -> None:
    for file in sorted((REPOSITORY / "src").rglob("*.py")):
        first = file.read_text("utf-8").lstrip()
        assert first.startswith('"""'), f"{file} has no opening docstring"


def test_every_option_is_documented() -> None:
    from mien.cli import build_parser

    pages = [
        REPOSITORY / "docs" / name for name in ("usage.md", "training.md", "batch.md", "server.md")
    ]
    usage = "".join(page.read_text("utf-8") for page in pages)
    parsers = [build_parser()]
    while parsers:
        parser = parsers.pop()
        for action in parser._actions:
            if isinstance(action.choices, dict):
                parsers += action.choices.values()
            for option in action.option_strings:
                if option.startswith("--") and option != "--help":
                    assert f"`{option}" in usage or f"mien {option}`" in usage, (
                        f"neither docs/usage.md nor the verb's own page explains {option}"
                    )


def test_every_recipe_setting_is_explained() -> None:
    from dataclasses import fields, is_dataclass

    from mien.training.recipe import Recipe

    text = (REPOSITORY / "docs" / "training.md").read_text("utf-8")
    recipe = Recipe(name="-")
    for section in fields(recipe):
        value = getattr(recipe, section.name)
        names = [f"{section.name}.{f.name}" for f in fields(value)] if is_dataclass(value) else []
        for name in names or [section.name]:
            assert f"`{name}`" in text, f"docs/training.md does not explain {name}"

# make demo   set-up and the main job: an annotated picture, a table in the terminal
# make test   set-up and the whole test suite
# make check  set-up, lint, types, layers
# make test-ray  the tests on a Ray cluster of two nodes, which `make test` leaves out (235 MB more)
PYTHON ?= python3

demo: .venv/ready
	@.venv/bin/mien demo --out demo --overwrite

# Two processes, each a file at a time: tests of one file share what is costly to set up.
test: .venv-dev/ready
	.venv-dev/bin/python -m pytest -q -n 2 --dist loadfile

check: .venv-dev/ready
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/ruff check .
	.venv-dev/bin/mypy
	.venv-dev/bin/lint-imports

test-ray: .venv-dev/ready
	.venv-dev/bin/python -m pip install --quiet -e ".[ray]"
	.venv-dev/bin/python -m pytest -v tests/test_batch_ray.py

# The environment is made again when what goes into it changes.
.venv/ready: pyproject.toml hatch_build.py third_party.py tflite_to_onnx.py dlib_to_onnx.py
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet -e .
	@touch $@

# The versions that the suite was last run with; others that pyproject.toml admits will do.
.venv-dev/ready: pyproject.toml hatch_build.py third_party.py tflite_to_onnx.py dlib_to_onnx.py
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/python -m pip install --quiet torch==2.14.1 torchvision==0.29.1
	.venv-dev/bin/python -m pip install --quiet -e ".[dev]"
	@touch $@

.PHONY: demo test test-ray check

VENV := .venv-dev

$(VENV)/ready: pyproject.toml
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q torch==2.13.0
	$(VENV)/bin/pip install -q -e .[dev]
	touch $@

test: $(VENV)/ready
	$(VENV)/bin/python -m pytest -q --show-capture=no

check: $(VENV)/ready
	$(VENV)/bin/ruff check src tests

.PHONY: test check

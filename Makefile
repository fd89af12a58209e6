# Two commands: `make demo` (train on the embedded photographs, about five minutes) and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check slow docs browser clean

.venv/installed: pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit('viewmill needs Python 3.11 or newer: make PYTHON=python3.11 ...' if sys.version_info < (3, 11) else 0)"
	@mkdir -p .dev && ln -sfn .. .dev/viewmill
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[demo,test]"
	@touch $@

demo: .venv/installed
	$(BIN)/viewmill demo out=demo

test: .venv/installed
	$(BIN)/python -m pytest -q

slow: .venv/installed
	$(BIN)/python -m pytest -q -m slow

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/mypy

# The site, into build/site: open build/site/index.html. A broken link fails.
docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet -f docs/site/mkdocs.yml

# What the tests of reports look at pages with: Chromium, and what drives it. They are skipped without.
browser: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[browser]"
	@command -v chromium > /dev/null || { s=$$([ $$(id -u) = 0 ] || echo sudo); $$s apt-get update -qq && $$s apt-get install -y --no-install-recommends chromium; }

clean:
	rm -rf .venv build dist demo runs .mypy_cache .ruff_cache .pytest_cache

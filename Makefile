# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test check bench docs clean

demo: $(VENV)/.run
	$(BIN)/retroscope demo $(DEMO)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks all

docs: $(VENV)/.dev
	$(BIN)/python tools/commands.py docs/reference/commands.md
	$(BIN)/python -m tools.statistics_table docs/reference/atlas.md
	$(BIN)/python -m tools.rules_table docs/audit.md
	$(BIN)/retroscope demo $(DEMO) --no-open
	$(BIN)/python tools/pictures.py $(DEMO) docs/images
	$(BIN)/python tools/gallery.py docs/images
	$(BIN)/retroscope scan demo-shortcut $(DEMO)/world --to $(DEMO)/shortcut.atlas --projections all
	$(BIN)/python tools/screenshots.py $(DEMO)/demo.atlas docs/images --only --model demo \
		--compare $(DEMO)/shortcut.atlas --image $(DEMO)/world/cat/000005.png
	$(BIN)/python -m tools.purity docs/world.md
	$(BIN)/python -m pytest tests/test_docs.py

clean:
	rm -rf $(VENV) $(DEMO) build dist

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	touch $@

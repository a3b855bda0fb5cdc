# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL := vgg16
DEMO := demo

.PHONY: demo test check bench docs clean

demo: $(VENV)/.run
	$(BIN)/python tools/scene.py $(DEMO)/scene.png
	$(BIN)/retroscope layers $(MODEL) --random-weights 0
	$(BIN)/retroscope deconv $(MODEL) conv3_3 $(DEMO)/scene.png --top 12 --random-weights 0 \
		-o $(DEMO)/projections.png
	$(BIN)/retroscope activations $(MODEL) relu2_2 $(DEMO)/scene.png --random-weights 0 \
		-o $(DEMO)/activations.png
	@echo "Look at $(DEMO)/projections.png and $(DEMO)/activations.png"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks deconv
	$(BIN)/python -m benchmarks scan

docs: $(VENV)/.dev
	$(BIN)/python tools/commands.py docs/reference/commands.md
	$(BIN)/python tools/scene.py $(DEMO)/scene.png
	$(BIN)/retroscope deconv vgg16 conv3_3 $(DEMO)/scene.png --top 9 --random-weights 0 \
		-o docs/images/projections.png
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

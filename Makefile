# make run, make test: all that is needed is Python 3.11 or newer and make. `make help` lists the rest.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-full test-light faults bench model translations screenshots clean

VENV ?= .venv
LIGHT ?= $(VENV)-light
OUT ?= out/first-light
SAMPLE ?=
HEADLESS ?=
PORT ?= 0
BUNDLE ?= body-region
DATA ?= ../shared/data
# The first interpreter that is new enough and can make an environment; 3.12 is what Slicer has.
PYTHON ?= $(shell for python in python3.12 python3.11 python3 python python3.13; do \
	"$$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt
VERSIONS := pyproject.toml constraints.txt

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12
	@echo
	@echo "Variables: SAMPLE=volume or DICOM folder, HEADLESS=1, OUT=folder, PORT=number, BUNDLE=name, DATA=training data,"
	@echo "PYTHON=, VENV="

# Installed editable, so that one environment serves the source tree as it changes.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with ensurepip found (Debian: apt-get install python3-venv);" \
		"install one or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv "$(VENV)"

$(VENV)/run.stamp: $(VERSIONS) | $(BIN)/python
	@echo "Installing ..."
	@$(PIP) -e ".[viewer,sample]"
	@$(BIN)/python Testing/check_libraries.py numpy SimpleITK onnxruntime vtk slicer trame_slicer
	@touch $@

# What `make run` has and the tests' own tools, in an environment that never gets torch.
$(LIGHT)/test.stamp: $(VERSIONS)
	@$(MAKE) -s VENV="$(LIGHT)" "$(LIGHT)/run.stamp"
	@$(LIGHT)/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt -e ".[test]"
	@$(LIGHT)/bin/python Testing/check_libraries.py PySide6.QtWidgets
	@touch $@

$(VENV)/test.stamp: $(VERSIONS) $(VENV)/run.stamp
	@echo "Installing what training and its tests need (torch is large: a minute or several, once) ..."
	@$(PIP) -e ".[openvino,train,test]"
	@$(BIN)/python Testing/check_libraries.py torch torchvision openvino PySide6.QtWidgets
	@touch $@

$(VENV)/bench.stamp: $(VERSIONS) $(VENV)/test.stamp
	@$(PIP) -e ".[bench]"
	@touch $@

# The viewer draws by OpenGL: as root the two system packages that this needs are installed, else the line is printed.
run: $(VENV)/run.stamp ## see a real volume classified, in a browser; HEADLESS=1: as files, without one
	@$(BIN)/python -m MedImgClassifierLib.viewer.graphics --install
	@set -e; sample="$(SAMPLE)"; \
	if [ -z "$$sample" ]; then sample=$$($(BIN)/python Testing/sample_volume.py out/sample); fi; \
	if [ -z "$(HEADLESS)" ]; then \
		$(BIN)/medimg view "$$sample" --bundle "$(BUNDLE)" --classify --port "$(PORT)"; \
	else \
		$(BIN)/medimg view "$$sample" --bundle "$(BUNDLE)" --classify --once "$(OUT)"; \
		echo; echo "Look at:"; \
		for file in "$(OUT)"/views.png "$(OUT)"/report.html "$(OUT)"/results.csv "$(OUT)"/results.json "$(OUT)"/scene.mrb; do \
			test -f "$$file" || { echo "missing: $$file" >&2; exit 1; }; \
			echo "  $$(cd "$$(dirname "$$file")" && pwd)/$$(basename "$$file")"; done; \
	fi

test: test-light test-full ## everything: without torch first, then what torch and the other runtimes have a part in

test-light: $(LIGHT)/test.stamp ## the tests of engine, command line, scene, panel and viewer where torch is not installed
	@$(LIGHT)/bin/python -c 'import importlib.util as u; assert u.find_spec("torch") is None, "torch is in $(LIGHT)"'
	$(LIGHT)/bin/python -m pytest -q $(addprefix Testing/Python/,engine presenter cli worker slicer host panel viewer)

test-full: $(VENV)/test.stamp ## ruff, mypy --strict, the tests of training, and with all runtimes those of engine, command line and worker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/python -m pytest -q $(addprefix Testing/Python/,engine cli worker training repo)

faults: $(LIGHT)/test.stamp ## break the module in many ways, one at a time, and see that its tests notice (an hour or two)
	$(LIGHT)/bin/python Testing/seeded_faults.py

bench: $(VENV)/bench.stamp ## timings as ratios against the usual ways, with their conditions
	@set -e; for bench in Testing/benchmarks/bench_*.py; do echo; echo "== $$bench"; $(BIN)/python "$$bench"; done

model: $(VENV)/test.stamp ## train the shipped bundle again from the archives in DATA and write its figures
	$(BIN)/python -m medimg_training.body_region release --archives "$(DATA)"

translations: $(LIGHT)/test.stamp ## bring the translations up to date with the texts; lists what is to be translated
	@$(LIGHT)/bin/python Testing/update_translations.py

screenshots: $(LIGHT)/test.stamp ## make the pictures in Resources/Screenshots again, with the sample volume
	@set -e; sample=$$($(LIGHT)/bin/python Testing/sample_volume.py out/sample); for language in en zh_CN; do \
		PYTHONPATH=Testing $(LIGHT)/bin/python -m host.screenshot "$$sample" Resources/Screenshots $$language; done; \
	$(LIGHT)/bin/python Testing/viewer_screenshots.py "$$sample" Resources/Screenshots

clean: ## remove the environment, caches, out/ and build/ (with what `make model` goes on from)
	rm -rf .venv .venv-light out build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

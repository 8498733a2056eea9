# Two commands: `make book` builds the book, `make test` checks all of it. Neither needs the other to have run.

PYTHON ?= python3
PY = .venv/bin/python

.PHONY: help environment book pdf epub test check serve chapter lint format text notebook release grade stamp links bench bench-memory bench-site lock clean
.DEFAULT_GOAL := help

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

environment: ## create or update .venv; every other verb does that first
	@$(PYTHON) tools/environment.py $(if $(filter file,$(origin PYTHON)),--default)

book: environment ## execute the chapters that changed, render the site, say where it is
	@$(PY) -m tools.site

test: environment ## everything that CI runs: lint, types, tests, every notebook, the site (FULL=1: their long form)
	@$(PY) -m tools.check

check: environment ## what a change can touch, in three minutes: lint, types, the nearest tests, changed chapters
	@$(PY) -m tools.check --changed

pdf: environment ## the book as a PDF (needs LaTeX: see README)
	@$(PY) -m tools.paper.pdf

epub: environment ## the book as an EPUB
	@$(PY) -m tools.paper.epub

serve: environment ## the site at a local address, rebuilt as you edit
	@$(PY) -m tools.serve

chapter: environment ## execute and render one chapter: make chapter N=01
	@$(PY) -m tools.site --chapter "$(N)"

lint: environment ## style, format and types
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

format: environment ## put code and notebooks into the form that lint and the tests want
	@$(PY) -m ruff check --quiet --fix . ; $(PY) -m ruff format --quiet .
	@$(PY) -m tools.strip chapters/*.ipynb && $(PY) -m tools.chapters

text: environment ## a chapter as text, to edit or review: make text N=01
	@$(PY) -m tools.text to-text "$(N)"

notebook: environment ## the edited text back into the notebook: make notebook N=01
	@$(PY) -m tools.text to-notebook "$(N)"

release: environment ## make the students' notebooks from the master assignments (all, or N=01)
	@$(PY) -m tools.release $(N)

grade: environment ## grade a folder: make grade SUBMISSIONS=folder (N=01, ROSTER=csv, DEADLINE=time; more: lecturers.md)
	@$(PY) -m tools.grade $(if $(N),--assignment "$(N)") $(if $(ROSTER),--roster "$(ROSTER)") \
	  $(if $(DEADLINE),--deadline "$(DEADLINE)") $(if $(LATE),--late "$(LATE)") \
	  $(if $(EXTENSIONS),--extensions "$(EXTENSIONS)") $(if $(MANUAL),--manual "$(MANUAL)") \
	  $(if $(AGAIN),--again "$(AGAIN)") $(if $(SEED),--seed "$(SEED)") $(if $(CLUSTER),--cluster "$(CLUSTER)") "$(SUBMISSIONS)"

stamp: environment ## write the repository's address into setup cells and badges
	@$(PY) -m tools.stamp

fonts: environment ## the fonts of the site, anew from the packages that tools/fonts.py names (they are committed)
	@.venv/bin/uv run --quiet --isolated --no-project --script tools/fonts.py

links: environment ## ask whether every page that the book links to is still there (needs a network)
	@$(PY) -m tools.links

bench: environment ## compare speed with other libraries (all problems, or QUICK=1, or ONLY=mlp)
	@$(PY) -m benchmarks.install
	@_build/bench-venv/bin/python -m benchmarks.run $(if $(QUICK),--quick) $(if $(ONLY),--only "$(ONLY)")

bench-memory: environment ## memory of each gradient against the number of steps (some minutes)
	@$(PY) -m benchmarks.gradient_memory

bench-site: environment ## how long the book takes to build, beside the usual way, and a chapter to open (some minutes)
	@$(PY) -m benchmarks.build_speed && $(PY) -m benchmarks.page_load

lock: environment ## resolve requirements.in anew into requirements.lock
	@$(PY) -m tools.lock

clean: ## remove all that was built (the environment .venv stays)
	@rm -rf _build dist .pytest_cache .mypy_cache .ruff_cache */.ruff_cache .hypothesis

# Eight commands; each makes .venv first if it is missing or older than what it was made from.

PY := .venv/bin/python
READY := .venv/.ready

# The first import of a module writes its bytecode, which pip was told to leave out, and the next
# process reads it, even where the environment says that nobody should.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test bench gpu docs lint attack matrix
.DELETE_ON_ERROR:

demo: $(READY)
	$(PY) -m sam train copy --model.memory-size 1048576

test: lint
	$(PY) -m pytest -q -n auto --dist worksteal

bench: $(READY)
	@echo "measures for at most ten minutes; rewrites benchmarks/results, README.md and docs"
	$(PY) -m benchmarks.memory_sweep --quick
	$(PY) -m benchmarks.report

# With a CUDA build of torch elsewhere: make gpu GPU_PY=python3
GPU_PY ?= $(PY)
gpu: $(if $(filter $(PY),$(GPU_PY)),$(READY))
	@echo "some minutes on a GPU; rewrites benchmarks/results/gpu_tests.json and cuda.json"
	$(GPU_PY) -m benchmarks.cuda.gpu_tests
	$(GPU_PY) -m benchmarks.cuda

docs: $(READY)
	$(PY) -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo "the site begins with build/docs/index.html"

attack: $(READY)
	@echo "some hours; rewrites benchmarks/results/attack.json"
	$(PY) -m tests.attack

matrix: $(READY)
	@echo "some hours and gigabytes; rewrites benchmarks/results/matrix.json"
	$(PY) -m tests.matrix

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright --pythonpath $(PY)

$(READY): pyproject.toml constraints.txt
	@set -e; \
	for python in python3.11 python3; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "setting up .venv with $$python: a few minutes, about 1 GB ..."; \
			$$python -m venv .venv; \
			$(PY) -m pip install -qq --no-compile -c constraints.txt -e '.[train,fast,faiss,docs,dev]'; \
			touch $(READY); \
			echo "setting up .venv: done"; \
			exit 0; \
		fi; \
	done; \
	echo "make: no Python 3.11 or newer found as python3.11 or python3; install one" >&2; \
	exit 1

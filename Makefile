# The front door. `make help` lists the targets; all of them set up what they need.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.fedtiny-setup
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# What make bench runs, in this order, before it writes the page; then what takes longer than all of them.
BENCHES := bench-device bench-flower bench-stoll bench-scale bench-femto bench-ims bench-strategies
PROOFS := bench-femto-live bench-soak bench-kills bench-poison bench-coordinator-kills bench-overhead bench-fuzz \
	bench-firmware chaos

.PHONY: help setup demo toolchain test test-integration test-fleet test-firmware test-aarch64 test-containers \
	check-report check fix bench bench-quick bench-page proofs \
	$(BENCHES) $(PROOFS) docs site clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 26

setup: $(STAMP) ## Make .venv with everything in it; PYTHON=python3.12 chooses the interpreter

# Made anew when pyproject.toml is newer or another PYTHON is asked for.
$(STAMP): pyproject.toml Makefile $(shell \
	[ "$$(cat $(VENV)/.fedtiny-python 2>/dev/null)" = "$$($(PYTHON) -c 'import sys; print(sys.version)' 2>&1)" ] || echo FORCE)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "fedtiny needs Python 3.11 to 3.13; give one with PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install -q -e '.[dev]'
	@$(PYTHON) -c 'import sys; print(sys.version)' > $(VENV)/.fedtiny-python
	@touch $@

.PHONY: FORCE
FORCE:

demo: setup ## Run a whole fleet on this machine, with a report (DATA=... for recordings of your own)
	$(BIN)/fedtiny demo $(if $(DATA),--data $(DATA))

# What cross-compiles, emulates and fuzzes the firmware, as Debian and Ubuntu call it.
TOOLS := arm-none-eabi-gcc qemu-system-arm clang g++ cppcheck cmake
toolchain: ## Install the cross compiler, emulator and checkers of the firmware tests (apt)
	@if ! which $(TOOLS) >/dev/null || ! [ -d /usr/lib/arm-none-eabi/newlib ]; then \
	  if [ "$$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi; set -e; \
	  $$sudo apt-get update -q; \
	  $$sudo apt-get install -q -y --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi \
	    qemu-system-arm clang g++ cppcheck cmake; \
	  $$sudo apt-get install -q -y --no-install-recommends libclang-rt-$$(clang -dumpversion | cut -d. -f1)-dev; \
	fi

test: setup $(if $(CI),toolchain) ## Run the tests; some need make toolchain or Mosquitto (CI demands both)
	@$(MAKE) --no-print-directory -j2 -Otarget test-integration test-fleet test-firmware

# The integration tests wait more than they compute, so that two of the three run side by side.
PYTEST = $(BIN)/python -m pytest $(PYTEST_ARGS)
test-integration: setup ## Real brokers, coordinators, agents and Prometheus, killed and cut off
	$(PYTEST) tests/integration

test-fleet: setup ## All tests but those of integration and firmware
	$(PYTEST) --ignore=tests/integration --ignore=tests/firmware

test-firmware: setup $(if $(CI),toolchain) ## The exported C: on this machine under sanitizers, and on four emulated cores
	$(PYTEST) tests/firmware

test-aarch64: setup ## The agent's numbers on an emulated arm64 against this machine's (needs apt install qemu-user-static)
	$(BIN)/python -m pytest -m aarch64 tests/aarch64

test-containers: setup ## Build the images and bring up the compose file (needs root, Podman, debootstrap; minutes)
	$(PYTEST) tests/containers/fleet_in_containers.py

check-report: setup ## The report in a real browser without a network (needs Chromium)
	$(PYTEST) tests/check_report.py

check: setup ## Lint, format, types, walls between the packages, documentation, the README's figures
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m fedtiny.commands --check docs/cli.md
	$(BIN)/python -m fedtiny.settings --check docs/configure.md
	$(BIN)/python -m fedtiny.exposition.page --check docs/metrics.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python -m benchmarks.page.write --check

fix: setup ## Mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Memory, latency, bytes and quality beside the peers (40 minutes), and benchmarks/REPORT.md
	@[ -n "$$FEDTINY_DATA" ] || { echo "FEDTINY_DATA is not set: it names the folder with femto, gearbox and ims" >&2; exit 1; }
	@set -e; for one in $(BENCHES) bench-page; do $(MAKE) --no-print-directory -j1 $$one; done

bench-quick: setup ## A part of it in two minutes (needs no data; writes nothing)
	$(BIN)/python -m benchmarks.device.bench --quick
	$(BIN)/python -m benchmarks.scale.bench --quick

proofs: $(PROOFS) ## What takes longer: a year of windows, kills, chaos, hostile input, poison, firmware

bench-page: setup ## Write benchmarks/REPORT.md and the README's figures anew from benchmarks/results
	$(BIN)/python -m benchmarks.page.write

# FEDTINY_DATA names the data folder; each prints its table and writes benchmarks/results/NAME.json
bench-device: setup ## From window to alarm on this machine: latency, memory, start (needs no data)
	$(BIN)/python -m benchmarks.device.bench

bench-flower: setup .venv-flower/.ready ## The same fleet under Flower: seconds, bytes and memory
	$(BIN)/python -m benchmarks.flower.bench

.venv-flower/.ready: Makefile
	$(PYTHON) -m venv --clear .venv-flower
	.venv-flower/bin/pip install -q 'flwr==1.41.*' 'numpy<2'
	@touch $@

bench-stoll: setup ## The LSTM autoencoders of Stoll 2022 and Ahmad 2020 on the same windows (15 minutes)
	$(BIN)/python -m benchmarks.stoll.bench

bench-scale: setup ## 100, 1,000 and 5,000 devices on one coordinator (needs no data)
	$(BIN)/python -m benchmarks.scale.bench

bench-femto: setup ## Detection on FEMTO and gearbox
	$(BIN)/python -m benchmarks.quality.femto

bench-femto-live: setup ## FEMTO from the first snapshot to the last, as live devices see it
	$(BIN)/python -m benchmarks.quality.femto_live

bench-ims: setup ## IMS from its feature tables, beside published figures
	$(BIN)/python -m benchmarks.quality.ims

bench-soak: setup ## A million windows through an agent: memory, disk, start (needs no data)
	$(BIN)/python -m benchmarks.hardship.soak

bench-kills: setup ## An agent killed at random instants, its broker coming and going (needs no data)
	$(BIN)/python -m benchmarks.hardship.kills

bench-coordinator-kills: setup ## The coordinator killed 200 times, its disk, ledger and clock taken away (needs no data)
	$(BIN)/python -m benchmarks.hardship.coordinator_kills

bench-overhead: setup ## A round from its opening to the new head on ten agents (needs no data)
	$(BIN)/python -m benchmarks.hardship.overhead

bench-fuzz: setup ## A million hostile messages at the code and at live processes (needs no data)
	$(BIN)/python -m benchmarks.hardship.fuzz

chaos: setup ## Thirty agents, coordinator and broker killed at random over a bad network (needs no data)
	$(BIN)/python -m benchmarks.hardship.chaos

bench-poison: setup ## Two of ten FEMTO devices poison: what each strategy and the screening keep
	$(BIN)/python -m benchmarks.quality.poison

bench-strategies: setup ## All strategies against each other on FEMTO, rounds and buffered
	$(BIN)/python -m benchmarks.quality.strategies

bench-firmware: setup toolchain ## Exported C: size and instructions beside TFLite Micro, FEMTO beside the agent, fuzz
	$(BIN)/python -m benchmarks.firmware.bench
	$(BIN)/python -m benchmarks.firmware.quality
	$(BIN)/python -m benchmarks.firmware.fuzz

docs: setup ## Write the made pages anew, and the pictures: commands, settings, metrics
	$(BIN)/python -m fedtiny.commands docs/cli.md
	$(BIN)/python -m fedtiny.settings docs/configure.md
	$(BIN)/python -m fedtiny.exposition.page docs/metrics.md
	$(BIN)/python -m docs.pictures.make

site: setup ## The documentation as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .venv-flower site .containers .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

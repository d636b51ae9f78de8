# make demo      a unit, its devices and a centre on this computer, nothing else needed
# make test      lint, then every test
# make soak      faults by seed for SECONDS_TO_RUN (from 30), from SEED; ends with one JSON line
# make test-vm   the product on Debian's kernel, BlueZ, udev and systemd, in a virtual machine; root
# make soak-vm   the same with the long counts, from SEED
# make bench     every figure of docs/reference/durability.md anew, or those that WHAT names
# make lint      style, types and the arrows between the packages
# make clauses   write the contract's index and schemas from the tests and the code
# make catalogue write the page of the devices from the drivers' cards
# make soak-codecs  FUZZED frames (a million) through every codec, from FUZZ_SEED; prints the seeds
# make lock      resolve pyproject.toml anew into the three locks, keeping what still fits

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test soak bench test-vm soak-vm lint tools root clauses catalogue soak-codecs lock

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What the tests start beside Python: command:Debian package.
TOOLS := mosquitto:mosquitto dciodvfy:dicom3tools systemd-analyze:systemd fusermount3:fuse3 dbus-daemon:dbus

demo: $(VENV)/.lab
	@$(BIN)/qafila demo

test: $(VENV)/.test tools
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -n 4

SECONDS_TO_RUN ?= 600
SEED ?= 1

soak: $(VENV)/.test tools
	@QAFILA_FUZZED=$(FUZZED) $(BIN)/python -m tests.faults.soak $(SECONDS_TO_RUN) $(SEED)

bench: $(VENV)/.test tools
	@$(BIN)/python -m bench $(WHAT)

VM_TOOLS := qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mmdebstrap:mmdebstrap \
  mkfs.ext4:e2fsprogs mkfs.vfat:dosfstools mkfs.exfat:exfatprogs ssh:openssh-client \
  setpriv:util-linux mosquitto:mosquitto
VM_TEST = QAFILA_VM_SEED=$(SEED) $(BIN)/python -m pytest --timeout 1200 --durations 12 \
  -n 2 --dist loadscope --no-loadscope-reorder tests/vm

test-vm soak-vm: TOOLS := $(VM_TOOLS)

test-vm: root $(VENV)/.vm tools
	@$(VM_TEST)

soak-vm: root $(VENV)/.vm tools
	@QAFILA_VM_READINGS=500 QAFILA_VM_CUTS=25 QAFILA_VM_VALLEYS=3 $(VM_TEST)

root:
	@if [ "$$(id -u)" != 0 ]; then \
	  echo "The virtual machine's disk is built by mmdebstrap and chroot: run this as root." >&2; \
	  exit 1; \
	fi

$(VENV)/.vm: tests/vm/requirements.lock $(VENV)/.test
	@$(PIP) install --require-hashes --requirement $<
	@touch $@

lint: $(VENV)/.test
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clauses: $(VENV)/.test
	@$(BIN)/python -m tests.sync.test_contract_page

catalogue: $(VENV)/.test
	@$(BIN)/python -m tests.test_device_pages

FUZZED ?= 1000000
FUZZ_SEED ?= 20260101

soak-codecs: $(VENV)/.test
	@QAFILA_FUZZED=$(FUZZED) QAFILA_FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m pytest -n 2 -rP \
	  --timeout 0 tests/contract/test_contract_codecs.py -k "fuzzed_frames or stream_of_noise"

tools:
	@missing=; \
	for pair in $(TOOLS); do \
	  PATH="$$PATH:/usr/sbin" command -v "$${pair%:*}" >/dev/null || missing+=" $${pair#*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "The tests need these packages; please install them:$$missing" >&2; exit 1; \
	fi; \
	apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $$missing >/dev/null

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Qafila needs Python 3.11 or newer; name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.lab $(VENV)/.test: $(VENV)/.%: requirements-%.lock pyproject.toml | $(VENV)/.made
	@echo "Installing what $< lists; the first time takes a minute."
	@$(PIP) install --require-hashes --requirement $<
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $@

# Run it with the oldest Python that pyproject.toml allows: what 3.11 needs, newer ones can do with.
# Delete a lock first to move everything in it to its newest version.
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/pip-compile --quiet \
  --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
  --strip-extras --allow-unsafe --build-deps-for wheel

lock: build/lock/bin/pip-compile
	$(COMPILE) --build-deps-for editable --extra lab --extra test \
	  --output-file requirements-test.lock pyproject.toml
	$(COMPILE) --build-deps-for editable --extra lab --constraint requirements-test.lock \
	  --output-file requirements-lab.lock pyproject.toml
	$(COMPILE) --constraint requirements-test.lock \
	  --output-file requirements.lock pyproject.toml

build/lock/bin/pip-compile:
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/pip --disable-pip-version-check --quiet install 'pip-tools>=7.5'

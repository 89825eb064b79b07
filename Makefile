# fastrelay: `make run` tries it out, `make test` tests it; README.md tells the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find src -name '*.pyx' -o -name '*.pxd')
SOURCES += $(wildcard $(patsubst %.pxd,%.py,$(filter %.pxd,$(SOURCES))))
PYTHON_FILES := $(shell find src tests bench -name '*.py')

.PHONY: build run test check bench benchmarks profile soak fuzz fuzz-keep debug wheel docs clean

build: $(VENV)/built

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/tools: $(VENV)/bin/pip pyproject.toml
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q "setuptools>=77" "Cython>=3.2,<3.4" wheel
	touch $@

$(VENV)/installed: $(VENV)/tools setup.py pyproject.toml
	@extras=dev; if [ -e /usr/include/ldap.h ]; then extras=dev,ldap; \
	else echo 'no ldap: tables: apt-get install libldap-dev libsasl2-dev; touch pyproject.toml; make'; fi; \
	FASTRELAY_ONLY=none $(BIN)/pip install -q --no-build-isolation -e ".[$$extras]"
	touch $@

# pip compiles nothing, so that it is done once; after the first time only what changed is compiled
$(VENV)/built: $(VENV)/installed $(SOURCES)
	$(BIN)/python setup.py -q build_ext --inplace
	touch $@

run: build
	$(BIN)/fastrelay -c $(CURDIR)/examples/quickstart quickstart

# some files at a time; what is in one file runs in order, in one process. `make test PARALLEL=` for one after the other
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder

test: build
	$(BIN)/pytest -m "not soak" -rs $(PARALLEL)

check: build
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy

bench: build
	$(BIN)/pytest bench --benchmark-only
	$(BIN)/python -m bench.whole.run

# what docs/benchmarks.md shows, on a quiet machine: a quarter of an hour
benchmarks: build
	$(BIN)/python -m bench.whole.run --pairs 5 --case one reuse pipelined many --write-docs main
	$(BIN)/python -m bench.whole.run --pairs 3 --workers 2 --scale 0.4 --standing --write-docs more \
	  --case 1k 64k 1m recipients sessions10 sessions500 no-tables tables destinations late half-load

# where a message's microseconds go (perf), and its instructions, which repeat exactly (valgrind)
profile: build
	$(BIN)/python -m bench.step.where
	$(BIN)/python -m bench.step.instructions

soak: build build/debug/built
	$(BIN)/pytest -m soak --timeout 3600
	$(IN_DEBUG) $(CURDIR)/$(BIN)/pytest -m soak -k flat_for_an_hour tests/load
	$(BIN)/pytest -m "hypothesis and not soak" --hypothesis-profile=random $(PARALLEL)
	$(MAKE) fuzz FUZZ_SECONDS=600

# libFuzzer on each compiled parser, FUZZ_SECONDS each, some at a time, other inputs each time (FUZZ_SEED=1: the same);
# needs clang-14. `make fuzz FUZZ="session lmdb"` for some
FUZZ_SECONDS ?= 60
FUZZ_PARALLEL ?= 4
FUZZ_SEED ?= 0
FUZZ ?= $(shell $(BIN)/python tests/fuzz/run.py --list)

fuzz: build/fuzz/built
	$(BIN)/python tests/fuzz/run_all.py --parallel $(FUZZ_PARALLEL) --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED) $(FUZZ)

# what was found new, into the kept corpus: the fewest entries that cover it
fuzz-keep: build/fuzz/built
	for target in $(FUZZ); do $(BIN)/python tests/fuzz/run.py --keep $$target || exit 1; done

# the compiled modules that targets have, with bounds checks, libFuzzer's coverage and AddressSanitizer, in a copy of the tree
build/fuzz/built: $(VENV)/built
	$(BIN)/python -c 'import atheris' 2>&- || FASTRELAY_ONLY=none $(BIN)/pip install -q --no-build-isolation -e '.[fuzz]'
	rm -rf build/fuzz/src && mkdir -p build/fuzz
	cp -r src setup.py pyproject.toml README.md LICENSE build/fuzz/
	find build/fuzz/src -name '*.so' -delete
	FASTRELAY_ONLY="$$($(BIN)/python tests/fuzz/run.py --modules | tr '\n' ' ')" && \
	    test -n "$$FASTRELAY_ONLY" && export FASTRELAY_ONLY && \
	    cd build/fuzz && CC=clang-14 LDSHARED="clang-14 -shared" FASTRELAY_DEBUG=1 \
	    CFLAGS="-fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer" \
	    $(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace
	touch $@

# the tests on compiled modules with bounds checks and live-object counters
IN_DEBUG = cd build/debug && PYTHONPATH=$(CURDIR)/build/debug/src FASTRELAY_DEBUG=1

debug: build/debug/built
	$(IN_DEBUG) $(CURDIR)/$(BIN)/pytest -m "not soak" $(PARALLEL) tests

# a copy of the tree
build/debug/built: $(VENV)/built $(PYTHON_FILES)
	rm -rf build/debug && mkdir -p build/debug
	cp -r src tests bench setup.py pyproject.toml Makefile README.md CHANGES.md LICENSE docs examples .ci build/debug/
	find build/debug/src -name '*.so' -delete
	$(IN_DEBUG) $(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace
	touch $@

wheel: build
	$(BIN)/pip wheel -q --no-deps --no-build-isolation -w dist .

docs: build
	$(BIN)/python -m fastrelay.config.reference docs/parameters.md

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	find src -name '*.so' -delete

# Every target sets itself up in a fresh clone: it needs python3 (3.11 or newer), make and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= quickstart
DOCS ?= build/docs

.PHONY: quickstart test test-versions test-peers slow kills faults check docs bench bench-gpu bench-peers demos gallery clean help

help:
	@echo "make quickstart   record, train, evaluate and replay, end to end (OUT=folder)"
	@echo "make test         the test suite"
	@echo "make test-versions  the oldest and newest versions of what is depended on (downloads GBs)"
	@echo "make slow         the long variants of tests, kills and faults among them"
	@echo "make test-peers   what others' own code says of our files; makes environments of its own"
	@echo "make faults       the 2,000 damaged inputs that the suite takes a few of"
	@echo "make kills        recording, killed at 50 moments (the suite: at 5)"
	@echo "make check        format, lint, types, the API reference builds"
	@echo "make docs         the API reference as pages (DOCS=folder)"
	@echo "make bench        speed, as ratios against peers in the same run"
	@echo "make bench-gpu    the same on a GPU, against cuDNN"
	@echo "make bench-peers  minutes to 80 % success beside robomimic's and LeRobot's policies: two hours"
	@echo "make demos        record the small data set in demos/data anew"
	@echo "make gallery      draw the pictures of the tasks anew"

NATIVE := vand_robot/nn/kernel/native
$(READY): pyproject.toml constraints.txt $(NATIVE)/hatch_hook.py $(wildcard $(NATIVE)/*.[ch]) $(NATIVE)/build.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time takes a minute or two)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: $(READY)
	$(BIN)/vand-robot quickstart --out $(OUT)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-versions: $(READY)
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	PATH="$(BIN):$$PATH" $(BIN)/python -m tests.versions

slow: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

kills: $(READY)
	$(BIN)/python -m pytest -m slow -k killed tests/demos/storage/test_recorder.py tests/demos/teleop/test_teleop.py

PEERS := .venv-peers

test-peers: $(READY)
	@test -x $(PEERS)/metaworld/bin/python || $(PYTHON) -m venv $(PEERS)/metaworld
	@$(PEERS)/metaworld/bin/python -m pip install -q --disable-pip-version-check \
		metaworld==3.1.1 mujoco==3.3.0 packaging
	@$(MAKE) --no-print-directory $(PEERS)/robomimic/.ready
	work=$$(mktemp -d) && $(BIN)/python -m tests.peers $(PEERS) $$work; code=$$?; rm -rf $$work; exit $$code

$(PEERS)/robomimic/.ready:
	@test -x $(PEERS)/robomimic/bin/python || $(PYTHON) -m venv $(PEERS)/robomimic
	@$(PEERS)/robomimic/bin/python -m pip install -q --disable-pip-version-check \
		robomimic==0.3.0 six websockets msgpack
	@touch $@

# LeRobot as a whole asks for cameras' and motors' packages and an older torch: only what its two
# policies and its data set import is installed.
$(PEERS)/lerobot/.ready:
	@test -x $(PEERS)/lerobot/bin/python || $(PYTHON) -m venv $(PEERS)/lerobot
	@$(PEERS)/lerobot/bin/python -m pip install -q --disable-pip-version-check torch torchvision
	@$(PEERS)/lerobot/bin/python -m pip install -q --disable-pip-version-check --no-deps lerobot==0.4.4
	@$(PEERS)/lerobot/bin/python -m pip install -q --disable-pip-version-check 'diffusers<0.36' \
		'accelerate<2' 'datasets<5' 'huggingface_hub<0.36' 'numpy<2.3' 'av<16' 'packaging<26' \
		'opencv-python-headless<4.13' draccus==0.10.0 einops gymnasium imageio jsonlines deepdiff \
		pyserial termcolor websockets msgpack
	@touch $@

bench-peers: $(READY) $(PEERS)/robomimic/.ready $(PEERS)/lerobot/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.peers.updates $(PEERS)/robomimic/bin/python
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.peers.minutes build/peers \
		bc-rnn=$(PEERS)/robomimic/bin/python \
		act=$(PEERS)/lerobot/bin/python diffusion=$(PEERS)/lerobot/bin/python

faults: $(READY)
	$(BIN)/python -m pytest -m 'slow or not slow' -n 2 --dist worksteal tests/demos/storage/test_fault_corpus.py
	$(BIN)/python -m tests.faults

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory docs DOCS=$(VENV)/docs

docs: $(READY)
	PDOC_ALLOW_EXEC=1 $(BIN)/python -W error::UserWarning -m pdoc -o $(DOCS) vand_envs vand_demos \
		vand_robot '!vand_robot.__main__' '!vand_robot.cli' '!vand_robot.nn.kernel'

bench: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks

bench-gpu: $(READY)
	$(BIN)/python -m tests.benchmarks.gpu

demos: $(READY)
	rm -rf demos/data/workshop.hdf5
	$(BIN)/vand-robot record all --episodes 3 --session 0 --out demos/data/workshop.hdf5
	$(BIN)/vand-robot demos split demos/data/workshop.hdf5
	$(BIN)/vand-robot demos check demos/data/workshop.hdf5

gallery: $(READY)
	$(BIN)/python -m vand_demos.gallery envs/gallery

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

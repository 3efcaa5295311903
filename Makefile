# Every target works on a bare machine: Testing/environment.py finds a Python 3.10-3.13, builds or repairs .venv and runs
# the task in it. Without make (Windows): python Testing/environment.py demo
#
#   make demo                       make test ARGS="-k geometry"        make test PYTHON=python3.12

PYTHON =
ARGS =

# Any Python 3 can start the script, if it really runs; the script then finds the one to build with.
ENVIRONMENT = \
	for python in $(PYTHON) python3 python python3.13 python3.12 python3.11 python3.10; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 7))' >/dev/null 2>&1; then \
			exec "$$python" Testing/environment.py $@ $(if $(PYTHON),--python "$(PYTHON)") -- $(ARGS); \
		fi; \
	done; \
	echo "deepreg: no Python 3 runs on this machine: install Python 3.10 to 3.13 and try again." >&2; exit 1

.PHONY: help demo test lint docs coverage benchmark clean

help:
	@echo "make demo       register two real brain scans and write a report (fetches the scans once)"
	@echo "make test       run the tests"
	@echo "make lint       check style, format and types"
	@echo "make docs       build the documentation in site/"
	@echo "make coverage   run the tests and say which lines and branches of the library they do not reach"
	@echo "make benchmark  measure accuracy, time and memory"
	@echo "make clean      remove the environment, caches and outputs"

demo test lint docs coverage benchmark clean:
	@$(ENVIRONMENT)

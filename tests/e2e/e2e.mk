# ---- End to end ----
# The identity server, driven by real clients and a real browser. The tests are copied to BUILD/e2e, beside the packages of
# npm and PyPI that they need: fetched once for each state of the lock files, and checked against their hashes.
# e2e/check_*.mjs run on Node, check_*.py on Python; CHROMIUM is the browser. What needs PostgreSQL has a cluster of its own.

E2E        = $(abspath $(BUILD)/e2e)
E2E_SRC   := $(sort $(wildcard tests/e2e/* tests/e2e/support/*))
E2E_PG    := check_move.mjs check_three.mjs
# The longest first.
E2E_TESTS := $(notdir $(filter tests/e2e/check_%.py,$(E2E_SRC))) $(if $(HAVE_POSTGRES),$(E2E_PG)) \
             $(filter-out $(E2E_PG),$(notdir $(filter tests/e2e/check_%.mjs,$(E2E_SRC))))
E2E_JOBS   = 3
CHROMIUM  ?= chromium

packages_first = $(if $(filter deps deps-dev,$(MAKECMDGOALS)),packages)

$(E2E)/node_modules/.up-to-date: tests/e2e/package.json tests/e2e/package-lock.json | $(packages_first)
	@command -v node >/dev/null && command -v npm >/dev/null || { echo 'Node and npm are missing: make deps check-e2e'; exit 1; }
	@mkdir -p $(E2E) && cp $^ $(E2E)
	$(call say,NPM,$(@D))
	$(Q)cd $(E2E) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >npm.log 2>&1 || { cat npm.log; exit 1; }
	@touch $@

$(E2E)/venv/.up-to-date: tests/e2e/requirements.txt | $(packages_first)
	@mkdir -p $(E2E) && rm -rf $(E2E)/venv
	$(call say,PIP,$(@D))
	$(Q)$(PYTHON) -m venv $(E2E)/venv && $(E2E)/venv/bin/pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

# The example programs also with the Authlib of the system, where it is installed: it is older.
list_e2e = suite tests/e2e/$(basename $1) cd $(E2E) && exec $(if $(filter $1,$(E2E_PG)),$(CURDIR)/tests/postgres/cluster.sh run) \
  $(if $(filter %.py,$1),venv/bin/python -B,node) $1$(newline)
list_e2e_system = $(if $(shell $(PYTHON) -c 'import authlib, flask, requests; print(1)' 2>/dev/null),suite \
  tests/e2e/check_programs/system cd $(E2E) && OTOK_E2E_PYTHON=$(PYTHON) exec $(PYTHON) -B check_programs.py$(newline))

.PHONY: check-e2e screenshots
check-e2e: $(SERVER) $(TOOL) $(E2E)/node_modules/.up-to-date $(E2E)/venv/.up-to-date ## the identity server with real clients and a real browser
	@command -v $(CHROMIUM) >/dev/null || { echo '$(CHROMIUM) is missing: make deps check-e2e'; exit 1; }
	@rm -rf $(E2E)/support $(E2E)/check_* $(E2E)/screenshots && cp -R $(filter-out %.txt %.json,$(wildcard tests/e2e/*)) $(E2E)
	$(file >$(BUILD)/e2e.list,$(list_e2e_system)$(foreach t,$(E2E_TESTS),$(call list_e2e,$t)))
	@OTOK_E2E_SERVER=$(abspath $(SERVER)) OTOK_E2E_TOOL=$(abspath $(TOOL)) OTOK_E2E_SOURCE=$(CURDIR) \
	  OTOK_E2E_PYTHON=$(E2E)/venv/bin/python \
	  OTOK_E2E_NODE="$$(command -v node)" OTOK_E2E_SCREENSHOTS=$(E2E)/screenshots CHROMIUM="$$(command -v $(CHROMIUM))" \
	  JOBS=$(E2E_JOBS) LIMIT=170 tests/run.sh $(BUILD)/e2e.list

screenshots: check-e2e ## the same, and docs/screenshots made anew
	@mkdir -p docs/screenshots && cp $(E2E)/screenshots/*.png docs/screenshots/

# Thin: everything stands in tools/devstack.
devstack := python3 -m tools.devstack

.PHONY: demo test test-long up down down-machine status lint unit contract mutants lock clean-cache

demo: ## set up what is missing, deploy the demo, show the confidential service's log
	@$(devstack) demo
test: ## the same set-up, then lint and every test
	@$(devstack) test
test-long: ## also the long forms: 200 kills, 1500 requests per operation, down and up again (half an hour more)
	@$(devstack) test --long
up: ## set-up alone, with what builds images
	@$(devstack) up
down: ## stop and remove all of it (the toolchain's cache stays)
	@$(devstack) down
down-machine: ## also the stack of another checkout on this machine
	@$(devstack) down --machine
status: ## what runs
	@$(devstack) status
lint: ## style and types
	@$(devstack) lint
unit: ## the fast tests
	@$(devstack) unit
contract: ## provider, CAS and registry client against each other, without the engine
	@$(devstack) contract
mutants: ## changes of the code that unit tests have to notice: a sample in half an hour (SEED=2: another; ALL=1: all, many hours)
	@$(devstack) mutants $(if $(ALL),--all,--seed $(or $(SEED),1))
lock: ## resolve the versions of all Python packages anew
	@$(devstack) lock
clean-cache: ## remove the toolchain's cache
	@$(devstack) clean-cache

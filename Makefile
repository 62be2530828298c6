# The scripts of this repository by name: each target calls one of them.

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' Makefile

.PHONY: lint lint-workflows docs
lint: ## format, lint, types, documentation
	scripts/lint.sh
lint-workflows: ## the workflows of GitHub Actions
	scripts/lint_workflows.sh
docs: ## the documentation's pages, in site/
	scripts/build_docs.sh site

.PHONY: test test-all
test: ## the quick tests
	scripts/test.sh
test-all: ## every test, on TensorFlow and on JAX
	scripts/test_all.sh

.PHONY: test-oldest test-torch test-runtime test-installed
test-oldest: ## every test with the oldest versions
	scripts/test_oldest.sh
test-torch: ## building blocks on torch
	scripts/test_torch.sh
test-runtime: ## the runtime from a wheel, without Keras
	scripts/test_runtime.sh
test-installed: ## the runtime of the bnnzoo that is installed
	scripts/test_installed.sh

.PHONY: test-native test-aarch64 test-cross
test-native: ## native code under sanitizers
	scripts/test_native.sh
test-aarch64: ## kernels for aarch64 under qemu
	scripts/test_aarch64.sh
test-cross: ## native code compiled for other systems
	scripts/test_cross.sh

.PHONY: test-lce test-qonnx test-openvino test-cortex-m7
test-lce: ## files of Larq Compute Engine against its interpreter
	scripts/test_lce.sh
test-qonnx: ## QONNX files against the package qonnx
	scripts/test_qonnx.sh
test-openvino: ## OpenVINO files against its CPU plugin
	scripts/test_openvino.sh
test-cortex-m7: ## C source on an emulated Cortex-M7
	scripts/test_cortex_m7.sh

.PHONY: sdist wheel
sdist: ## the source distribution, in dist/
	scripts/build_sdist.sh
wheel: ## a manylinux wheel, in dist/
	scripts/build_wheel.sh

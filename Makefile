# Quire. `make help` lists the targets. There is one object tree for the kernel and
# one for the host, from the same sources. Every .c and .S file in a kernel folder
# is part of the kernel.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = @printf '  %-7s %s\n' '$(1)' '$(2)'

# DEBUG=1 compiles the costly assertions in, CHUNK_SHIFT=20 makes chunks 1 MiB large, and
# WORD_BITS=64 makes tracking words wide.
DEBUG ?= 0
CHUNK_SHIFT ?= 21
WORD_BITS ?= 32
BUILD ?= build

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

# --- the kernel -----------------------------------------------------------------

KERNEL_DIRS := lib arch/x86_64 arch/x86_64/seam boot drivers kernel mm/gmm mm/pgm mm/share svm vmx \
               devices devices/pc vm vm/insn vm/load vm/machine reclaim operator
KERNEL_SOURCES := $(filter-out %/asm_offsets.c,$(foreach d,$(KERNEL_DIRS),$(wildcard $(d)/*.c $(d)/*.S)))
KERNEL_OBJECTS := $(patsubst %,$(BUILD)/kernel/%.o,$(basename $(KERNEL_SOURCES)))

WARNINGS := -Wall -Wextra -Wshadow -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wwrite-strings -Wimplicit-fallthrough -Werror
LAYOUT := -DGMM_CHUNK_SHIFT=$(CHUNK_SHIFT) -DGMM_WORD_BITS=$(WORD_BITS)
DEFINES := -DCONFIG_DEBUG=$(DEBUG) $(LAYOUT)
# Without these options a twelfth of the code would be padding.
UNALIGNED := -falign-functions=1 -falign-jumps=1 -falign-loops=1 -falign-labels=1
KERNEL_CFLAGS := -std=gnu17 -O2 -g -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone \
                 -mgeneral-regs-only -fno-stack-protector -fno-omit-frame-pointer \
                 -fno-asynchronous-unwind-tables -fcf-protection=none -fno-strict-aliasing \
                 -ffunction-sections -fdata-sections $(UNALIGNED) \
                 $(WARNINGS) $(DEFINES) -I. -Iinclude -idirafter arch/x86_64 \
                 $(if $(filter 1,$(COVERAGE)),-O0 --coverage)
KERNEL_LDFLAGS := -nostdlib -static -no-pie -Wl,--gc-sections -Wl,-z,max-page-size=4096 -Wl,--build-id=none \
                  -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments

QUIRE := $(BUILD)/quire.elf

all: $(QUIRE)

$(QUIRE): $(BUILD)/kernel/quire-full.elf
	$(call say,STRIP,$@)
	$(Q)objcopy --strip-all $< $@

# The symbol table for backtraces is made from a first link of the same objects.
$(BUILD)/kernel/quire-first.elf: linker.ld $(KERNEL_OBJECTS) $(BUILD)/kernel/symbols-none.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(KERNEL_LDFLAGS) -T linker.ld -o $@ $(KERNEL_OBJECTS) $(BUILD)/kernel/symbols-none.o

$(BUILD)/kernel/quire-full.elf: linker.ld $(KERNEL_OBJECTS) $(BUILD)/kernel/symbols.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(KERNEL_LDFLAGS) -T linker.ld -o $@ $(KERNEL_OBJECTS) $(BUILD)/kernel/symbols.o

$(BUILD)/kernel/symbols-none.S: scripts/make-symbols.py
	@mkdir -p $(@D)
	$(Q)scripts/make-symbols.py --none > $@

$(BUILD)/kernel/symbols.S: $(BUILD)/kernel/quire-first.elf scripts/make-symbols.py
	$(call say,SYMBOLS,$@)
	$(Q)scripts/make-symbols.py $< > $@

$(BUILD)/kernel/symbols%.o: $(BUILD)/kernel/symbols%.S
	$(Q)$(CC) -c -o $@ $<

# Only from -O3 on gcc unrolls the library's inner loop, which then takes two thirds of the
# instructions for each page.
$(BUILD)/kernel/mm/share/share_key.o: KERNEL_CFLAGS += -O3

# These run once at boot, or at the operator's pace: small is better than fast.
SMALL_DIRS := boot drivers operator
$(foreach d,$(SMALL_DIRS),$(eval $(BUILD)/kernel/$(d)/%.o: KERNEL_CFLAGS += -Os))

# The version is compiled into one file only, so that a commit rebuilds one file.
$(BUILD)/kernel/kernel/version.o: DEFINES += -DQUIRE_VERSION='"$(VERSION)"'
$(BUILD)/kernel/kernel/version.o: KERNEL_CFLAGS += -DQUIRE_VERSION='"$(VERSION)"'
$(BUILD)/kernel/kernel/version.o: $(BUILD)/version
$(BUILD)/version: FORCE
	@mkdir -p $(@D); echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@
.PHONY: FORCE

$(BUILD)/kernel/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/kernel/%.o: %.S
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CFLAGS) -D__ASSEMBLER__ -MMD -MP -c -o $@ $<

# Offsets for assembly: svm/asm_offsets.c -> build/kernel/svm/asm_offsets.h
define offsets_rule
$(BUILD)/kernel/$(1)/asm_offsets.h: $(1)/asm_offsets.c
	@mkdir -p $$(@D)
	$(Q)$$(CC) $$(KERNEL_CFLAGS) -MMD -MP -MT $$@ -MF $$(@:.h=.d) -S -o - $$< | \
		sed -n 's/^.*->\([A-Z0-9_]*\) \$$$$*\([0-9]*\).*/#define \1 \2/p' > $$@
$(patsubst %.S,$(BUILD)/kernel/%.o,$(wildcard $(1)/*.S)): $(BUILD)/kernel/$(1)/asm_offsets.h
$(patsubst %.S,$(BUILD)/kernel/%.o,$(wildcard $(1)/*.S)): KERNEL_CFLAGS += -I$(BUILD)/kernel/$(1)
endef
OFFSET_DIRS := $(patsubst %/asm_offsets.c,%,$(foreach d,$(KERNEL_DIRS),$(wildcard $(d)/asm_offsets.c)))
$(foreach d,$(OFFSET_DIRS),$(eval $(call offsets_rule,$(d))))

# --- host tests: tests/host/NAME_test.c, linked with what host_NAME lists ------------

HOST_BASE_CFLAGS := -std=gnu17 -O1 -g -fno-omit-frame-pointer $(filter-out -Wundef,$(WARNINGS)) \
                    -DCONFIG_DEBUG=1 $(LAYOUT) -I. -Iinclude -Itests/host
# SANITIZE=none is for figures, COVERAGE=1 for scripts/coverage; each needs a BUILD folder of its own.
SANITIZE ?= address,undefined
COVERAGE ?= 0
HOST_CFLAGS := $(HOST_BASE_CFLAGS) -fno-sanitize-recover=all \
               $(if $(filter none,$(SANITIZE)),,-fsanitize=$(SANITIZE)) \
               $(if $(filter 1,$(COVERAGE)),-O0 --coverage)
THREAD_CFLAGS := $(HOST_BASE_CFLAGS) -fsanitize=thread
HOST_SEAM := tests/host/seam

# What each program links: folders, or single pure files of folders that also hold hardware code.
include tests/host/tests.mk

host_sources = $(foreach p,$(1),$(if $(filter %.c,$(p)),$(p),$(filter-out lib/string.c,$(wildcard $(p)/*.c))))
host_objects = $(patsubst %.c,$(BUILD)/host/%.o,$(call host_sources,$(1)))

$(BUILD)/host/%.o: %.c
	$(call say,HOSTCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<

define host_rule
$(BUILD)/host/$(1)_test: $(BUILD)/host/tests/host/$(1)_test.o $(call host_objects,$(call host_links,$(1)) $(HOST_SEAM))
	$$(call say,HOSTLD,$$@)
	$(Q)$$(CC) $$(HOST_CFLAGS) -Wl,-z,now -o $$@ $$^ -lcmocka -lpthread
.PHONY: host-$(1)
host-$(1): $(BUILD)/host/$(1)_test
	$(Q)$(BUILD)/host/$(1)_test
endef
$(foreach t,$(HOST_TESTS) $(PLAIN_TESTS),$(eval $(call host_rule,$(t))))

define fuzz_rule
$(BUILD)/host/$(1)_fuzz: $(BUILD)/host/tests/fuzz/$(1)_fuzz.o $(call host_objects,$(fuzz_$(1)) $(HOST_SEAM))
	$$(call say,HOSTLD,$$@)
	$(Q)$$(CC) $$(HOST_CFLAGS) -Wl,-z,now -o $$@ $$^ -lcmocka -lpthread
endef
$(foreach t,$(FUZZ_TESTS),$(eval $(call fuzz_rule,$(t))))

# mm_fuzz without sanitizers and optimised, for long runs: FUZZ_LONG operations, and an audit after
# each hundred.
FUZZ_LONG ?= 1000000000
FUZZ_SEED ?= 1
$(BUILD)/fast/mm_fuzz: tests/fuzz/mm_fuzz.c $(call host_sources,$(fuzz_mm) $(HOST_SEAM))
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -O1,$(HOST_BASE_CFLAGS)) -O3 -o $@ $(filter-out %/test_main.c,$^) -lpthread
fuzz-long: $(BUILD)/fast/mm_fuzz
	$(Q)time $< $(FUZZ_LONG) $(FUZZ_SEED) 100

# --- tests with threads: tests/threads/NAME_test.c with what threads_NAME lists, under TSan ----

thread_objects = $(patsubst %.c,$(BUILD)/threads/%.o,$(call host_sources,$(1)))

$(BUILD)/threads/%.o: %.c
	$(call say,TSANCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(THREAD_CFLAGS) -MMD -MP -c -o $@ $<

define thread_rule
$(BUILD)/threads/$(1)_test: $(BUILD)/threads/tests/threads/$(1)_test.o $(call thread_objects,$(threads_$(1)) $(HOST_SEAM))
	$$(call say,TSANLD,$$@)
	$(Q)$$(CC) $$(THREAD_CFLAGS) -o $$@ $$^ -lcmocka -lpthread
endef
$(foreach t,$(THREAD_TESTS),$(eval $(call thread_rule,$(t))))

.PHONY: threads-build threads
threads-build: $(THREAD_TESTS:%=$(BUILD)/threads/%_test)

threads: threads-build
	$(Q)scripts/run-host-tests.py $(BUILD)/threads $(THREAD_TESTS)

.PHONY: models
models:
	$(Q)scripts/check-models.py

.PHONY: all check host-build host-tests layers twins references faults headers format format-fix iso bench run fuzz fuzz-long mutate help clean analyze

host-build: $(HOST_TESTS:%=$(BUILD)/host/%_test) $(FUZZ_TESTS:%=$(BUILD)/host/%_fuzz)

host-tests: host-build
	$(Q)scripts/run-host-tests.py $(BUILD)/host $(HOST_TESTS)

# --- checks ------------------------------------------------------------------------

# The objects of a DEBUG build need each other more.
layers: all
	$(Q)scripts/check-layers.py --build $(BUILD) $(if $(filter 0,$(DEBUG)),,--no-cycles)

twins:
	$(Q)scripts/check-twins.py

references:
	$(Q)scripts/check-references.py

faults:
	$(Q)scripts/mutate.py --check

headers:
	$(Q)scripts/check-headers.sh

C_FILES = $(shell git ls-files -co --exclude-standard '*.c' '*.h')
format:
	$(Q)clang-format --dry-run -Werror $(C_FILES)
format-fix:
	$(Q)clang-format -i $(C_FILES)

check: all layers twins references faults headers format host-tests

analyze:
	$(Q)scripts/analyze.sh

fuzz: host-build
	$(Q)for f in $(FUZZ_TESTS); do $(BUILD)/host/$${f}_fuzz || exit 1; done

mutate:
	$(Q)scripts/mutate.py

# --- boots: the scripts fetch what is missing and build by themselves ----------------------

iso:
	$(Q)scripts/run --build-only --iso bios

run:
	$(Q)scripts/run

bench:
	$(Q)scripts/bench

clean:
	rm -rf $(BUILD)

help:
	@echo 'make            build/quire.elf'
	@echo 'make check      build, layers, twins, references, faults, headers, format, host tests'
	@echo 'make host-NAME  one host test (names: $(HOST_TESTS))'
	@echo 'make threads    tests with threads, under ThreadSanitizer ($(THREAD_TESTS))'
	@echo 'make models     Spin searches every state of tests/model/*.pml'
	@echo 'make fuzz-long  mm_fuzz for FUZZ_LONG operations (10^9) without sanitizers'
	@echo 'make fuzz       model-based fuzzers ($(FUZZ_TESTS))'
	@echo 'make mutate     plants faults in mm/, reclaim/ and vm/ and checks that a test notices each'
	@echo 'make iso        build/quire.iso with the default guests'
	@echo 'make run        scripts/run: the default guests on an emulated machine'
	@echo 'make bench      measures benchmarks, compares them with targets; build/bench.json'
	@echo 'make analyze    clang thread-safety analysis and gcc -fanalyzer'
	@echo 'make format-fix rewrites C files as .clang-format says'
	@echo 'options         V=1 DEBUG=1 CHUNK_SHIFT=20 WORD_BITS=64 BUILD=folder'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

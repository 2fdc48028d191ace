# Measures, so it is built without sanitizers (SANITIZE=none) and not part of host-tests.
PLAIN_TESTS := scale
host_scale  := lib mm/gmm mm/pgm

# Every tests/host/NAME_test.c is a program. What it links besides the seam: the
# line host_NAME, or that of the module whose name it begins with.
HOST_TESTS := $(filter-out $(PLAIN_TESTS),$(patsubst tests/host/%_test.c,%,$(wildcard tests/host/*_test.c)))

HOST_gmm   := lib mm/gmm
HOST_pgm   := lib mm/gmm mm/pgm
HOST_share := lib mm/gmm mm/share
# The backends' pure and mixed files, see svm_internal.h and vmx_internal.h.
HOST_svm := lib svm/svm_exit.c svm/svm_event.c svm/svm_check.c svm/svm_state.c svm/svm_msr.c svm/svm_asid.c \
            svm/svm_features.c tests/host/svm_model.c
HOST_vmx := lib vmx/vmx_exit.c vmx/vmx_event.c vmx/vmx_check.c vmx/vmx_check_guest.c vmx/vmx_state.c \
            vmx/vmx_msr.c vmx/vmx_vpid.c vmx/vmx_cr.c vmx/vmx_features.c tests/host/vmx_model.c
# Each part of the PC, and the PC as a whole.
HOST_v   := lib devices devices/pc tests/host/pc.c

# Each stands in for a part of the kernel.
fakes = $(patsubst %,tests/host/fake_%.c,$(1))

# A machine over a fake kernel and a fake backend, see machine_fixture.h.
HOST_machine := lib mm/gmm mm/pgm devices devices/pc vm/insn vm/machine $(call fakes,cmdline console heap) \
                tests/host/machine_fixture.c

host_lib           := lib
host_avl           := lib
host_json          := lib
host_bus           := lib devices
host_request_queue := lib
host_x86_state     := lib
host_cmdline       := lib kernel/cmdline.c
# Include what they test: the port instructions are their own.
host_console       := lib
host_time          := lib
host_boot          := lib boot/memmap.c boot/multiboot2.c boot/pvh.c
host_paging        := lib arch/x86_64/paging_rules.c operator/address_space.c mm/gmm
host_insn          := lib vm/insn
host_loader        := lib vm/load/linux.c vm/load/linux_image.c mm/gmm mm/pgm
host_serial        := lib vm/machine/serial.c
host_machine_policy := lib vm/machine/cpuid_policy.c vm/machine/msr_policy.c vm/machine/pvclock.c \
                       vm/machine/zero_fill.c vm/insn
host_vm_request    := lib vm/request.c
host_config        := lib operator/config.c operator/config_vm.c operator/config_words.c vm/vm_config.c
host_cpio          := lib vm/load/cpio.c
host_operator_line := lib operator/prompt_line.c operator/command_words.c
host_config_groups := lib operator/config.c operator/config_vm.c operator/config_words.c vm/vm_config.c
# The operator over real VMs, without their machines, see operator_fixture.h.
OPERATOR := lib mm/gmm mm/pgm mm/share vm vm/load vm/machine/serial.c operator \
            $(call fakes,cmdline console heap power thread) tests/host/operator_fixture.c
host_operator_commands := $(OPERATOR)
host_operator_console := $(OPERATOR)
host_operator_figures := $(OPERATOR) tests/host/json_read.c
host_operator_junk := $(OPERATOR) tests/host/json_read.c
host_operator_life := $(OPERATOR)
host_operator_listing := $(OPERATOR) tests/host/json_read.c
host_operator_start := $(OPERATOR)
host_operator_system := $(OPERATOR)
host_words         := lib
# The threads of reclaim/ take turns with the test, see fake_thread.h.
HOST_reclaim := lib mm/gmm mm/pgm mm/share reclaim vm/request.c vm/vm_table.c $(call fakes,heap thread)
host_reclaim_pass  := $(HOST_reclaim)
host_reclaim_merge := $(HOST_reclaim)
host_reclaim_speed := $(HOST_reclaim)
host_reclaim_room  := $(HOST_reclaim)
host_reclaim_zero_ahead := $(HOST_reclaim)

# A VM's life, on a stand-in for its machine, see vm_fixture.h.
HOST_vm_life := lib mm/gmm mm/pgm vm vm/load/linux.c vm/load/linux_image.c \
                $(call fakes,cmdline console heap power thread)
host_vm_life        := $(HOST_vm_life)
host_vm_create      := $(HOST_vm_life)
host_vm_memory_wait := $(HOST_vm_life)
host_vm_notice      := $(HOST_vm_life)
# The loop alone, with fakes of everything that it calls.
host_vm_loop        := lib vm/vm_loop.c

# Objects that use the CPU's instructions or its own data.
$(addprefix $(BUILD)/host/,operator/%.o reclaim/%.o vm/%.o): HOST_CFLAGS += -include tests/host/fake_cpu.h

FUZZ_TESTS := gmm mm insn machine
fuzz_gmm  := lib mm/gmm tests/fuzz/gmm_model.c
fuzz_mm   := lib mm/gmm mm/pgm mm/share tests/fuzz/mm
fuzz_insn := lib vm/insn
fuzz_machine := $(HOST_machine)

# Under ThreadSanitizer: tests/threads/NAME_test.c.
THREAD_TESTS := request_queue vm_table gmm_lock
threads_request_queue := lib
threads_vm_table      := lib vm/vm_table.c
threads_gmm_lock      := lib mm/gmm

# The first that fits: vmx before v.
HOST_MODULES := gmm pgm share machine svm vmx v
host_module = $(firstword $(foreach m,$(HOST_MODULES),$(if $(filter $(m)%,$(1)),$(m))))
host_links = $(or $(host_$(1)),$(HOST_$(call host_module,$(1))))

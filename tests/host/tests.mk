# One line per test program: the folders or files of the tree that it links.
HOST_TESTS := lib gmm pgm share insn devices config loader vm svm boot
host_lib     := lib
host_gmm     := lib mm/gmm
host_pgm     := lib mm/gmm mm/pgm
host_share   := lib mm/gmm mm/share
host_insn    := lib vm/insn
host_devices := lib devices
host_config  := lib vm/config.c vm/config_vm.c vm/cpio.c
host_loader  := lib vm/loader_linux.c vm/loader_linux_image.c mm/gmm mm/pgm
host_vm      := lib vm/cpuid_policy.c vm/msr_policy.c vm/pvclock.c vm/console_line.c vm/command_words.c \
                vm/json.c
host_svm     := lib svm/svm_exit.c svm/svm_event.c svm/svm_check.c svm/svm_state.c svm/svm_msr.c \
                svm/svm_asid.c svm/svm_features.c
host_boot    := lib boot/memmap.c boot/multiboot2.c boot/pvh.c

FUZZ_TESTS := mm insn
fuzz_mm   := lib mm/gmm mm/pgm
fuzz_insn := lib vm/insn

HOST_TESTS += gmm_share gmm_balloon gmm_place
host_gmm_share   := lib mm/gmm
host_gmm_balloon := lib mm/gmm
host_gmm_place   := lib mm/gmm

HOST_TESTS += vmx vmx_state
host_vmx       := lib vmx/vmx_features.c vmx/vmx_exit.c vmx/vmx_event.c vmx/vmx_msr.c \
                  vmx/vmx_vpid.c vmx/vmx_cr.c
host_vmx_state := lib vmx/vmx_features.c vmx/vmx_event.c vmx/vmx_state.c vmx/vmx_check.c \
                  vmx/vmx_check_guest.c

HOST_TESTS += pgm_handler
host_pgm_handler := lib mm/gmm mm/pgm

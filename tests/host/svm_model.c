/* SPDX-License-Identifier: MIT */
#include "svm_model.h"

#include <string.h>

struct vmcb vmcb;
struct guest_regs regs;
struct virt_vcpu vcpu = { .regs = &regs, .vmcb = &vmcb };
struct vmexit vmexit;

void poke(unsigned offset, uint64_t value, unsigned size_bytes)
{
	memcpy((uint8_t *)&vmcb + offset, &value, size_bytes);
}

uint64_t peek(unsigned offset, unsigned size_bytes)
{
	uint64_t value = 0;
	memcpy(&value, (const uint8_t *)&vmcb + offset, size_bytes);
	return value;
}

void set_up(void)
{
	memset(&vmcb, 0, sizeof(vmcb));
	memset(&regs, 0, sizeof(regs));
	memset(&vmexit, 0xa5, sizeof(vmexit));
	memset(&svm_features, 0, sizeof(svm_features));
	vcpu.asid_stamp = SVM_ASID_STAMP_NONE;
}

void cpu_set_up(void)
{
	svm_features_decode(
		&(struct svm_cpuid){ .leaf_1_ecx = 1u << 26,
				     .leaf_7_ebx = 1u << 0 | 1u << 7 | 1u << 20,
				     .leaf_7_ecx = 1u << 2,
				     .leaf_80000001_ecx = 1u << 2,
				     .leaf_80000001_edx = 1u << 11 | 1u << 20 | 1u << 29,
				     .leaf_80000008_eax = 0x3028,
				     .leaf_8000000a_ebx = 16,
				     .leaf_8000000a_edx = 0x61 },
		&svm_features);
}

struct guest_state long_mode_state(void)
{
	struct guest_state state;
	memset(&state, 0, sizeof(state));
	for (unsigned i = 0; i < SEG_COUNT; i++)
		state.segment[i] = (struct guest_segment){ .base = 0x1000 * i,
							   .limit = 0xffffffff - i,
							   .attributes = 0xc093,
							   .selector = (uint16_t)(8 * i) };
	state.segment[SEG_CS].attributes = 0xa09b;
	state.segment[SEG_LDTR].attributes = 0x10000;
	state.segment[SEG_GS].base = 0xffff888000000000;
	state.gdtr = (struct guest_table){ 0xffffffff81000000, 0x7f };
	state.idtr = (struct guest_table){ 0xffffffff82000000, 0xfff };
	state.cr0 = 0x80050033;
	state.cr2 = 0x1122334455667788;
	state.cr3 = 0x1aa000;
	state.cr4 = 0x3006a0;
	state.efer = 0xd01;
	state.pat = 0x0407050600070106;
	state.dr6 = 0xffff0ff0;
	state.dr7 = 0x400;
	state.star = 1;
	state.lstar = 0xffffffff81800000;
	state.cstar = 0xffffffff81800100;
	state.sfmask = 0x47700;
	state.kernel_gs_base = 0x7f0000001000;
	state.sysenter_cs = 0x10;
	state.sysenter_esp = 0xffffffff83000000;
	state.sysenter_eip = 0xffffffff81800200;
	state.cpl = 3;
	return state;
}

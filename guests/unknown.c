/* SPDX-License-Identifier: MIT */
/*
 * Executes instructions that this machine does not have, and ones that must
 * fault. Each must raise the exception that a CPU without the instruction raises.
 */

#include "guest.h"

static uint64_t scratch[512] __attribute__((aligned(4096)));

static bool is_intel(void)
{
	uint32_t eax = 0, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ebx == 0x756e6547; /* "Genu" */
}

static bool has_monitor(void)
{
	uint32_t eax = 1, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return (ecx & 1u << 3) != 0;
}

uint32_t guest_main(void)
{
	expect(FAULTING("movq %1, %%rax; vmrun", "r"(scratch)) == VECTOR_UD, "unknown.vmrun");
	expect(FAULTING("movq %1, %%rax; vmload", "r"(scratch)) == VECTOR_UD, "unknown.vmload");
	expect(FAULTING("movq %1, %%rax; vmsave", "r"(scratch)) == VECTOR_UD, "unknown.vmsave");
	expect(FAULTING("stgi") == VECTOR_UD, "unknown.stgi");
	expect(FAULTING("clgi") == VECTOR_UD, "unknown.clgi");
	expect(FAULTING("movl $0, %%eax; skinit") == VECTOR_UD, "unknown.skinit");
	expect(FAULTING("movl $0, %%eax; invlpga %%rax, %%ecx", "c"(0)) == VECTOR_UD,
	       "unknown.invlpga");
	expect(FAULTING("vmxon %1", "m"(scratch)) == VECTOR_UD, "unknown.vmxon");
	expect(FAULTING("vmlaunch") == VECTOR_UD, "unknown.vmlaunch");
	expect(FAULTING("rsm") == VECTOR_UD, "unknown.rsm");
	expect(FAULTING("ud2") == VECTOR_UD, "unknown.ud2");
	expect(FAULTING("movl $0, %%eax; movl $0, %%edx; xsetbv", "c"(0x1234)) != NO_FAULT,
	       "unknown.xsetbv");
	if (!is_intel())
		expect(FAULTING("vmcall") == VECTOR_UD, "unknown.vmcall");
	else
		expect(FAULTING("vmmcall") == VECTOR_UD, "unknown.vmmcall");
	if (!has_monitor()) {
		expect(FAULTING("movq %1, %%rax; xorl %%edx, %%edx; monitor", "r"(scratch),
				"c"(0)) == VECTOR_UD,
		       "unknown.monitor");
		expect(FAULTING("xorl %%eax, %%eax; mwait", "c"(0)) == VECTOR_UD, "unknown.mwait");
	}
	/* WBINVD exists, but may do nothing; RDPMC exists, but not this counter. */
	expect(FAULTING("wbinvd") == NO_FAULT, "unknown.wbinvd");
	expect(FAULTING("rdpmc", "c"(0x12345678)) != NO_FAULT, "unknown.rdpmc");
	return failures();
}

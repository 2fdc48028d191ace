/* SPDX-License-Identifier: MIT */
/*
 * The permission maps: which ports and model-specific registers the guest may access
 * without an exit. One pair of maps serves every vCPU. All ports exit. A register passes
 * only if the VMCB holds it, so that a guest reads and writes its own copy and never the
 * machine's.
 *
 * APM vol. 2, "IOIO Intercepts": one bit a port. "MSR Intercepts": two bits a register,
 * read then write, for three ranges of 2000h registers; a register outside of them always
 * exits. EFER is in the VMCB and exits all the same, because its SVME bit is not the
 * guest's.
 */
#include <quire/assert.h>

#include "lib/string.h"
#include "arch/x86_64/msr.h"

#include "svm_internal.h"

#define MSR_RANGE_COUNT     0x2000u
#define MSR_RANGE_BYTES     0x800u
#define MSR_BITS_READ_WRITE 3u

uint8_t svm_iopm[SVM_IOPM_BYTES] Q_ALIGNED(PAGE_SIZE) Q_SECTION(".bss.page_aligned");
uint8_t svm_msrpm[SVM_MSRPM_BYTES] Q_ALIGNED(PAGE_SIZE) Q_SECTION(".bss.page_aligned");

static const uint32_t range_first[] = { 0x00000000, 0xc0000000, 0xc0010000 };

/* VMRUN and #VMEXIT switch the PAT, VMLOAD and VMSAVE the others. */
static const uint32_t passed_through[] = {
	MSR_PAT,     MSR_SYSENTER_CS, MSR_SYSENTER_ESP,   MSR_SYSENTER_EIP,
	MSR_STAR,    MSR_LSTAR,       MSR_CSTAR,          MSR_SFMASK,
	MSR_FS_BASE, MSR_GS_BASE,     MSR_KERNEL_GS_BASE,
};

static void pass_through(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_COUNT(range_first); i++) {
		uint32_t index = msr - range_first[i];
		if (index >= MSR_RANGE_COUNT)
			continue;
		uint8_t bits = (uint8_t)(MSR_BITS_READ_WRITE << (index % 4 * 2));
		svm_msrpm[i * MSR_RANGE_BYTES + index / 4] &= (uint8_t)~bits;
		return;
	}
	Q_ASSERT(!"a register that the map covers");
}

void svm_permissions_init(void)
{
	memset(svm_iopm, 0xff, sizeof(svm_iopm));
	memset(svm_msrpm, 0xff, sizeof(svm_msrpm));
	for (unsigned i = 0; i < ARRAY_COUNT(passed_through); i++)
		pass_through(passed_through[i]);
}

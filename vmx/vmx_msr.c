/* SPDX-License-Identifier: MIT */
/*
 * The permission map: which model-specific registers the guest may access without an
 * exit. One map serves every vCPU. A register passes only if the VMCS or vmx_live.c holds
 * it, so that a guest reads and writes its own copy and never the machine's. All ports
 * exit, because of a control and without a map.
 *
 * SDM vol. 3, "MSR-Bitmap Address": one bit a register, for two ranges of 2000h registers,
 * first for reads, then for writes; a register outside of them always exits. EFER is in
 * the VMCS and exits all the same, because Quire and not the CPU decides which of its bits
 * a guest may have.
 */
#include <quire/assert.h>

#include "lib/string.h"
#include "arch/x86_64/msr.h"

#include "vmx_internal.h"

#define MSR_RANGE_COUNT 0x2000u
#define MSR_RANGE_BYTES 0x400u
#define WRITES_OFFSET   0x800u

uint8_t vmx_msr_bitmap[VMX_MSR_BITMAP_BYTES] Q_ALIGNED(PAGE_SIZE) Q_SECTION(".bss.page_aligned");

static const uint32_t range_first[] = { 0x00000000, 0xc0000000 };

static const uint32_t passed_through[] = {
	MSR_SYSENTER_CS, MSR_SYSENTER_ESP,   MSR_SYSENTER_EIP, /* VMCS */
	MSR_FS_BASE,     MSR_GS_BASE,        MSR_PAT,
	MSR_STAR,        MSR_LSTAR,          MSR_CSTAR, /* vmx_live.c */
	MSR_SFMASK,      MSR_KERNEL_GS_BASE,
};

static void pass_through(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_COUNT(range_first); i++) {
		uint32_t index = msr - range_first[i];
		if (index >= MSR_RANGE_COUNT)
			continue;
		uint8_t bit = (uint8_t)BIT32(index % 8);
		uint8_t *byte = &vmx_msr_bitmap[i * MSR_RANGE_BYTES + index / 8];
		byte[0] &= (uint8_t)~bit;
		byte[WRITES_OFFSET] &= (uint8_t)~bit;
		return;
	}
	Q_ASSERT(!"a register that the map covers");
}

void vmx_permissions_init(void)
{
	memset(vmx_msr_bitmap, 0xff, sizeof(vmx_msr_bitmap));
	for (unsigned i = 0; i < ARRAY_COUNT(passed_through); i++)
		pass_through(passed_through[i]);
}

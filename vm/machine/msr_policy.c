/* SPDX-License-Identifier: MIT */
#include "msr_policy.h"

#include <quire/guest_state.h>

#include "arch/x86_64/msr.h"

#define STATE(msr, field)                                                    \
	{                                                                    \
		(msr), (msr), MSR_STATE, offsetof(struct guest_state, field) \
	}
#define ADDR(msr, field)                                                          \
	{                                                                         \
		(msr), (msr), MSR_STATE_ADDR, offsetof(struct guest_state, field) \
	}

/* IA32_MISC_ENABLE: fast strings; no branch trace, no event sampling. */
#define MISC_ENABLE_VALUE (BIT64(0) | BIT64(11) | BIT64(12))
/* HWCR: the TSC counts at the P0 frequency, so that guests need not measure it. */
#define HWCR_TSC_FREQ_SEL BIT64(24)
/* VM_CR: SVM is disabled, and that is locked. */
#define VM_CR_VALUE (BIT64(3) | BIT64(4))
/* DE_CFG: LFENCE is serialising already, so guests need not set it. */
#define DE_CFG_LFENCE BIT64(1)
/* Newer than any that a guest might want to load. */
#define MICROCODE_REVISION 0xffffffff00000000ull

/* Sorted by number. Names as in the vendors' manuals. */
static const struct msr_row rows[] = {
	{ MSR_TSC, MSR_TSC, MSR_TIME_STAMP, 0 },
	{ 0x17, 0x17, MSR_READ_ONLY, 0 }, /* PLATFORM_ID */
	{ MSR_APIC_BASE, MSR_APIC_BASE, MSR_DEVICES, 0 },
	{ MSR_FEATURE_CONTROL, MSR_FEATURE_CONTROL, MSR_READ_ONLY, 1 }, /* locked, no VMX */
	{ MSR_TSC_ADJUST, MSR_TSC_ADJUST, MSR_TIME_ADJUST, 0 },
	{ 0x79, 0x79, MSR_CONSTANT, 0 },                  /* BIOS_UPDT_TRIG */
	{ 0x8b, 0x8b, MSR_CONSTANT, MICROCODE_REVISION }, /* BIOS_SIGN_ID, PATCH_LEVEL */
	{ 0xce, 0xce, MSR_READ_ONLY, 0 },                 /* PLATFORM_INFO */
	{ 0xfe, 0xfe, MSR_READ_ONLY, 0 },                 /* MTRRCAP: neither fixed nor variable */
	STATE(MSR_SYSENTER_CS, sysenter_cs),
	ADDR(MSR_SYSENTER_ESP, sysenter_esp),
	ADDR(MSR_SYSENTER_EIP, sysenter_eip),
	{ 0x179, 0x179, MSR_READ_ONLY, 0 }, /* MCG_CAP: no machine-check banks */
	{ 0x17a, 0x17a, MSR_CONSTANT, 0 },  /* MCG_STATUS */
	{ MSR_MISC_ENABLE, MSR_MISC_ENABLE, MSR_CONSTANT, MISC_ENABLE_VALUE },
	{ 0x1d9, 0x1d9, MSR_CONSTANT, 0 }, /* DEBUGCTL */
	{ MSR_PAT, MSR_PAT, MSR_PAGE_ATTRIBUTES, 0 },
	{ 0x2ff, 0x2ff, MSR_MTRR_DEFAULT, 0 },
	{ MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, MSR_DEADLINE, 0 },
	{ MSR_X2APIC_FIRST, MSR_X2APIC_LAST, MSR_DEVICES, 0 },
	{ 0x4b564d00, 0x4b564d00, MSR_KVM_WALL_CLOCK, 0 },
	{ 0x4b564d01, 0x4b564d01, MSR_KVM_SYSTEM_TIME, 0 },
	{ MSR_EFER, MSR_EFER, MSR_EXTENDED_FEATURES, 0 },
	STATE(MSR_STAR, star),
	ADDR(MSR_LSTAR, lstar),
	ADDR(MSR_CSTAR, cstar),
	STATE(MSR_SFMASK, sfmask),
	{ MSR_FS_BASE, MSR_FS_BASE, MSR_FS_GS_BASE, SEG_FS },
	{ MSR_GS_BASE, MSR_GS_BASE, MSR_FS_GS_BASE, SEG_GS },
	ADDR(MSR_KERNEL_GS_BASE, kernel_gs_base),
	{ 0xc0010010, 0xc0010010, MSR_CONSTANT, 0 }, /* SYSCFG */
	{ 0xc0010015, 0xc0010015, MSR_CONSTANT, HWCR_TSC_FREQ_SEL },
	{ 0xc001001a, 0xc001001d, MSR_CONSTANT, 0 }, /* TOP_MEM to TOM2 */
	{ 0xc001001f, 0xc001001f, MSR_CONSTANT, 0 }, /* NB_CFG */
	{ 0xc0010020, 0xc0010020, MSR_CONSTANT, 0 }, /* PATCH_LOADER */
	{ 0xc0010055, 0xc0010055, MSR_CONSTANT, 0 }, /* INT_PENDING_MSG */
	{ 0xc0010058, 0xc0010058, MSR_CONSTANT, 0 }, /* MMIO_CFG_BASE */
	{ 0xc0010112, 0xc0010113, MSR_CONSTANT, 0 }, /* SMM_ADDR, SMM_MASK */
	{ MSR_VM_CR, MSR_VM_CR, MSR_READ_ONLY, VM_CR_VALUE },
	{ 0xc0011020, 0xc0011023, MSR_CONSTANT, 0 }, /* LS_CFG, IC_CFG, DC_CFG, BU_CFG */
	{ 0xc0011029, 0xc0011029, MSR_CONSTANT, DE_CFG_LFENCE },
	{ 0xc001102a, 0xc001102a, MSR_CONSTANT, 0 }, /* BU_CFG2 */
};

const struct msr_row *msr_policy_find(uint32_t msr)
{
	unsigned low = 0, high = ARRAY_COUNT(rows);
	while (low < high) {
		unsigned middle = (low + high) / 2;
		if (rows[middle].last < msr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ARRAY_COUNT(rows) && rows[low].first <= msr ? &rows[low] : NULL;
}

const struct msr_row *msr_policy_rows(unsigned *out_count)
{
	*out_count = ARRAY_COUNT(rows);
	return rows;
}

/* SPDX-License-Identifier: MIT */
/*
 * Which model-specific registers a guest has: one row per register or range, sorted (Intel SDM
 * vol. 4, "Model-Specific Registers (MSRs)"; APM vol. 2, "MSR Cross-Reference"). A register without
 * a row raises #GP. Registers that the backend lets the guest use directly are needed here only
 * for CPUs where it cannot.
 */
#ifndef VM_MACHINE_MSR_POLICY_H
#define VM_MACHINE_MSR_POLICY_H

#include <quire/compiler.h>

enum msr_kind {
	MSR_CONSTANT,          /* reads as `value`; writes are ignored */
	MSR_READ_ONLY,         /* reads as `value`; writes raise #GP */
	MSR_STATE,             /* the field of guest_state at offset `value` */
	MSR_STATE_ADDR,        /* likewise; it must be a canonical address */
	MSR_FS_GS_BASE,        /* a segment's base; `value` is the segment */
	MSR_DEVICES,           /* belongs to the local APIC */
	MSR_DEADLINE,          /* likewise: IA32_TSC_DEADLINE, in ticks of the vCPU's own TSC */
	MSR_TIME_STAMP,        /* IA32_TSC */
	MSR_TIME_ADJUST,       /* IA32_TSC_ADJUST */
	MSR_EXTENDED_FEATURES, /* EFER */
	MSR_PAGE_ATTRIBUTES,   /* PAT */
	MSR_MTRR_DEFAULT,
	MSR_KVM_WALL_CLOCK,
	MSR_KVM_SYSTEM_TIME,
};

struct msr_row {
	uint32_t first, last; /* inclusive */
	enum msr_kind kind;
	uint64_t value;
};

/* MTRRs enabled, default type write-back: nested paging decides about caching. */
#define MSR_MTRR_DEFAULT_RESET 0x806ull

/* Returns the row of a register; NULL: the guest does not have it. */
const struct msr_row *msr_policy_find(uint32_t msr);
/* Returns the whole table, for tests. */
const struct msr_row *msr_policy_rows(unsigned *out_count);

#endif

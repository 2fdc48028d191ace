/* SPDX-License-Identifier: MIT */
/*
 * The rules that guest state must obey for a CPU to accept it: Intel SDM vol. 3, "Checks
 * on the Guest State Area", for unrestricted guests. Two go beyond what an entry checks,
 * because they concern the read shadows, which only the guest sees: CR0.NW without CR0.CD,
 * and bits of CR4 that no guest may have.
 */
#include <quire/x86_state.h>

#include "vmx_internal.h"

#define SELECTOR_TI     BIT32(2)
#define ATTR_RESERVED   (MASK64(11, 8) | MASK64(31, 17))
#define ATTR_V8086      0xf3u
#define LIMIT_V8086     0xffffu
#define TABLE_LIMIT_MAX 0xffffu

static bool is_long(const struct vmx_guest *guest)
{
	return guest->entry_controls & ENTRY_IA32E;
}

static bool is_usable(const struct guest_segment *segment)
{
	return !(segment->attributes & SEG_ATTR_UNUSABLE);
}

static unsigned type_of(const struct guest_segment *segment)
{
	return (unsigned)field_get(segment->attributes, SEG_ATTR_TYPE);
}

static unsigned dpl_of(const struct guest_segment *segment)
{
	return (unsigned)field_get(segment->attributes, SEG_ATTR_DPL);
}

/* --- "Checks on Guest Control Registers, Debug Registers, and MSRs" ------------------------- */

static uint64_t paging_violations(const struct vmx_guest *guest)
{
	bool is_paged = guest->cr0 & CR0_PG, has_lme = guest->efer & EFER_LME;
	bool has_lma = guest->efer & EFER_LMA;
	bool is_lma_bad = has_lma != is_long(guest) || (is_paged && has_lma != has_lme);
	bool lacks_paging = !is_paged || !(guest->cr4 & CR4_PAE);

	return vmx_violation(VMX_RULE_CR0_PAGING, is_paged && !(guest->cr0 & CR0_PE)) |
	       vmx_violation(VMX_RULE_CR4_PCIDE, (guest->cr4 & CR4_PCIDE) && !is_long(guest)) |
	       vmx_violation(VMX_RULE_EFER_LMA, is_lma_bad) |
	       vmx_violation(VMX_RULE_LONG_MODE_PAE, is_long(guest) && lacks_paging);
}

static bool has_noncanonical(const struct vmx_guest *guest, unsigned bits)
{
	const uint64_t addresses[] = {
		guest->sysenter_esp,
		guest->sysenter_eip,
		guest->gdtr.base,
		guest->idtr.base,
		guest->segment[SEG_FS].base,
		guest->segment[SEG_GS].base,
		guest->segment[SEG_TR].base,
	};
	for (unsigned i = 0; i < ARRAY_COUNT(addresses); i++) {
		if (!x86_is_canonical(addresses[i], bits))
			return true;
	}
	const struct guest_segment *ldtr = &guest->segment[SEG_LDTR];
	return is_usable(ldtr) && !x86_is_canonical(ldtr->base, bits);
}

static uint64_t register_violations(const struct vmx_guest *guest,
				    const struct vmx_features *features)
{
	return vmx_violation(VMX_RULE_CR0_FIXED, features->cr0_fixed & ~guest->cr0) |
	       vmx_violation(VMX_RULE_CR0_CACHE, !x86_cr0_caching_is_valid(guest->cr0_shadow)) |
	       vmx_violation(VMX_RULE_CR0_HIGH, (guest->cr0 | guest->cr0_shadow) >> 32) |
	       vmx_violation(VMX_RULE_CR3_RESERVED, guest->cr3 >> features->physical_address_bits) |
	       vmx_violation(VMX_RULE_CR4_FIXED, features->cr4_fixed & ~guest->cr4) |
	       vmx_violation(VMX_RULE_CR4_RESERVED, guest->cr4_shadow & ~features->cr4_allowed) |
	       vmx_violation(VMX_RULE_DR7_HIGH, guest->dr7 >> 32) |
	       vmx_violation(VMX_RULE_EFER_RESERVED, guest->efer & ~features->efer_allowed) |
	       vmx_violation(VMX_RULE_PAT, !x86_pat_is_valid(guest->pat)) |
	       vmx_violation(VMX_RULE_CANONICAL,
			     has_noncanonical(guest, features->linear_address_bits));
}

/* --- "Checks on Guest Segment Registers" ------------------------------------------------- */

static bool is_limit_bad(const struct guest_segment *segment)
{
	bool has_pages = segment->attributes & SEG_ATTR_G;
	if ((segment->limit & 0xfff) != 0xfff && has_pages)
		return true;
	return (segment->limit >> 20) && !has_pages;
}

static uint64_t v8086_violations(const struct vmx_guest *guest)
{
	bool is_bad = false;
	for (unsigned i = SEG_ES; i <= SEG_GS; i++) {
		const struct guest_segment *segment = &guest->segment[i];
		is_bad |= segment->base != (uint64_t)segment->selector << 4 ||
			  segment->limit != LIMIT_V8086 || segment->attributes != ATTR_V8086;
	}
	return vmx_violation(VMX_RULE_SEGMENT_V8086, is_bad);
}

static bool is_type_bad(unsigned name, unsigned type)
{
	if (!(type & SEG_TYPE_ACCESSED))
		return true;
	if (name == SEG_CS)
		return !(type & SEG_TYPE_CODE) && type != SEG_TYPE_DATA_RW;
	if (name == SEG_SS)
		return (type & SEG_TYPE_CODE) || !(type & SEG_TYPE_WRITABLE);
	return (type & SEG_TYPE_CODE) && !(type & SEG_TYPE_WRITABLE);
}

/* Checks one of CS, SS, DS, ES, FS, GS. CS counts as usable even if it is marked unusable. */
static uint64_t segment_violations(const struct vmx_guest *guest, unsigned name)
{
	const struct guest_segment *segment = &guest->segment[name];
	if (name != SEG_CS && !is_usable(segment))
		return 0;
	uint32_t attributes = segment->attributes;
	bool is_high = name <= SEG_DS && segment->base >> 32;
	bool are_flags_bad = !(attributes & SEG_ATTR_S) || !(attributes & SEG_ATTR_P) ||
			     (attributes & ATTR_RESERVED);

	return vmx_violation(VMX_RULE_SEGMENT_BASE, is_high) |
	       vmx_violation(VMX_RULE_SEGMENT_TYPE, is_type_bad(name, type_of(segment))) |
	       vmx_violation(VMX_RULE_SEGMENT_FLAGS, are_flags_bad) |
	       vmx_violation(VMX_RULE_SEGMENT_LIMIT, is_limit_bad(segment));
}

static bool are_dpls_bad(const struct vmx_guest *guest)
{
	unsigned type = type_of(&guest->segment[SEG_CS]);
	unsigned cs = dpl_of(&guest->segment[SEG_CS]), ss = dpl_of(&guest->segment[SEG_SS]);
	bool is_real = !(guest->cr0 & CR0_PE);

	if ((type == SEG_TYPE_DATA_RW || is_real) && ss != 0)
		return true;
	if (!(type & SEG_TYPE_CODE))
		return cs != 0;
	return type & SEG_TYPE_CONFORMING ? cs > ss : cs != ss;
}

static uint64_t code_and_data_violations(const struct vmx_guest *guest)
{
	if (guest->rflags & RFLAGS_VM)
		return v8086_violations(guest);
	uint64_t violated = 0;
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		violated |= segment_violations(guest, i);
	uint32_t cs = guest->segment[SEG_CS].attributes;
	bool is_mode_bad = is_long(guest) && (cs & SEG_ATTR_L) && (cs & SEG_ATTR_DB);
	return violated | vmx_violation(VMX_RULE_SEGMENT_DPL, are_dpls_bad(guest)) |
	       vmx_violation(VMX_RULE_LONG_MODE_CS, is_mode_bad);
}

/* True if `segment` breaks a rule that TR and a usable LDTR share. */
static bool is_system_bad(const struct guest_segment *segment)
{
	uint32_t attributes = segment->attributes;
	return (segment->selector & SELECTOR_TI) || (attributes & SEG_ATTR_S) ||
	       !(attributes & SEG_ATTR_P) || (attributes & ATTR_RESERVED) || is_limit_bad(segment);
}

static uint64_t system_violations(const struct vmx_guest *guest)
{
	const struct guest_segment *tr = &guest->segment[SEG_TR];
	const struct guest_segment *ldtr = &guest->segment[SEG_LDTR];
	bool is_tss = type_of(tr) == SEG_TYPE_TSS_BUSY ||
		      (type_of(tr) == SEG_TYPE_TSS_BUSY_16 && !is_long(guest));
	bool is_ldtr_bad =
		is_usable(ldtr) && (is_system_bad(ldtr) || type_of(ldtr) != SEG_TYPE_LDT);
	bool is_table_bad =
		guest->gdtr.limit > TABLE_LIMIT_MAX || guest->idtr.limit > TABLE_LIMIT_MAX;

	return vmx_violation(VMX_RULE_TR, !is_usable(tr) || is_system_bad(tr) || !is_tss) |
	       vmx_violation(VMX_RULE_LDTR, is_ldtr_bad) |
	       vmx_violation(VMX_RULE_TABLE_LIMIT, is_table_bad);
}

/* --- "Checks on Guest RIP, RFLAGS, and SSP", "... Non-Register State" ---------------------- */

/* An entry accepts the first address behind the lower half: the fetch faults in the guest. */
static bool is_rip_bad(const struct vmx_guest *guest, const struct vmx_features *features)
{
	bool is_64bit = is_long(guest) && (guest->segment[SEG_CS].attributes & SEG_ATTR_L);
	if (!is_64bit)
		return guest->rip >> 32;
	uint64_t upper = guest->rip >> features->linear_address_bits;
	return upper != 0 && upper != MASK64(63, 0) >> features->linear_address_bits;
}

static bool is_blocking_bad(const struct vmx_guest *guest)
{
	uint64_t blocking = guest->interruptibility;
	return (blocking & ~(uint64_t)BLOCKING_POSSIBLE) ||
	       (blocking & BLOCKING_SHADOW) == BLOCKING_SHADOW ||
	       ((blocking & BLOCKING_STI) && !(guest->rflags & RFLAGS_IF));
}

/* During an interrupt shadow a single step must be pending if RFLAGS.TF is set, and only then. */
static bool is_pending_debug_bad(const struct vmx_guest *guest)
{
	bool has_step = guest->pending_debug & PENDING_DEBUG_STEP;
	bool is_stepping = guest->rflags & RFLAGS_TF;
	bool is_held_back = guest->interruptibility & BLOCKING_SHADOW;
	return (guest->pending_debug & ~PENDING_DEBUG_POSSIBLE) ||
	       (is_held_back && has_step != is_stepping);
}

static uint64_t execution_violations(const struct vmx_guest *guest,
				     const struct vmx_features *features)
{
	bool is_v8086 = guest->rflags & RFLAGS_VM;
	bool are_flags_bad = (guest->rflags & RFLAGS_RESERVED) || !(guest->rflags & RFLAGS_FIXED);

	return vmx_violation(VMX_RULE_RIP, is_rip_bad(guest, features)) |
	       vmx_violation(VMX_RULE_RFLAGS, are_flags_bad) |
	       vmx_violation(VMX_RULE_RFLAGS_VM,
			     is_v8086 && (is_long(guest) || !(guest->cr0 & CR0_PE))) |
	       vmx_violation(VMX_RULE_ACTIVITY, guest->activity != ACTIVITY_ACTIVE) |
	       vmx_violation(VMX_RULE_INTERRUPTIBILITY, is_blocking_bad(guest)) |
	       vmx_violation(VMX_RULE_PENDING_DEBUG, is_pending_debug_bad(guest)) |
	       vmx_violation(VMX_RULE_LINK_POINTER, guest->link_pointer != LINK_POINTER_NONE);
}

uint64_t vmx_check_guest(const struct vmx_guest *guest, const struct vmx_features *features)
{
	return paging_violations(guest) | register_violations(guest, features) |
	       code_and_data_violations(guest) | system_violations(guest) |
	       execution_violations(guest, features);
}

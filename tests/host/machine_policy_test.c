/* SPDX-License-Identifier: MIT */
/*
 * The pure parts of vm/machine: what CPUID and the MSR table tell a guest, the arithmetic of the
 * paravirtual clock, and which clearing of memory Quire does for a guest.
 */
#include <stdio.h>
#include <string.h>

#include <quire/bits.h>

#include "test.h"
#include "vm/machine/cpuid_policy.h"
#include "vm/machine/msr_policy.h"
#include "vm/machine/pvclock.h"
#include "vm/machine/zero_fill.h"

/* --- CPUID ------------------------------------------------------------------------------------ */

static struct cpuid_table table;

/* Applies the policy to a machine that claims to have everything. */
static void policy_apply(unsigned vcpu_count, uint64_t xcr0)
{
	memset(&table, 0xff, sizeof(table));
	for (unsigned i = 0; i < CPUID_BASIC_COUNT; i++)
		table.basic[i].kind = CPUID_FIXED;
	for (unsigned i = 0; i < CPUID_EXTENDED_COUNT; i++)
		table.extended[i].kind = CPUID_FIXED;
	table.extended[0].regs.eax = 0x8000001f;
	table.xsave[2] = (struct cpuid_regs){ 256, 576, 0, 0 };
	struct cpuid_limits limits = { .vcpu_count = vcpu_count,
				       .physical_address_bits = 36,
				       .tsc_hz = 2000000000,
				       .xcr0 = xcr0 };
	cpuid_policy_apply(&table, &limits);
}

TEST(machine_policy, guest_never_sees_virtualization_monitor_or_counters)
{
	policy_apply(1, 7);
	EXPECT(!(table.basic[1].regs.ecx & BIT32(5)));     /* VMX */
	EXPECT(!(table.basic[1].regs.ecx & BIT32(3)));     /* MONITOR */
	EXPECT(!(table.basic[1].regs.ecx & BIT32(27)));    /* OSXSAVE is the guest's own */
	EXPECT(!(table.extended[1].regs.ecx & BIT32(2)));  /* SVM */
	EXPECT(!(table.extended[1].regs.edx & BIT32(27))); /* RDTSCP */
	EXPECT(!(table.basic[7].regs.ecx & BIT32(16)));    /* 5-level paging */
	EXPECT(table.basic[5].regs.eax == 0 && table.basic[0xa].regs.eax == 0);
	EXPECT(table.extended[0xa].regs.eax == 0);
	EXPECT(table.basic[0].regs.eax == 0xd);
	EXPECT(table.extended[0].regs.eax == 0x80000008);
}

TEST(machine_policy, guest_always_sees_what_is_emulated)
{
	policy_apply(1, 0);
	EXPECT(table.basic[1].regs.ecx & BIT32(21)); /* x2APIC */
	EXPECT(table.basic[1].regs.ecx & BIT32(24)); /* TSC deadline */
	EXPECT(table.basic[1].regs.ecx & BIT32(31)); /* a hypervisor */
	EXPECT(table.extended[7].regs.edx == BIT32(8));
	EXPECT((table.extended[8].regs.eax & 0xff) == 36);
}

TEST(machine_policy, vector_features_follow_xcr0)
{
	policy_apply(1, 0);
	EXPECT(!(table.basic[1].regs.ecx & (BIT32(26) | BIT32(28))));
	EXPECT(table.xcr0 == 0 && table.xsave[0].eax == 0);
	policy_apply(1, 7);
	EXPECT(table.basic[1].regs.ecx & BIT32(28));
	EXPECT(!(table.basic[7].regs.ebx & BIT32(16)));
	EXPECT(table.xsave[0].eax == 7 && table.xsave[0].ecx == 576 + 256);
	EXPECT(table.xsave[3].eax == 0);
	EXPECT(cpuid_xsave_bytes(&table, 3) == 576);
	policy_apply(1, 0xe7);
	EXPECT(table.basic[7].regs.ebx & BIT32(16));
}

TEST(machine_policy, topology_counts_vcpus)
{
	policy_apply(3, 7);
	EXPECT(table.topology[1].eax == 2 && table.topology[1].ebx == 3);
	EXPECT((table.basic[1].regs.ebx >> 16 & 0xff) == 3);
	EXPECT((table.extended[8].regs.ecx & 0xff) == 2);
	EXPECT(table.caches[0].eax >> 26 == 2);
}

TEST(machine_policy, core_ids_take_no_more_bits_than_needed)
{
	static const unsigned bits[] = { 0, 0, 1, 2, 2, 3 };
	for (unsigned vcpus = 1; vcpus < ARRAY_COUNT(bits); vcpus++) {
		policy_apply(vcpus, 7);
		EXPECT(table.topology[1].eax == bits[vcpus]);
		EXPECT((table.extended[8].regs.ecx >> 12) == bits[vcpus]);
	}
}

/* `extended` is the machine's last extended leaf, `sizes` EAX of leaf 0x80000008. */
static void policy_apply_up_to(uint32_t extended, uint32_t sizes)
{
	struct cpuid_limits limits = { .vcpu_count = 1,
				       .physical_address_bits = 36,
				       .tsc_hz = 2000000000 };
	memset(&table, 0xff, sizeof(table));
	table.extended[0].regs.eax = extended;
	table.extended[8].regs.eax = sizes;
	cpuid_policy_apply(&table, &limits);
}

TEST(machine_policy, leaves_that_the_machine_lacks_stay_away)
{
	policy_apply_up_to(0x80000004, 0);
	EXPECT(table.extended[0].regs.eax == 0x80000004 && table.extended[4].regs.eax == ~0u);
	EXPECT(table.extended[5].regs.eax == 0 && table.extended[6].regs.ebx == 0);
	/* A CPU without extended leaves returns something below 0x80000000. */
	policy_apply_up_to(0x16, 0);
	EXPECT(table.extended[0].regs.ebx == 0 && table.extended[1].regs.edx == 0);
}

TEST(machine_policy, addresses_have_the_width_that_both_can_do)
{
	policy_apply_up_to(0x80000008, 48 << 8 | 46);
	EXPECT(table.extended[8].regs.eax == (48 << 8 | 36));
	policy_apply_up_to(0x80000008, 57 << 8 | 34);
	EXPECT(table.extended[8].regs.eax == (48 << 8 | 34));
	policy_apply_up_to(0x80000008, 32); /* no long mode */
	EXPECT(table.extended[8].regs.eax == 32);
}

TEST(machine_policy, cpuid_find_stays_in_its_ranges)
{
	EXPECT(cpuid_find(&table, CPUID_BASIC_COUNT - 1) == &table.basic[CPUID_BASIC_COUNT - 1]);
	EXPECT(cpuid_find(&table, CPUID_BASIC_COUNT) == NULL);
	EXPECT(cpuid_find(&table, CPUID_KVM - 1) == NULL);
	EXPECT(cpuid_find(&table, CPUID_KVM + CPUID_KVM_COUNT - 1) ==
	       &table.kvm[CPUID_KVM_COUNT - 1]);
	EXPECT(cpuid_find(&table, CPUID_KVM + CPUID_KVM_COUNT) == NULL);
	EXPECT(cpuid_find(&table, CPUID_EXTENDED - 1) == NULL);
	EXPECT(cpuid_find(&table, CPUID_EXTENDED + CPUID_EXTENDED_COUNT) == NULL);
	EXPECT(cpuid_find(&table, ~0u) == NULL);
}

TEST(machine_policy, kvm_signature_reads_as_text)
{
	char text[13] = "";
	policy_apply(1, 7);
	memcpy(text, &table.kvm[0].regs.ebx, 12);
	EXPECT(strcmp(text, "KVMKVMKVM") == 0);
	EXPECT(table.kvm[0x10].regs.eax == 2000000);
}

/* --- MSRs ------------------------------------------------------------------------------------- */

/* The search relies on order. */
TEST(machine_policy, msr_rows_are_sorted_and_disjoint)
{
	unsigned count;
	const struct msr_row *rows = msr_policy_rows(&count);
	for (unsigned i = 0; i < count; i++) {
		EXPECT(rows[i].first <= rows[i].last);
		EXPECT(i == 0 || rows[i - 1].last < rows[i].first);
		EXPECT(msr_policy_find(rows[i].first) == &rows[i]);
		EXPECT(msr_policy_find(rows[i].last) == &rows[i]);
	}
}

TEST(machine_policy, unknown_msrs_are_not_found)
{
	static const uint32_t unknown[] = { 0, 0xf, 0x11, 0x18, 0x7ff, 0x900, 0xc0010117, ~0u };
	for (unsigned i = 0; i < ARRAY_COUNT(unknown); i++)
		EXPECT(msr_policy_find(unknown[i]) == NULL);
}

/* --- the clock -------------------------------------------------------------------------------- */

/* Computes the time like a guest. */
static uint64_t clock_ns(const struct pvclock_time *time, uint64_t tsc)
{
	uint64_t delta = tsc - time->tsc_timestamp;
	delta = time->tsc_shift < 0 ? delta >> -time->tsc_shift : delta << time->tsc_shift;
	return time->system_time +
	       (uint64_t)(((unsigned __int128)delta * time->tsc_to_system_mul) >> 32);
}

TEST(machine_policy, clock_shows_seconds_at_every_tsc_rate)
{
	static const uint64_t rates[] = { 1000000,    999999999,  1000000000, 1000000001,
					  2000000000, 2000000001, 2693876000, 5700000000 };
	for (unsigned i = 0; i < ARRAY_COUNT(rates); i++) {
		struct pvclock_time time;
		pvclock_time_fill(&time, rates[i], 12345);
		EXPECT(time.version % 2 == 0 && time.version != 0);
		EXPECT(clock_ns(&time, 12345) == 0);
		uint64_t ns = clock_ns(&time, 12345 + 100 * rates[i]);
		EXPECT(ns > 99999999000 && ns < 100000001000);
	}
}

TEST(machine_policy, wall_clock_is_when_the_guest_began)
{
	struct pvclock_wall wall;
	pvclock_wall_fill(&wall, 1000000000, 2500000000, 1700000000);
	EXPECT(wall.seconds == 1700000002 && wall.nanoseconds == 500000000);
}

/* --- zeroing elision -------------------------------------------------------------------------- */

#define FILL_AT 0x7f0000005000ull

/* Returns the registers of a guest that is about to clear a page. */
static struct guest_regs fill_regs(uint64_t rcx)
{
	struct guest_regs regs = { .rip = 0x1234, .rflags = RFLAGS_FIXED | RFLAGS_IF };
	for (unsigned i = 0; i < GPR_COUNT; i++)
		regs.gpr[i] = 0x0101010101010101u * i;
	regs.gpr[GPR_RAX] = 0;
	regs.gpr[GPR_RDI] = FILL_AT;
	regs.gpr[GPR_RCX] = rcx;
	return regs;
}

static bool is_likely(uint64_t rax, uint64_t rdi, uint64_t rcx, uint64_t rflags, uint64_t addr)
{
	struct guest_regs regs = fill_regs(rcx);
	regs.gpr[GPR_RAX] = rax;
	regs.gpr[GPR_RDI] = rdi;
	regs.rflags |= rflags;
	return zero_fill_is_likely(&regs, gpa(addr));
}

TEST(zero_fill, registers_alone_refuse_nearly_all_other_faults)
{
	EXPECT(is_likely(0, FILL_AT, 512, 0, 0x9000));
	EXPECT(is_likely(0, 0, ~0ull, RFLAGS_ZF | RFLAGS_RF, 0));
	EXPECT(!is_likely(1, FILL_AT, 512, 0, 0x9000));
	EXPECT(!is_likely(BIT64(63), FILL_AT, 512, 0, 0x9000));
	EXPECT(!is_likely(0, FILL_AT + 8, 512, 0, 0x9000));
	EXPECT(!is_likely(0, FILL_AT + 0x800, 512, 0, 0x9000));
	EXPECT(!is_likely(0, FILL_AT, 511, 0, 0x9000));
	EXPECT(!is_likely(0, FILL_AT, 0, 0, 0x9000));
	EXPECT(!is_likely(0, FILL_AT, 512, RFLAGS_DF, 0x9000));
	EXPECT(!is_likely(0, FILL_AT, 512, RFLAGS_TF, 0x9000));
	EXPECT(!is_likely(0, FILL_AT, 512, 0, 0x9001));
	EXPECT(!is_likely(0, FILL_AT, 512, 0, 0x9ff8));
}

/* What the bytes are decoded as: element and address size, or 0 where they are refused. */
struct fill_row {
	uint8_t bytes[6];
	uint8_t byte_count;
	struct {
		uint8_t element_bytes, address_bytes;
	} as[3]; /* by mode: 16, 32, 64 */
};

static const struct fill_row fill_rows[] = {
	{ { 0xf3, 0xaa }, 2, { { 0, 0 }, { 1, 4 }, { 1, 8 } } },
	{ { 0xf3, 0xab }, 2, { { 0, 0 }, { 4, 4 }, { 4, 8 } } },
	{ { 0xf3, 0x66, 0xab }, 3, { { 0, 0 }, { 2, 4 }, { 2, 8 } } },
	{ { 0x66, 0xf3, 0xab }, 3, { { 0, 0 }, { 2, 4 }, { 2, 8 } } },
	{ { 0xf3, 0x48, 0xab }, 3, { { 0, 0 }, { 0, 0 }, { 8, 8 } } },
	{ { 0xf3, 0x4f, 0xab }, 3, { { 0, 0 }, { 0, 0 }, { 8, 8 } } },
	{ { 0xf3, 0x66, 0x48, 0xab }, 4, { { 0, 0 }, { 0, 0 }, { 8, 8 } } },
	/* With 67, 16-bit code has 32-bit addresses, and 32-bit code 16-bit ones. */
	{ { 0xf3, 0x67, 0xaa }, 3, { { 1, 4 }, { 0, 0 }, { 1, 4 } } },
	{ { 0x67, 0xf3, 0x48, 0xab }, 4, { { 0, 0 }, { 0, 0 }, { 8, 4 } } },
	/* Segment overrides, and the other repeat prefix, change nothing. */
	{ { 0x65, 0xf3, 0xab }, 3, { { 0, 0 }, { 4, 4 }, { 4, 8 } } },
	{ { 0xf2, 0xab }, 2, { { 0, 0 }, { 4, 4 }, { 4, 8 } } },
	/* REX counts only directly before the opcode. */
	{ { 0x48, 0xf3, 0xab }, 3, { { 0, 0 }, { 0, 0 }, { 4, 8 } } },
	/* Not repeated, MOVS, MOV, LOCK, cut short, and what is no instruction here. */
	{ { 0xaa }, 1, { { 0, 0 } } },
	{ { 0x48, 0xab }, 2, { { 0, 0 } } },
	{ { 0xf3, 0xa4 }, 2, { { 0, 0 } } },
	{ { 0xf3, 0x48, 0xa5 }, 3, { { 0, 0 } } },
	{ { 0x48, 0x89, 0x07 }, 3, { { 0, 0 } } },
	{ { 0xf3, 0xf0, 0xab }, 3, { { 0, 0 } } },
	{ { 0xf3, 0x48 }, 2, { { 0, 0 } } },
	{ { 0 }, 0, { { 0, 0 } } },
	{ { 0x0f, 0x0b }, 2, { { 0, 0 } } },
};

TEST(zero_fill, instructions_by_mode_size_and_prefix)
{
	struct guest_regs regs = fill_regs(4096);
	for (unsigned i = 0; i < sizeof(fill_rows) / sizeof(fill_rows[0]); i++) {
		const struct fill_row *row = &fill_rows[i];
		for (unsigned mode = INSN_MODE_16; mode <= INSN_MODE_64; mode++) {
			struct zero_fill fill = { 0 };
			bool is_fill = zero_fill_decode(row->bytes, row->byte_count,
							(enum insn_mode)mode, &regs, &fill);
			EXPECT(is_fill == (row->as[mode].element_bytes != 0));
			EXPECT(fill.element_bytes == row->as[mode].element_bytes);
			EXPECT(fill.address_bytes == row->as[mode].address_bytes);
			EXPECT(!is_fill || fill.length == row->byte_count);
		}
	}
}

TEST(zero_fill, a_whole_page_must_be_left)
{
	static const uint8_t stosq[] = { 0xf3, 0x48, 0xab }, stosb[] = { 0xf3, 0xaa },
			     stosb_32[] = { 0xf3, 0x67, 0xaa };
	struct zero_fill fill;
	struct guest_regs regs = fill_regs(512);
	EXPECT(zero_fill_decode(stosq, 3, INSN_MODE_64, &regs, &fill));
	EXPECT(!zero_fill_decode(stosb, 2, INSN_MODE_64, &regs, &fill));
	regs = fill_regs(511);
	EXPECT(!zero_fill_decode(stosq, 3, INSN_MODE_64, &regs, &fill));
	regs = fill_regs(4095);
	EXPECT(!zero_fill_decode(stosb, 2, INSN_MODE_64, &regs, &fill));
	/* Only the low half counts with 32-bit addresses. */
	regs = fill_regs(BIT64(32) + 4095);
	EXPECT(zero_fill_decode(stosb, 2, INSN_MODE_64, &regs, &fill));
	EXPECT(!zero_fill_decode(stosb_32, 3, INSN_MODE_64, &regs, &fill));
	EXPECT(!zero_fill_decode(stosb, 2, INSN_MODE_32, &regs, &fill));
}

/* RDI, RCX and RFLAGS after a page; nothing else changes. */
static void expect_skip(struct zero_fill fill, uint64_t rcx, uint64_t rdi_after, uint64_t rcx_after)
{
	struct guest_regs regs = fill_regs(rcx), after = regs;
	zero_fill_page_skip(&fill, &after);
	EXPECT(after.gpr[GPR_RDI] == rdi_after && after.gpr[GPR_RCX] == rcx_after);
	EXPECT(zero_fill_is_done(&fill, &after) == (rcx_after == 0));
	EXPECT(after.rflags == (regs.rflags | (rcx_after ? RFLAGS_RF : 0)));
	after.gpr[GPR_RDI] = regs.gpr[GPR_RDI];
	after.gpr[GPR_RCX] = rcx;
	after.rflags = regs.rflags;
	EXPECT(memcmp(&after, &regs, sizeof(regs)) == 0);
}

TEST(zero_fill, registers_advance_by_a_page)
{
	for (unsigned size = 1; size <= 8; size *= 2) {
		uint64_t count = 4096 / size;
		struct zero_fill wide = { 3, (uint8_t)size, 8 }, narrow = { 3, (uint8_t)size, 4 };
		expect_skip(wide, count, FILL_AT + 4096, 0);
		expect_skip(wide, count + 1, FILL_AT + 4096, 1);
		expect_skip(wide, ~0ull, FILL_AT + 4096, ~0ull - count);
		expect_skip(wide, BIT64(32), FILL_AT + 4096, BIT64(32) - count);
		expect_skip(narrow, count, 0x6000, 0);
		expect_skip(narrow, BIT64(32) + count + 5, 0x6000, 5);
	}
	/* The last page of the address space: RDI wraps. */
	struct zero_fill fill = { 3, 8, 4 };
	struct guest_regs regs = fill_regs(512);
	regs.gpr[GPR_RDI] = 0xfffff000;
	EXPECT(zero_fill_offset(&fill, &regs) == 0xfffff000);
	zero_fill_page_skip(&fill, &regs);
	EXPECT(regs.gpr[GPR_RDI] == 0);
	regs.gpr[GPR_RDI] = 0x1fffff000;
	EXPECT(zero_fill_offset(&fill, &regs) == 0xfffff000);
	/* The instruction ends here, so RF is clear. */
	regs.rflags |= RFLAGS_RF;
	regs.gpr[GPR_RCX] = 512;
	zero_fill_page_skip(&fill, &regs);
	EXPECT(!(regs.rflags & RFLAGS_RF));
}

TEST(zero_fill, segment_has_all_of_the_page)
{
	struct guest_segment es = { .limit = 0x5fff, .attributes = 0xc093 };
	EXPECT(zero_fill_fits_segment(&es, 0x5000) && !zero_fill_fits_segment(&es, 0x6000));
	es.limit = 0x5ffe;
	EXPECT(!zero_fill_fits_segment(&es, 0x5000) && zero_fill_fits_segment(&es, 0x4000));
	es.limit = 0xffffffff;
	EXPECT(zero_fill_fits_segment(&es, 0xfffff000));
	es.attributes = 0xc097; /* expands down */
	EXPECT(!zero_fill_fits_segment(&es, 0x5000));
	es.attributes = 0xc09b; /* code */
	EXPECT(!zero_fill_fits_segment(&es, 0x5000));
}

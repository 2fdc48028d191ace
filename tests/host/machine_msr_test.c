/* SPDX-License-Identifier: MIT */
/* RDMSR and WRMSR as a guest sees them: each row of msr_policy.c, then registers with own rules. */
#include "machine_fixture.h"

#include "arch/x86_64/msr.h"
#include "vm/machine/msr_policy.h"
#include "vm/machine/pvclock.h"

#define RAM        0x30000ull
#define HOLE       0xd0000000ull
#define JUNK       0x8877665544332211ull
#define WALL_CLOCK 0x4b564d00u
#define TIME_CLOCK 0x4b564d01u

static void rdmsr(uint32_t msr)
{
	cpu->regs.gpr[GPR_RCX] = 0xabcdef00000000ull | msr;
	cpu->regs.gpr[GPR_RAX] = cpu->regs.gpr[GPR_RDX] = JUNK;
	take_exit(.kind = VMEXIT_RDMSR, .insn_length = 2);
}

static void wrmsr(uint32_t msr, uint64_t value)
{
	cpu->regs.gpr[GPR_RCX] = 0xabcdef00000000ull | msr;
	cpu->regs.gpr[GPR_RAX] = 0x1234567800000000ull | (uint32_t)value;
	cpu->regs.gpr[GPR_RDX] = 0x1234567800000000ull | value >> 32;
	take_exit(.kind = VMEXIT_WRMSR, .insn_length = 2);
}

static bool reads(uint32_t msr, uint64_t value)
{
	rdmsr(msr);
	return is_done(2) && cpu->regs.gpr[GPR_RAX] == (uint32_t)value &&
	       cpu->regs.gpr[GPR_RDX] == value >> 32;
}

/* No general register changes. */
static bool read_is_refused(uint32_t msr)
{
	rdmsr(msr);
	return raises(VECTOR_GP, 0) &&
	       memcmp(cpu->regs.gpr, taken.before.gpr, sizeof(cpu->regs.gpr)) == 0;
}

static bool writes(uint32_t msr, uint64_t value)
{
	wrmsr(msr, value);
	return is_done(2);
}

static bool write_is_refused(uint32_t msr, uint64_t value)
{
	wrmsr(msr, value);
	return raises(VECTOR_GP, 0);
}

/* --- by the rows -------------------------------------------------------------------------- */

TEST(machine_msr, constants_read_as_they_are)
{
	unsigned count;
	const struct msr_row *rows = msr_policy_rows(&count);
	set_up_64();
	for (unsigned i = 0; i < count; i++) {
		if (rows[i].kind != MSR_CONSTANT && rows[i].kind != MSR_READ_ONLY)
			continue;
		bool is_read_only = rows[i].kind == MSR_READ_ONLY;
		for (uint32_t msr = rows[i].first; msr <= rows[i].last; msr++) {
			EXPECT(reads(msr, rows[i].value));
			EXPECT(is_read_only ? write_is_refused(msr, JUNK) : writes(msr, JUNK));
			EXPECT(is_read_only ? write_is_refused(msr, 0) : writes(msr, 0));
			EXPECT(reads(msr, rows[i].value));
		}
	}
	tear_down();
}

TEST(machine_msr, registers_of_the_state_are_kept_there)
{
	unsigned count;
	const struct msr_row *rows = msr_policy_rows(&count);
	set_up_64();
	for (unsigned i = 0; i < count; i++) {
		if (rows[i].kind != MSR_STATE && rows[i].kind != MSR_STATE_ADDR)
			continue;
		uint64_t *field = (uint64_t *)((char *)&cpu->virt->state + rows[i].value);
		struct guest_state before = cpu->virt->state;
		EXPECT(writes(rows[i].first, 0x0000776655443322));
		EXPECT(*field == 0x0000776655443322 && reads(rows[i].first, *field));
		EXPECT(writes(rows[i].first, 0xffff876655443322));
		EXPECT(*field == 0xffff876655443322 && reads(rows[i].first, *field));
		bool is_address = rows[i].kind == MSR_STATE_ADDR;
		EXPECT(is_address ? write_is_refused(rows[i].first, JUNK)
				  : writes(rows[i].first, JUNK));
		EXPECT(*field == (is_address ? 0xffff876655443322 : JUNK));
		*field = *(uint64_t *)((char *)&before + rows[i].value);
		EXPECT(memcmp(&before, &cpu->virt->state, sizeof(before)) == 0);
	}
	tear_down();
}

/* The numbers are those of the manuals, not of the rows. */
TEST(machine_msr, registers_have_their_numbers)
{
	set_up_64();
	const struct guest_state *guest = &cpu->virt->state;
	const struct {
		uint32_t msr;
		const uint64_t *place;
	} places[] = {
		{ 0x174, &guest->sysenter_cs },
		{ 0x175, &guest->sysenter_esp },
		{ 0x176, &guest->sysenter_eip },
		{ 0xc0000081, &guest->star },
		{ 0xc0000082, &guest->lstar },
		{ 0xc0000083, &guest->cstar },
		{ 0xc0000084, &guest->sfmask },
		{ 0xc0000100, &guest->segment[SEG_FS].base },
		{ 0xc0000101, &guest->segment[SEG_GS].base },
		{ 0xc0000102, &guest->kernel_gs_base },
	};
	for (unsigned i = 0; i < ARRAY_COUNT(places); i++) {
		EXPECT(writes(places[i].msr, 0x1000 + i));
		EXPECT(*places[i].place == 0x1000 + i && reads(places[i].msr, 0x1000 + i));
	}
	for (unsigned i = 0; i < ARRAY_COUNT(places); i++)
		EXPECT(*places[i].place == 0x1000 + i);
	tear_down();
}

TEST(machine_msr, addresses_are_canonical)
{
	static const uint32_t addresses[] = { 0x175,      0x176,      0xc0000082, 0xc0000083,
					      0xc0000100, 0xc0000101, 0xc0000102 };
	set_up_64();
	for (unsigned i = 0; i < ARRAY_COUNT(addresses); i++) {
		EXPECT(writes(addresses[i], 0x00007fffffffffff));
		EXPECT(writes(addresses[i], 0xffff800000000000));
		EXPECT(write_is_refused(addresses[i], 0x0000800000000000));
		EXPECT(write_is_refused(addresses[i], 0xffff7fffffffffff));
		EXPECT(write_is_refused(addresses[i], 1ull << 63));
		EXPECT(reads(addresses[i], 0xffff800000000000));
	}
	tear_down();
}

TEST(machine_msr, what_is_in_no_row_is_refused)
{
	unsigned count;
	const struct msr_row *rows = msr_policy_rows(&count);
	set_up_64();
	for (unsigned i = 0; i < count; i++) {
		uint32_t before = rows[i].first - 1, after = rows[i].last + 1;
		if (!msr_policy_find(before))
			EXPECT(read_is_refused(before) && write_is_refused(before, 0));
		if (!msr_policy_find(after))
			EXPECT(read_is_refused(after) && write_is_refused(after, 0));
	}
	/* The row of the register before is remembered, and must not serve this one. */
	EXPECT(reads(0x17a, 0) && read_is_refused(0x17b) && reads(0x17a, 0));
	EXPECT(read_is_refused(~0u) && write_is_refused(0, 0));
	tear_down();
}

TEST(machine_msr, what_the_cpu_refuses_is_refused)
{
	static const uint32_t registers[] = { 0x174,      0x175,      0x277,
					      0xc0000080, 0xc0000081, 0xc0000100 };
	set_up_64();
	cpu->virt->refuses_state = true;
	for (unsigned i = 0; i < ARRAY_COUNT(registers); i++)
		EXPECT(write_is_refused(registers[i], registers[i] == 0xc0000080 ? EFER_LME : 0));
	tear_down();
}

/* --- EFER and PAT ------------------------------------------------------------------------- */

TEST(machine_msr, efer_has_the_bits_that_cpuid_offers)
{
	set_up(1);
	mode_32();
	for (unsigned bit = 0; bit < 64; bit++) {
		bool is_there = bit == 0 || bit == 8 || bit == 10 || bit == 11;
		EXPECT(is_there ? writes(MSR_EFER, BIT64(bit))
				: write_is_refused(MSR_EFER, BIT64(bit)));
	}
	EXPECT(writes(MSR_EFER, EFER_SCE | EFER_LME | EFER_NXE));
	EXPECT(reads(MSR_EFER, EFER_SCE | EFER_LME | EFER_NXE));
	tear_down();
}

TEST(machine_msr, the_guest_does_not_write_lma)
{
	set_up(1);
	mode_32();
	EXPECT(writes(MSR_EFER, EFER_LMA) && cpu->virt->state.efer == 0);
	set_up_64();
	EXPECT(writes(MSR_EFER, EFER_LME) && cpu->virt->state.efer == (EFER_LME | EFER_LMA));
	EXPECT(reads(MSR_EFER, EFER_LME | EFER_LMA));
	tear_down();
}

TEST(machine_msr, long_mode_does_not_change_under_paging)
{
	set_up_64();
	EXPECT(write_is_refused(MSR_EFER, EFER_NXE));
	EXPECT(writes(MSR_EFER, EFER_LME | EFER_SCE));
	cpu->virt->state.cr0 &= ~CR0_PG;
	EXPECT(writes(MSR_EFER, EFER_NXE));
	cpu->virt->state.cr0 |= CR0_PG;
	EXPECT(write_is_refused(MSR_EFER, EFER_LME));
	tear_down();
}

TEST(machine_msr, pat_has_types_that_exist)
{
	set_up_64();
	EXPECT(reads(MSR_PAT, 0x0007040600070406));
	for (unsigned byte = 0; byte < 8; byte++) {
		for (uint64_t type = 0; type < 256; type++) {
			bool is_there = type <= 1 || (type >= 4 && type <= 7);
			uint64_t pat = 0x0606060606060606 ^ 6ull << 8 * byte ^ type << 8 * byte;
			EXPECT(is_there ? writes(MSR_PAT, pat) : write_is_refused(MSR_PAT, pat));
			if (is_there)
				EXPECT(cpu->virt->state.pat == pat && reads(MSR_PAT, pat));
		}
	}
	tear_down();
}

TEST(machine_msr, the_default_memory_type_is_kept)
{
	set_up_64();
	EXPECT(reads(0x2ff, 0x806));
	EXPECT(writes(0x2ff, 0xc00) && reads(0x2ff, 0xc00));
	tear_down();
}

/* --- time --------------------------------------------------------------------------------- */

static bool clock_is_kept(uint64_t adjust)
{
	return cpu->virt->tsc_offset == adjust - machine.start_tsc && reads(MSR_TSC_ADJUST, adjust);
}

TEST(machine_msr, tsc_starts_at_power_on)
{
	set_up_64();
	EXPECT(reads(MSR_TSC, 0) && clock_is_kept(0));
	fake.tsc += 0x123456789a;
	EXPECT(reads(MSR_TSC, 0x123456789a));
	tear_down();
}

TEST(machine_msr, tsc_writes_move_tsc_adjust)
{
	set_up_64();
	fake.tsc += 5000;
	EXPECT(writes(MSR_TSC, 7000) && reads(MSR_TSC, 7000) && clock_is_kept(2000));
	fake.tsc += 100;
	EXPECT(writes(MSR_TSC, 0) && reads(MSR_TSC, 0) && clock_is_kept(-5100ull));
	EXPECT(writes(MSR_TSC, ~0ull) && reads(MSR_TSC, ~0ull) && clock_is_kept(-5101ull));
	tear_down();
}

TEST(machine_msr, tsc_adjust_moves_tsc)
{
	set_up_64();
	fake.tsc += 5000;
	EXPECT(writes(MSR_TSC_ADJUST, 0x8000000000000000));
	EXPECT(clock_is_kept(0x8000000000000000) && reads(MSR_TSC, 0x8000000000001388));
	EXPECT(writes(MSR_TSC_ADJUST, 0) && clock_is_kept(0) && reads(MSR_TSC, 5000));
	tear_down();
}

/* The local APIC's timer counts the vCPU's own TSC. */
#define LVT_TIMER    0x320u
#define LVT_DEADLINE 0x40040u /* vector 0x40 */

static void deadline_set_up(uint64_t adjust)
{
	set_up_64();
	lapics_enable();
	lapic_set(cpu, LVT_TIMER, LVT_DEADLINE);
	fake.tsc += 1000000;
	EXPECT(writes(MSR_TSC_ADJUST, adjust));
}

static bool is_armed_for(uint64_t now)
{
	return fake.timer == &machine.timer && fake.timer_deadline == machine.start_tsc + now;
}

TEST(machine_msr, a_deadline_is_in_the_vcpus_own_time)
{
	static const uint64_t adjusts[] = { 0, 5000, -5000ull, 1ull << 40, -(1ull << 40), ~0ull };
	for (unsigned i = 0; i < ARRAY_COUNT(adjusts); i++) {
		deadline_set_up(adjusts[i]);
		cpu->regs.rflags |= RFLAGS_IF; /* an interrupt would be seen */
		EXPECT(reads(MSR_TSC_DEADLINE, 0) && fake.timer == NULL);
		uint64_t deadline = 1000000 + adjusts[i] + 300;
		EXPECT(writes(MSR_TSC_DEADLINE, deadline));
		EXPECT(reads(MSR_TSC_DEADLINE, deadline) && is_armed_for(1000300));
		EXPECT(writes(MSR_TSC_DEADLINE, 0));
		EXPECT(reads(MSR_TSC_DEADLINE, 0) && fake.timer == NULL);
		tear_down();
	}
}

TEST(machine_msr, a_past_deadline_fires_at_once)
{
	static const uint64_t past[] = { 1, 4999, 5000, 5001, 1000000 + 5000 };
	for (unsigned i = 0; i < ARRAY_COUNT(past); i++) {
		deadline_set_up(5000);
		cpu->regs.rflags |= RFLAGS_IF;
		wrmsr(MSR_TSC_DEADLINE, past[i]);
		EXPECT(cpu->regs.rip == taken.before.rip + 2);
		struct guest_event event = next_event();
		EXPECT(event.type == GUEST_EVENT_INTERRUPT && event.vector == 0x40);
		EXPECT(reads(MSR_TSC_DEADLINE, 0) && fake.timer == NULL);
		tear_down();
	}
	deadline_set_up(5000);
	EXPECT(writes(MSR_TSC_DEADLINE, 1000000 + 5001) && is_armed_for(1000001));
	tear_down();
}

/* The comparison is unsigned, whatever TSC_ADJUST is. */
TEST(machine_msr, deadlines_compare_with_the_guests_tsc)
{
	deadline_set_up(-5000ull);
	cpu->regs.rflags |= RFLAGS_IF;
	EXPECT(writes(MSR_TSC_DEADLINE, ~0ull) && fake.timer == NULL);
	EXPECT(writes(MSR_TSC_DEADLINE, ~0ull - 5001) && fake.timer_deadline == ~0ull);
	tear_down();
	/* The TSC is 2^64 - 2^40 + 1000000, so this is long past. */
	deadline_set_up(-(1ull << 40));
	cpu->regs.rflags |= RFLAGS_IF;
	wrmsr(MSR_TSC_DEADLINE, 100);
	EXPECT(next_event().vector == 0x40 && fake.timer == NULL);
	tear_down();
}

/* --- the paravirtual clock ---------------------------------------------------------------- */

static struct pvclock_time time_at(uint64_t addr)
{
	struct pvclock_time time;
	EXPECT(pgm_read(machine.pgm, gpa(addr), &time, sizeof(time), NULL) == Q_OK);
	return time;
}

TEST(machine_msr, the_wall_clock_is_when_the_machine_started)
{
	set_up_64();
	EXPECT(writes(WALL_CLOCK, RAM + 8) && reads(WALL_CLOCK, RAM + 8));
	/* The machine started at TSC 5.25 s. */
	EXPECT(guest_number(RAM + 8, 4) == 2);
	EXPECT(guest_number(RAM + 12, 4) == (uint32_t)(EPOCH + 5));
	EXPECT(guest_number(RAM + 16, 4) == 250000000);
	tear_down();
}

TEST(machine_msr, the_time_page_leads_from_tsc_to_nanoseconds)
{
	set_up_64();
	EXPECT(writes(TIME_CLOCK, RAM | 1) && reads(TIME_CLOCK, RAM | 1));
	struct pvclock_time time = time_at(RAM);
	EXPECT(time.version == 2 && time.flags == 1 && time.system_time == 0);
	EXPECT(time.tsc_timestamp == 0);
	/* 2 GHz: half a nanosecond a tick. */
	EXPECT(time.tsc_to_system_mul == 0x80000000 && time.tsc_shift == 0);
	tear_down();
}

TEST(machine_msr, the_time_page_follows_the_guests_tsc)
{
	set_up_64();
	EXPECT(writes(TIME_CLOCK, RAM | 1));
	fake.tsc += 1000;
	EXPECT(writes(MSR_TSC, 5000) && time_at(RAM).tsc_timestamp == 4000);
	EXPECT(writes(MSR_TSC_ADJUST, 7) && time_at(RAM).tsc_timestamp == 7);
	EXPECT(writes(TIME_CLOCK, (RAM + 64) | 1) && time_at(RAM + 64).tsc_timestamp == 7);
	/* A clock that is switched off is not written any more. */
	EXPECT(writes(TIME_CLOCK, RAM) && reads(TIME_CLOCK, RAM));
	EXPECT(writes(MSR_TSC_ADJUST, 8) && time_at(RAM).tsc_timestamp == 7);
	tear_down();
}

TEST(machine_msr, a_clock_outside_ram_is_not_written)
{
	static const uint64_t nowhere[] = { HOLE,       0xe0000,    LAPIC_AT,
					    1ull << 36, ~0ull << 2, GUEST_BYTES - 8 };
	set_up_64();
	for (unsigned i = 0; i < ARRAY_COUNT(nowhere); i++) {
		EXPECT(writes(WALL_CLOCK, nowhere[i]));
		EXPECT(writes(TIME_CLOCK, nowhere[i] | 1) && reads(TIME_CLOCK, nowhere[i] | 1));
	}
	tear_down();
}

TEST(machine_msr, a_clock_waits_for_memory)
{
	static const uint32_t clocks[] = { WALL_CLOCK, TIME_CLOCK };
	for (unsigned i = 0; i < ARRAY_COUNT(clocks); i++) {
		set_up_64();
		memory_exhaust(0);
		wrmsr(clocks[i], RAM | 1); /* for the wall clock bit 0 is part of the address */
		EXPECT(taken.wish.kind == VCPU_WISH_MEMORY && taken.wish.page_count == 1);
		EXPECT(is_retried());
		memory_release();
		EXPECT(writes(clocks[i], RAM | 1) && guest_number(RAM + 1 - i, 4) == 2);
		tear_down();
	}
	/* Moving the TSC writes the page again, which needs a page if it is shared. */
	set_up_64();
	EXPECT(writes(TIME_CLOCK, RAM | 1));
	page_share(RAM);
	memory_exhaust(0);
	wrmsr(MSR_TSC_ADJUST, 9);
	EXPECT(taken.wish.kind == VCPU_WISH_MEMORY && is_retried());
	memory_release();
	EXPECT(writes(MSR_TSC_ADJUST, 9) && time_at(RAM).tsc_timestamp == 9);
	tear_down();
}

TEST(machine_msr, the_stock_is_refilled_after_a_clock)
{
	set_up_64();
	memory_exhaust(32);
	EXPECT(!(cpu->requests & VCPU_REQUEST_REFILL));
	wrmsr(TIME_CLOCK, RAM | 1);
	EXPECT(cpu->requests & VCPU_REQUEST_REFILL);
	memory_release();
	tear_down();
}

/* --- the local APIC's --------------------------------------------------------------------- */

TEST(machine_msr, x2apic_registers_are_there_in_x2apic_mode)
{
	set_up(2);
	cpu = machine.vcpus[1];
	EXPECT(reads(MSR_APIC_BASE, LAPIC_AT | BIT64(11)));
	for (uint32_t msr = MSR_X2APIC_FIRST; msr <= MSR_X2APIC_LAST; msr++)
		EXPECT(read_is_refused(msr) && write_is_refused(msr, 0));
	EXPECT(write_is_refused(MSR_APIC_BASE, LAPIC_AT | BIT64(10)));
	EXPECT(write_is_refused(MSR_APIC_BASE, (LAPIC_AT + PAGE_SIZE) | BIT64(11)));
	EXPECT(writes(MSR_APIC_BASE, LAPIC_AT | BIT64(11) | BIT64(10)));
	EXPECT(reads(0x802, 1) && write_is_refused(0x802, 0));
	EXPECT(writes(0x808, 0x50) && reads(0x808, 0x50) && cpu->regs.cr8 == 5);
	EXPECT(write_is_refused(0x808, 0x100));
	EXPECT(read_is_refused(0x80b) && writes(0x80b, 0));
	tear_down();
}

/* SPDX-License-Identifier: MIT */
/*
 * The exits other than memory, port I/O and MSRs. Each goes through vcpu_run() and the table of
 * handlers; the tests look at what the guest then sees.
 */
#include "machine_fixture.h"

#include "vm/machine/cpuid_policy.h"

/* --- handlers of a few lines -------------------------------------------------------------- */

TEST(machine_exit, a_host_interrupt_changes_nothing)
{
	set_up_64();
	struct guest_regs before = cpu->regs;
	take_exit(.kind = VMEXIT_HOST_INTERRUPT);
	EXPECT(is_done(0) && memcmp(&before, &cpu->regs, sizeof(before)) == 0);
	EXPECT(cpu->virt->skips == 0);
	tear_down();
}

TEST(machine_exit, wbinvd_is_skipped)
{
	set_up_64();
	take_exit(.kind = VMEXIT_WBINVD, .insn_length = 2);
	EXPECT(is_done(2) && cpu->virt->skips == 1);
	tear_down();
}

TEST(machine_exit, hypercalls_are_not_there)
{
	set_up_64();
	take_exit(.kind = VMEXIT_HYPERCALL, .insn_length = 3);
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == -(uint64_t)1000);
	tear_down();
}

TEST(machine_exit, an_instruction_that_the_cpu_lacks_raises_ud)
{
	set_up_64();
	take_exit(.kind = VMEXIT_INVALID_OPCODE, .insn_length = 3);
	EXPECT(raises(VECTOR_UD, NO_CODE));
	tear_down();
}

TEST(machine_exit, an_exception_of_the_guest_goes_to_the_guest)
{
	set_up_64();
	take_exit(.kind = VMEXIT_EXCEPTION, .exception = { .vector = VECTOR_DB });
	EXPECT(raises(VECTOR_DB, NO_CODE));
	take_exit(.kind = VMEXIT_EXCEPTION,
		  .exception = { .vector = VECTOR_AC, .has_error_code = true, .error_code = 0x18 });
	EXPECT(raises(VECTOR_AC, 0x18));
	take_exit(.kind = VMEXIT_EXCEPTION, .exception = { .vector = VECTOR_PF,
							   .has_error_code = true,
							   .error_code = 0x7,
							   .address = 0x7fff12345678 });
	EXPECT(raises_page_fault(0x7fff12345678, 7));
	tear_down();
}

TEST(machine_exit, a_triple_fault_stops_the_machine)
{
	set_up_64();
	take_exit(.kind = VMEXIT_SHUTDOWN);
	EXPECT(taken.wish.kind == VCPU_WISH_STOP);
	EXPECT(strcmp(taken.wish.reason, "triple fault") == 0);
	tear_down();
}

TEST(machine_exit, a_refused_entry_stops_the_machine_and_is_logged)
{
	set_up_64();
	take_exit(.kind = VMEXIT_FATAL, .fatal = { .reason = 0x80000021, .info = { 1, 0x22, 3 } });
	EXPECT(taken.wish.kind == VCPU_WISH_STOP);
	EXPECT(strcmp(taken.wish.reason, "refused entry or unexpected exit") == 0);
	EXPECT(cpu->virt->checks == 1 && cpu->virt->dumps == 1);
	EXPECT(fake_log_contains("vm vm: vCPU 0 cannot go on: exit 0x80000021, "
				 "info 0x1 0x22 0x3"));
	tear_down();
}

TEST(machine_exit, hlt_waits_behind_the_instruction)
{
	set_up_64();
	cpu->regs.rflags |= RFLAGS_IF;
	take_exit(.kind = VMEXIT_HLT, .insn_length = 1);
	EXPECT(cpu->activity == VCPU_HALTED && cpu->regs.rip == CODE_AT + 1);
	EXPECT(cpu->requests == VCPU_REQUEST_SLEEP);
	EXPECT(!vcpu_is_awake(cpu));
	tear_down();
}

/* --- CPUID -------------------------------------------------------------------------------- */

static struct cpuid_regs cpuid(uint64_t leaf, uint64_t subleaf)
{
	uint64_t *gpr = cpu->regs.gpr;
	for (unsigned i = 0; i < GPR_COUNT; i++)
		gpr[i] = ~0ull - i;
	gpr[GPR_RAX] = leaf;
	gpr[GPR_RCX] = subleaf;
	take_exit(.kind = VMEXIT_CPUID, .insn_length = 2);
	EXPECT(is_done(2));
	for (unsigned i = 0; i < GPR_COUNT; i++)
		EXPECT(i <= GPR_RBX ? gpr[i] >> 32 == 0 : gpr[i] == ~0ull - i);
	return (struct cpuid_regs){ (uint32_t)gpr[GPR_RAX], (uint32_t)gpr[GPR_RBX],
				    (uint32_t)gpr[GPR_RCX], (uint32_t)gpr[GPR_RDX] };
}

static bool is_same(struct cpuid_regs a, struct cpuid_regs b)
{
	return a.eax == b.eax && a.ebx == b.ebx && a.ecx == b.ecx && a.edx == b.edx;
}

static const struct cpuid_regs zeros;

TEST(machine_exit, cpuid_answers_from_the_table)
{
	set_up_64();
	EXPECT(cpuid(0, 0).eax == 0xd);
	EXPECT(cpuid(1, 0).eax == CPUID_SIGNATURE);
	EXPECT(cpuid(0x80000000, 0).eax == 0x80000008);
	EXPECT(cpuid(0x40000000, 0).ebx == 0x4b4d564b);
	EXPECT(cpuid(0x40000010, 0).eax == TSC_HZ / 1000);
	EXPECT(is_same(cpuid(6, 0), (struct cpuid_regs){ 4, 0, 0, 0 }));
	/* CPUID ignores the upper halves of RAX and RCX. */
	EXPECT(cpuid(0xffffffff00000001, 0).eax == CPUID_SIGNATURE);
	EXPECT(is_same(cpuid(0xd, 0xffffffff00000002), cpuid(0xd, 2)));
	tear_down();
}

TEST(machine_exit, cpuid_leaves_that_are_not_there_are_zero)
{
	static const uint32_t none[] = { 3,          5,          0xa,        0xe,
					 0x1f,       0x20,       0x3fffffff, 0x40000011,
					 0x7fffffff, 0x80000009, 0x80000020, ~0u };
	set_up_64();
	for (unsigned i = 0; i < ARRAY_COUNT(none); i++)
		EXPECT(is_same(cpuid(none[i], 0), zeros));
	tear_down();
}

TEST(machine_exit, cpuid_has_the_vcpus_own_apic_id)
{
	set_up(2);
	EXPECT(cpuid(1, 0).ebx == 0x0002ff00);
	EXPECT(cpuid(0xb, 0).edx == 0);
	cpu = machine.vcpus[1];
	EXPECT(cpuid(1, 0).ebx == 0x0102ff00);
	EXPECT(is_same(cpuid(0xb, 0), (struct cpuid_regs){ 0, 1, 0x100, 1 }));
	EXPECT(is_same(cpuid(0xb, 1), (struct cpuid_regs){ 1, 2, 0x201, 1 }));
	EXPECT(is_same(cpuid(0xb, 2), (struct cpuid_regs){ 0, 0, 2, 1 }));
	/* ECX returns only the low byte of the subleaf. */
	EXPECT(is_same(cpuid(0xb, 0x101), (struct cpuid_regs){ 0, 0, 1, 1 }));
	tear_down();
}

TEST(machine_exit, cpuid_leaf_1_follows_apic_and_cr4)
{
	set_up_64();
	EXPECT(cpuid(1, 0).edx & BIT32(9));
	EXPECT(!(cpuid(1, 0).ecx & BIT32(27)));
	cpu->virt->state.cr4 |= CR4_OSXSAVE;
	EXPECT(cpuid(1, 0).ecx & BIT32(27));
	/* The guest turns its APIC off. */
	cpu->regs.gpr[GPR_RCX] = 0x1b;
	cpu->regs.gpr[GPR_RAX] = VPC_LAPIC_BASE;
	cpu->regs.gpr[GPR_RDX] = 0;
	take_exit(.kind = VMEXIT_WRMSR, .insn_length = 2);
	EXPECT(is_done(2));
	EXPECT(!(cpuid(1, 0).edx & BIT32(9)));
	tear_down();
}

TEST(machine_exit, cpuid_subleaves_end)
{
	set_up_64();
	EXPECT(cpuid(4, 3).ebx == 3 && (cpuid(4, 3).eax & 0xff) == 0x24);
	EXPECT(is_same(cpuid(4, 4), zeros));
	EXPECT(is_same(cpuid(4, CPUID_CACHE_COUNT), zeros));
	EXPECT(is_same(cpuid(4, ~0u), zeros));
	EXPECT(cpuid(7, 0).ebx != 0);
	EXPECT(is_same(cpuid(7, 1), zeros));
	EXPECT(is_same(cpuid(0xd, 2), (struct cpuid_regs){ 256, 576, 0, 0 }));
	EXPECT(is_same(cpuid(0xd, 3), zeros));
	EXPECT(is_same(cpuid(0xd, 9), zeros));
	EXPECT(is_same(cpuid(0xd, CPUID_XSAVE_COUNT), zeros));
	tear_down();
}

/* In the standard format the area ends with the last component that is enabled. */
TEST(machine_exit, cpuid_tells_the_size_of_the_present_xsave_area)
{
	static const struct {
		uint64_t xcr0;
		uint32_t bytes;
	} sizes[] = { { 1, 576 }, { 3, 576 }, { 7, 832 }, { 0xe7, 1408 + 1024 } };
	set_up_64();
	for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
		fake.xcr0 = sizes[i].xcr0;
		EXPECT(is_same(cpuid(0xd, 0),
			       (struct cpuid_regs){ 0xe7, sizes[i].bytes, 1408 + 1024, 0 }));
	}
	tear_down();
}

TEST(machine_exit, without_xsave_there_is_nothing_of_it)
{
	host_set_up();
	fake.xcr0_supported = 0;
	struct machine_config config = machine_config_of(1);
	EXPECT(machine_init(&machine, &config, &fake_ops) == Q_OK);
	cpu = machine.vcpus[0];
	machine_power_on(&machine);
	cpu->virt->state.cr4 |= CR4_OSXSAVE; /* a CPU without XSAVE would refuse it */
	EXPECT(!(cpuid(1, 0).ecx & (BIT32(26) | BIT32(27))));
	for (unsigned i = 0; i < 4; i++)
		EXPECT(is_same(cpuid(0xd, i), zeros));
	tear_down();
}

/* --- XSETBV ------------------------------------------------------------------------------- */

static void xsetbv(uint64_t rcx, uint64_t rdx, uint64_t rax)
{
	fake.xcr0 = 0xff;
	cpu->regs.gpr[GPR_RCX] = rcx;
	cpu->regs.gpr[GPR_RDX] = rdx;
	cpu->regs.gpr[GPR_RAX] = rax;
	take_exit(.kind = VMEXIT_XSETBV, .insn_length = 3);
}

static bool xsetbv_sets(uint64_t rcx, uint64_t rdx, uint64_t rax)
{
	xsetbv(rcx, rdx, rax);
	return is_done(3) && fake.xcr0 == (rdx << 32 | (uint32_t)rax);
}

static bool xsetbv_raises(uint64_t rcx, uint64_t rdx, uint64_t rax, unsigned vector, int64_t code)
{
	xsetbv(rcx, rdx, rax);
	return raises(vector, code) && fake.xcr0 == 0xff;
}

TEST(machine_exit, xsetbv_takes_what_the_manual_allows)
{
	set_up_64();
	cpu->virt->state.cr4 |= CR4_OSXSAVE;
	for (uint64_t xcr0 = 0; xcr0 < 0x800; xcr0++) {
		bool is_valid = xcr0 == 1 || xcr0 == 3 || xcr0 == 7 || xcr0 == 0xe7;
		EXPECT(is_valid ? xsetbv_sets(0, 0, xcr0)
				: xsetbv_raises(0, 0, xcr0, VECTOR_GP, 0));
	}
	for (unsigned bit = 0; bit < 32; bit++)
		EXPECT(xsetbv_raises(0, BIT64(bit), 1, VECTOR_GP, 0));
	tear_down();
}

TEST(machine_exit, xsetbv_only_sets_what_the_machine_has)
{
	set_up_64();
	cpu->virt->state.cr4 |= CR4_OSXSAVE;
	machine.cpuid->xcr0 = 3;
	EXPECT(xsetbv_sets(0, 0, 1) && xsetbv_sets(0, 0, 3));
	EXPECT(xsetbv_raises(0, 0, 7, VECTOR_GP, 0));
	machine.cpuid->xcr0 = 0;
	EXPECT(xsetbv_raises(0, 0, 1, VECTOR_GP, 0));
	tear_down();
}

TEST(machine_exit, xsetbv_is_for_kernels_that_use_xsave)
{
	set_up_64();
	EXPECT(xsetbv_raises(0, 0, 1, VECTOR_UD, NO_CODE));
	cpu->virt->state.cpl = 3;
	EXPECT(xsetbv_raises(0, 0, 1, VECTOR_UD, NO_CODE));
	cpu->virt->state.cr4 |= CR4_OSXSAVE;
	for (uint8_t cpl = 0; cpl < 4; cpl++) {
		cpu->virt->state.cpl = cpl;
		EXPECT(cpl == 0 ? xsetbv_sets(0, 0, 1) : xsetbv_raises(0, 0, 1, VECTOR_GP, 0));
	}
	cpu->virt->state.cpl = 0;
	EXPECT(xsetbv_raises(1, 0, 1, VECTOR_GP, 0));
	EXPECT(xsetbv_sets(BIT64(32), 0, 1));
	EXPECT(xsetbv_sets(0, 0, ~0xffffffffull | 1));
	tear_down();
}

/* --- how long the instruction is ---------------------------------------------------------- */

/* How far RIP moves after an exit for which the CPU reports no length. */
static uint64_t moved_by(enum vmexit_kind kind)
{
	cpu->activity = VCPU_RUNNABLE;
	cpu->regs.rip = CODE_AT;
	cpu->regs.gpr[GPR_RCX] = cpu->regs.gpr[GPR_RAX] = 0;
	if (kind == VMEXIT_XSETBV)
		cpu->regs.gpr[GPR_RAX] = 1;
	if (kind == VMEXIT_RDMSR || kind == VMEXIT_WRMSR)
		cpu->regs.gpr[GPR_RCX] = 0x79;
	take_exit_of(cpu, (struct vmexit){ .kind = kind });
	return cpu->regs.rip - CODE_AT;
}

TEST(machine_exit, lengths_are_decoded_with_their_prefixes)
{
	static const struct {
		enum vmexit_kind kind;
		unsigned plain;
		const char *bytes;
	} rows[] = {
		{ VMEXIT_CPUID, 2, "\x0f\xa2" },         { VMEXIT_HLT, 1, "\xf4" },
		{ VMEXIT_RDMSR, 2, "\x0f\x32" },         { VMEXIT_WRMSR, 2, "\x0f\x30" },
		{ VMEXIT_HYPERCALL, 3, "\x0f\x01\xd9" }, { VMEXIT_HYPERCALL, 3, "\x0f\x01\xc1" },
		{ VMEXIT_XSETBV, 3, "\x0f\x01\xd1" },    { VMEXIT_WBINVD, 2, "\x0f\x09" },
	};
	set_up_64();
	cpu->virt->state.cr4 |= CR4_OSXSAVE;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		for (unsigned prefixes = 0; prefixes + rows[i].plain <= 15; prefixes++) {
			char bytes[16];
			memset(bytes, 0x66, prefixes);
			memcpy(bytes + prefixes, rows[i].bytes, rows[i].plain);
			guest_code_put(bytes, prefixes + rows[i].plain);
			EXPECT(moved_by(rows[i].kind) == prefixes + rows[i].plain);
		}
	}
	tear_down();
}

/* The code was changed by another vCPU after the exit, or cannot be read. */
TEST(machine_exit, without_the_instruction_its_plain_length_counts)
{
	set_up_64();
	guest_code("\x66\x66\x0f\x32");
	EXPECT(moved_by(VMEXIT_CPUID) == 2);
	guest_code("\x66\x0f\xff");
	EXPECT(moved_by(VMEXIT_HLT) == 1);
	guest_code("\x66\x66\x0f\xa2");
	cpu->virt->state.cr3 = TABLES_AT + MIB(1);
	EXPECT(moved_by(VMEXIT_CPUID) == 2);
	tear_down();
}

TEST(machine_exit, code_may_cross_a_page)
{
	static const uint64_t virt = 0x40000000;
	set_up_64();
	page_map(virt, 0x20000, PAGE_KERNEL);
	page_map(virt + PAGE_SIZE, 0x30000, PAGE_KERNEL);
	guest_put(0x20000 + PAGE_SIZE - 3, "\x66\x66\x66", 3);
	guest_put(0x30000, "\x66\x0f\xa2", 3);
	cpu->regs.rip = virt + PAGE_SIZE - 3;
	take_exit(.kind = VMEXIT_CPUID);
	EXPECT(is_done(6));
	/* Without the second page the three prefixes alone are no instruction. */
	page_map(virt + PAGE_SIZE, 0, 0);
	memset(&cpu->lengths, 0, sizeof(cpu->lengths));
	cpu->regs.rip = virt + PAGE_SIZE - 3;
	take_exit(.kind = VMEXIT_CPUID);
	EXPECT(is_done(2));
	/* An instruction that ends at the end of the first page needs no second one. */
	guest_put(0x20000 + PAGE_SIZE - 3, "\x66\x0f\xa2", 3);
	memset(&cpu->lengths, 0, sizeof(cpu->lengths));
	cpu->regs.rip = virt + PAGE_SIZE - 3;
	take_exit(.kind = VMEXIT_CPUID);
	EXPECT(is_done(3));
	/* Code in device memory cannot be read. */
	page_map(virt, LAPIC_AT, PAGE_KERNEL);
	memset(&cpu->lengths, 0, sizeof(cpu->lengths));
	cpu->regs.rip = virt;
	take_exit(.kind = VMEXIT_CPUID);
	EXPECT(is_done(2));
	tear_down();
}

TEST(machine_exit, code_is_found_in_every_mode)
{
	set_up(1);
	mode_16();
	cpu->virt->state.segment[SEG_CS].base = 0xf0000;
	cpu->regs.rip = 0xfff0;
	take_exit(.kind = VMEXIT_CPUID); /* ROM full of zeros */
	EXPECT(is_done(2));
	cpu->virt->state.segment[SEG_CS].base = 0x8000;
	cpu->regs.rip = 0x1234;
	guest_put(0x9234, "\x67\x67\x0f\xa2", 4);
	take_exit(.kind = VMEXIT_CPUID);
	EXPECT(is_done(4));
	/* Linear addresses outside 64-bit mode have 32 bits. */
	mode_32();
	cpu->virt->state.segment[SEG_CS].base = 0xfffff000;
	cpu->regs.rip = 0xb234;
	guest_put(0xa234, "\x2e\x0f\xa2", 3);
	take_exit(.kind = VMEXIT_CPUID);
	EXPECT(is_done(3));
	tear_down();
}

/* See docs/decisions/0002-instruction-length.md. */
TEST(machine_exit, a_length_is_kept_for_some_milliseconds)
{
	set_up_64();
	guest_code("\x66\x66\x0f\xa2");
	EXPECT(moved_by(VMEXIT_CPUID) == 4);
	guest_put(CODE_AT, "\x0f\xa2", 2);
	EXPECT(moved_by(VMEXIT_CPUID) == 4);
	/* The entry does not serve another kind of exit, which replaces it. */
	EXPECT(moved_by(VMEXIT_HLT) == 1);
	EXPECT(moved_by(VMEXIT_CPUID) == 2);
	tear_down();
}

TEST(machine_exit, a_kept_length_expires)
{
	set_up_64();
	fake.tsc = 0x12ull << INSN_LENGTH_LIFE_SHIFT;
	guest_code("\x66\x66\x0f\xa2");
	EXPECT(moved_by(VMEXIT_CPUID) == 4);
	guest_put(CODE_AT, "\x0f\xa2", 2);
	fake.tsc = (0x13ull << INSN_LENGTH_LIFE_SHIFT) - 1;
	EXPECT(moved_by(VMEXIT_CPUID) == 4);
	fake.tsc++;
	EXPECT(moved_by(VMEXIT_CPUID) == 2);
	tear_down();
}

TEST(machine_exit, a_kept_length_is_for_one_address)
{
	set_up_64();
	guest_code("\x66\x66\x0f\xa2");
	EXPECT(moved_by(VMEXIT_CPUID) == 4);
	/* These two addresses share an entry. */
	EXPECT(insn_length_slot(&cpu->lengths, CODE_AT) ==
	       insn_length_slot(&cpu->lengths, CODE_AT + 0x1100));
	guest_put(CODE_AT + 0x1100, "\x66\x0f\xa2", 3);
	cpu->regs.rip = CODE_AT + 0x1100;
	take_exit(.kind = VMEXIT_CPUID);
	EXPECT(is_done(3));
	EXPECT(moved_by(VMEXIT_CPUID) == 4);
	page_map((1ull << 40) + CODE_AT, 0x30000, PAGE_KERNEL);
	guest_put(0x30000, "\x0f\xa2", 2);
	cpu->regs.rip = (1ull << 40) + CODE_AT;
	take_exit(.kind = VMEXIT_CPUID);
	EXPECT(is_done(2));
	tear_down();
}

TEST(machine_exit, the_cpus_own_length_comes_first)
{
	set_up_64();
	guest_code("\x66\x66\x0f\xa2");
	take_exit(.kind = VMEXIT_CPUID, .insn_length = 7);
	EXPECT(is_done(7));
	tear_down();
}

/* --- figures ------------------------------------------------------------------------------ */

TEST(machine_exit, each_kind_is_counted_with_its_time)
{
	struct exit_figures figures[VMEXIT_KIND_COUNT];
	set_up(2);
	fake.tsc_step = 1000;
	take_exit(.kind = VMEXIT_CPUID, .insn_length = 2);
	take_exit(.kind = VMEXIT_WBINVD, .insn_length = 2);
	take_exit_of(machine.vcpus[1], (struct vmexit){ .kind = VMEXIT_CPUID, .insn_length = 2 });
	machine_exit_figures(&machine, figures);
	for (unsigned i = 0; i < VMEXIT_KIND_COUNT; i++) {
		uint64_t count = i == VMEXIT_CPUID ? 2 : i == VMEXIT_WBINVD ? 1 : 0;
		EXPECT(figures[i].count == count && figures[i].ticks == count * 1000);
	}
	tear_down();
}

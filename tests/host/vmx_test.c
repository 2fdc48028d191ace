/* SPDX-License-Identifier: MIT */
/*
 * The pure parts of the VT-x backend: capabilities, exits, events, the permission
 * map, VPIDs, control registers. Words are written as the manual draws them, not
 * with the backend's own masks, so that the two cannot agree on a mistake.
 */
#include "vmx_model.h"

#include <string.h>

/* Reached by nothing that is tested here. */
void vmx_vmcs_load(struct virt_vcpu *vcpu)
{
	(void)vcpu;
}

/* --- capabilities -------------------------------------------------------------------------- */

static const char *reason_of(const struct vmx_words *words)
{
	struct vmx_features features;
	const char *reason = vmx_features_decode(words, &features);
	if (!reason)
		return "";
	/* It is the whole of what the operator reads: one line, one sentence. */
	EXPECT(!strchr(reason, '\n') && reason[strlen(reason) - 1] == '.');
	return reason;
}

TEST(vmx, control_takes_required_and_forced_bits_and_optional_ones_that_exist)
{
	uint32_t control = 0;
	EXPECT(vmx_control_adjust(0x0000007f00000016, 0x29, 0x40, 0, &control));
	EXPECT(control == 0x7f);
	EXPECT(vmx_control_adjust(0x0000003f00000016, 0x29, 0x40, 0, &control));
	EXPECT(control == 0x3f);
}

TEST(vmx, control_is_impossible_without_a_required_or_with_a_refused_bit)
{
	uint32_t control = 0xdead;
	EXPECT(!vmx_control_adjust(0x0000003f00000016, 0x40, 0, 0, &control));
	EXPECT(!vmx_control_adjust(0x0000003f00000016, 0x01, 0, 0x10, &control));
	/* Must be 1, may not be 1. */
	EXPECT(!vmx_control_adjust(0x0000003f00000056, 0x01, 0, 0, &control));
	EXPECT(control == 0xdead);
}

TEST(vmx, controls_of_a_whole_cpu)
{
	struct vmx_features features = decode_features(&skylake);
	EXPECT(features.revision == 0x2b);
	EXPECT(features.pin == (0x16 | BIT32(0) | BIT32(3) | BIT32(5) | BIT32(6)));
	EXPECT(features.primary == (0x04006172 | BIT32(3) | BIT32(7) | BIT32(10) | BIT32(11) |
				    BIT32(21) | BIT32(24) | BIT32(28) | BIT32(29) | BIT32(31)));
	EXPECT(features.secondary == (BIT32(1) | BIT32(5) | BIT32(6) | BIT32(7) | BIT32(12)));
	EXPECT(features.exit == (0x36dfb | BIT32(2) | BIT32(9) | 0x3c0000));
	EXPECT(features.entry == (0x11fb | BIT32(2) | BIT32(14) | BIT32(15)));
	EXPECT(features.has_vpid && features.has_preemption_timer);
	EXPECT(features.has_ept_accessed_dirty && features.preemption_timer_shift == 0);
	EXPECT(features.invept == INVEPT_SINGLE && features.invvpid == INVVPID_SINGLE);
	EXPECT(features.cr0_fixed == BIT64(5));
	EXPECT(features.cr0_owned == (BIT64(5) | BIT64(29) | BIT64(30)));
	EXPECT(features.cr4_fixed == BIT64(13));
	EXPECT(features.cr4_owned & BIT64(13) && !(features.cr4_allowed & BIT64(13)));
	EXPECT(features.cr4_allowed & BIT64(18) && features.cr4_owned & BIT64(14));
	EXPECT(features.physical_address_bits == 40 && features.linear_address_bits == 48);
}

/* corei5_arrandale_m520 has neither, and runs guests all the same. */
TEST(vmx, optional_features_may_be_missing)
{
	struct vmx_words words = skylake;
	words.pin &= ~(0x40ull << 32);
	words.secondary &= ~(0x1020ull << 32);
	words.ept_vpid = 0x0106114141 & ~BIT64(25);
	struct vmx_features features = decode_features(&words);
	EXPECT(!features.has_preemption_timer && !features.has_vpid);
	EXPECT(!features.has_ept_accessed_dirty);
	EXPECT(features.invept == INVEPT_ALL && features.invvpid == INVVPID_NONE);
}

TEST(vmx, refusals_say_why)
{
	struct vmx_words words = skylake;
	words.leaf_1_ecx &= ~BIT32(5);
	EXPECT(strstr(reason_of(&words), "no VT-x"));

	words = skylake;
	words.feature_control = 1; /* locked */
	EXPECT(strstr(reason_of(&words), "firmware disabled"));
	words.feature_control = 3; /* and on inside of SMX only */
	EXPECT(strstr(reason_of(&words), "firmware disabled"));
	words.feature_control = 0;
	EXPECT(strcmp(reason_of(&words), "") == 0);

	/* core2_penryn_t9600: secondary controls, but no EPT and no word for it. */
	words = skylake;
	words.secondary = 0x4100000000;
	words.ept_vpid = 0;
	EXPECT(strstr(reason_of(&words), "without nested paging"));
	words.primary &= ~(1ull << 63);
	words.secondary = 0;
	EXPECT(strstr(reason_of(&words), "without nested paging"));

	/* corei5_lynnfield_750 */
	words = skylake;
	words.secondary &= ~(0x80ull << 32);
	EXPECT(strstr(reason_of(&words), "without unrestricted guest"));
}

/* Four levels, write-back, 2 MiB pages, INVEPT, INVEPT for all contexts. */
TEST(vmx, nested_paging_without_what_quire_uses_is_refused)
{
	static const unsigned needed[] = { 6, 14, 16, 20, 26 };
	for (size_t i = 0; i < ARRAY_COUNT(needed); i++) {
		struct vmx_words words = skylake;
		words.ept_vpid &= ~BIT64(needed[i]);
		if (!strstr(reason_of(&words), "lacks what Quire needs"))
			fail_msg("without bit %u: '%s'", needed[i], reason_of(&words));
	}
}

/* Numbers of bits, as the manual's tables of VM-execution, -exit and -entry controls have them. */
TEST(vmx, a_control_that_is_missing_or_stuck_is_refused)
{
	static const struct {
		size_t offset;
		uint32_t needed, unwanted;
	} controls[] = {
		{ offsetof(struct vmx_words, pin), BIT32(0) | BIT32(3) | BIT32(5), 0 },
		/* CR3 exits that cannot be turned off, 15 and 16: a CPU without TRUE controls. */
		{ offsetof(struct vmx_words, primary),
		  BIT32(2) | BIT32(3) | BIT32(7) | BIT32(10) | BIT32(11) | BIT32(21) | BIT32(24) |
			  BIT32(28) | BIT32(29),
		  BIT32(2) | BIT32(9) | BIT32(12) | BIT32(15) | BIT32(16) | BIT32(19) | BIT32(20) |
			  BIT32(23) },
		{ offsetof(struct vmx_words, secondary), BIT32(6), 0 },
		{ offsetof(struct vmx_words, exit),
		  BIT32(2) | BIT32(9) | BIT32(18) | BIT32(19) | BIT32(20) | BIT32(21),
		  BIT32(15) | BIT32(22) },
		{ offsetof(struct vmx_words, entry), BIT32(2) | BIT32(9) | BIT32(14) | BIT32(15),
		  BIT32(9) | BIT32(10) | BIT32(11) },
	};
	for (size_t i = 0; i < ARRAY_COUNT(controls); i++) {
		for (unsigned bit = 0; bit < 32; bit++) {
			struct vmx_words words = skylake;
			uint64_t *word = (void *)((uint8_t *)&words + controls[i].offset);
			uint64_t real = *word;
			*word = real & ~(BIT64(bit) << 32) & ~BIT64(bit);
			if ((controls[i].needed & BIT32(bit)) &&
			    !strstr(reason_of(&words), "lacks controls"))
				fail_msg("group %zu without %u: '%s'", i, bit, reason_of(&words));
			*word = real | BIT64(bit) << 32 | BIT64(bit);
			if ((controls[i].unwanted & BIT32(bit)) &&
			    !strstr(reason_of(&words), "lacks controls"))
				fail_msg("group %zu, %u stuck: '%s'", i, bit, reason_of(&words));
		}
	}
}

TEST(vmx, contradictions_among_capabilities_are_noticed)
{
	static const struct {
		size_t offset;
		uint64_t change;
	} contradictions[] = {
		{ offsetof(struct vmx_words, basic), 0x1000ull << 32 }, /* size 0 */
		{ offsetof(struct vmx_words, basic), BIT64(44) >> 1 },  /* size above a page */
		{ offsetof(struct vmx_words, basic), BIT64(48) },       /* 32-bit addresses */
		{ offsetof(struct vmx_words, basic), BIT64(50) },       /* memory type */
		{ offsetof(struct vmx_words, pin), BIT64(33) },
		{ offsetof(struct vmx_words, primary), BIT64(0) },
		{ offsetof(struct vmx_words, secondary), BIT64(15) },
		{ offsetof(struct vmx_words, exit), BIT64(32) },
		{ offsetof(struct vmx_words, entry), BIT64(16) },
		{ offsetof(struct vmx_words, cr0_fixed1), BIT64(5) },
		{ offsetof(struct vmx_words, cr4_fixed1), BIT64(13) },
	};
	for (size_t i = 0; i < ARRAY_COUNT(contradictions); i++) {
		struct vmx_words words = skylake;
		uint64_t *word = (void *)((uint8_t *)&words + contradictions[i].offset);
		*word ^= contradictions[i].change;
		if (!strstr(reason_of(&words), "contradict"))
			fail_msg("contradiction %zu: %s", i, reason_of(&words));
	}
}

/* --- exits -------------------------------------------------------------------------------- */

static struct vmexit decode(const struct vmx_exit_words *words)
{
	struct vmexit exit;
	memset(&exit, 0xa5, sizeof(exit));
	EXPECT(vmx_exit_decode(words, &exit));
	return exit;
}

static struct vmexit decode_unfinished(const struct vmx_exit_words *words)
{
	struct vmexit exit;
	memset(&exit, 0xa5, sizeof(exit));
	EXPECT(!vmx_exit_decode(words, &exit));
	return exit;
}

TEST(vmx, exit_reasons_have_their_kinds)
{
	static const struct {
		uint32_t reason;
		enum vmexit_kind kind;
		uint8_t insn_length;
	} expected[] = {
		{ 1, VMEXIT_HOST_INTERRUPT, 0 },   { 2, VMEXIT_SHUTDOWN, 0 },
		{ 7, VMEXIT_INTERRUPT_WINDOW, 0 }, { 10, VMEXIT_CPUID, 3 },
		{ 11, VMEXIT_INVALID_OPCODE, 0 },  { 12, VMEXIT_HLT, 3 },
		{ 13, VMEXIT_WBINVD, 3 },          { 15, VMEXIT_INVALID_OPCODE, 0 },
		{ 18, VMEXIT_HYPERCALL, 3 },       { 19, VMEXIT_INVALID_OPCODE, 0 },
		{ 27, VMEXIT_INVALID_OPCODE, 0 },  { 31, VMEXIT_RDMSR, 3 },
		{ 32, VMEXIT_WRMSR, 3 },           { 36, VMEXIT_INVALID_OPCODE, 0 },
		{ 39, VMEXIT_INVALID_OPCODE, 0 },  { 50, VMEXIT_INVALID_OPCODE, 0 },
		{ 52, VMEXIT_HOST_INTERRUPT, 0 },  { 53, VMEXIT_INVALID_OPCODE, 0 },
		{ 54, VMEXIT_WBINVD, 3 },          { 55, VMEXIT_XSETBV, 3 },
	};
	for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
		struct vmx_exit_words words = { .reason = expected[i].reason, .insn_length = 3 };
		struct vmexit exit = decode(&words);
		EXPECT(exit.kind == expected[i].kind);
		EXPECT(exit.insn_length == expected[i].insn_length);
		EXPECT(!exit.has_vectoring && !exit.can_interrupt);
	}
}

/* A CPUID exit: reason, RIP, RSP, RFLAGS, interruptibility, and just the length more. */
TEST(vmx, frequent_exits_need_few_words)
{
	EXPECT(vmx_exit_needs(10) == VMX_NEEDS_LENGTH);
	EXPECT(vmx_exit_needs(12) == VMX_NEEDS_LENGTH);
	EXPECT(vmx_exit_needs(1) == 0);
	EXPECT(vmx_exit_needs(52) == 0);
	EXPECT(vmx_exit_needs(30) == (VMX_NEEDS_LENGTH | VMX_NEEDS_QUALIFICATION));
}

/* Every reason there may ever be decodes to something, and none is misread. */
TEST(vmx, unexpected_reasons_are_fatal)
{
	static const uint8_t expected[] = { 0,  1,  2,  7,  10, 11, 12, 13, 15, 18, 19,
					    20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 31,
					    32, 36, 39, 48, 50, 52, 53, 54, 55 };
	for (uint32_t reason = 0; reason < 300; reason++) {
		bool is_expected = false;
		for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
			is_expected |= expected[i] == reason;
		if (is_expected)
			continue;
		struct vmx_exit_words words = { .reason = reason, .qualification = 5 };
		struct vmexit exit = decode(&words);
		EXPECT(exit.kind == VMEXIT_FATAL && exit.fatal.reason == reason);
		EXPECT(exit.fatal.info[0] == 5);
	}
}

TEST(vmx, failed_entries_are_fatal_and_left_to_the_backend)
{
	struct vmx_exit_words words = { .reason = 0x80000021, .qualification = 2 };
	struct vmexit exit = decode_unfinished(&words);
	EXPECT(exit.kind == VMEXIT_FATAL && exit.fatal.reason == 0x80000021);
	/* The same number with the bit must not pass for the exit without it. */
	words.reason = 0x8000000a;
	EXPECT(decode_unfinished(&words).kind == VMEXIT_FATAL);
}

TEST(vmx, io_qualifications)
{
	/* out %al, $0x3f8 */
	struct vmx_exit_words words = { .reason = 30,
					.insn_length = 2,
					.qualification = 0x03f80040 };
	struct vmexit exit = decode(&words);
	EXPECT(exit.kind == VMEXIT_PIO && exit.pio.port == 0x3f8 && exit.pio.size == 1);
	EXPECT(!exit.pio.is_in && !exit.pio.is_string && !exit.pio.is_rep);
	EXPECT(exit.insn_length == 2 && exit.pio.next_rip == 0);
	/* in (%dx), %eax */
	words.qualification = 0x0cfc000b;
	exit = decode(&words);
	EXPECT(exit.pio.port == 0xcfc && exit.pio.size == 4 && exit.pio.is_in);
	/* rep outsw */
	words.qualification = 0x01f00031;
	exit = decode(&words);
	EXPECT(exit.pio.port == 0x1f0 && exit.pio.size == 2 && !exit.pio.is_in);
	EXPECT(exit.pio.is_string && exit.pio.is_rep);
}

TEST(vmx, ept_violations)
{
	/* Read where nothing is mapped. */
	struct vmx_exit_words words = { .reason = 48,
					.qualification = 0x181,
					.address = 0xfee00020 };
	struct vmexit exit = decode(&words);
	EXPECT(exit.kind == VMEXIT_MEMORY && exit.memory.addr.raw == 0xfee00020);
	EXPECT(exit.memory.access == MEM_READ && !exit.memory.is_present);
	EXPECT(!exit.memory.is_page_walk && exit.insn_length == 0);
	/* Write to a page that may be read and executed. */
	words.qualification = 0x1aa;
	exit = decode(&words);
	EXPECT(exit.memory.access == MEM_WRITE && exit.memory.is_present);
	/* Read-modify-write. */
	words.qualification = 0x1ab;
	EXPECT(decode(&words).memory.access == MEM_WRITE);
	/* Fetch from a page that may be read only. */
	words.qualification = 0x18c;
	exit = decode(&words);
	EXPECT(exit.memory.access == MEM_EXEC && exit.memory.is_present);
	/* The guest's own page walk, with accessed and dirty bits on. */
	words.qualification = 0x0ab;
	exit = decode(&words);
	EXPECT(exit.memory.is_page_walk && exit.memory.access == MEM_WRITE);
	/* Without a linear address bit 8 says nothing. */
	words.qualification = 0x001;
	EXPECT(!decode(&words).memory.is_page_walk);
}

/* IRET unblocked NMIs, then faulted: the backend has to block them again. */
TEST(vmx, nmi_unblocking_is_left_to_the_backend)
{
	struct vmx_exit_words words = { .reason = 48, .qualification = 0x1181 };
	EXPECT(decode_unfinished(&words).kind == VMEXIT_MEMORY);
	words = (struct vmx_exit_words){ .reason = 0, .event = 0x80001b11 };
	EXPECT(decode_unfinished(&words).kind == VMEXIT_EXCEPTION);
}

TEST(vmx, exceptions_and_nmis)
{
	/* #AC, with its error code. */
	struct vmx_exit_words words = { .reason = 0, .event = 0x80000b11, .event_error_code = 0 };
	struct vmexit exit = decode(&words);
	EXPECT(exit.kind == VMEXIT_EXCEPTION && exit.exception.vector == VECTOR_AC);
	EXPECT(exit.exception.has_error_code && exit.exception.error_code == 0);
	/* #DB: DR6 is yet to be made. */
	words.event = 0x80000301;
	exit = decode_unfinished(&words);
	EXPECT(exit.kind == VMEXIT_EXCEPTION && exit.exception.vector == VECTOR_DB);
	EXPECT(!exit.exception.has_error_code);
	words.event = 0x80000202;
	EXPECT(decode_unfinished(&words).kind == VMEXIT_HOST_INTERRUPT);
	words.event = 0x80000312;
	EXPECT(decode_unfinished(&words).kind == VMEXIT_FATAL);
}

TEST(vmx, interrupts_wait_for_if_and_for_the_shadow)
{
	struct vmx_exit_words words = { .reason = 10, .rflags = 0x202 };
	EXPECT(decode(&words).can_interrupt);
	words.interruptibility = 1;
	EXPECT(!decode(&words).can_interrupt);
	words.interruptibility = 2;
	EXPECT(!decode(&words).can_interrupt);
	words.interruptibility = 8; /* NMIs only */
	EXPECT(decode(&words).can_interrupt);
	words.rflags = 0x2;
	EXPECT(!decode(&words).can_interrupt);
}

TEST(vmx, events_under_delivery_are_reported)
{
	/* #PF under delivery, and the stack was not there. */
	struct vmx_exit_words words = { .reason = 48,
					.qualification = 0x182,
					.vectoring = 0x80000b0e,
					.vectoring_error_code = 6 };
	struct vmexit exit = decode(&words);
	EXPECT(exit.has_vectoring && exit.vectoring.type == GUEST_EVENT_EXCEPTION);
	EXPECT(exit.vectoring.vector == VECTOR_PF && exit.vectoring.error_code == 6);
	/* INT 80h */
	words.vectoring = 0x80000480;
	words.insn_length = 2;
	exit = decode(&words);
	EXPECT(exit.has_vectoring && exit.vectoring.type == GUEST_EVENT_SOFT_INTERRUPT);
	EXPECT(exit.vectoring.insn_length == 2 && exit.insn_length == 0);
	/* INT1 is executed again. */
	words.vectoring = 0x80000501;
	EXPECT(!decode(&words).has_vectoring);
	words.vectoring = 0x0000030e;
	EXPECT(!decode(&words).has_vectoring);
}

/* --- events ------------------------------------------------------------------------------- */

static uint32_t encode(enum guest_event_type type, uint8_t vector, bool is_protected)
{
	struct guest_event event = { .type = type, .vector = vector };
	return vmx_event_encode(&event, is_protected);
}

TEST(vmx, events_as_the_manual_draws_them)
{
	EXPECT(encode(GUEST_EVENT_NONE, 0x30, true) == 0);
	EXPECT(encode(GUEST_EVENT_INTERRUPT, 0x30, true) == 0x80000030);
	EXPECT(encode(GUEST_EVENT_NMI, 2, true) == 0x80000202);
	EXPECT(encode(GUEST_EVENT_EXCEPTION, VECTOR_UD, true) == 0x80000306);
	EXPECT(encode(GUEST_EVENT_EXCEPTION, VECTOR_GP, true) == 0x80000b0d);
	EXPECT(encode(GUEST_EVENT_SOFT_INTERRUPT, 0x80, true) == 0x80000480);
	EXPECT(encode(GUEST_EVENT_SOFT_EXCEPTION, VECTOR_BP, true) == 0x80000603);
	EXPECT(encode(GUEST_EVENT_INTERRUPT, VECTOR_GP, true) == 0x8000000d);
}

/* The entry would fail otherwise, and a guest can ask for both. */
TEST(vmx, error_codes_go_where_the_cpu_pushes_them_and_nowhere_else)
{
	EXPECT(encode(GUEST_EVENT_EXCEPTION, VECTOR_GP, false) == 0x8000030d);
	struct guest_event event = { .type = GUEST_EVENT_EXCEPTION,
				     .vector = VECTOR_UD,
				     .has_error_code = true };
	EXPECT(vmx_event_encode(&event, true) == 0x80000306);
	for (unsigned vector = 0; vector < 32; vector++) {
		bool pushes = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
		uint32_t word = encode(GUEST_EVENT_EXCEPTION, (uint8_t)vector, true);
		EXPECT(!!(word & 0x800) == pushes);
	}
}

TEST(vmx, events_survive_the_round_trip)
{
	for (int type = GUEST_EVENT_INTERRUPT; type <= GUEST_EVENT_SOFT_EXCEPTION; type++) {
		for (unsigned vector = 0; vector < 256; vector++) {
			struct guest_event event = { .type = (enum guest_event_type)type,
						     .vector = (uint8_t)vector };
			uint32_t word = vmx_event_encode(&event, true);
			struct guest_event back;
			EXPECT(vmx_event_decode(word, 7, 3, &back));
			EXPECT(back.type == event.type && back.vector == event.vector);
			EXPECT(back.error_code == (back.has_error_code ? 7 : 0));
			bool is_soft = type >= GUEST_EVENT_SOFT_INTERRUPT;
			EXPECT(back.insn_length == (is_soft ? 3 : 0));
		}
	}
}

TEST(vmx, soft_events_always_have_a_length)
{
	struct guest_event event = { .type = GUEST_EVENT_SOFT_INTERRUPT };
	EXPECT(vmx_event_insn_length(&event) == 2);
	event.insn_length = 5;
	EXPECT(vmx_event_insn_length(&event) == 5);
	event = (struct guest_event){ .type = GUEST_EVENT_SOFT_EXCEPTION };
	EXPECT(vmx_event_insn_length(&event) == 1);
	event = (struct guest_event){ .type = GUEST_EVENT_INTERRUPT, .insn_length = 9 };
	EXPECT(vmx_event_insn_length(&event) == 0);
}

/* --- permission map ------------------------------------------------------------------------ */

static bool passes(uint32_t msr, bool is_write)
{
	unsigned offset = (msr >= 0xc0000000 ? 0x400 : 0) + (is_write ? 0x800 : 0);
	return !(vmx_msr_bitmap[offset + (msr & 0x1fff) / 8] & (1 << msr % 8));
}

TEST(vmx, only_registers_of_its_own_pass_without_an_exit)
{
	static const uint32_t passing[] = { 0x174,      0x175,      0x176,      0x277,
					    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
					    0xc0000100, 0xc0000101, 0xc0000102 };
	vmx_permissions_init();
	for (unsigned i = 0; i < 2 * 0x2000; i++) {
		uint32_t msr = i < 0x2000 ? i : 0xc0000000 + i - 0x2000;
		bool is_listed = false;
		for (size_t j = 0; j < ARRAY_COUNT(passing); j++)
			is_listed |= passing[j] == msr;
		EXPECT(passes(msr, false) == is_listed);
		EXPECT(passes(msr, true) == is_listed);
	}
}

/* --- VPIDs ---------------------------------------------------------------------------------- */

TEST(vmx, vpids_are_unique_until_the_cpu_forgets_all)
{
	struct vmx_cpu cpu = { 0 };
	struct virt_vcpu a = { 0 }, b = { 0 };
	vmx_vpid_cpu_init(&cpu, 3);
	EXPECT(vmx_vpid_assign(&a, &cpu));
	EXPECT(a.vpid == 1 && a.vpid_stamp == cpu.vpid_stamp && (a.vpid_stamp & 0xff) == 3);
	EXPECT(!vmx_vpid_assign(&b, &cpu));
	EXPECT(b.vpid == 2);

	cpu.vpid_next = 0xffff;
	EXPECT(!vmx_vpid_assign(&b, &cpu));
	EXPECT(b.vpid == 0xffff && a.vpid_stamp == cpu.vpid_stamp);
	EXPECT(vmx_vpid_assign(&b, &cpu));
	EXPECT(b.vpid == 1 && a.vpid_stamp != cpu.vpid_stamp);
}

TEST(vmx, a_cpu_that_was_off_trusts_no_old_vpid)
{
	struct vmx_cpu cpu = { 0 };
	struct virt_vcpu vcpu = { 0 };
	vmx_vpid_cpu_init(&cpu, 0);
	(void)vmx_vpid_assign(&vcpu, &cpu);
	vmx_vpid_cpu_init(&cpu, 0);
	EXPECT(vmx_vpid_assign(&(struct virt_vcpu){ 0 }, &cpu));
	EXPECT(vcpu.vpid_stamp != cpu.vpid_stamp);
}

/* --- control registers ------------------------------------------------------------------------ */

TEST(vmx, control_register_writes_the_guest_may_not_do)
{
	struct vmx_features features = decode_features(&skylake);
	EXPECT(vmx_cr_value_is_legal(0, 0x80050033, &features));
	EXPECT(vmx_cr_value_is_legal(0, 0x60000010, &features));
	EXPECT(vmx_cr_value_is_legal(0, 0xc0050033, &features));  /* CD alone */
	EXPECT(!vmx_cr_value_is_legal(0, 0xa0050033, &features)); /* NW alone */
	EXPECT(!vmx_cr_value_is_legal(0, 0x80000010, &features)); /* PG without PE */
	EXPECT(!vmx_cr_value_is_legal(0, 0x180050033, &features));
	EXPECT(vmx_cr_value_is_legal(4, 0x3006f0, &features));
	EXPECT(!vmx_cr_value_is_legal(4, 0x26f0, &features)); /* VMXE */
	EXPECT(!vmx_cr_value_is_legal(4, 0x46f0, &features)); /* SMXE */
}

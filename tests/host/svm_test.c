/* SPDX-License-Identifier: MIT */
/*
 * The pure parts of the AMD-V backend: words as the APM defines them in, neutral
 * records out, and back. Numbers are golden: taken from the manual's tables, not
 * from the constants of the code.
 */
#include "test.h"

#include <string.h>

#include "svm/svm_internal.h"

static struct vmcb vmcb;
static struct guest_regs regs;
static struct virt_vcpu vcpu = { .regs = &regs, .vmcb = &vmcb };
static struct vmexit vmexit;

/* Everything a VMCB can have at the places the manual gives, by offset. */
static void poke(unsigned offset, uint64_t value, unsigned size_bytes)
{
	memcpy((uint8_t *)&vmcb + offset, &value, size_bytes);
}

static uint64_t peek(unsigned offset, unsigned size_bytes)
{
	uint64_t value = 0;
	memcpy(&value, (const uint8_t *)&vmcb + offset, size_bytes);
	return value;
}

static void set_up(void)
{
	memset(&vmcb, 0, sizeof(vmcb));
	memset(&regs, 0, sizeof(regs));
	memset(&vmexit, 0xa5, sizeof(vmexit));
	memset(&svm_features, 0, sizeof(svm_features));
	vcpu.asid_stamp = SVM_ASID_STAMP_NONE;
}

static void exit_decode(uint64_t code, uint64_t info_1, uint64_t info_2)
{
	set_up();
	poke(0x070, code, 8);
	poke(0x078, info_1, 8);
	poke(0x080, info_2, 8);
	svm_exit_decode(&vmcb, &vmexit);
}

/* --- exits ------------------------------------------------------------------------- */

TEST(svm, each_exit_code_has_its_kind)
{
	static const struct {
		uint32_t code;
		enum vmexit_kind kind;
	} golden[] = {
		{ 0x60, VMEXIT_HOST_INTERRUPT },
		{ 0x61, VMEXIT_HOST_INTERRUPT },
		{ 0x64, VMEXIT_INTERRUPT_WINDOW },
		{ 0x6f, VMEXIT_INVALID_OPCODE },
		{ 0x72, VMEXIT_CPUID },
		{ 0x74, VMEXIT_HOST_INTERRUPT },
		{ 0x76, VMEXIT_WBINVD },
		{ 0x78, VMEXIT_HLT },
		{ 0x7a, VMEXIT_INVALID_OPCODE },
		{ 0x7b, VMEXIT_PIO },
		{ 0x7c, VMEXIT_RDMSR },
		{ 0x7f, VMEXIT_SHUTDOWN },
		{ 0x80, VMEXIT_INVALID_OPCODE },
		{ 0x81, VMEXIT_HYPERCALL },
		{ 0x82, VMEXIT_INVALID_OPCODE },
		{ 0x83, VMEXIT_INVALID_OPCODE },
		{ 0x84, VMEXIT_INVALID_OPCODE },
		{ 0x85, VMEXIT_INVALID_OPCODE },
		{ 0x86, VMEXIT_INVALID_OPCODE },
		{ 0x89, VMEXIT_WBINVD },
		{ 0x8a, VMEXIT_INVALID_OPCODE },
		{ 0x8b, VMEXIT_INVALID_OPCODE },
		{ 0x8c, VMEXIT_INVALID_OPCODE },
		{ 0x8e, VMEXIT_INVALID_OPCODE },
		{ 0x400, VMEXIT_MEMORY },
		{ 0x41, VMEXIT_EXCEPTION },
		{ 0x51, VMEXIT_EXCEPTION },
		{ 0x52, VMEXIT_FATAL },
		{ 0x401, VMEXIT_FATAL },
		{ 0x00, VMEXIT_FATAL },
		{ 0x6e, VMEXIT_FATAL },
		{ 0x8d, VMEXIT_FATAL },
	};
	for (unsigned i = 0; i < ARRAY_COUNT(golden); i++) {
		exit_decode(golden[i].code, 0, 0);
		EXPECT(vmexit.kind == golden[i].kind);
		EXPECT(!vmexit.has_vectoring);
		EXPECT(vmexit.insn_length == 0);
	}
}

TEST(svm, refused_entry_is_fatal_in_either_width)
{
	exit_decode(0xffffffffffffffff, 1, 2);
	EXPECT(vmexit.kind == VMEXIT_FATAL && vmexit.fatal.reason == 0xffffffffffffffff);
	EXPECT(vmexit.fatal.info[0] == 1 && vmexit.fatal.info[1] == 2);
	exit_decode(0x00000000ffffffff, 0, 0);
	EXPECT(vmexit.kind == VMEXIT_FATAL && vmexit.fatal.reason == 0xffffffff);
}

TEST(svm, port_access_word_is_taken_apart)
{
	/* IN AL, 60h: type 1, SZ8 (bit 4), A64 (bit 9) */
	exit_decode(0x7b, 0x00600211, 0x1002);
	EXPECT(vmexit.kind == VMEXIT_PIO && vmexit.pio.port == 0x60 && vmexit.pio.size == 1);
	EXPECT(vmexit.pio.is_in && !vmexit.pio.is_string && !vmexit.pio.is_rep);
	EXPECT(vmexit.pio.next_rip == 0x1002);
	/* OUT CF8h, EAX: SZ32 (bit 6) */
	exit_decode(0x7b, 0x0cf80240, 0);
	EXPECT(vmexit.pio.port == 0xcf8 && vmexit.pio.size == 4 && !vmexit.pio.is_in);
	/* REP OUTSW to FFFFh: STR, REP (bits 2, 3), SZ16 (bit 5), segment DS */
	exit_decode(0x7b, 0xffff0e2c, 0);
	EXPECT(vmexit.pio.port == 0xffff && vmexit.pio.size == 2 && !vmexit.pio.is_in);
	EXPECT(vmexit.pio.is_string && vmexit.pio.is_rep);
}

TEST(svm, msr_exit_tells_write_from_read)
{
	exit_decode(0x7c, 0, 0);
	EXPECT(vmexit.kind == VMEXIT_RDMSR);
	exit_decode(0x7c, 1, 0);
	EXPECT(vmexit.kind == VMEXIT_WRMSR);
}

TEST(svm, nested_fault_word_is_taken_apart)
{
	/* A read of an absent page at the final translation: US, bit 32. */
	exit_decode(0x400, 0x100000004, 0x123456789000);
	EXPECT(vmexit.kind == VMEXIT_MEMORY && vmexit.memory.addr.raw == 0x123456789000);
	EXPECT(vmexit.memory.access == MEM_READ && !vmexit.memory.is_present);
	EXPECT(!vmexit.memory.is_page_walk);
	/* A write to a read-only page: P, RW, US. */
	exit_decode(0x400, 0x100000007, 0);
	EXPECT(vmexit.memory.access == MEM_WRITE && vmexit.memory.is_present);
	/* A fetch from a no-execute page: P, US, ID. */
	exit_decode(0x400, 0x100000015, 0);
	EXPECT(vmexit.memory.access == MEM_EXEC && vmexit.memory.is_present);
	/* The guest's own tables: RW, US, bit 33. */
	exit_decode(0x400, 0x200000006, 0);
	EXPECT(vmexit.memory.access == MEM_WRITE && vmexit.memory.is_page_walk);
}

TEST(svm, reserved_bit_in_nested_tables_is_fatal)
{
	exit_decode(0x400, 0x10000000d, 0x5000);
	EXPECT(vmexit.kind == VMEXIT_FATAL && vmexit.fatal.info[1] == 0x5000);
}

TEST(svm, exception_exit_carries_vector_and_error_code)
{
	exit_decode(0x41, 0, 0);
	EXPECT(vmexit.exception.vector == VECTOR_DB && !vmexit.exception.has_error_code);
	exit_decode(0x51, 0, 0);
	EXPECT(vmexit.exception.vector == VECTOR_AC && vmexit.exception.has_error_code);
	EXPECT(vmexit.exception.error_code == 0);
}

static unsigned length_with(uint64_t rip, uint64_t next_rip)
{
	set_up();
	poke(0x070, 0x72, 8);
	poke(0x578, rip, 8);
	poke(0x0c8, next_rip, 8);
	svm_exit_decode(&vmcb, &vmexit);
	return vmexit.insn_length;
}

TEST(svm, length_comes_from_next_rip_when_reported)
{
	EXPECT(length_with(0x1000, 0x1002) == 2);
	EXPECT(length_with(0x1000, 0x100f) == 15);
	EXPECT(length_with(0x1000, 0x1010) == 0);
	EXPECT(length_with(0x1000, 0) == 0);
	EXPECT(length_with(0xfffffffffffffff8, 0) == 0);
	EXPECT(length_with(0xffff, 1) == 0);
}

static bool can_interrupt_with(uint64_t rflags, uint64_t shadow)
{
	set_up();
	poke(0x070, 0x60, 8);
	poke(0x570, rflags, 8);
	poke(0x068, shadow, 8);
	svm_exit_decode(&vmcb, &vmexit);
	return vmexit.can_interrupt;
}

TEST(svm, interrupts_need_the_flag_and_no_shadow)
{
	EXPECT(can_interrupt_with(0x202, 0));
	EXPECT(!can_interrupt_with(0x202, 1));
	EXPECT(!can_interrupt_with(0xfffffdff, 0));
	EXPECT(can_interrupt_with(0x202, 2)); /* GUEST_INTERRUPT_MASK is another bit */
}

/* --- events ------------------------------------------------------------------------ */

TEST(svm, event_words_are_the_manuals)
{
	struct guest_event irq = { .type = GUEST_EVENT_INTERRUPT, .vector = 0x30 };
	EXPECT(svm_event_encode(&irq) == 0x80000030);
	struct guest_event nmi = { .type = GUEST_EVENT_NMI, .vector = 2 };
	EXPECT(svm_event_encode(&nmi) == 0x80000202);
	struct guest_event gp = { .type = GUEST_EVENT_EXCEPTION,
				  .vector = VECTOR_GP,
				  .has_error_code = true,
				  .error_code = 0xdeadbeef };
	EXPECT(svm_event_encode(&gp) == 0xdeadbeef80000b0d);
	struct guest_event ud = { .type = GUEST_EVENT_EXCEPTION, .vector = VECTOR_UD };
	EXPECT(svm_event_encode(&ud) == 0x80000306);
	struct guest_event swint = { .type = GUEST_EVENT_SOFT_INTERRUPT, .vector = 0x80 };
	EXPECT(svm_event_encode(&swint) == 0x80000480);
	struct guest_event none = { .type = GUEST_EVENT_NONE };
	EXPECT(svm_event_encode(&none) == 0);
}

static bool round_trips(struct guest_event event)
{
	struct guest_event back;
	memset(&back, 0xa5, sizeof(back));
	return svm_event_decode(svm_event_encode(&event), &back) && back.type == event.type &&
	       back.vector == event.vector && back.has_error_code == event.has_error_code &&
	       back.error_code == event.error_code;
}

TEST(svm, every_event_survives_the_round_trip)
{
	for (unsigned vector = 0; vector < 256; vector++) {
		uint8_t v = (uint8_t)vector;
		EXPECT(round_trips(
			(struct guest_event){ .type = GUEST_EVENT_INTERRUPT, .vector = v }));
		EXPECT(round_trips(
			(struct guest_event){ .type = GUEST_EVENT_SOFT_INTERRUPT, .vector = v }));
		EXPECT(round_trips((struct guest_event){ .type = GUEST_EVENT_NMI, .vector = v }));
	}
	for (unsigned vector = 0; vector < 32; vector++) {
		bool is_soft = vector == 3 || vector == 4;
		struct guest_event event = {
			.type = is_soft ? GUEST_EVENT_SOFT_EXCEPTION : GUEST_EVENT_EXCEPTION,
			.vector = (uint8_t)vector,
		};
		EXPECT(round_trips(event));
		event.has_error_code = true;
		event.error_code = 0x80000000u | vector;
		EXPECT(round_trips(event));
	}
}

TEST(svm, words_without_an_event_are_refused)
{
	struct guest_event event;
	EXPECT(!svm_event_decode(0, &event));
	EXPECT(!svm_event_decode(0x7fffffff, &event));
	EXPECT(!svm_event_decode(0x80000130, &event)); /* type 1 */
	for (uint64_t type = 5; type <= 7; type++)
		EXPECT(!svm_event_decode(0x80000030 | type << 8, &event));
}

static bool vectoring_after(uint64_t exit_int_info)
{
	set_up();
	poke(0x070, 0x400, 8);
	poke(0x088, exit_int_info, 8);
	svm_exit_decode(&vmcb, &vmexit);
	return vmexit.has_vectoring;
}

TEST(svm, interrupted_delivery_is_reported)
{
	EXPECT(vectoring_after(0x80000031));
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_INTERRUPT && vmexit.vectoring.vector == 0x31);
	EXPECT(vmexit.kind == VMEXIT_MEMORY);
	EXPECT(vectoring_after(0x0000000680000b0e));
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_EXCEPTION && vmexit.vectoring.vector == 14);
	EXPECT(vmexit.vectoring.has_error_code && vmexit.vectoring.error_code == 6);
	EXPECT(vectoring_after(0x80000202));
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_NMI);
	EXPECT(!vectoring_after(0x00000b0e));
}

TEST(svm, software_interrupts_are_repeated_by_the_guest)
{
	EXPECT(!vectoring_after(0x80000480)); /* INT 80h */
	EXPECT(!vectoring_after(0x80000303)); /* INT3 */
	EXPECT(!vectoring_after(0x80000304)); /* INTO */
	EXPECT(!vectoring_after(0x80000403)); /* INT3 as QEMU reports it */

	set_up();
	struct guest_event swint = { .type = GUEST_EVENT_SOFT_INTERRUPT, .vector = 0x80 };
	svm_event_inject(&vcpu, &swint);
	EXPECT(peek(0x0a8, 8) == 0);
}

TEST(svm, injection_replaces_and_ends_the_shadow)
{
	set_up();
	poke(0x068, 1, 8);
	struct guest_event irq = { .type = GUEST_EVENT_INTERRUPT, .vector = 0x30 };
	svm_event_inject(&vcpu, &irq);
	EXPECT(peek(0x0a8, 8) == 0x80000030 && peek(0x068, 8) == 0);
	struct guest_event none = { .type = GUEST_EVENT_NONE };
	svm_event_inject(&vcpu, &none);
	EXPECT(peek(0x0a8, 8) == 0);
}

TEST(svm, nmi_blocks_until_iret_is_seen)
{
	set_up();
	struct guest_event nmi = { .type = GUEST_EVENT_NMI, .vector = 2 };
	svm_event_inject(&vcpu, &nmi);
	EXPECT(svm_nmi_is_blocked(&vmcb));
	EXPECT(peek(0x00c, 4) == 1u << 20);
	svm_nmi_block_set(&vmcb, false);
	EXPECT(!svm_nmi_is_blocked(&vmcb) && peek(0x00c, 4) == 0);
}

TEST(svm, window_is_a_virtual_interrupt_of_highest_priority)
{
	set_up();
	poke(0x060, 0x5, 1);
	poke(0x063, 0x1, 1);
	vmcb.control.clean = ~0u;
	svm_interrupt_window_set(&vcpu, true);
	/* V_TPR 7:0 kept, V_IRQ 8, priority 19:16, V_IGN_TPR 20, V_INTR_MASKING 24 */
	EXPECT(peek(0x060, 8) == 0x011f0105);
	EXPECT(peek(0x00c, 4) == 1u << 4);
	EXPECT(!(vmcb.control.clean & 1));
	svm_interrupt_window_set(&vcpu, false);
	EXPECT(peek(0x060, 8) == 0x01000005);
	EXPECT(peek(0x00c, 4) == 0);
}

/* --- virtual interrupts, where EVENTINJ may deliver twice -------------------------------- */

#define V_IRQ_OF(vector) ((uint64_t)(vector) << 32 | 0x001f0100)
#define V_IRQ_FIELDS     0x000000ff001fff00
#define IS_VIRTUAL(vector) \
	((peek(0x060, 8) & V_IRQ_FIELDS) == V_IRQ_OF(vector) && peek(0x0a8, 8) == 0)
#define IS_IN_EVENTINJ(vector) (peek(0x0a8, 8) == (0x80000000 | (vector)) && is_window_or_none())

/* V_IRQ delivers nothing: it is off, or the window. */
static bool is_window_or_none(void)
{
	return !(peek(0x060, 8) & 0x100) || (peek(0x00c, 4) & 1u << 4);
}

static void set_up_emulated(void)
{
	set_up();
	vcpu.regs = &regs;
	regs.rflags = RFLAGS_FIXED | RFLAGS_IF;
	svm_features.injects_twice = true;
}

static void inject_interrupt(uint8_t vector)
{
	svm_event_inject(&vcpu,
			 &(struct guest_event){ .type = GUEST_EVENT_INTERRUPT, .vector = vector });
}

TEST(svm, on_qemu_an_interrupt_is_a_virtual_one)
{
	set_up_emulated();
	poke(0x068, 1, 8);
	inject_interrupt(0x30);
	EXPECT(IS_VIRTUAL(0x30) && peek(0x00c, 4) == 0 && peek(0x068, 8) == 0);
	/* Another one, another event, none: each replaces it. */
	inject_interrupt(0x41);
	EXPECT(IS_VIRTUAL(0x41));
	svm_event_inject(&vcpu, &(struct guest_event){ .type = GUEST_EVENT_NMI, .vector = 2 });
	EXPECT(peek(0x0a8, 8) == 0x80000202 && !(peek(0x060, 8) & 0x100));
	inject_interrupt(0x30);
	svm_event_inject(&vcpu, &(struct guest_event){ .type = GUEST_EVENT_NONE });
	EXPECT(peek(0x0a8, 8) == 0 && !(peek(0x060, 8) & 0x100));
}

TEST(svm, what_cannot_be_virtual_is_injected)
{
	set_up_emulated();
	/* The vectors of exceptions; a guest that could not take it; a CPU without the defect. */
	inject_interrupt(0x1f);
	EXPECT(IS_IN_EVENTINJ(0x1f));
	regs.rflags = RFLAGS_FIXED;
	inject_interrupt(0x30);
	EXPECT(IS_IN_EVENTINJ(0x30));
	regs.rflags |= RFLAGS_IF;
	svm_features.injects_twice = false;
	inject_interrupt(0x30);
	EXPECT(IS_IN_EVENTINJ(0x30));
	svm_features.injects_twice = true;
	svm_event_inject(&vcpu,
			 &(struct guest_event){ .type = GUEST_EVENT_EXCEPTION, .vector = 14 });
	EXPECT(peek(0x0a8, 8) == 0x8000030e && !(peek(0x060, 8) & 0x100));
}

/* V_IRQ is one: it is the window's, if that is wanted, whichever was first. */
TEST(svm, the_window_comes_before_virtual_interrupts)
{
	set_up_emulated();
	svm_interrupt_window_set(&vcpu, true);
	inject_interrupt(0x30);
	EXPECT(IS_IN_EVENTINJ(0x30) && (peek(0x00c, 4) & 1u << 4));
	svm_interrupt_window_set(&vcpu, false);
	EXPECT(IS_VIRTUAL(0x30) && peek(0x00c, 4) == 0);
	svm_interrupt_window_set(&vcpu, true);
	EXPECT(IS_IN_EVENTINJ(0x30) && (peek(0x060, 8) & 0x1fff00) == 0x1f0100);
}

static bool undelivered_after(uint64_t code)
{
	poke(0x070, code, 8);
	svm_exit_decode(&vmcb, &vmexit);
	return vmexit.has_vectoring;
}

/* Not delivered yet, or its delivery was interrupted: it is to be injected again, and once. */
TEST(svm, a_virtual_interrupt_that_was_not_delivered_is_reported)
{
	set_up_emulated();
	inject_interrupt(0x30);
	EXPECT(undelivered_after(0x60) && vmexit.kind == VMEXIT_HOST_INTERRUPT);
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_INTERRUPT && vmexit.vectoring.vector == 0x30);
	svm_event_inject(&vcpu, &vmexit.vectoring);
	EXPECT(IS_VIRTUAL(0x30) && undelivered_after(0x61));
	/* Delivered: the CPU cleared V_IRQ. The window: it is no interrupt. */
	poke(0x061, 0, 1);
	EXPECT(!undelivered_after(0x60));
	svm_interrupt_window_set(&vcpu, true);
	EXPECT(!undelivered_after(0x60));
	/* As QEMU reports a nested page fault in the delivery. */
	EXPECT(vectoring_after(0x80000330));
	EXPECT(vmexit.vectoring.type == GUEST_EVENT_INTERRUPT && vmexit.vectoring.vector == 0x30);
}

TEST(svm, skipping_an_instruction_ends_the_shadow)
{
	set_up();
	poke(0x068, 1, 8);
	svm_insn_skipped(&vcpu);
	EXPECT(peek(0x068, 8) == 0);
}

/* --- clean bits -------------------------------------------------------------------- */

TEST(svm, setters_clear_the_clean_bit_of_their_group)
{
#define EXPECT_CLEARS(field, bit)                             \
	do {                                                  \
		vmcb.control.clean = ~0u;                     \
		vmcb_set_##field(&vmcb, 7);                   \
		EXPECT(vmcb.control.clean == ~(1u << (bit))); \
		EXPECT(vmcb.control._##field == 7);           \
	} while (0)
	set_up();
	EXPECT_CLEARS(intercept_exceptions, 0);
	EXPECT_CLEARS(intercept_1, 0);
	EXPECT_CLEARS(intercept_2, 0);
	EXPECT_CLEARS(tsc_offset, 0);
	EXPECT_CLEARS(iopm_base, 1);
	EXPECT_CLEARS(msrpm_base, 1);
	EXPECT_CLEARS(asid, 2);
	EXPECT_CLEARS(nested_cr3, 4);
#undef EXPECT_CLEARS
	EXPECT(peek(0x040, 8) == 7 && peek(0x048, 8) == 7 && peek(0x050, 8) == 7);
	EXPECT(peek(0x058, 4) == 7 && peek(0x0b0, 8) == 7);
}

/* --- permission maps ---------------------------------------------------------------- */

static unsigned zero_bits(const uint8_t *map, unsigned size_bytes)
{
	unsigned count = 0;
	for (unsigned i = 0; i < size_bytes; i++)
		count += 8 - (unsigned)__builtin_popcount(map[i]);
	return count;
}

TEST(svm, every_port_exits)
{
	svm_permissions_init();
	EXPECT(zero_bits(svm_iopm, SVM_IOPM_BYTES) == 0);
}

TEST(svm, only_registers_of_the_vmcb_pass)
{
	svm_permissions_init();
	EXPECT(svm_msrpm[0x05d] == 0xc0); /* 174h to 176h */
	EXPECT(svm_msrpm[0x09d] == 0x3f); /* 277h: bits 6, 7 */
	EXPECT(svm_msrpm[0x820] == 0x03); /* C0000081h to C0000083h, not EFER */
	EXPECT(svm_msrpm[0x821] == 0xfc); /* C0000084h */
	EXPECT(svm_msrpm[0x840] == 0xc0); /* C0000100h to C0000102h, not TSC_AUX */
	EXPECT(zero_bits(svm_msrpm, SVM_MSRPM_BYTES) == 2 * 11);
}

/* --- segments and state -------------------------------------------------------------- */

TEST(svm, segment_attributes_move_between_the_forms)
{
	EXPECT(svm_attributes_encode(0xa09b) == 0xa9b);  /* 64-bit code: G, L, P, S, type B */
	EXPECT(svm_attributes_encode(0xc093) == 0xc93);  /* flat data: G, D/B */
	EXPECT(svm_attributes_encode(0x1093) == 0x193);  /* AVL */
	EXPECT(svm_attributes_encode(0x008b) == 0x08b);  /* busy TSS */
	EXPECT(svm_attributes_encode(0x10093) == 0x013); /* unusable: not present */
	EXPECT(svm_attributes_decode(0xa9b) == 0xa09b);
	EXPECT(svm_attributes_decode(0x000) == 0x10000);
	EXPECT(svm_attributes_decode(0x082) == 0x0082);
	for (uint32_t word = 0; word < 0x1000; word++)
		EXPECT(svm_attributes_encode(svm_attributes_decode((uint16_t)word)) == word);
}

/* A CPU like QEMU's `max`, and a guest in long mode that breaks no rule. */
static void cpu_set_up(void)
{
	svm_features_decode(
		&(struct svm_cpuid){ .leaf_1_ecx = 1u << 26,
				     .leaf_7_ebx = 1u << 0 | 1u << 7 | 1u << 20,
				     .leaf_7_ecx = 1u << 2,
				     .leaf_80000001_ecx = 1u << 2,
				     .leaf_80000001_edx = 1u << 11 | 1u << 20 | 1u << 29,
				     .leaf_80000008_eax = 0x3028,
				     .leaf_8000000a_ebx = 16,
				     .leaf_8000000a_edx = 0x61 },
		&svm_features);
}

static struct guest_state long_mode_state(void)
{
	struct guest_state state;
	memset(&state, 0, sizeof(state));
	for (unsigned i = 0; i < SEG_COUNT; i++)
		state.segment[i] = (struct guest_segment){ .base = 0x1000 * i,
							   .limit = 0xffffffff - i,
							   .attributes = 0xc093,
							   .selector = (uint16_t)(8 * i) };
	state.segment[SEG_CS].attributes = 0xa09b;
	state.segment[SEG_LDTR].attributes = 0x10000;
	state.segment[SEG_GS].base = 0xffff888000000000;
	state.gdtr = (struct guest_table){ 0xffffffff81000000, 0x7f };
	state.idtr = (struct guest_table){ 0xffffffff82000000, 0xfff };
	state.cr0 = 0x80050033;
	state.cr2 = 0x1122334455667788;
	state.cr3 = 0x1aa000;
	state.cr4 = 0x3006a0;
	state.efer = 0xd01;
	state.pat = 0x0407050600070106;
	state.dr6 = 0xffff0ff0;
	state.dr7 = 0x400;
	state.star = 1;
	state.lstar = 0xffffffff81800000;
	state.cstar = 0xffffffff81800100;
	state.sfmask = 0x47700;
	state.kernel_gs_base = 0x7f0000001000;
	state.sysenter_cs = 0x10;
	state.sysenter_esp = 0xffffffff83000000;
	state.sysenter_eip = 0xffffffff81800200;
	state.cpl = 3;
	return state;
}

TEST(svm, state_survives_the_round_trip)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state(), back;
	guest.interrupt_shadow = true;
	guest.nmi_blocked = true;
	memset(&back, 0, sizeof(back));
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	svm_state_get(&vcpu, &back);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		EXPECT(back.segment[i].base == guest.segment[i].base);
		EXPECT(back.segment[i].limit == guest.segment[i].limit);
		EXPECT(back.segment[i].selector == guest.segment[i].selector);
		EXPECT(back.segment[i].attributes == guest.segment[i].attributes);
	}
	EXPECT(back.gdtr.base == guest.gdtr.base && back.gdtr.limit == guest.gdtr.limit);
	EXPECT(back.idtr.base == guest.idtr.base && back.idtr.limit == guest.idtr.limit);
	EXPECT(back.cr0 == guest.cr0 && back.cr2 == guest.cr2 && back.cr3 == guest.cr3);
	EXPECT(back.cr4 == guest.cr4 && back.efer == guest.efer && back.pat == guest.pat);
	EXPECT(back.dr6 == guest.dr6 && back.dr7 == guest.dr7 && back.cpl == 3);
	EXPECT(back.star == guest.star && back.lstar == guest.lstar && back.cstar == guest.cstar);
	EXPECT(back.sfmask == guest.sfmask && back.kernel_gs_base == guest.kernel_gs_base);
	EXPECT(back.sysenter_cs == guest.sysenter_cs && back.sysenter_esp == guest.sysenter_esp);
	EXPECT(back.sysenter_eip == guest.sysenter_eip);
	EXPECT(back.interrupt_shadow && back.nmi_blocked);
}

TEST(svm, state_lies_where_the_manual_says)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	vmcb.control.clean = ~0u;
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	EXPECT(peek(0x410, 2) == 8 && peek(0x412, 2) == 0xa9b); /* CS */
	EXPECT(peek(0x414, 4) == 0xfffffffe && peek(0x418, 8) == 0x1000);
	EXPECT(peek(0x458, 8) == 0xffff888000000000);                           /* GS base */
	EXPECT(peek(0x464, 4) == 0x7f && peek(0x468, 8) == 0xffffffff81000000); /* GDTR */
	EXPECT(peek(0x470, 2) == 0x30 && peek(0x490, 2) == 0x38);               /* LDTR, TR */
	EXPECT(peek(0x488, 8) == 0xffffffff82000000);                           /* IDTR */
	EXPECT(peek(0x4cb, 1) == 3 && peek(0x4d0, 8) == 0x1d01); /* CPL, EFER with SVME */
	EXPECT(peek(0x548, 8) == guest.cr4 && peek(0x550, 8) == guest.cr3);
	EXPECT(peek(0x558, 8) == guest.cr0 && peek(0x560, 8) == 0x400);
	EXPECT(peek(0x568, 8) == 0xffff0ff0 && peek(0x600, 8) == 1);
	EXPECT(peek(0x608, 8) == guest.lstar && peek(0x610, 8) == guest.cstar);
	EXPECT(peek(0x618, 8) == 0x47700 && peek(0x620, 8) == guest.kernel_gs_base);
	EXPECT(peek(0x628, 8) == 0x10 && peek(0x630, 8) == guest.sysenter_esp);
	EXPECT(peek(0x638, 8) == guest.sysenter_eip && peek(0x640, 8) == guest.cr2);
	EXPECT(peek(0x668, 8) == guest.pat);
	EXPECT(vmcb.control.clean == 0);
}

TEST(svm, long_mode_active_follows_enable_and_paging)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	guest.efer = 0x901; /* LME without LMA */
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	EXPECT(peek(0x4d0, 8) == 0x1d01);
	guest.cr0 &= ~CR0_PG;
	guest.efer = 0xd01; /* LMA, but no paging */
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	EXPECT(peek(0x4d0, 8) == 0x1901);
}

TEST(svm, refused_state_changes_nothing)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	struct vmcb before = vmcb;
	guest.cr2 = 0;
	guest.efer |= EFER_SVME;
	EXPECT(svm_state_set(&vcpu, &guest) == Q_INVALID);
	guest.efer = 0xd01;
	guest.cr4 |= BIT64(63);
	EXPECT(svm_state_set(&vcpu, &guest) == Q_INVALID);
	EXPECT(memcmp(&before, &vmcb, sizeof(vmcb)) == 0);
}

TEST(svm, new_address_space_flushes)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	vmcb.control.tlb_control = 0;
	guest.cr2 = 0;
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK && peek(0x05c, 1) == 0);
	guest.cr3 = 0x2000;
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK && peek(0x05c, 1) == 3);
}

/* --- consistency rules ---------------------------------------------------------------- */

static void valid_vmcb(void)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	vmcb_set_intercept_2(&vmcb, INTERCEPT_VMRUN);
	vmcb_set_asid(&vmcb, 1);
	vmcb_set_iopm_base(&vmcb, 0x200000);
	vmcb_set_msrpm_base(&vmcb, 0x204000);
	vmcb_set_nested_cr3(&vmcb, 0x300000);
}

static uint64_t violated(void)
{
	return svm_check_control(&vmcb.control, &svm_features) |
	       svm_check_save(&vmcb.save, &svm_features);
}

/* A valid VMCB with one value at one offset breaks exactly the rule. */
#define EXPECT_RULE(rule, offset, value, size_bytes)          \
	do {                                                  \
		valid_vmcb();                                 \
		EXPECT(violated() == 0);                      \
		poke((offset), (value), (size_bytes));        \
		EXPECT(violated() == BIT64(SVM_RULE_##rule)); \
	} while (0)

TEST(svm, each_rule_of_the_control_area_is_noticed)
{
	EXPECT_RULE(VMRUN_INTERCEPT, 0x010, 0xfffe, 4);
	EXPECT_RULE(ASID, 0x058, 0, 4);
	EXPECT_RULE(ASID, 0x058, 16, 4);
	EXPECT_RULE(PERMISSION_MAPS, 0x040, 0x10000000000 - 0x2000, 8);
	EXPECT_RULE(PERMISSION_MAPS, 0x048, 0x10000000000 - 0x1000, 8);
	EXPECT_RULE(PERMISSION_MAPS, 0x048, 0xfffffffffffff000, 8);
	EXPECT_RULE(NESTED_CR3, 0x0b0, 0x10000000000, 8);
	EXPECT_RULE(NESTED_CR3, 0x0b0, 0x300018, 8);
	EXPECT_RULE(EVENT_TYPE, 0x0a8, 0x80000120, 8);
	EXPECT_RULE(EVENT_TYPE, 0x0a8, 0x80000720, 8);
	EXPECT_RULE(EVENT_VECTOR, 0x0a8, 0x80000302, 8);
	EXPECT_RULE(EVENT_VECTOR, 0x0a8, 0x80000320, 8);
	EXPECT_RULE(EVENT_RESERVED, 0x0a8, 0x80001020, 8);
}

TEST(svm, each_rule_of_the_save_area_is_noticed)
{
	EXPECT_RULE(EFER_SVME, 0x4d0, 0x0d01, 8);
	EXPECT_RULE(EFER_RESERVED, 0x4d0, 0x1d03, 8);
	EXPECT_RULE(EFER_RESERVED, 0x4d0, 0x5d01, 8); /* FFXSR, which this CPU lacks */
	EXPECT_RULE(EFER_LMA, 0x4d0, 0x1901, 8);
	EXPECT_RULE(EFER_LMA, 0x558, 0x00050033, 8);
	EXPECT_RULE(CR0_CACHE, 0x558, 0xa0050033, 8);
	EXPECT_RULE(CR0_HIGH, 0x558, 0x180050033, 8);
	EXPECT_RULE(CR3_RESERVED, 0x550, 0x00100000001aa000, 8);
	EXPECT_RULE(CR4_RESERVED, 0x548, 0x20a0, 8); /* VMXE */
	EXPECT_RULE(CR4_RESERVED, 0x548, 0x10a0, 8); /* LA57, which this CPU lacks */
	EXPECT_RULE(DR6_HIGH, 0x568, 0x1ffff0ff0, 8);
	EXPECT_RULE(DR7_HIGH, 0x560, 0x100000400, 8);
	EXPECT_RULE(LONG_MODE_PAE, 0x548, 0x80, 8);
	EXPECT_RULE(LONG_MODE_PE, 0x558, 0x80050032, 8);
	EXPECT_RULE(LONG_MODE_CS, 0x412, 0xe9b, 2);
	EXPECT_RULE(PAT, 0x668, 0x0407050600070206, 8);
	EXPECT_RULE(PAT, 0x668, 0x0807050600070106, 8);
	EXPECT_RULE(CPL, 0x4cb, 4, 1);
	EXPECT_RULE(CANONICAL, 0x458, 0x0000800000000000, 8);
	EXPECT_RULE(CANONICAL, 0x608, 0xffff7fffffffffff, 8);
	EXPECT_RULE(CANONICAL, 0x620, 0x8000000000000000, 8);
	EXPECT_RULE(CANONICAL, 0x638, 0x0001000000000000, 8);
}

TEST(svm, valid_corner_cases_pass)
{
	valid_vmcb();
	poke(0x040, 0x10000000000 - 0x3000, 8); /* the last place for the port map */
	poke(0x048, 0x10000000000 - 0x2000, 8);
	poke(0x058, 15, 4);
	poke(0x0a8, 0x80000202, 8);
	poke(0x458, 0x00007fffffffffff, 8);
	poke(0x608, 0xffff800000000000, 8);
	EXPECT(violated() == 0);
	poke(0x0a8, 0x12345, 8); /* no event: nothing to check */
	EXPECT(violated() == 0);
}

/* --- features ------------------------------------------------------------------------- */

TEST(svm, features_come_from_their_cpuid_bits)
{
	struct svm_features f;
	svm_features_decode(&(struct svm_cpuid){ 0 }, &f);
	EXPECT(!f.has_svm && !f.has_nested_paging && !f.has_flush_by_asid);
	EXPECT(f.clean_bits == 0 && f.asid_count == 0);
	EXPECT(f.cr4_allowed == 0x7ff && f.linear_address_bits == 48);

	/* QEMU 7.2 -cpu max */
	svm_features_decode(&(struct svm_cpuid){ .leaf_7_ecx = 1u << 16,
						 .leaf_80000001_ecx = 1u << 2,
						 .leaf_80000008_eax = 0x3928,
						 .leaf_8000000a_ebx = 16,
						 .leaf_8000000a_edx = 0x10010001 },
			    &f);
	EXPECT(f.has_svm && f.has_nested_paging && !f.has_flush_by_asid && f.clean_bits == 0);
	EXPECT(f.asid_count == 16 && f.physical_address_bits == 40);
	EXPECT(f.linear_address_bits == 57 && (f.cr4_allowed & CR4_LA57));

	EXPECT(!f.injects_twice);

	svm_features_decode(&(struct svm_cpuid){ .leaf_8000000a_edx = 0x60 }, &f);
	EXPECT(f.has_flush_by_asid && f.clean_bits == 0x3f7);

	struct svm_cpuid emulator = { 0 };
	memcpy(&emulator.leaf_40000000_ebx, "TCGTCGTCGTCG", 12);
	svm_features_decode(&emulator, &f);
	EXPECT(f.injects_twice);
	memcpy(&emulator.leaf_40000000_ebx, "KVMKVMKVM\0\0", 12);
	svm_features_decode(&emulator, &f);
	EXPECT(!f.injects_twice);
}

/* --- address space identifiers ---------------------------------------------------------- */

static struct svm_cpu cpus[2];

static void asid_set_up(uint32_t asid_count)
{
	set_up();
	memset(cpus, 0, sizeof(cpus));
	svm_asid_cpu_init(&cpus[0], 0, asid_count);
	svm_asid_cpu_init(&cpus[1], 1, asid_count);
	cpus[0].host_area = hpa(0x10000);
	cpus[1].host_area = hpa(0x11000);
}

static bool must_assign(const struct svm_cpu *cpu)
{
	return vcpu.asid_stamp != cpu->asid_stamp;
}

TEST(svm, first_entry_on_a_cpu_flushes_everything)
{
	asid_set_up(16);
	EXPECT(must_assign(&cpus[0]));
	vmcb.control.clean = ~0u;
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(!must_assign(&cpus[0]) && must_assign(&cpus[1]));
	EXPECT(vcpu.host_area.raw == cpus[0].host_area.raw);
	EXPECT(peek(0x058, 4) == 1 && peek(0x05c, 1) == 1 && vmcb.control.clean == 0);
}

TEST(svm, identifiers_do_not_repeat_within_a_generation)
{
	asid_set_up(4);
	for (unsigned generation = 0; generation < 3; generation++) {
		for (unsigned asid = 1; asid < 4; asid++) {
			svm_asid_assign(&vcpu, &cpus[0]);
			EXPECT(peek(0x058, 4) == asid);
			EXPECT(peek(0x05c, 1) == (asid == 1));
		}
	}
}

TEST(svm, new_generation_takes_every_identifier_back)
{
	asid_set_up(2);
	svm_asid_assign(&vcpu, &cpus[0]);
	uint64_t stamp = vcpu.asid_stamp;
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(vcpu.asid_stamp != stamp);
}

TEST(svm, vcpu_that_comes_back_gets_a_new_identifier)
{
	asid_set_up(16);
	svm_asid_assign(&vcpu, &cpus[0]);
	svm_asid_assign(&vcpu, &cpus[1]);
	EXPECT(must_assign(&cpus[0]));
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(peek(0x058, 4) == 2 && peek(0x05c, 1) == 0);
}

TEST(svm, cpu_turned_on_again_accepts_no_old_stamp)
{
	asid_set_up(16);
	svm_asid_assign(&vcpu, &cpus[0]);
	uint64_t old = vcpu.asid_stamp;
	svm_asid_cpu_init(&cpus[0], 0, 16);
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(vcpu.asid_stamp != old && peek(0x058, 4) == 1 && peek(0x05c, 1) == 1);
}

TEST(svm, flush_uses_what_the_cpu_has)
{
	asid_set_up(16);
	svm_asid_assign(&vcpu, &cpus[0]);
	vmcb.control.tlb_control = 0;
	svm_features.has_flush_by_asid = true;
	svm_tlb_flush(&vcpu);
	EXPECT(!must_assign(&cpus[0]) && peek(0x05c, 1) == 3);

	vmcb.control.tlb_control = 0;
	svm_features.has_flush_by_asid = false;
	svm_tlb_flush(&vcpu);
	EXPECT(must_assign(&cpus[0]));
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(peek(0x058, 4) == 2 && peek(0x05c, 1) == 0);
}

/* A CPU or firmware that no emulator here has: the words alone decide. */
TEST(svm, refusals_say_why)
{
	const uint64_t svm_disabled = 1u << 4; /* VM_CR.SVMDIS */
	struct svm_features features = {
		.has_svm = true,
		.has_nested_paging = true,
		.asid_count = 16,
	};
	EXPECT(svm_features_refuse(&features, 0) == NULL);
	EXPECT(strstr(svm_features_refuse(&features, svm_disabled), "firmware disabled"));
	features.asid_count = 1;
	EXPECT(strstr(svm_features_refuse(&features, 0), "address space identifier"));
	features.has_nested_paging = false;
	EXPECT(strstr(svm_features_refuse(&features, 0), "nested paging"));
	features.has_svm = false;
	EXPECT(strstr(svm_features_refuse(&features, 0), "no AMD-V"));
}

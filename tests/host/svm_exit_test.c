/* SPDX-License-Identifier: MIT */
/* VMCB words to struct vmexit. */
#include "svm_model.h"

static void exit_decode(uint64_t code, uint64_t info_1, uint64_t info_2)
{
	set_up();
	poke(0x070, code, 8);
	poke(0x078, info_1, 8);
	poke(0x080, info_2, 8);
	svm_exit_decode(&vmcb, &vmexit);
}

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

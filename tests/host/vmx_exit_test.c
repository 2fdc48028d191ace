/* SPDX-License-Identifier: MIT */
/* VMCS words to struct vmexit. */
#include "vmx_model.h"

#include <string.h>

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

/* Beside reason, RIP, RSP, RFLAGS and interruptibility a CPUID exit needs only the length. */
TEST(vmx, frequent_exits_need_few_words)
{
	EXPECT(vmx_exit_needs(10) == VMX_NEEDS_LENGTH);
	EXPECT(vmx_exit_needs(12) == VMX_NEEDS_LENGTH);
	EXPECT(vmx_exit_needs(1) == 0);
	EXPECT(vmx_exit_needs(52) == 0);
	EXPECT(vmx_exit_needs(30) == (VMX_NEEDS_LENGTH | VMX_NEEDS_QUALIFICATION));
}

/* Each reason that is not expected is fatal, also those that no CPU has. */
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
	/* With the bit of failed entries, reason 10 must not pass for a CPUID exit. */
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
	/* #DB: the backend has to set DR6 first. */
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
	/* A #PF was being delivered, and the page of its stack was not mapped. */
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
